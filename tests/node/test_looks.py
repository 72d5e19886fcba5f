"""Tests for `torua.node.looks`, over a real log."""

import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torua.codec.records import spell_record
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Entry, Page
from torua.core.reading import Position
from torua.core.records import KvPut, Record
from torua.errors import GoneError, UnavailableError
from torua.node.looks import Looks, Watch
from torua.storage.files import DiskFiles
from torua.storage.log import Log
from torua.storage.segment import Item, Kind

T = TypeVar("T")
SHARD = ShardId(0)
ALLOC = AllocId("a" * 32)


class Copy:
    """A copy that applied what the test says.

    Invariants: ``applied`` is told of each change of ``position`` by `apply`.
    """

    def __init__(self) -> None:
        """Begin with nothing applied."""
        self.applied = Watch()
        self.alloc_id = ALLOC
        self.position = 0

    def apply(self, seq: int) -> None:
        """Apply records up to one."""
        self.position = seq
        self.applied.advance(seq)

    def peek(self, key: bytes) -> Entry | None:
        """Read a key: it has the position for a version."""
        return Entry(key, self.position, 0)

    def peek_page(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """List nothing.

        Args:
            prefix: ignored.
            after: ignored.
            limit: ignored.
            values: ignored.
        """
        return Page(())


class Copies:
    """A node with one copy, or none.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with a copy."""
        self.copy: Copy | None = Copy()

    def readable(self, shard: ShardId) -> tuple[str, Copy] | None:
        """Return the copy."""
        return ("h", self.copy) if self.copy else None


class Store:
    """A log without a thread.

    Invariants: jobs are done at once.
    """

    def __init__(self, log: Log) -> None:
        """Run jobs with ``log``."""
        self._log = log

    def run(self, job: Callable[[Log], T]) -> "Deferred[T]":
        """Do something with the log."""
        done: Deferred[T] = execute(job, self._log)
        return done


class LooksTests(SynchronousTestCase):
    """A log of five records, of which three are applied."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.copies = Copies()
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        self.log = Log.open(directory, DiskFiles())
        self.addCleanup(self.log.close)
        self.looks = Looks(self.clock, self.copies, Store(self.log))
        self.records = [
            Record(SHARD, seq, 1, seq, (KvPut(b"k", b"v" * 100, "t"),))
            for seq in range(1, 6)
        ]
        self.log.commit(
            [Item(Kind.RECORD, ALLOC, 1, 1, list(map(spell_record, self.records)))]
        )
        self.copy.apply(3)

    @property
    def copy(self) -> Copy:
        """The copy."""
        assert self.copies.copy is not None
        return self.copies.copy

    def now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns that has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_it_tells_what_the_copy_has_applied(self) -> None:
        """With its history; nothing where there is no copy."""
        self.assertEqual(self.looks.position(SHARD), Position("h", 3))
        self.copies.copy = None
        self.assertIsNone(self.looks.position(SHARD))

    def test_only_applied_records_are_changes(self) -> None:
        """What is in the log above that may yet be rolled back."""
        found = self.now(self.looks.changes(SHARD, 1, 1 << 20))
        self.assertEqual(list(found), self.records[1:3])
        self.assertEqual(self.now(self.looks.changes(SHARD, 3, 1 << 20)), ())

    def test_changes_come_in_bounded_parts(self) -> None:
        """One at least, whatever its size."""
        found = self.now(self.looks.changes(SHARD, 0, 1))
        self.assertEqual([each.seq for each in found], [1])

    def test_what_the_log_no_longer_has_is_gone(self) -> None:
        """With the least that it still serves."""
        self.log.set_start(ALLOC, 7, 1)
        self.copy.apply(7)
        reading = Deferred.fromCoroutine(self.looks.changes(SHARD, 6, 1 << 20))
        error = self.failureResultOf(reading, GoneError).value
        self.assertEqual(error.members["earliest"], 7)
        self.assertEqual(self.now(self.looks.earliest(SHARD)), 7)
        self.assertEqual(self.now(self.looks.changes(SHARD, 7, 1 << 20)), ())

    def test_a_record_that_is_to_come_is_waited_for(self) -> None:
        """Until it is applied, and whoever applied it is done."""
        waiting = Deferred.fromCoroutine(self.looks.reached(SHARD, 5, 1.0))
        self.copy.apply(4)
        self.clock.advance(0)
        self.assertNoResult(waiting)
        self.copy.apply(5)
        self.assertNoResult(waiting)
        self.clock.advance(0)
        self.successResultOf(waiting)
        self.now(self.looks.reached(SHARD, 5, 1.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waiting_ends_with_its_time(self) -> None:
        """And leaves nobody behind who would be told later."""
        waiting = Deferred.fromCoroutine(self.looks.reached(SHARD, 5, 1.0))
        self.clock.advance(1.0)
        self.failureResultOf(waiting, UnavailableError)
        self.copy.apply(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_copy_is_read_as_of_what_it_applied(self) -> None:
        """Whatever role it has; where there is none, that is said."""
        self.assertEqual(self.looks.peek(SHARD, b"k"), Entry(b"k", 3, 0))
        self.assertEqual(self.looks.peek_page(SHARD, b"", b"", 1, False), Page(()))
        self.copies.copy = None
        with self.assertRaises(UnavailableError):
            self.looks.peek(SHARD, b"k")
