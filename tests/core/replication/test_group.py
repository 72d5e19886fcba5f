"""Tests for `torua.core.replication.group`: which copies a primary waits for."""

from collections.abc import Iterable

from tests.core.replication.desk import DictMap
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.records import Record
from torua.core.replication.follower import HOLD_S, Source
from torua.core.replication.group import Group
from torua.core.replication.messages import (
    AskInSync,
    Configure,
    Identity,
    Output,
    Received,
    Send,
)
from torua.core.replication.tip import Position, Tip
from torua.core.replication.wire import Acked, Append
from torua.core.state import Copy, CopyState, Primary, Shard

ZERO = ShardId(0)
MINE, OTHER = AllocId("a" * 32), AllocId("b" * 32)
HERE, THERE = NodeId("1" * 32), NodeId("2" * 32)
TERM = 3


def shard_of(version: int, state: CopyState) -> Shard:
    """Make a shard that this node leads; its other copy is not in sync.

    Args:
        version: of the configuration.
        state: of the other copy.
    """
    return Shard(
        shard=ZERO,
        shard_version=version,
        primary_term=TERM,
        primary=Primary(MINE, HERE, 1),
        in_sync=(MINE,),
        copies=(Copy(MINE, HERE, CopyState.STARTED), Copy(OTHER, THERE, state)),
        history_uuid="h",
        rf=2,
        min_copies=1,
    )


def group_of(state: CopyState, tip: Tip | None = None) -> Group:
    """Make the group of a term that begins at record 5, its no-op committed.

    Args:
        state: of the other copy.
        tip: what is in flight; nothing but for what the caller puts there.
    """
    tip = Tip(DictMap(), Position(5, TERM, 1)) if tip is None else tip
    source = Source(ZERO, "h", TERM, tip, lambda seq: TERM)
    group = Group(Identity(ZERO, MINE, HERE, 1), shard_of(1, state), source, 5)
    list(group.begin((), 0.0))
    list(group.open(0.0))
    return group


def acked(group: Group, now: float, seq: int = 5) -> list[Output]:
    """Let the other copy say what it holds.

    Args:
        group: hears it.
        now: when.
        seq: up to where; all, where nothing was written.
    """
    message = Acked(ZERO, "h", TERM, OTHER, 1, seq, 5)
    return list(group.receive(Received(THERE, message), now))


def streamed(outputs: Iterable[Output]) -> list[list[int]]:
    """List the seqs of the records that each message takes to the other copy."""
    sent = [each.message for each in outputs if isinstance(each, Send)]
    return [
        [record.seq for record in message.records]
        for message in sent
        if isinstance(message, Append) and message.records
    ]


def busy() -> tuple[Group, Tip]:
    """Make a group that awaits the acknowledgment of record 6, sent at 0.2."""
    tip = Tip(DictMap(), Position(5, TERM, 1))
    group = group_of(CopyState.INIT, tip)
    acked(group, 0.1)
    append(tip)
    assert streamed(group.pump(0.2)) == [[6]]
    return group, tip


def append(tip: Tip) -> None:
    """Put a record on the tip."""
    tip.append(Record(ZERO, tip.seq + 1, TERM, tip.time_ns + 1, ()))


def test_what_is_appended_while_an_answer_is_awaited_goes_together() -> None:
    """With the acknowledgment, in one message."""
    group, tip = busy()
    for _ in range(3):
        append(tip)
        assert not streamed(group.pump(0.201))
    assert group.streamed == 6
    assert streamed(acked(group, 0.202, 6)) == [[7, 8, 9]]
    assert group.streamed == 9


def test_what_is_appended_waits_for_no_answer_for_long() -> None:
    """Where the way to the copy is long, each waits `HOLD_S` and not a round trip."""
    group, tip = busy()
    append(tip)
    assert not streamed(group.pump(0.201))
    due = group.next_deadline()
    assert due == 0.2 + HOLD_S
    assert streamed(group.wake(due)) == [[7]]
    assert group.streamed == 7
    later = group.next_deadline()
    assert later is not None
    assert later > due


def test_a_copy_that_holds_all_is_called_in_sync() -> None:
    """Tracked first, and only then the coordinator is asked."""
    group = group_of(CopyState.INIT)
    assert any(isinstance(each, AskInSync) for each in acked(group, 0.1))
    assert [each.alloc_id for each in group.tracked] == [OTHER]


def test_a_copy_whose_node_came_back_is_asked_where_it_stands() -> None:
    """It caught up while it was to leave; once it is to stay, nothing else would come.

    A node that stops and is back at once may be heard of before the state says so.
    """
    group = group_of(CopyState.RELOCATING)
    assert not any(isinstance(each, AskInSync) for each in acked(group, 0.1))
    assert group.alone
    stays = shard_of(2, CopyState.INIT)
    outputs = list(group.receive(Configure(stays, 0), 0.2))
    assert [each.node for each in outputs if isinstance(each, Send)] == [THERE]
    assert any(isinstance(each, AskInSync) for each in acked(group, 0.3))
