"""Has the coordinator do what an operator asked for, and waits until that is seen.

What became of a command is learnt from the committed state (rule R21): it is done, or
what it compared with changed before it came, or nobody knows yet.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from torua.core.allocation import Command
from torua.core.kv import Call
from torua.core.state import ClusterState
from torua.errors import ConflictError, OutcomeUnknownError
from torua.node.dispatch import States

Test = Callable[[ClusterState], bool]


class Coordination(States, Protocol):
    """What is committed, and the way to have it changed."""

    async def submit(self, command: Command, timeout_s: float) -> object:
        """Have the coordinator execute a command; ToruaErrors where it can't.

        Args:
            command: what to change.
            timeout_s: how long to wait.
        """


class Commander:
    """Submits, and waits.

    Invariants: nobody waits whose command is seen to be done, or to be too late.

    Threading: the reactor's thread only.
    """

    def __init__(self, coordination: Coordination, clock: IReactorTime) -> None:
        """Have things done by the coordinator.

        Args:
            coordination: the cluster state.
            clock: the reactor.
        """
        self._coordination = coordination
        self._clock = clock
        self._waiting: list[tuple[Test, Deferred[None]]] = []
        coordination.subscribe(self._on_state)

    async def have(
        self, command: Command, call: Call, *, done: Test, stale: Test, what: str
    ) -> None:
        """Have a command executed, and wait until this node sees it done.

        Args:
            command: what to change.
            call: who asks, and how long it waits.
            done: whether a state shows it.
            stale: whether a state that does not show it never will.
            what: it is about; ``shard 3``.

        Raises:
            ConflictError: it changed meanwhile.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        over: Deferred[None] = Deferred()
        self._waiting.append((lambda state: done(state) or stale(state), over))
        try:
            await self._coordination.submit(command, call.timeout_s)
            over.addTimeout(call.timeout_s, self._clock)
            self._on_state(self._coordination.state)
            await over
        except DeferredTimeout as error:
            raise OutcomeUnknownError(
                f"{what}: it was asked for, but is not seen to be done"
            ) from error
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not over]
        if not done(self._coordination.state):
            raise ConflictError(f"{what} changed meanwhile; look again")

    def _on_state(self, state: ClusterState) -> None:
        """Let those go on whose command is committed, or too late."""
        for test, over in list(self._waiting):
            if test(state) and not over.called:
                over.callback(None)
