"""What one open copy keeps on this node: its map, its facts, its part of the log.

The map is made durable by checkpoints now and then; only what they covered may go from
the log.  The worker does what may take long: checkpoints, snapshots, openings.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.records import read_records
from torua.core.ids import AllocId, ShardId
from torua.core.records import NOTE_KEY, Record
from torua.core.replication.messages import CopyFacts, Install, ReadLog, Truncate
from torua.core.replication.tip import Position, cost_of
from torua.core.splitting.notes import Trimmed, read_note
from torua.errors import CorruptionError, DiskFullError, ToruaError
from torua.net.steps import Steps
from torua.node.commit import GroupCommit
from torua.node.threads import Worker
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.replay import replay
from torua.storage.shelf import Shelf
from torua.storage.terms import Terms

CHECKPOINT_BYTES = 4 << 20
"""So much applied, and the map's WAL is written back: a restart replays no more."""

CHECKPOINT_PERIOD_S = 5.0
"""At the latest so long after a write the map is made durable, and the log cut."""

FLUSH_S = 0.1
"""At the latest so long after it is applied, a record is written to the map."""

_MOVED = attrgetter("moved")

log = Logger()


class GraphViews(Protocol):
    """The graph engines, which read the maps of copies that are open."""

    def opened(self, shard: ShardId, alloc: AllocId, view: Map) -> None:
        """Take note that a copy's map can be read.

        Args:
            shard: of which shard.
            alloc: which copy.
            view: its map.
        """

    async def closed(self, alloc: AllocId) -> None:
        """Return once nothing of a copy is read any more; no error if nothing was."""


class Disk(NamedTuple):
    """Where copies are kept, and what works there.

    Attributes:
        clock: the reactor.
        shelf: where the copies stand.
        commit: the node's log.
        worker: opens, checkpoints and closes maps.
        steps: where writing to a map waits for a turn of its own.
        writer: writes to maps what would take a turn too long.
        graphs: reads open maps as graphs; None where nobody does.
    """

    clock: IReactorTime
    shelf: Shelf
    commit: GroupCommit
    worker: Worker
    steps: Steps
    writer: Worker
    graphs: GraphViews | None = None


class Found(NamedTuple):
    """What there is of a copy when it is opened.

    Attributes:
        view: its map, up to what is known to be committed.
        facts: what it is never to forget.
        terms: of its log.
        tail: the records of its log that the map does not hold.
    """

    view: Map
    facts: CopyFacts
    terms: Terms
    tail: tuple[Record, ...]


Trouble = Callable[[ToruaError], None]


class Holding:
    """What one copy keeps.

    Invariants: the map holds only what is committed; at most one checkpoint is under
    way; once closed nothing is touched any more.

    Threading: the reactor's thread; checkpoints and snapshots on the worker's, facts
    on the log's.  No facts are kept while a snapshot is installed.

    Attributes:
        view: the copy's map.
        facts: what was last asked to be kept.
        trimmed: since which version of the slot table something is not here any more
            that was here; 0 for none.
    """

    def __init__(
        self,
        disk: Disk,
        shard: ShardId,
        alloc: AllocId,
        found: Found,
        on_trouble: Trouble,
    ) -> None:
        """Hold what was found.

        Args:
            disk: where it is.
            shard: of which shard.
            alloc: which copy.
            found: of it.
            on_trouble: is told where it cannot go on.
        """
        self.view = found.view
        self.facts = found.facts
        self._disk = disk
        self._shard = shard
        self._alloc = alloc
        self._terms = found.terms
        self._stored = found.terms.last
        self._on_trouble = on_trouble
        self._dirty = 0
        self._timer: IDelayedCall | None = None
        self._flushing: IDelayedCall | None = None
        self._stepping = False
        self._checkpoint: Deferred[None] | None = None
        self._installing = False
        self._closed = False
        self.trimmed = self._trimmed()
        self._show()

    @property
    def at(self) -> Position:
        """Where the map stands."""
        view = self.view
        return Position(view.applied_seq, view.applied_term, view.applied_time_ns)

    @property
    def lag(self) -> int:
        """How many records of the log are not applied."""
        return max(0, self._terms.last - self.view.applied_seq)

    def term_at(self, seq: int) -> int | None:
        """Tell the term of a record of the log; None where it is gone."""
        return self._terms.at(seq)

    def append(self, records: Sequence[Record]) -> None:
        """Have records kept in the log, next in its order."""
        for record in records:
            self._terms.append(record.seq, record.term)
        self._disk.commit.append(self._alloc, records)

    def truncate(self, truncate: Truncate) -> None:
        """Have the log's tail voided, in order with what is appended."""
        self._terms.truncate(truncate.after)
        self._stored = min(self._stored, truncate.after)
        self._disk.commit.truncate(self._alloc, truncate)

    def stored(self, seq: int) -> None:
        """Note how far the log is durable."""
        self._stored = seq

    def full(self) -> None:
        """Note that what was not stored is not written."""
        self._terms.truncate(min(self._stored, self._terms.last))

    def apply(self, records: Sequence[Record]) -> None:
        """Bring the map forward.

        Raises:
            ToruaError: the map cannot go on.
        """
        self.view.stage(records)
        if any(map(_MOVED, records)):
            self.trimmed = self._trimmed()
        self._dirty += sum(map(cost_of, records))
        if self.view.overcrowded:
            self.flush()
        elif self.view.crowded:
            self._flush_soon()
        elif self._flushing is None:
            self._flushing = self._disk.clock.callLater(FLUSH_S, self._flush_late)
        if self._dirty >= CHECKPOINT_BYTES and not self.view.crowded:
            self._begin_checkpoint()
        else:
            self._arm()

    def _trimmed(self) -> int:
        """Tell since which slot table something is not here any more."""
        entry = self.view.get(NOTE_KEY)
        note = read_note(entry.value) if entry and entry.value else None
        return note.slots_version if isinstance(note, Trimmed) else 0

    def flush(self) -> None:
        """Write to the map what was applied, for whoever reads it on their own.

        Raises:
            ToruaError: the map cannot go on.
        """
        self._unarm()
        self.view.flush()

    def _unarm(self) -> None:
        """Write nothing by time."""
        if self._flushing is not None:
            if self._flushing.active():
                self._flushing.cancel()
            self._flushing = None

    def _flush_late(self) -> None:
        """Write what was applied a while ago."""
        if self.view.crowded:
            self._unarm()
            self._flush_soon()
            return
        try:
            self.flush()
        except ToruaError as error:
            self._on_trouble(error)

    def _flush_soon(self) -> None:
        """Write what was applied, in turns that have nothing else to do, or aside."""
        if self._stepping:
            return
        self._stepping = True
        if self.view.weighty and not self.view.is_written:
            done = self._disk.writer.run(self.view.begin_flush())
            done.addCallback(lambda _: self._flush_step()).addErrback(self._wrong)
        else:
            self._disk.steps.add(self._flush_step)

    def _flush_step(self) -> None:
        """Write some of it, or take up what was written aside."""
        self._stepping = False
        if not self.readable or not self.view.crowded:
            return
        if self.view.is_written or not self.view.weighty:
            try:
                self.view.flush_some()
            except ToruaError as error:
                self._on_trouble(error)
                return
            if self._dirty >= CHECKPOINT_BYTES:
                self._begin_checkpoint()
        if self.view.crowded:
            self._flush_soon()
        elif self._flushing is None:
            self._flushing = self._disk.clock.callLater(FLUSH_S, self._flush_late)

    def keep(self, facts: CopyFacts) -> "Deferred[None]":
        """Keep facts durably; the last that was asked for is what stays.

        On the log's thread: a failover waits for it, and may not wait for a snapshot.
        """
        self.facts = facts
        shelf, shard, alloc = self._disk.shelf, self._shard, self._alloc
        return self._disk.commit.run(lambda _: shelf.keep(shard, alloc, facts))

    def read_log(self, wanted: ReadLog) -> "Deferred[tuple[Record, ...]]":
        """Read records for another copy; none where they are gone."""
        alloc = self._alloc

        def job(store: Log) -> tuple[Record, ...]:
            """Do it, on the log's thread."""
            if wanted.after < store.first(alloc) - 1:
                return ()
            found = store.read(alloc, wanted.after, wanted.bytes)[: wanted.records]
            return tuple(read_records([entry.payload for entry in found]))

        return self._disk.commit.run(job)

    async def install(self, install: Install) -> None:
        """Switch map and log to a snapshot that came.

        Raises:
            ToruaError: what stands on the disk is not known before the next opening.
        """
        self._installing = True
        self._disarm()
        self.flush()
        shelf, shard, alloc = self._disk.shelf, self._shard, self._alloc
        facts = CopyFacts(self.facts.history, self.facts.term, install.seq)
        await self._hide()
        await self._disk.worker.run(self.view.close)
        await self._disk.worker.run(lambda: shelf.prepare(shard, alloc, facts))
        await self._disk.commit.begin_anew(alloc, install.seq, install.seq_term)
        await self._disk.worker.run(lambda: shelf.switch(shard, alloc))
        await self._disk.worker.run(self.view.reopen)
        self.facts = facts
        self._terms = Terms(install.seq, install.seq_term)
        self._stored = install.seq
        self._installing = False
        self.trimmed = self._trimmed()
        self._show()

    @property
    def readable(self) -> bool:
        """Whether the map can be read now."""
        return not self._installing and not self._closed

    def drop(self) -> None:
        """Remove a snapshot that came for nothing."""
        shelf, shard, alloc = self._disk.shelf, self._shard, self._alloc
        done = self._disk.worker.run(lambda: shelf.drop(shard, alloc))
        done.addErrback(self._warn, "a snapshot stays")

    def close(self) -> "Deferred[None]":
        """Let go of the map, behind what is under way; what was applied is durable.

        Returns:
            Fires when that is so, never with a failure.
        """
        self._closed = True
        self._disarm()
        self.view.stop_scrub()
        try:
            self.flush()
        except ToruaError as error:
            self._warn(Failure(error), "its map is behind its log")
        done = Deferred.fromCoroutine(self._hide())
        done.addCallback(lambda _: self._disk.worker.run(self.view.close))
        done.addErrback(self._warn, "its map did not close")
        return done

    def _show(self) -> None:
        """Let the graph engines read the map."""
        if self._disk.graphs is not None and not self._closed:
            self._disk.graphs.opened(self._shard, self._alloc, self.view)

    async def _hide(self) -> None:
        """Have the graph engines read the map no more."""
        if self._disk.graphs is not None:
            await self._disk.graphs.closed(self._alloc)

    def _arm(self) -> None:
        """Begin a checkpoint in a while."""
        if self._timer is None and self.readable:
            self._timer = self._disk.clock.callLater(
                CHECKPOINT_PERIOD_S, self._begin_checkpoint
            )

    def _disarm(self) -> None:
        """Begin no checkpoint by time."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None

    def _begin_checkpoint(self) -> None:
        """Make the map durable on the worker, and let go of the log up to there."""
        self._disarm()
        if self._checkpoint is not None or not self.readable:
            return
        self._dirty = 0
        self._flush_late()
        if self._closed:
            return
        self._checkpoint = self._disk.worker.run(self.view.checkpoint).addCallback(
            self._cut
        )
        self._checkpoint.addErrback(self._uncheckpointed)
        self._checkpoint.addCallback(self._end_checkpoint)

    def _cut(self, durable: int) -> "Deferred[None]":
        """Tell the log what this copy does not need any longer."""
        return self._disk.commit.run(lambda store: store.cut(self._alloc, durable))

    def _end_checkpoint(self, _: object) -> None:
        """Be ready for the next one; begin it where enough came meanwhile."""
        self._checkpoint = None
        if self._dirty >= CHECKPOINT_BYTES:
            self._begin_checkpoint()
        elif self.view.durable_seq < self.view.applied_seq:
            self._arm()

    def _uncheckpointed(self, failure: Failure) -> None:
        """Go on where only room was missing: the log keeps what the map may lose."""
        if failure.check(DiskFullError):
            log.warn("shard {shard}: no room for a checkpoint", shard=self._shard)
        elif isinstance(failure.value, ToruaError) and not self._closed:
            self._on_trouble(failure.value)
        elif not self._closed:
            self._wrong(failure)

    def _wrong(self, failure: Failure) -> None:
        """Go on no more, for what nobody expected."""
        log.failure("shard {shard} is wrong", failure, shard=self._shard)
        self._on_trouble(ToruaError(failure.getErrorMessage()))

    def _warn(self, failure: Failure, what: str) -> None:
        """Note what is not as it should be, and does no harm."""
        detail = failure.getErrorMessage()
        line = "shard {shard}: {what}: {detail}"
        log.warn(line, shard=self._shard, what=what, detail=detail)


async def find(  # noqa: PLR0913
    disk: Disk,
    shard: ShardId,
    alloc: AllocId,
    history: str,
    in_sync: bool,
    *,
    base: int = 0,
) -> Found:
    """Open what there is of a copy; an empty one where there is nothing.

    The map is brought to what is known to be committed, and not further.

    Args:
        disk: where it is.
        shard: of which shard.
        alloc: which copy.
        history: the shard's, in the committed state.
        in_sync: whether the state counts on this copy; then it takes up a history that
            was decided to go on from it.
        base: where an empty copy stands.

    Raises:
        CorruptionError: something of it is damaged, or lost.
        DiskError, DiskFullError: it cannot be read or made.
    """
    shelf, run = disk.shelf, disk.worker.run
    start = await disk.commit.run(lambda store: store.start(alloc))
    await run(lambda: shelf.settle(shard, alloc, start))
    facts = await run(lambda: shelf.facts(shard, alloc))
    if facts is None and await run(lambda: shelf.holds(shard, alloc)):
        raise CorruptionError(f"copy {alloc} has lost its facts", alloc_id=alloc)
    if facts is None or (in_sync and facts.history != history):
        facts = replace(facts or CopyFacts(history), history=history)
        kept = facts
        await run(lambda: shelf.keep(shard, alloc, kept))
    view = await run(lambda: shelf.open(shard, alloc, base))
    through = facts.gcp
    try:
        terms, tail = await disk.commit.run(
            lambda store: _catch_up(store, alloc, view, through)
        )
    except ToruaError:
        await run(view.close)
        raise
    return Found(view, facts, terms, tail)


def _catch_up(
    store: Log, alloc: AllocId, view: Map, through: int
) -> tuple[Terms, tuple[Record, ...]]:
    """Replay what is committed, on the log's thread; return terms and the rest.

    The log of an empty copy begins where that stands.
    """
    if view.applied_seq > 0 and view.applied_term == 0 and store.last(alloc) == 0:
        store.set_start(alloc, view.applied_seq, 0)
    replay(store, alloc, view, through)
    rest = store.read(alloc, view.applied_seq, 1 << 62)
    return store.terms(alloc), tuple(read_records([entry.payload for entry in rest]))
