"""Tests for `torua.core.replication.group`: which copies a primary waits for."""

from tests.core.replication.desk import DictMap
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.records import Record
from torua.core.replication.follower import Source
from torua.core.replication.group import Group
from torua.core.replication.messages import (
    AskInSync,
    Configure,
    Identity,
    LogRead,
    Output,
    ReadLog,
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


def group_of(state: CopyState) -> Group:
    """Make the group of a term that begins at record 5, its no-op committed.

    Args:
        state: of the other copy.
    """
    tip = Tip(DictMap(), Position(5, TERM, 1))
    source = Source(ZERO, "h", TERM, tip, lambda seq: TERM)
    group = Group(Identity(ZERO, MINE, HERE, 1), shard_of(1, state), source, 5)
    list(group.begin((), 0.0))
    list(group.open(0.0))
    return group


def acked(group: Group, now: float) -> list[Output]:
    """Let the other copy say that it holds all.

    Args:
        group: hears it.
        now: when.
    """
    message = Acked(ZERO, "h", TERM, OTHER, 1, 5, 5)
    return list(group.receive(Received(THERE, message), now))


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


def test_of_what_the_log_holds_only_what_was_committed_is_sent() -> None:
    """What is above may be taken back on a full disk, and its numbers given anew."""
    group = group_of(CopyState.INIT)
    behind = Acked(ZERO, "h", TERM, OTHER, 1, 3, 3)
    (read,) = group.receive(Received(THERE, behind), 0.1)
    assert isinstance(read, ReadLog)
    records = tuple(Record(ZERO, seq, TERM, seq, ()) for seq in (4, 5, 6))
    outputs = list(group.receive(LogRead(OTHER, read.after, records), 0.2))
    sent = [each.message for each in outputs if isinstance(each, Send)]
    found = [each.records for each in sent if isinstance(each, Append)]
    assert found == [records[:2]]
    assert group.streamed == 5
