"""What an operator may have done to the cluster, and what it refuses.

A refusal names the rule that decided.  What is done is done by the coordinator, by
comparing with the state that the operator's node saw (rule R21).
"""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.core.allocation import Command, ForceAllocate
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.core.state import ClusterState, NodeEntry, Shard
from torua.errors import ConflictError, NotFoundError, OutcomeUnknownError
from torua.node.dispatch import States

log = Logger()


class Coordination(States, Protocol):
    """What is committed, and the way to have it changed."""

    async def submit(self, command: Command, timeout_s: float) -> object:
        """Have the coordinator execute a command; ToruaErrors where it can't.

        Args:
            command: what to change.
            timeout_s: how long to wait.
        """


class Operations:
    """Does what operators ask for, where the rules allow it.

    Invariants: data are given up only where the operator said so, and no in-sync copy
    of theirs is on a node that lives.

    Threading: the reactor's thread only.
    """

    def __init__(
        self,
        coordination: Coordination,
        clock: IReactorTime,
        *,
        is_live: Callable[[NodeId], bool],
        fresh_id: Callable[[], str],
    ) -> None:
        """Have things done by the coordinator.

        Args:
            coordination: the cluster state.
            clock: the reactor.
            is_live: tells whether membership believes a node alive.
            fresh_id: makes UUIDs in 32 hexadecimal digits.
        """
        self._coordination = coordination
        self._clock = clock
        self._is_live = is_live
        self._fresh_id = fresh_id
        self._waiting: list[tuple[ShardId, str, Deferred[None]]] = []
        coordination.subscribe(self._on_state)

    async def force_allocate(
        self, shard: ShardId, id_or_name: str, accept_data_loss: bool, call: Call
    ) -> None:
        """Let a red shard go on with what one node has of it, or with nothing.

        It begins another history: what was acknowledged and is not there is lost.

        Args:
            shard: which.
            id_or_name: the node's.
            accept_data_loss: whether the operator said so.
            call: who asks, and how long it waits.

        Raises:
            NotFoundError: there is no such shard, or no such node.
            ConflictError: a rule forbids it, which the detail names.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        held, node = self._shard(shard), self._node(id_or_name)
        self._check(held, node, accept_data_loss)
        mine = [copy.alloc_id for copy in held.copies if copy.node == node.node_id]
        history = self._fresh_id()
        command = ForceAllocate(
            shard=shard,
            expect=held.shard_version,
            node=node.node_id,
            alloc_id=mine[0] if mine else AllocId(self._fresh_id()),
            history_uuid=history,
            accept_data_loss=True,
        )
        log.warn(
            "shard {shard} is to go on with what {node} has of it; data loss accepted",
            shard=shard,
            node=node.name,
            request_id=call.request_id,
        )
        done = self._when(shard, history)
        try:
            await self._coordination.submit(command, call.timeout_s)
            done.addTimeout(call.timeout_s, self._clock)
            await done
        except DeferredTimeout as error:
            raise self._verdict(held) from error
        finally:
            self._waiting = [each for each in self._waiting if each[2] is not done]

    def _check(self, shard: Shard, node: NodeEntry, accepted: bool) -> None:
        """Raise the rule that forbids to go on with a node's copy, if one does."""
        alive = [
            self._name(copy.node)
            for copy in shard.copies
            if copy.alloc_id in shard.in_sync and self._is_live(copy.node)
        ]
        number = shard.shard
        if alive:
            raise ConflictError(
                f"shard {number} is not red: in sync and up on {', '.join(alive)}; "
                "nothing need be forced",
                shard=number,
            )
        if "data" not in node.roles:
            raise ConflictError(f"{node.name} takes no data", shard=number)
        if not self._is_live(node.node_id):
            raise ConflictError(f"{node.name} does not live", shard=number)
        if not accepted:
            raise ConflictError(
                f"shard {number} would lose what {node.name} does not have; that must "
                "be accepted (accept_data_loss)",
                shard=number,
            )

    def _verdict(self, before: Shard) -> ConflictError | OutcomeUnknownError:
        """Make the error of a command that was not seen to do anything."""
        now = self._coordination.state.shards.get(before.shard)
        if now is None or now.shard_version != before.shard_version:
            return ConflictError(
                f"shard {before.shard} changed meanwhile; look again",
                shard=before.shard,
            )
        return OutcomeUnknownError("it was asked for, but is not seen to be done")

    def _shard(self, shard: ShardId) -> Shard:
        """Return a shard of the applied state; NotFoundError where there is none."""
        held = self._coordination.state.shards.get(shard)
        if held is None:
            raise NotFoundError(f"there is no shard {shard}")
        return held

    def _node(self, id_or_name: str) -> NodeEntry:
        """Return a node of the applied state; NotFoundError where there is none."""
        for node in self._coordination.state.nodes.values():
            if id_or_name in (node.node_id, node.name):
                return node
        raise NotFoundError(f"no node is called {id_or_name!r}")

    def _name(self, node: NodeId) -> str:
        """Name a node as people do."""
        entry = self._coordination.state.nodes.get(node)
        return entry.name if entry else node

    def _when(self, shard: ShardId, history: str) -> "Deferred[None]":
        """Return what fires once a shard has a history."""
        done: Deferred[None] = Deferred()
        self._waiting.append((shard, history, done))
        return done

    def _on_state(self, state: ClusterState) -> None:
        """Let those go on whose command is committed."""
        for shard, history, done in list(self._waiting):
            held = state.shards.get(shard)
            if held and held.history_uuid == history and not done.called:
                done.callback(None)
