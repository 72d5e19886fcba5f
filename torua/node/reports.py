"""What this node tells the coordinator of its copies, and asks of it.

Facts are told until the committed state shows them; a wish of a copy's machine is told
once, for the machine repeats it itself.  One that did not get there is told again with
the next state: there may be another coordinator, and the machine only looks at times.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.allocation import Command, FailCopy, HandOver, MarkInSync
from torua.core.ids import AllocId, ShardId
from torua.core.replication.messages import AskFail, AskInSync, AskTerm, Drained
from torua.core.state import ClusterState
from torua.errors import ToruaError
from torua.node.means import Wish

REPORT_TIMEOUT_S = 2.0
REPORT_FIRST_S = 0.1
REPORT_LAST_S = 5.0
"""How often the coordinator is told a fact: backing off in between."""

log = Logger()


class Coordination(Protocol):
    """Where the committed state comes from, and facts about copies go."""

    @property
    def state(self) -> ClusterState:
        """Return the last committed state that this node applied."""

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back with each state that is applied from now on."""

    async def submit(self, command: Command, timeout_s: float) -> object:
        """Have the coordinator execute a command; ToruaErrors where it can't.

        Args:
            command: what to change.
            timeout_s: how long to wait.
        """


class Reports:
    """Tells the coordinator.

    Invariants: of each kind of fact of a copy one report is under way at most; equal
    wishes are not under way twice, nor kept twice for the next state.

    Threading: the reactor's thread.
    """

    def __init__(self, clock: IReactorTime, coordination: Coordination) -> None:
        """Begin with nothing to tell.

        Args:
            clock: the reactor.
            coordination: whom to tell.
        """
        self._clock = clock
        self._coordination = coordination
        self._facts: dict[str, Deferred[None]] = {}
        self._wishes: set[Wish] = set()
        self._untold: dict[Wish, None] = {}
        self._blamed: dict[tuple[ShardId, AllocId], int] = {}
        coordination.subscribe(self._on_state)

    def tell(self, name: str, fact: Callable[[], Command | None]) -> None:
        """Tell a fact, less and less often, until there is nothing more to tell.

        Args:
            name: tells it from other facts.
            fact: makes the command; None once the state shows it, or it is no more.
        """
        if name not in self._facts:
            telling = Deferred.fromCoroutine(self._tell(fact))
            self._facts[name] = telling
            telling.addErrback(lambda failure: failure.trap(CancelledError) and None)
            telling.addErrback(self._broken)
            telling.addCallback(lambda _: self._facts.pop(name, None) and None)

    def wish(self, wish: Wish) -> None:
        """Tell a wish, once."""
        if wish in self._wishes:
            return
        self._wishes.add(wish)
        self._log(wish)
        told = Deferred.fromCoroutine(self._say(wish))
        told.addErrback(self._broken)
        told.addCallback(lambda _: self._wishes.discard(wish))

    async def submit(self, command: Command) -> bool:
        """Have a command executed, if it can be now; tell whether it was."""
        try:
            await self._coordination.submit(command, REPORT_TIMEOUT_S)
        except ToruaError as error:
            log.debug("not yet reported: {detail}", detail=error.detail)
            return False
        return True

    def stop(self) -> None:
        """Tell nothing more."""
        for telling in list(self._facts.values()):
            telling.cancel()

    async def _say(self, wish: Wish) -> None:
        """Tell a wish, or keep it for the next state."""
        if not await self.submit(_command(wish)):
            self._untold[wish] = None

    def _on_state(self, state: ClusterState) -> None:
        """Tell what did not get there; what is settled by now does nothing (R21)."""
        untold, self._untold = self._untold, {}
        for wish in untold:
            self.wish(wish)

    async def _tell(self, fact: Callable[[], Command | None]) -> None:
        """Tell it again and again."""
        delay_s = REPORT_FIRST_S
        while (command := fact()) is not None:
            await self.submit(command)
            await deferLater(self._clock, delay_s)
            delay_s = min(2 * delay_s, REPORT_LAST_S)

    def _log(self, wish: Wish) -> None:
        """Say that a copy is to be dropped, once for each time that it was taken up."""
        if not isinstance(wish, AskFail):
            return
        copy = (wish.shard, wish.alloc_id)
        if self._blamed.get(copy) != wish.expect:
            self._blamed[copy] = wish.expect
            line = "shard {shard}: copy {alloc} is to be dropped: {detail}"
            log.info(line, shard=copy[0], alloc=copy[1], detail=wish.detail)

    def _broken(self, failure: Failure) -> None:
        """Note what we did wrong."""
        log.failure("a report went wrong", failure)


def _command(wish: Wish) -> Command:
    """Spell a machine's wish as a command."""
    match wish:
        case AskInSync(shard, term, alloc, epoch, expect):
            return MarkInSync(shard, term, alloc, epoch, expect)
        case AskFail(shard, term, alloc, expect):
            return FailCopy(shard, term, alloc, expect)
        case AskTerm(shard, term, alloc, expect) | Drained(shard, term, alloc, expect):
            return HandOver(shard, term, expect, alloc)
