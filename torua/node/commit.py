"""Group commit: one write and one fdatasync for all that the node's shards append.

A disk does few fdatasyncs a second, so they are shared: the next begins when the last
ends, with everything that arrived meanwhile; where none is under way, at the end of the
reactor's turn, with all that came in it.  There is no timer: alone, a write goes out at
once, and batches grow with the load (storage.md).

    OPEN --disk full--> FULL --a second later--> OPEN
      '--anything else goes wrong--> FAILED (for ever: the service exits)
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry, Gauge, Histogram
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.records import spell_record
from torua.core.ids import AllocId
from torua.core.records import Record
from torua.core.replication.messages import Truncate
from torua.core.replication.tip import RECORD_COST
from torua.errors import DiskError, DiskFullError
from torua.node.threads import Worker
from torua.node.turn import Stage, Turn
from torua.storage.log import Log
from torua.storage.segment import Item, Kind

T = TypeVar("T")

QUEUE_BYTES_MAX = 256 << 20
"""What waits for the disk is held in memory; beyond it writes are refused."""

BATCH_BYTES_MAX = 32 << 20
"""One commit is spelled and written in one piece; the rest waits for the next."""

FULL_RETRY_S = 1.0
"""How long after a full disk writes are tried again."""

BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000)
SYNC_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)

log = Logger()


class State(Enum):
    """What the log of the node takes."""

    OPEN = "open"
    FULL = "full"
    FAILED = "failed"


class Listener(Protocol):
    """A copy that appends, and is told what became of it, in order."""

    def stored(self, seq: int) -> None:
        """All its records up to ``seq`` are durable."""

    def full(self) -> None:
        """None of its records that were not reported as stored was written."""

    def room(self) -> None:
        """The disk may take records again."""

    def failed(self, detail: str) -> None:
        """The log failed, for ever; what it holds is unknown."""


class _Meters:
    """What is measured of the log.

    Invariants: declared once a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the metrics."""
        self.sync = Histogram(
            "torua_log_fsync_seconds",
            "How long a commit took: one write and one fdatasync",
            buckets=SYNC_BUCKETS,
            registry=registry,
        )
        self.batch = Histogram(
            "torua_log_batch_records",
            "How many records shared one fdatasync",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.size = Gauge("torua_log_bytes", "Size of the log", registry=registry)


class GroupCommit:
    """Keeps the records of all copies of the node.

    Invariants: at most one commit is under way; a copy's records are written, and
    reported, in the order of `append`; a record is reported as stored only after its
    fdatasync; after FAILED nothing is ever reported as stored; what voids records stays
    in order with them.

    Threading: the reactor's thread; the log belongs to the worker's.

    Attributes:
        queued_bytes: what waits, or is under way, estimated.
        turn: the end of the reactor's turn, for all who append and send.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        store: Log,
        worker: Worker,
        on_fatal: Callable[[str], None],
        registry: CollectorRegistry,
        *,
        on_sync: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Take charge of an open log.

        Args:
            clock: the reactor.
            store: the log; from now on nobody else may touch it.
            worker: the one thread that touches it.
            on_fatal: is told, once, when the log failed: the service exits.
            registry: of the node's metrics.
            on_sync: is told how many seconds each commit took; a slow disk is a slow
                member.
        """
        self.queued_bytes = 0
        self.turn = Turn(clock, lambda: self._busy)
        self._clock = clock
        self._log = store
        self._worker = worker
        self._on_fatal = on_fatal
        self._on_sync = on_sync
        self._meters = _Meters(registry)
        self._state = State.OPEN
        self._busy = self._due = False
        self._retry: IDelayedCall | None = None
        self._queue: deque[tuple[Item, int]] = deque()
        self._listeners: dict[AllocId, Listener] = {}

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the disk that no more writes may be begun."""
        return self.queued_bytes > QUEUE_BYTES_MAX

    def attach(self, alloc: AllocId, listener: Listener) -> None:
        """Report to a copy from now on.

        Args:
            alloc: which copy; it has no other listener.
            listener: what is told.
        """
        assert alloc not in self._listeners, "two would lead one copy"
        self._listeners[alloc] = listener

    def detach(self, alloc: AllocId) -> None:
        """Report to a copy no more, and drop what it has waiting."""
        self._listeners.pop(alloc, None)
        self._discard(alloc)

    def begin_anew(self, alloc: AllocId, seq: int, term: int) -> "Deferred[None]":
        """Void a copy's log, and what it has waiting, and begin behind a snapshot.

        Args:
            alloc: whose.
            seq: the last record that the snapshot holds.
            term: of that record.

        Returns:
            Fires when that is durable, or with what went wrong.
        """
        self._discard(alloc)
        return self.run(lambda store: store.set_start(alloc, seq, term))

    def _discard(self, alloc: AllocId) -> None:
        """Drop what a copy has waiting."""
        kept = deque(each for each in self._queue if each[0].alloc != alloc)
        dropped = [cost for item, cost in self._queue if item.alloc == alloc]
        self.queued_bytes -= sum(dropped)
        self._queue = kept

    def append(self, alloc: AllocId, records: Sequence[Record]) -> None:
        """Keep records of a copy, as soon as the disk is free.

        They wait as one item, but where they are of several terms, or more than a
        commit should hold.

        Args:
            alloc: an attached copy.
            records: next in its order, one at least.
        """
        assert alloc in self._listeners, "nobody to report to"
        first, last, count = records[0], records[-1], len(records)
        assert last.seq == first.seq + count - 1, f"{first.seq} to {last.seq}"
        payloads = list(map(spell_record, records))
        cost = RECORD_COST * count + sum(map(len, payloads))
        if count > 1 and (cost > BATCH_BYTES_MAX or first.term != last.term):
            self.append(alloc, records[: count // 2])
            self.append(alloc, records[count // 2 :])
        else:
            item = Item(Kind.RECORD, alloc, first.seq, first.term, payloads)
            self._enqueue(item, cost)

    def truncate(self, alloc: AllocId, truncate: Truncate) -> None:
        """Void a copy's records behind one, as soon as the disk is free.

        Args:
            alloc: an attached copy.
            truncate: behind which.
        """
        assert alloc in self._listeners, "nobody to report to"
        item = Item(Kind.TRUNCATE, alloc, truncate.after, truncate.term)
        self._enqueue(item, RECORD_COST)

    def _enqueue(self, item: Item, cost: int) -> None:
        """Put an item that costs so many bytes at the end of the queue."""
        if self._state is State.FAILED:
            return
        self._queue.append((item, cost))
        self.queued_bytes += cost
        self._begin()

    def _begin(self) -> None:
        """Commit what waits at the end of this turn, unless one is under way."""
        if self._queue and not self._busy and not self._due:
            self._due = True
            self.turn.add(Stage.KEEP, self._next)

    def run(self, job: Callable[[Log], T]) -> "Deferred[T]":
        """Use the log for something else, behind the commit that is under way.

        Args:
            job: runs on the log's thread.
        """
        return self._worker.run(lambda: job(self._log))

    def _next(self) -> None:
        """Begin a commit with all that waits, unless one is under way."""
        self._due = False
        if self._busy or not self._queue:
            return
        self._busy = True
        batch: list[Item] = []
        size = 0
        while self._queue and (not batch or size < BATCH_BYTES_MAX):
            item, cost = self._queue.popleft()
            batch.append(item)
            size += cost
        done = self._worker.run(lambda: self._commit(batch))
        done.addCallback(self._stored, batch, size)
        done.addErrback(self._missed, size)

    def _commit(self, batch: Sequence[Item]) -> tuple[float, int]:
        """Write and sync, on the log's thread; return seconds and log size."""
        begun = time.perf_counter()
        self._log.commit(batch)
        return time.perf_counter() - begun, self._log.size_bytes

    def _stored(
        self,
        taken: tuple[float, int],
        batch: Sequence[Item],
        size: int,
    ) -> None:
        """Report what is durable now, then go on."""
        seconds, log_bytes = taken
        self.queued_bytes -= size
        self._meters.sync.observe(seconds)
        self._meters.batch.observe(sum(len(item.payloads) for item in batch))
        self._meters.size.set(log_bytes)
        self._on_sync(seconds)
        if self._state is State.FULL:
            self._state = State.OPEN
            log.info("there is room for the log again")
        newest = {each.alloc: each.last for each in batch if each.kind is Kind.RECORD}
        for alloc, seq in newest.items():
            listener = self._listeners.get(alloc)
            if listener is not None:
                listener.stored(seq)
        self._busy = False
        self._begin()
        self.turn.release()

    def _missed(self, failure: Failure, size: int) -> None:
        """Tell all copies what went wrong; only a full disk is ever tried again."""
        self.queued_bytes = 0
        self._queue.clear()
        self._busy = False
        self.turn.release()
        if failure.check(DiskFullError):
            self._refuse(failure.getErrorMessage())
        else:
            self._fail(failure)

    def _refuse(self, detail: str) -> None:
        """Have no more writes begun until it is worth a try."""
        if self._state is State.OPEN:
            log.error("no room for the log: {detail}", detail=detail)
        self._state = State.FULL
        if self._retry is None:
            self._retry = self._clock.callLater(FULL_RETRY_S, self._try_again)
        for listener in list(self._listeners.values()):
            listener.full()

    def _try_again(self) -> None:
        """Let writes begin again; the first of them tells whether there is room."""
        self._retry = None
        for listener in list(self._listeners.values()):
            listener.room()

    def _fail(self, failure: Failure) -> None:
        """Give up: what the disk holds is unknown, and trying again would lie."""
        if self._state is State.FAILED:
            return
        self._state = State.FAILED
        detail = f"the log failed: {failure.getErrorMessage()}"
        if failure.check(DiskError):
            log.critical("{detail}; the node stops", detail=detail)
        else:
            log.failure("{detail}; the node stops", failure, detail=detail)
        for listener in list(self._listeners.values()):
            listener.failed(detail)
        self._on_fatal(detail)
