"""How a split is begun, goes on, and ends, in the cluster state.

Each command names the history of the child, which no other split has, and where it
matters the round; so a delayed or a doubled one does nothing (R21).

| command | sent by | when |
|---|---|---|
| `BeginSplit` | an operator | |
| `CloseSplit` | the child's primary | it has nearly all, on enough copies |
| `ReopenSplit` | the child's primary | it did not get all in time |
| `FinishSplit` | the child's primary | it has all, committed |
| `CancelSplit` | an operator, or the child's primary | it can't go on |
| `EndSplit` | the parent's primary | what moved is removed there |
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.routing import holds
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    Phase,
    Primary,
    Shard,
    SlotRange,
    Spans,
    Split,
)

GAP = 1 << 40
"""At least so far behind the beginning of its parent's log a child's begins, whatever
the clock says: below 2^53 there is room for thousands of such generations."""


class BeginSplit(Struct, frozen=True, tag="begin_split"):
    """Slots of a shard shall move to a new shard.

    Attributes:
        parent: the shard.
        expect: the ``slots_version`` that the operator saw.
        spans: the slots that move: some of the parent's, in order.
        child: the new one; no shard has that number.
        node: where its first copy shall be.
        alloc_id: that copy's.
        history_uuid: the child's.
        base: where its log shall begin.
    """

    parent: ShardId
    expect: int
    spans: Spans
    child: ShardId
    node: NodeId
    alloc_id: AllocId
    history_uuid: str
    base: int


class CloseSplit(Struct, frozen=True, tag="close_split"):
    """Nobody shall serve the slots that move; ``round`` is that of the last time."""

    child: ShardId
    history_uuid: str
    round: int


class ReopenSplit(Struct, frozen=True, tag="reopen_split"):
    """The parent shall serve the slots again; ``round`` is that of this time."""

    child: ShardId
    history_uuid: str
    round: int


class FinishSplit(Struct, frozen=True, tag="finish_split"):
    """The child shall have the slots.

    Attributes:
        child: which.
        history_uuid: its.
        round: in which it got all that the parent had.
        begins: its record that completes it, which is committed.
    """

    child: ShardId
    history_uuid: str
    round: int
    begins: int


class CancelSplit(Struct, frozen=True, tag="cancel_split"):
    """The child shall be given up, unless it has the slots already."""

    child: ShardId
    history_uuid: str


class EndSplit(Struct, frozen=True, tag="end_split"):
    """The parent has nothing left of what moved, from its record ``at`` on."""

    child: ShardId
    history_uuid: str
    at: int


OfOne = CloseSplit | ReopenSplit | FinishSplit | CancelSplit | EndSplit
"""What changes a split that was begun."""

OfSplits = BeginSplit | OfOne
"""What changes splits."""


def change_split(state: ClusterState, command: OfSplits) -> ClusterState:
    """Do what was asked for, if it is still meant; else return ``state`` itself.

    Args:
        state: the committed state.
        command: what to change.
    """
    if isinstance(command, BeginSplit):
        return _begin(state, command)
    split = state.splits.get(command.child)
    if split is None or split.child_history != command.history_uuid:
        return state
    return _changed(state, split, command) if _is_meant(split, command) else state


def _changed(state: ClusterState, split: Split, command: OfOne) -> ClusterState:
    """Do what is meant."""
    match command:
        case CloseSplit():
            closed = replace(split, phase=Phase.CLOSING, round=split.round + 1)
            return _with(_leaving(state, split, split.spans), closed)
        case ReopenSplit():
            return reopened(state, split)
        case FinishSplit():
            return _finish(state, split, command.begins)
        case CancelSplit():
            return cancelled(state, split)
        case EndSplit():
            return _end(state, split, command.at)


def settle_splits(state: ClusterState, is_up: Callable[[NodeId], bool]) -> ClusterState:
    """Reopen splits whose child has no primary; give up those of a lost history.

    Args:
        state: with the primaries that it should have.
        is_up: tells whether a node can be reckoned with now.
    """
    for split in tuple(state.splits.values()):
        child, parent = state.shards[split.child], state.shards[split.parent]
        if split.phase is Phase.TRIMMING:
            continue
        known = (parent.history_uuid, child.history_uuid)
        if known != (split.parent_history, split.child_history):
            state = cancelled(state, split)
        elif split.phase is Phase.CLOSING and (
            child.primary is None or not is_up(child.primary.node)
        ):
            state = reopened(state, split)
    return state


def reopened(state: ClusterState, split: Split) -> ClusterState:
    """Let the parent serve the slots again.

    Args:
        state: the committed state.
        split: one that is closing.
    """
    after = _with(_leaving(state, split, ()), replace(split, phase=Phase.COPYING))
    return replace(after, routing_version=state.routing_version + 1)


def cancelled(state: ClusterState, split: Split) -> ClusterState:
    """Give the child up; it has no slots.

    The version of the slot table rises, so that a `BeginSplit` that comes twice begins
    no second one of the same history, to which commands of the first would be meant.

    Args:
        state: the committed state.
        split: one that is not yet trimming.
    """
    number = split.child
    state = _leaving(state, split, ())
    return replace(
        state,
        shards={each: shard for each, shard in state.shards.items() if each != number},
        splits={each: known for each, known in state.splits.items() if each != number},
        routing_version=state.routing_version + 1,
        slots_version=state.slots_version + 1,
    )


def objection(state: ClusterState, parent: ShardId, spans: Spans) -> str:
    """Tell in words why a shard may not be split so; nothing where it may.

    Args:
        state: the committed state.
        parent: the shard.
        spans: the slots that shall move.
    """
    shard = state.shards.get(parent)
    if shard is None or not shard.in_sync:
        return "it does not exist, or was never served"
    if any(parent in (each.parent, each.child) for each in state.splits.values()):
        return "it is being split"
    slots = [slot for first, last in spans for slot in range(first, last + 1)]
    owned = {
        slot
        for each in state.slots
        if each.shard == parent
        for slot in range(each.first, each.last + 1)
    }
    if len(owned) < 2:
        return "it has only one slot"
    if not slots or slots != sorted(set(slots)):
        return "the slots that move must be named once, in order"
    if not owned.issuperset(slots):
        return f"not all of the slots are its own: {_named(state, parent)}"
    return "" if len(slots) < len(owned) else "it must keep a slot"


def _named(state: ClusterState, shard: ShardId) -> str:
    """Name the slots that a shard has."""
    own = [each for each in state.slots if each.shard == shard]
    return ", ".join(f"{each.first}-{each.last}" for each in own) or "it has none"


def _begin(state: ClusterState, command: BeginSplit) -> ClusterState:
    """Make the child, with one copy and no slots."""
    if command.expect != state.slots_version or command.child in state.shards:
        return state
    entry = state.nodes.get(command.node)
    if entry is None or objection(state, command.parent, command.spans):
        return state
    parent = state.shards[command.parent]
    split = Split(
        parent=command.parent,
        child=command.child,
        spans=command.spans,
        parent_history=parent.history_uuid,
        child_history=command.history_uuid,
    )
    lead = Copy(command.alloc_id, command.node, CopyState.INIT)
    child = Shard(
        shard=command.child,
        shard_version=1,
        primary_term=1,
        primary=Primary(lead.alloc_id, lead.node, entry.boot_epoch),
        in_sync=(),
        copies=(lead,),
        history_uuid=command.history_uuid,
        rf=parent.rf,
        min_copies=parent.min_copies,
        base=command.base,
    )
    after = replace(state, shards=state.shards | {command.child: child})
    return _with(after, split)


def _finish(state: ClusterState, split: Split, begins: int) -> ClusterState:
    """Give the child its slots."""
    child = replace(_begun(state.shards[split.child], begins), born=begins)
    after = replace(
        state,
        shards=state.shards | {split.child: child},
        slots=_parted(state.slots, split),
        slots_version=state.slots_version + 1,
        routing_version=state.routing_version + 1,
    )
    return _with(after, replace(split, phase=Phase.TRIMMING))


def _parted(slots: tuple[SlotRange, ...], split: Split) -> tuple[SlotRange, ...]:
    """Return the slot table with the child's slots in it."""
    found: list[SlotRange] = []
    for each in slots:
        for slot in range(each.first, each.last + 1):
            is_childs = each.shard == split.parent and holds(split.spans, slot)
            owner = split.child if is_childs else each.shard
            if found and found[-1].shard == owner:
                found[-1] = replace(found[-1], last=slot)
            else:
                found.append(SlotRange(slot, slot, owner))
    return tuple(found)


def _end(state: ClusterState, split: Split, at: int) -> ClusterState:
    """Be done with a split."""
    parent = _begun(state.shards[split.parent], at)
    parent = replace(parent, leaving=())
    return replace(
        state,
        shards=state.shards | {split.parent: parent},
        splits={
            child: each for child, each in state.splits.items() if child != split.child
        },
        routing_version=state.routing_version + 1,
    )


def _leaving(state: ClusterState, split: Split, spans: Spans) -> ClusterState:
    """Note which slots a parent does nothing about from now on."""
    parent = state.shards[split.parent]
    if parent.leaving == spans:
        return state
    version = parent.shard_version + 1
    parent = replace(parent, leaving=spans, shard_version=version)
    return replace(state, shards=state.shards | {split.parent: parent})


def _begun(shard: Shard, at: int) -> Shard:
    """Note from which record on a shard's copies show what it owns."""
    return replace(shard, begins=at, shard_version=shard.shard_version + 1)


def _is_meant(split: Split, command: OfOne) -> bool:
    """Tell whether a split is where the sender of a command saw it."""
    match command:
        case CloseSplit():
            return (split.phase, split.round) == (Phase.COPYING, command.round)
        case ReopenSplit() | FinishSplit():
            return (split.phase, split.round) == (Phase.CLOSING, command.round)
        case CancelSplit():
            return split.phase is not Phase.TRIMMING
        case EndSplit():
            return split.phase is Phase.TRIMMING


def _with(state: ClusterState, split: Split) -> ClusterState:
    """Put a changed split in the place of what it was."""
    return replace(state, splits=state.splits | {split.child: split})
