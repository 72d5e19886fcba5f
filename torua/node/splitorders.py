"""What operators ask of splits: that one be begun, or called off."""

from collections.abc import Callable

from msgspec import structs
from twisted.logger import Logger

from torua.core.allocation.placing import Scene
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.core.splitting.commands import GAP, BeginSplit, CancelSplit, objection
from torua.core.splitting.moving import half_of, is_born
from torua.core.state import ClusterState, Shard, Spans
from torua.errors import ConflictError, NotFoundError
from torua.node.commanding import Commander
from torua.node.dispatch import States
from torua.node.splits import task_id

log = Logger()


class SplitOrders:
    """Has the coordinator begin splits, and give them up.

    Invariants: it keeps nothing between two orders.

    Threading: the reactor's thread only.
    """

    def __init__(
        self,
        states: States,
        commander: Commander,
        fresh_id: Callable[[], str],
        wall_us: Callable[[], int],
    ) -> None:
        """Have things done by the coordinator.

        Args:
            states: the cluster state.
            commander: has it changed.
            fresh_id: makes UUIDs in 32 hexadecimal digits.
            wall_us: tells Unix time, in microseconds.
        """
        self._coordination = states
        self._commander = commander
        self._fresh_id = fresh_id
        self._wall_us = wall_us

    async def split(
        self, held: Shard, spans: Spans | None, scene: Scene, call: Call
    ) -> tuple[ShardId, str]:
        """Have slots of a shard move to a new one, while both are served.

        Args:
            held: which.
            spans: the slots, in order; None for the upper half.
            scene: where there is room for it.
            call: who asks, and how long it waits.

        Returns:
            The new shard, and the id of the task that follows the split.

        Raises:
            ConflictError: a rule forbids it, which the detail names.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been begun.
        """
        shard, state = held.shard, self._coordination.state
        spans = half_of(state, shard) if spans is None else spans
        why = objection(state, shard, spans)
        node = None if why else _nursery(scene, held)
        if why or node is None:
            detail = why or "no node may have one more copy now"
            raise ConflictError(f"shard {shard} can't be split: {detail}", shard=shard)
        command = BeginSplit(
            parent=shard,
            expect=state.slots_version,
            spans=spans,
            child=ShardId(max(state.shards) + 1),
            node=node,
            alloc_id=AllocId(self._fresh_id()),
            history_uuid=self._fresh_id(),
            base=max(self._wall_us(), held.base + GAP),
        )
        log.info(
            "shard {shard} is to be split: {child} gets slots {spans}",
            shard=shard,
            child=command.child,
            spans=str(spans),
            request_id=call.request_id,
        )
        child, history = command.child, command.history_uuid

        def done(state: ClusterState) -> bool:
            """Tell whether it began."""
            begun = state.shards.get(child)
            return begun is not None and begun.history_uuid == history

        await self._commander.have(
            command,
            call,
            done=done,
            stale=lambda after: (
                child in after.shards or after.slots_version != state.slots_version
            ),
            what=f"shard {shard}",
        )
        return child, task_id(child, history)

    async def cancel(self, shard: ShardId, call: Call) -> ShardId:
        """Have a split called off, which has not yet given the new shard its slots.

        Args:
            shard: that is split, or the new one.
            call: who asks, and how long it waits.

        Returns:
            The shard that is not to be.

        Raises:
            NotFoundError: there is no such split.
            ConflictError: the new shard has its slots.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        splits = self._coordination.state.splits.values()
        found = [each for each in splits if shard in (each.parent, each.child)]
        if not found:
            raise NotFoundError(f"shard {shard} is not being split")
        split = found[0]

        def is_had(state: ClusterState) -> bool:
            """Tell whether the new shard has its slots."""
            known = state.shards.get(split.child)
            has = known is not None and known.history_uuid == split.child_history
            return has and is_born(state, split.child)

        await self._commander.have(
            CancelSplit(split.child, split.child_history),
            call,
            done=lambda state: split.child not in state.shards,
            stale=is_had,
            what=f"shard {split.child}",
        )
        return split.child


def _nursery(scene: Scene, shard: Shard) -> NodeId | None:
    """Choose where the first copy of a new shard is: where its data come from."""
    lead = shard.primary.node if shard.primary else None
    bare = structs.replace(shard, copies=())
    able = [node for node in scene.site.takers if not scene.objection(bare, node)]
    return min(able, key=lambda node: (node != lead, node), default=None)
