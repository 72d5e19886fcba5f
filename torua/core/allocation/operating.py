"""What operators ask of the coordinator: duties, moves by hand, and dead nodes removed.

As all commands these say what their sender saw, and do nothing where that is no longer
so (R21).  `refusal` tells in words why a node may not be removed, and `Forget` obeys
the same rule when it comes to be executed.
"""

from msgspec import Struct
from msgspec.structs import replace

from torua.core.allocation.deciders import COMMITTED, Standing
from torua.core.allocation.editing import (
    changed,
    find,
    replacing,
    with_shards,
    without,
)
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.state import ClusterState, Copy, CopyState, Duty, NodeEntry, Shard


class SetDuty(Struct, frozen=True, tag="set_duty"):
    """A node is to have a duty from now on.

    Attributes:
        node: which.
        expect: the ``duty_version`` that the operator saw.
        duty: what it is to do.
    """

    node: NodeId
    expect: int
    duty: Duty


class MoveCopy(Struct, frozen=True, tag="move_copy"):
    """A copy is to move: another is added, and the old one goes once that is in sync.

    Attributes:
        shard: whose copy; one that is at rest.
        expect: the ``shard_version`` that the operator saw.
        alloc_id: the copy that goes.
        node: where the new one is to be.
        new: its id.
    """

    shard: ShardId
    expect: int
    alloc_id: AllocId
    node: NodeId
    new: AllocId


class GiveLead(Struct, frozen=True, tag="give_lead"):
    """The primary is to hand over to a copy in sync.

    Attributes:
        shard: which; one that is at rest.
        expect: the ``shard_version`` that the operator saw.
        to: the copy.
    """

    shard: ShardId
    expect: int
    to: AllocId


class Forget(Struct, frozen=True, tag="forget"):
    """A lost node will not come back: it and its copies leave the state.

    Attributes:
        node: which.
        boot_epoch: the life that was lost.
    """

    node: NodeId
    boot_epoch: int


class Rebalance(Struct, frozen=True, tag="rebalance"):
    """Balance is to be reached now; the state itself says nothing of that."""


OfOperators = SetDuty | MoveCopy | GiveLead | Forget | Rebalance
"""What operators ask for, besides `ForceAllocate`."""


def operate(state: ClusterState, command: OfOperators) -> ClusterState:
    """Do what an operator asked for, if it is still meant; else return ``state``.

    Args:
        state: the committed state.
        command: what to change.
    """
    match command:
        case SetDuty():
            return _set_duty(state, command)
        case Forget():
            return _forget(state, command)
        case Rebalance():
            return state
    shard = state.shards.get(command.shard)
    meant = shard is not None and shard.shard_version == command.expect
    if shard is None or not meant or not is_at_rest(shard):
        return state
    if isinstance(command, MoveCopy):
        return _move_copy(state, shard, command)
    return _give_lead(state, shard, command)


def is_at_rest(shard: Shard) -> bool:
    """Tell whether all copies are in sync, and neither a copy nor the lead moves."""
    return (
        shard.primary is not None
        and shard.successor is None
        and len(shard.copies) == len(shard.in_sync) <= shard.rf
        and all(copy.state is CopyState.STARTED for copy in shard.copies)
    )


def refusal(state: ClusterState, node: NodeId) -> str:
    """Tell why a node may not be removed by hand; nothing where it may.

    Args:
        state: the committed state.
        node: one that belongs.
    """
    if not state.nodes[node].lost:
        return "it answers the coordinator: evacuate it, then stop it"
    needs = (_needs(state, shard, node) for shard in state.shards.values())
    return next((why for why in needs if why), "")


def _needs(state: ClusterState, shard: Shard, node: NodeId) -> str:
    """Tell why a shard needs what a lost node has of it; nothing where it does not."""
    held = [copy for copy in shard.copies if copy.node == node]
    others = [
        copy.node
        for copy in shard.copies
        if copy.alloc_id in shard.in_sync
        and copy.node != node
        and not _is_lost(state, copy.node)
    ]
    if held and (shard.primary is None or shard.primary.node == node):
        return f"shard {shard.shard} has no other primary yet"
    in_sync = any(copy.alloc_id in shard.in_sync for copy in held)
    if in_sync and len(others) < max(1, shard.min_copies):
        return (
            f"shard {shard.shard} needs its copy in sync: {len(others)} more are up, "
            f"and {max(1, shard.min_copies)} must hold a write"
        )
    return ""


def _is_lost(state: ClusterState, node: NodeId) -> bool:
    """Tell whether a node does not belong, or answers no checks."""
    entry = state.nodes.get(node)
    return entry is None or entry.lost


def _set_duty(state: ClusterState, command: SetDuty) -> ClusterState:
    """Give a node its duty."""
    entry = state.nodes.get(command.node)
    if entry is None or entry.duty_version != command.expect:
        return state
    after = replace(entry, duty=command.duty, duty_version=entry.duty_version + 1)
    return replace(state, nodes=state.nodes | {command.node: after})


def _forget(state: ClusterState, command: Forget) -> ClusterState:
    """Let go of a lost node, and of the copies that it has."""
    entry = state.nodes.get(command.node)
    if entry is None or entry.boot_epoch != command.boot_epoch:
        return state
    if refusal(state, command.node):
        return state
    after = []
    for shard in state.shards.values():
        gone = [copy for copy in shard.copies if copy.node == command.node]
        for copy in gone:
            lead = None if shard.successor == copy.alloc_id else shard.successor
            after.append(
                changed(
                    shard,
                    copies=tuple(each for each in shard.copies if each is not copy),
                    in_sync=without(shard.in_sync, copy.alloc_id),
                    successor=lead,
                )
            )
    nodes = {node: each for node, each in state.nodes.items() if node != command.node}
    return with_shards(replace(state, nodes=nodes), after)


def _move_copy(state: ClusterState, shard: Shard, command: MoveCopy) -> ClusterState:
    """Begin a move, where no decider objects by what is committed."""
    entry = state.nodes.get(command.node)
    if entry is None or find(shard, command.alloc_id) is None:
        return state
    if any(copy.node == command.node for copy in shard.copies):
        return state
    if not _takes(state, entry):
        return state
    new = Copy(command.new, command.node, CopyState.INIT)
    return with_shards(state, [replacing(shard, command.alloc_id, new)])


def _takes(state: ClusterState, entry: NodeEntry) -> bool:
    """Tell whether a node takes another copy, as far as the state says."""
    standing = Standing(entry, None, state.feature_level)
    if any(decider(standing) for decider in COMMITTED.values()):
        return False
    held = sum(
        copy.node == entry.node_id
        for shard in state.shards.values()
        for copy in shard.copies
    )
    return entry.max_shards is None or held < entry.max_shards


def _give_lead(state: ClusterState, shard: Shard, command: GiveLead) -> ClusterState:
    """Name a successor, where it could lead."""
    copy = find(shard, command.to)
    if copy is None or command.to not in shard.in_sync:
        return state
    if shard.primary is None or shard.primary.alloc_id == command.to:
        return state
    entry = state.nodes.get(copy.node)
    if entry is None or entry.lost or entry.leaving:
        return state
    return with_shards(state, [changed(shard, successor=command.to)])
