"""Group commit: what is shared, in which order it is reported, and what fails."""

import errno
from pathlib import Path

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from tests.node.lone_node import HandWorker
from tests.storage.faulty import FaultyFiles
from torua.codec.records import spell_record
from torua.core.ids import AllocId, ShardId
from torua.core.records import KvPut, Record
from torua.core.replication.messages import Truncate
from torua.node.commit import (
    BATCH_BYTES_MAX,
    FULL_RETRY_S,
    QUEUE_BYTES_MAX,
    GroupCommit,
)
from torua.node.turn import Stage
from torua.storage.log import Log

A, B = AllocId("a" * 32), AllocId("b" * 32)


class Witness:
    """A copy that notes what it is told.

    Invariants: ``told`` is in order.
    """

    def __init__(self) -> None:
        """Begin with nothing told."""
        self.told: list[int | str] = []

    def stored(self, seq: int) -> None:
        """Note it."""
        self.told.append(seq)

    def full(self) -> None:
        """Note it."""
        self.told.append("full")

    def room(self) -> None:
        """Note it."""
        self.told.append("room")

    def failed(self, detail: str) -> None:
        """Note it."""
        self.told.append("failed")


class Bench:
    """A group commit over a file system in memory.

    Invariants: jobs are done when the test says so.
    """

    def __init__(self) -> None:
        """Attach two copies."""
        self.files = FaultyFiles()
        self.clock = Clock()
        self.worker = HandWorker()
        self.fatal: list[str] = []
        self.syncs: list[float] = []
        self.registry = CollectorRegistry()
        self.log = Log.open(Path("/log"), self.files)
        self.commit = GroupCommit(
            self.clock,
            self.log,
            self.worker,
            self.fatal.append,
            self.registry,
            on_sync=self.syncs.append,
        )
        self.a, self.b = Witness(), Witness()
        self.commit.attach(A, self.a)
        self.commit.attach(B, self.b)

    def append(self, alloc: AllocId, *seqs: int, size: int = 1) -> None:
        """Append records.

        Args:
            alloc: whose.
            seqs: of the records.
            size: of each one's value.
        """
        self.commit.append(alloc, [record(seq, size) for seq in seqs])
        self.clock.advance(0)

    def work(self) -> bool:
        """Do what the log's thread has to do, at the end of a turn."""
        self.clock.advance(0)
        return self.worker.step()

    def fail_next(self, number: int, calls: int = 1) -> None:
        """Have a coming call to the file system fail.

        Args:
            number: its errno.
            calls: which call, counted from now.
        """
        self.files.fault = (self.files.calls + calls, number)


def record(seq: int, size: int, term: int = 1) -> Record:
    """Make a record.

    Args:
        seq: its place.
        size: of its value.
        term: of it.
    """
    return Record(ShardId(0), seq, term, seq, (KvPut(b"k", b"x" * size, "t"),))


def test_what_arrives_during_a_commit_shares_the_next() -> None:
    """A copy is told of its newest record; nobody of another's."""
    bench = Bench()
    bench.append(A, 1)
    bench.append(A, 2, 3)
    bench.append(B, 1)
    assert len(bench.worker.jobs) == 1
    bench.worker.step()
    assert (bench.a.told, bench.b.told) == ([1], [])
    assert bench.work()
    assert (bench.a.told, bench.b.told) == ([1, 3], [1])
    assert not bench.work()
    assert len(bench.syncs) == 2
    assert bench.commit.queued_bytes == 0
    found = bench.registry.get_sample_value("torua_log_batch_records_sum")
    assert found == 4
    assert bench.registry.get_sample_value("torua_log_fsync_seconds_count") == 2


def test_what_comes_in_one_turn_shares_a_commit() -> None:
    """The disk is not asked before all of it is there."""
    bench = Bench()
    for alloc, seq in ((A, 1), (B, 1), (A, 2)):
        bench.commit.append(alloc, [record(seq, 1)])
    assert not bench.worker.jobs
    assert bench.work()
    assert (bench.a.told, bench.b.told) == ([2], [1])
    assert len(bench.syncs) == 1


def test_what_is_decided_while_the_log_is_busy_goes_into_its_next_commit() -> None:
    """Together with what waited for the log."""
    bench = Bench()
    bench.append(A, 1)
    bench.append(B, 1)
    bench.commit.turn.add(Stage.DECIDE, lambda: bench.append(A, 2))
    bench.clock.advance(0)
    assert bench.commit.queued_bytes > 0
    bench.worker.step()
    assert bench.a.told == [1]
    assert bench.work()
    assert (bench.a.told, bench.b.told) == ([1, 2], [1])
    assert len(bench.syncs) == 2


def test_a_batch_is_bounded_and_so_is_the_queue() -> None:
    """What is too much for one write goes in several; beyond the queue it says so."""
    bench = Bench()
    bench.append(A, *range(1, 6), size=BATCH_BYTES_MAX // 2)
    assert not bench.commit.crowded
    while bench.work():
        pass
    assert bench.a.told == [2, 4, 5]
    bench.commit.queued_bytes = QUEUE_BYTES_MAX + 1
    assert bench.commit.crowded


def test_records_of_two_terms_are_kept_each_in_its_own() -> None:
    """What a copy gets from its primary at once may be of several."""
    bench = Bench()
    records = [record(seq, 1, max(1, seq - 2)) for seq in range(1, 6)]
    bench.commit.append(A, records)
    while bench.work():
        pass
    assert bench.a.told == [5]
    assert [bench.log.term_at(A, seq) for seq in range(1, 6)] == [1, 1, 1, 2, 3]
    assert [each.payload for each in bench.log.read(A, 0, 1 << 20)] == [
        spell_record(each) for each in records
    ]
    assert bench.commit.queued_bytes == 0
    assert len(bench.syncs) == 1


def test_a_full_disk_is_told_to_all_and_tried_again() -> None:
    """Also what waited behind it is not written, for it would leave a gap."""
    bench = Bench()
    bench.append(A, 1)
    bench.worker.step()
    bench.append(A, 2)
    bench.append(A, 3)
    bench.append(B, 1)
    bench.fail_next(errno.ENOSPC)
    bench.worker.step()
    assert bench.a.told == [1, "full"]
    assert bench.b.told == ["full"]
    assert not bench.worker.jobs
    assert bench.commit.queued_bytes == 0
    bench.clock.advance(FULL_RETRY_S)
    assert bench.a.told == [1, "full", "room"]
    bench.append(A, 2)
    bench.worker.step()
    assert bench.a.told[-1] == 2
    assert bench.fatal == []


def test_a_disk_that_stays_full_is_tried_once_a_second() -> None:
    """Whatever comes in between."""
    bench = Bench()
    for _ in range(3):
        bench.append(A, 1)
        bench.fail_next(errno.ENOSPC)
        bench.worker.step()
        bench.append(A, 1)
        bench.fail_next(errno.ENOSPC)
        bench.worker.step()
        assert len(bench.clock.getDelayedCalls()) == 1
        bench.clock.advance(FULL_RETRY_S)
    assert bench.a.told == ["full", "full", "room"] * 3


def test_any_other_error_is_the_end() -> None:
    """Every copy has failed, the service is told once, nothing is stored again."""
    bench = Bench()
    bench.append(A, 1)
    bench.append(A, 2)
    bench.fail_next(errno.EIO, 2)
    bench.worker.step()
    assert bench.a.told == ["failed"]
    assert bench.b.told == ["failed"]
    assert len(bench.fatal) == 1
    bench.append(A, 3)
    assert not bench.worker.jobs


def test_a_copy_that_is_detached_is_told_nothing() -> None:
    """What it had waiting is dropped, what is under way is kept."""
    bench = Bench()
    bench.append(A, 1)
    bench.append(A, 2)
    bench.append(B, 1)
    bench.commit.detach(A)
    while bench.work():
        pass
    assert bench.a.told == []
    assert bench.b.told == [1]
    assert bench.log.last(A) == 1
    assert bench.commit.queued_bytes == 0


def test_what_voids_records_stays_in_order_with_them() -> None:
    """What comes after it may give the same seqs again."""
    bench = Bench()
    bench.append(A, 1, 2, 3)
    bench.append(A, 4)
    bench.commit.truncate(A, Truncate(1, 1))
    bench.append(A, 2)
    while bench.work():
        pass
    assert bench.a.told == [3, 2]
    assert bench.log.last(A) == 2
    bench.commit.truncate(A, Truncate(0, 0))
    bench.work()
    assert (bench.a.told, bench.log.last(A)) == ([3, 2], 0)


def test_a_copy_that_begins_anew_drops_what_it_has_waiting() -> None:
    """Else it would leave a gap behind the snapshot."""
    bench = Bench()
    bench.append(A, 1)
    bench.append(A, 2)
    begun = bench.commit.begin_anew(A, 70, 3)
    while bench.work():
        pass
    assert begun.called
    assert (bench.log.start(A), bench.log.last(A)) == ((70, 3), 70)
    assert bench.fatal == []
