"""What the rules take for the truth of a shard when its first copy is counted on."""

import pytest
from msgspec.structs import replace

from tests.simulation.disk import CopyDisk, View
from tests.simulation.rules import DataRules
from tests.simulation.world import World
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.records import Effect, KvPut, Record
from torua.core.state import ClusterState, Copy, CopyState, Shard

A, B = AllocId("a"), AllocId("b")
BASE = 1000
UNCOUNTED = Shard(
    shard=ShardId(0),
    shard_version=1,
    primary_term=1,
    primary=None,
    in_sync=(),
    copies=(
        Copy(A, NodeId("n0"), CopyState.INIT),
        Copy(B, NodeId("n1"), CopyState.INIT),
    ),
    history_uuid="h",
    rf=2,
    min_copies=1,
    base=BASE,
)


def record(number: int, term: int = 1) -> Record:
    """Make a record that puts a key, so that each changes the digest.

    Args:
        number: how far behind the base.
        term: in which it was made.
    """
    effects: tuple[Effect, ...] = (KvPut(b"k%d" % number, b"%d" % term, ""),)
    return Record(UNCOUNTED.shard, BASE + number, term, number, effects)


class Watched:
    """Rules that watch two copies of a shard that nobody counts on yet.

    Invariants: what a copy applied is durable in its log, unless that was cut.
    """

    def __init__(self) -> None:
        """Have the state committed."""
        world = World(0)
        self.disks = {A: CopyDisk(world, UNCOUNTED.shard, BASE)}
        self.disks[B] = CopyDisk(world, UNCOUNTED.shard, BASE)
        self.rules = DataRules(lambda node, alloc_id: self.disks[alloc_id])
        self._commit(1, UNCOUNTED)

    def applies(self, alloc_id: AllocId, *records: Record) -> None:
        """Have a copy append records and apply them.

        Args:
            alloc_id: which copy.
            records: the next ones.
        """
        disk = self.disks[alloc_id]
        for each in records:
            disk.log.append(each)
            disk.durable.append(each)
            disk.view.apply(each)
            digest = disk.view.digest
            self.rules.applies(UNCOUNTED, (alloc_id, 1), each, digest)

    def installs(self, alloc_id: AllocId, view: View) -> None:
        """Have a copy install a snapshot.

        Args:
            alloc_id: which copy.
            view: of another one.
        """
        self.disks[alloc_id].install(view)
        self.rules.opens(UNCOUNTED, (alloc_id, 1), self.disks[alloc_id].view)

    def cut(self, alloc_id: AllocId) -> None:
        """Have a copy forget all records that it applied."""
        disk = self.disks[alloc_id]
        disk.log.begin_at(disk.view.applied_seq)
        disk.durable.begin_at(disk.view.applied_seq)

    def counts_on(self, alloc_id: AllocId) -> Shard:
        """Commit that a copy is in sync; return the shard."""
        shard = replace(UNCOUNTED, shard_version=2, in_sync=(alloc_id,))
        self._commit(2, shard)
        return shard

    def last(self) -> int:
        """Return how far behind the base the truth reaches."""
        return self.rules.truth(UNCOUNTED).last - BASE

    def _commit(self, version: int, shard: Shard) -> None:
        """Have a state committed."""
        state = ClusterState(shards={shard.shard: shard})
        list(self.rules.commits(version, state))


@pytest.fixture
def watched() -> Watched:
    """Watch two empty copies."""
    return Watched()


def test_a_log_that_was_cut_takes_nothing_from_the_truth(watched: Watched) -> None:
    """The truth has what the first copy applied, though its log forgot that."""
    watched.applies(A, record(1), record(2))
    watched.cut(A)
    shard = watched.counts_on(A)
    assert watched.last() == 2
    watched.applies(A, record(3))
    watched.rules.opens(shard, (B, 1), watched.disks[A].view)
    assert watched.last() == 3


def test_a_view_that_fell_back_takes_nothing_from_the_truth(watched: Watched) -> None:
    """What was sent of the first copy before a crash is not above the truth."""
    watched.applies(A, record(1), record(2))
    sent = watched.disks[A].view.copy()
    watched.disks[A].view = watched.disks[A].checkpoint.copy()
    shard = watched.counts_on(A)
    watched.rules.opens(shard, (B, 1), sent)
    assert watched.last() == 2


def test_a_copy_that_began_from_a_snapshot_may_be_the_first(watched: Watched) -> None:
    """Its truth has what the sender applied until then, and nothing of later."""
    watched.applies(A, record(1), record(2))
    sent = watched.disks[A].view.copy()
    watched.applies(A, record(3))
    watched.installs(B, sent)
    watched.counts_on(B)
    assert watched.last() == 2
    watched.applies(B, record(3, term=2))
    terms = [each.term for each in watched.rules.truth(UNCOUNTED).records]
    assert terms == [1, 1, 2]


def test_a_view_of_more_than_was_applied_is_found(watched: Watched) -> None:
    """R8: a snapshot that holds a record above the truth breaks it."""
    watched.applies(A, record(1))
    shard = watched.counts_on(A)
    more = watched.disks[A].view.copy()
    more.apply(record(2))
    with pytest.raises(AssertionError, match="R8"):
        watched.rules.opens(shard, (B, 1), more)


def test_a_first_copy_that_shows_something_else_is_found(watched: Watched) -> None:
    """R14: the view of the first copy is what its records make."""
    watched.applies(A, record(1))
    watched.disks[A].view.digest ^= 1
    with pytest.raises(AssertionError, match="R14"):
        watched.counts_on(A)
