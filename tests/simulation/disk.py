"""What a node of a simulated cluster has on its disk: one log, and a view a copy.

The log is written in batches, each with one sync; a crash keeps a part of the batch
that is under way, from its beginning.  A view is what the records applied to it made;
a crash takes it back to its last checkpoint, its position with it, as a transaction
that was not synced is.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from msgspec import Struct, field

from tests.simulation.world import Disk, Timer, World
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Entry
from torua.core.records import NOTE_KEY, Answered, KvPut, Moved, Record
from torua.core.replication.messages import CopyFacts
from torua.core.replication.tip import entry_of

CHECKPOINT_EVERY = 12
"""So many records a view takes between two checkpoints, on average."""


class View:
    """A shard's map, as a dict.

    Invariants: ``digest`` depends only on the entries and answers; ``applied_seq`` is
    the record that was applied last.

    Attributes:
        applied_seq: the newest record applied; 0 for none.
        term: that record's term.
        time_ns: that record's time.
        digest: equal for equal contents.
    """

    def __init__(self, base: int = 0) -> None:
        """Be empty, as of a record."""
        self.applied_seq = base
        self.term = 0
        self.time_ns = 0
        self.digest = 0
        self.entries: dict[bytes, Entry] = {}
        self.answers: dict[str, Answered] = {}
        self._expiring: dict[bytes, int] = {}

    def copy(self) -> "View":
        """Return another view of the same contents."""
        other = type(self)()
        other.become(self)
        return other

    def become(self, other: "View") -> None:
        """Take over the contents of another view."""
        self.applied_seq, self.term = other.applied_seq, other.term
        self.time_ns, self.digest = other.time_ns, other.digest
        self.entries = dict(other.entries)
        self.answers = dict(other.answers)
        self._expiring = dict(other._expiring)

    def apply(self, record: Record) -> None:
        """Take in the next record.

        Args:
            record: right after the last one.
        """
        assert record.seq == self.applied_seq + 1, "a gap in what is applied"
        for effect in record.effects:
            self._set(effect.key, entry_of(effect, record.seq, True))
        if record.answered is not None:
            self.answers[record.answered.key] = record.answered
            self.digest ^= hash(record.answered)
        if record.moved is not None:
            self._move(record.moved, record.seq)
        self.applied_seq, self.term = record.seq, record.term
        self.time_ns = record.time_ns

    def _move(self, moved: Moved, seq: int) -> None:
        """Do what a split moves; what is of a later version stays."""
        for key, version in moved.removed:
            if (self.version(key) or 0) <= version:
                self._set(key, None)
        for each in moved.entries:
            if (self.version(each.key) or 0) < each.version:
                put = KvPut(each.key, each.value, each.content_type, each.expires_ns)
                self._set(each.key, entry_of(put, each.version, True))
        for answer in moved.answers:
            if answer.answered.key not in self.answers:
                self.answers[answer.answered.key] = answer.answered
                self.digest ^= hash(answer.answered)
        if moved.note:
            self._set(NOTE_KEY, entry_of(KvPut(NOTE_KEY, moved.note, ""), seq, True))

    def _set(self, key: bytes, entry: Entry | None) -> None:
        """Have a key be at an entry, or absent."""
        self._count(self.entries.pop(key, None))
        self._expiring.pop(key, None)
        if entry is not None:
            self.entries[key] = entry
            self._count(entry)
            if entry.expires_ns is not None:
                self._expiring[key] = entry.expires_ns

    def version(self, key: bytes) -> int | None:
        """Tell the version of a key; None where it is absent."""
        entry = self.entries.get(key)
        return None if entry is None else entry.version

    def get(self, key: bytes) -> Entry | None:
        """Read a key with its value; None where it is absent."""
        return self.entries.get(key)

    def head(self, key: bytes) -> Entry | None:
        """Read a key, without need of its value; None where it is absent."""
        return self.entries.get(key)

    def several(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Read keys with their values; every other one is left out, as any may be."""
        found = {key: self.get(key) for key in keys[::2]}
        return {key: entry for key, entry in found.items() if entry is not None}

    def keys_under(self, prefix: bytes, limit: int) -> list[bytes]:
        """List keys that begin with a prefix, the first ones in byte order.

        Args:
            prefix: what they begin with.
            limit: at most so many.
        """
        found = sorted(key for key in self.entries if key.startswith(prefix))
        return found[:limit]

    def answered(self, key: str) -> Answered | None:
        """Return what an idempotency key was answered; None where it is unknown."""
        return self.answers.get(key)

    def due(self, now_ns: int, limit: int) -> Sequence[tuple[bytes, int]]:
        """Return keys whose expiry has come, with their versions, soonest first.

        Args:
            now_ns: the time to judge by.
            limit: at most so many.
        """
        due = sorted((at, key) for key, at in self._expiring.items() if at <= now_ns)
        return [(key, self.entries[key].version) for _, key in due[:limit]]

    def _count(self, entry: Entry | None) -> None:
        """Count an entry in the digest, or no longer."""
        if entry is not None:
            self.digest ^= hash((entry.key, entry.version, entry.value))


class Log:
    """The records of one copy in a node's log.

    Invariants: ``records`` are contiguous, from ``base + 1`` on.

    Attributes:
        base: the record before the first; 0 for none.
        base_term: that record's term.
        records: in order.
    """

    def __init__(self, base: int = 0, base_term: int = 0) -> None:
        """Be empty, behind ``base``."""
        self.base = base
        self.base_term = base_term
        self.records: list[Record] = []

    @property
    def last(self) -> int:
        """Return the newest record; the base where there is none."""
        return self.base + len(self.records)

    def copy(self) -> "Log":
        """Return another log of the same records."""
        other = Log(self.base, self.base_term)
        other.records = list(self.records)
        return other

    def append(self, record: Record) -> None:
        """Add the next record."""
        assert record.seq == self.last + 1, f"a gap: {record.seq} after {self.last}"
        self.records.append(record)

    def truncate(self, after: int) -> None:
        """Remove what is behind ``after``."""
        assert after >= self.base, "truncated below the base"
        del self.records[after - self.base :]

    def begin_at(self, seq: int) -> None:
        """Forget the records up to ``seq``, as retention does."""
        if seq > self.base:
            self.base_term = self.records[seq - self.base - 1].term
            del self.records[: seq - self.base]
            self.base = seq

    def at(self, seq: int) -> Record | None:
        """Return a record; None where it is not here."""
        place = seq - self.base - 1
        return self.records[place] if 0 <= place < len(self.records) else None

    def term_at(self, seq: int) -> int | None:
        """Return the term of a record; 0 of seq 0, None where it is not here."""
        if seq == self.base:
            return self.base_term
        record = self.at(seq)
        return None if record is None else record.term

    def since(self, after: int, limit: int) -> tuple[Record, ...]:
        """Return records after ``after``; none where the next one is gone.

        Args:
            after: the record before the first.
            limit: at most so many.
        """
        if after < self.base:
            return ()
        place = after - self.base
        return tuple(self.records[place : place + limit])


class Owner(Protocol):
    """A copy that appends, and is told what became of it."""

    def stored(self, seq: int) -> None:
        """All its records up to ``seq`` are durable."""

    def full(self) -> None:
        """None of its records that were not reported as stored was written."""

    def room(self) -> None:
        """The disk may take records again."""


class CopyDisk:
    """What a node's disk has of one copy.

    Invariants: ``log`` is what was appended, ``durable`` what a crash leaves at least;
    the view's checkpoint holds nothing that is not in the durable log or snapshot.
    """

    def __init__(self, world: World, shard: ShardId, base: int = 0) -> None:
        """Be empty.

        Args:
            world: where it is.
            shard: of which shard.
            base: as of which record.
        """
        self.shard = shard
        self.log = Log(base)
        self.durable = Log(base)
        self.view = View(base)
        self.checkpoint = View(base)
        self.facts: Disk[CopyFacts] = Disk(world)
        self.damaged = False
        self.owner: Owner | None = None
        self._world = world

    def term_at(self, seq: int) -> int | None:
        """Return the term of a record of the log; None where it is not here."""
        return self.log.term_at(seq)

    def apply(self, record: Record) -> None:
        """Bring the view forward; sometimes that is a checkpoint."""
        self.view.apply(record)
        if self._world.random.random() * CHECKPOINT_EVERY < 1.0:
            self.checkpoint = self.view.copy()

    def install(self, view: View) -> None:
        """Switch to a snapshot, durably."""
        self.view.become(view)
        self.checkpoint = view.copy()
        self.log = Log(view.applied_seq, view.term)
        self.durable = self.log.copy()

    def crash(self) -> None:
        """Lose what was not durable."""
        self.owner = None
        self.facts.crash()
        self.log = self.durable.copy()
        if self._world.random.random() < 0.7:
            self.view = self.checkpoint.copy()


class Health(Enum):
    """What a disk does with the next batch."""

    WELL = "well"
    FULL = "full"
    BROKEN = "broken"


class Job(Struct):
    """One thing to be written: a record, or the end of what is behind ``after``."""

    alloc_id: AllocId
    record: Record | None
    after: int = 0


class NodeDisk:
    """The disk of a node, with its one log.

    Invariants: one batch is under way at a time; what is reported as stored is durable.

    Attributes:
        copies: what there is, by copy.
        health: what becomes of the next batch.
        delay: least and greatest time of a sync, in seconds.
    """

    def __init__(self, world: World, broke: Callable[[], None]) -> None:
        """Be empty.

        Args:
            world: where it is.
            broke: is told of an I/O error.
        """
        self.copies: dict[AllocId, CopyDisk] = {}
        self.health = Health.WELL
        self.delay = (0.0005, 0.004)
        self.syncs = True
        self._world = world
        self._broke = broke
        self._queue: deque[Job] = deque()
        self._batch: list[Job] = []
        self._timer: Timer | None = None

    def append(self, alloc_id: AllocId, records: Sequence[Record]) -> None:
        """Have records of a copy written.

        Args:
            alloc_id: whose.
            records: next in its log.
        """
        log = self.copies[alloc_id].log
        for record in records:
            log.append(record)
            self._queue.append(Job(alloc_id, record))
        self._next()

    def truncate(self, alloc_id: AllocId, after: int) -> None:
        """Have the end of a copy's log voided.

        Args:
            alloc_id: whose.
            after: what is behind this.
        """
        self.copies[alloc_id].log.truncate(after)
        self._queue.append(Job(alloc_id, None, after))
        self._next()

    def forget(self, alloc_id: AllocId) -> None:
        """Write nothing more of a copy that waits."""
        self._queue = deque(job for job in self._queue if job.alloc_id != alloc_id)
        self._batch = [job for job in self._batch if job.alloc_id != alloc_id]

    def crash(self) -> None:
        """Stop: a part of the batch under way is kept, from its beginning."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        kept = self._world.random.randint(0, len(self._batch))
        for job in self._batch[:kept]:
            self._write(job)
        self._batch = []
        self._queue.clear()
        self.health = Health.WELL
        for copy in self.copies.values():
            copy.crash()

    def _next(self) -> None:
        """Begin a batch with all that waits, unless one is under way."""
        if self._timer is not None or not self._queue:
            return
        self._batch = list(self._queue)
        self._queue.clear()
        delay = self._world.random.uniform(*self.delay)
        self._timer = self._world.at(delay, self._done)

    def _done(self) -> None:
        """Report a batch, and go on."""
        self._timer = None
        batch, self._batch = self._batch, []
        if self.health is Health.BROKEN:
            self._broke()
            return
        if self.health is Health.FULL:
            self._refuse(batch)
            return
        newest: dict[AllocId, int] = {}
        for job in batch:
            self._write(job)
            if job.record is not None:
                newest[job.alloc_id] = job.record.seq
        for alloc_id, seq in newest.items():
            owner = self.copies[alloc_id].owner
            if owner is not None:
                owner.stored(seq)
        self._next()

    def _write(self, job: Job) -> None:
        """Make one thing durable."""
        copy = self.copies.get(job.alloc_id)
        if copy is not None and job.record is not None:
            copy.durable.append(job.record)
        elif copy is not None:
            copy.durable.truncate(job.after)

    def _refuse(self, batch: Sequence[Job]) -> None:
        """Write nothing of what waits; there is room again in a second."""
        self._queue.clear()
        for copy in self.copies.values():
            copy.log = copy.durable.copy()
            if copy.owner is not None:
                copy.owner.full()
        self._world.at(1.0, self._try_again)

    def _try_again(self) -> None:
        """Let writes begin again."""
        self.health = Health.WELL
        for copy in self.copies.values():
            if copy.owner is not None:
                copy.owner.room()


class Snapshot(Struct, frozen=True):
    """A view on its way to another node.

    Attributes:
        shard: of which shard.
        alloc_id: for which copy.
        term: of the session.
        nonce: of the session.
        view: the contents.
    """

    shard: ShardId
    alloc_id: AllocId
    term: int
    nonce: int
    view: View = field(default_factory=View)
