"""Splits in the cluster state: each change of phase is a compare and swap (R21)."""

import pytest
from msgspec.structs import replace

from torua.core.allocation import execute
from torua.core.allocation.commands import Command, ForceAllocate
from torua.core.ids import Address, AllocId, NodeId, ShardId
from torua.core.routing import even_slots, shard_of
from torua.core.splitting.commands import (
    BeginSplit,
    CancelSplit,
    CloseSplit,
    EndSplit,
    FinishSplit,
    ReopenSplit,
    objection,
    settle_splits,
)
from torua.core.splitting.door import is_moving, is_stale, trimming
from torua.core.splitting.moving import born, half_of
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    NodeEntry,
    Phase,
    Primary,
    Shard,
    SlotRange,
)

NODE = NodeId("n1")
PARENT, CHILD = ShardId(0), ShardId(1)
COPY = Copy(AllocId("a"), NODE, CopyState.STARTED)
WHOLE = ClusterState(
    cluster_uuid="u",
    nodes={NODE: NodeEntry(NODE, "one", 5, Address("h", 1), "h:2")},
    shards={
        PARENT: Shard(
            shard=PARENT,
            shard_version=3,
            primary_term=2,
            primary=Primary(COPY.alloc_id, NODE, 5),
            in_sync=(COPY.alloc_id,),
            copies=(COPY,),
            history_uuid="old",
            rf=1,
            min_copies=1,
        )
    },
    slots=even_slots(1),
    routing_version=4,
    slots_version=1,
)
BEGIN = BeginSplit(
    PARENT, 1, ((2048, 4095),), CHILD, NODE, AllocId("b"), "new", 1 << 40
)
CLOSE = CloseSplit(CHILD, "new", 0)
FINISH = FinishSplit(CHILD, "new", 1, (1 << 40) + 7)
END = EndSplit(CHILD, "new", 90)


def after(*commands: Command) -> ClusterState:
    """Return the state after some commands, one after the other."""
    state = WHOLE
    for command in commands:
        state = execute(state, command)
    return state


def test_a_split_goes_through_its_phases() -> None:
    """In the end the child has the slots, and nothing is left of the split."""
    assert after(BEGIN).splits[CHILD].phase is Phase.COPYING
    assert born(after(BEGIN)) == [PARENT]
    assert after(BEGIN, CLOSE).shards[PARENT].leaving == BEGIN.spans
    state = after(BEGIN, CLOSE, FINISH)
    assert [each.shard for each in state.slots] == [PARENT, CHILD]
    assert (state.slots_version, state.shards[CHILD].born) == (2, (1 << 40) + 7)
    assert trimming(state, PARENT) == BEGIN.spans
    done = execute(state, END)
    assert done.splits == {}
    assert (done.shards[PARENT].leaving, done.shards[PARENT].begins) == ((), 90)
    assert born(done) == [PARENT, CHILD]


@pytest.mark.parametrize(
    ("before", "late"),
    [
        ((BEGIN,), FINISH),
        ((BEGIN, CLOSE), CLOSE),
        ((BEGIN, CLOSE, ReopenSplit(CHILD, "new", 1)), FINISH),
        ((BEGIN, CLOSE, ReopenSplit(CHILD, "new", 1)), CLOSE),
        (
            (
                BEGIN,
                CLOSE,
                ReopenSplit(CHILD, "new", 1),
                CloseSplit(CHILD, "new", 1),
            ),
            FINISH,
        ),
        ((BEGIN, CLOSE), replace(FINISH, history_uuid="another")),
        ((BEGIN, CLOSE, FINISH), FINISH),
        ((BEGIN, CLOSE, FINISH), CancelSplit(CHILD, "new")),
        ((BEGIN, CLOSE, FINISH), ReopenSplit(CHILD, "new", 1)),
        ((BEGIN, CLOSE), END),
        ((BEGIN, CancelSplit(CHILD, "new")), CLOSE),
        ((BEGIN, CancelSplit(CHILD, "new")), BEGIN),
        ((), replace(BEGIN, expect=9)),
        ((), replace(BEGIN, spans=((0, 4095),))),
        ((BEGIN,), replace(BEGIN, child=ShardId(2))),
    ],
)
def test_what_is_not_meant_any_more_does_nothing(
    before: tuple[Command, ...], late: Command
) -> None:
    """Whatever is delayed or doubled finds another phase, round or history."""
    state = after(*before)
    assert execute(state, late) is state


def test_who_waits_for_the_end_of_a_round_is_told() -> None:
    """The routing version rises when the parent serves again, and at a cancellation."""
    closed = after(BEGIN, CLOSE)
    for command in (ReopenSplit(CHILD, "new", 1), CancelSplit(CHILD, "new")):
        opened = execute(closed, command)
        assert opened.routing_version == closed.routing_version + 1
        assert opened.shards[PARENT].leaving == ()
        assert opened.slots == closed.slots


def test_nobody_serves_what_moves_while_it_is_closing() -> None:
    """Nor is the shard looked at as a whole; what stays is served."""
    state = after(BEGIN, CLOSE)
    slots = after(BEGIN, CLOSE, FINISH).slots
    keys = [b"k%d" % number for number in range(50)]
    moving = [key for key in keys if shard_of(slots, key) == CHILD]
    assert 0 < len(moving) < len(keys)
    assert [key for key in keys if is_moving(state, PARENT, [key])] == moving
    assert is_moving(state, PARENT, None)
    assert not is_moving(after(BEGIN), PARENT, keys)
    assert is_stale(after(BEGIN, CLOSE, FINISH), 1)


def test_a_child_that_is_not_led_holds_nothing_up() -> None:
    """The coordinator reopens its split by itself."""
    state = settle_splits(after(BEGIN, CLOSE), lambda node: False)
    assert state.splits[CHILD].phase is Phase.COPYING


def test_why_a_shard_is_not_split_is_told_by_its_slots() -> None:
    """One slot can't be shared; who names others is told which are its own."""
    slots = (SlotRange(0, 0, PARENT), SlotRange(1, 4095, CHILD))
    state = replace(WHOLE, slots=slots)
    assert objection(state, PARENT, half_of(state, PARENT)) == "it has only one slot"
    state = after(BEGIN, CLOSE, FINISH, END)
    assert objection(state, PARENT, ((4, 3000),)).endswith("its own: 0-2047")


def test_changes_of_another_history_are_told_from_its_beginning() -> None:
    """Where data loss is accepted a new shard's log begins anew, as does the feed."""
    state = after(BEGIN, CLOSE, FINISH, END)
    child = state.shards[CHILD]
    lost = ForceAllocate(CHILD, child.shard_version, NODE, AllocId("c"), "newer", True)
    begun = execute(state, lost).shards[CHILD]
    assert (begun.history_uuid, begun.born, begun.is_unborn) == (
        "newer",
        BEGIN.base,
        False,
    )


def test_another_history_ends_a_split() -> None:
    """The child was filled from what is no more."""
    state = after(BEGIN)
    lossy = replace(state.shards[PARENT], history_uuid="forced")
    state = replace(state, shards=state.shards | {PARENT: lossy})
    assert CHILD not in settle_splits(state, lambda node: True).shards


def test_half_of_a_shard_is_its_upper_half() -> None:
    """As often as it has two slots at least."""
    state = after(BEGIN, CLOSE, FINISH, END)
    assert half_of(WHOLE, PARENT) == ((2048, 4095),)
    assert half_of(state, CHILD) == ((3072, 4095),)
