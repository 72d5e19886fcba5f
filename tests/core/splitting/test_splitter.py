"""The primary of a new shard: what it asks for, and when it asks for its slots."""

from msgspec.structs import replace

from tests.core.splitting.test_commands import (
    BEGIN,
    CHILD,
    CLOSE,
    COPY,
    NODE,
    PARENT,
    after,
)
from torua.core.ids import AllocId
from torua.core.records import Moved
from torua.core.splitting.commands import FinishSplit, ReopenSplit
from torua.core.splitting.messages import AskEnd, EndsAt, Follow, Pull, Told
from torua.core.splitting.notes import Progress
from torua.core.splitting.splitter import CLOSE_S, Splitter
from torua.core.state import ClusterState, Copy, CopyState

FULL = Progress(50, None, None)
FINISH = FinishSplit(CHILD, "new", 1, 9)


def closing(child_in_sync: int) -> ClusterState:
    """Return a state that is closing, of a parent with two copies in sync."""
    state = after(BEGIN, CLOSE)
    parent, child = state.shards[PARENT], state.shards[CHILD]
    other = Copy(AllocId("c"), NODE, CopyState.STARTED)
    both = (COPY.alloc_id, other.alloc_id)
    shards = {
        PARENT: replace(parent, rf=2, copies=(COPY, other), in_sync=both),
        CHILD: replace(child, rf=2, in_sync=both[:child_in_sync]),
    }
    return replace(state, shards=shards)


def at_the_end(child_in_sync: int) -> Splitter:
    """Return a machine that has all, and has just been told so."""
    machine = Splitter(CHILD, 1, FULL, seq=9)
    (asked,) = machine.receive(Follow(closing(child_in_sync)), 1.0)
    assert isinstance(asked, AskEnd)
    return machine


def test_who_has_all_up_to_the_end_asks_for_its_slots() -> None:
    """By the record that completes it, and in the round that is closing."""
    (said,) = at_the_end(2).receive(EndsAt(1, 50), 1.0)
    assert getattr(said, "command", None) == FINISH


def test_who_lacks_something_of_the_end_asks_for_that() -> None:
    """The end is as the parent's primary told it."""
    (said,) = at_the_end(2).receive(EndsAt(1, 51), 1.0)
    assert isinstance(said, Pull)
    assert said.progress == FULL


def test_a_child_that_lost_a_copy_meanwhile_does_not_take_the_slots() -> None:
    """They would be on fewer disks than at the parent, which then removes them.

    With the copy back it asks for them; without it the parent serves on.
    """
    machine = at_the_end(1)
    said = machine.receive(EndsAt(1, 50), 1.0)
    assert all(isinstance(each, Pull) for each in said)
    late = machine.wake(1.0 + CLOSE_S)
    assert [getattr(each, "command", None) for each in late] == [
        ReopenSplit(CHILD, "new", 1)
    ]
    machine = at_the_end(1)
    machine.receive(EndsAt(1, 50), 1.0)
    machine.receive(Told(2, FULL, Moved(), 50), 1.01)
    (asked,) = machine.receive(Follow(closing(2)), 1.02)
    assert getattr(asked, "command", None) == FINISH
