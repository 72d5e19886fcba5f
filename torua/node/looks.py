"""Reading at any copy of this node, in whatever role: what it has applied, and its log.

A copy applies nothing above the global checkpoint, so whatever is read here was
committed, if not long since (rule R20 rests on that as well).
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torua.codec.records import read_record
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Entry, Page
from torua.core.reading import Position
from torua.core.records import Record
from torua.errors import GoneError, UnavailableError
from torua.storage.log import Log, LogEntry

T = TypeVar("T")


class Watch:
    """Who waits until a copy has applied a record.

    Invariants: whoever waits is told once, in the turn in which it is so.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def until(self, seq: int) -> "Deferred[None]":
        """Return what fires once ``seq`` is applied; cancel it to wait no longer."""

        def forget(given_up: "Deferred[None]") -> None:
            """Wait no longer."""
            self._waiting = [each for each in self._waiting if each[1] is not given_up]

        applied: Deferred[None] = Deferred(forget)
        self._waiting.append((seq, applied))
        return applied

    def advance(self, seq: int) -> None:
        """Tell all who waited for ``seq`` or less."""
        if not self._waiting:
            return
        ripe = [each for each in self._waiting if each[0] <= seq]
        self._waiting = [each for each in self._waiting if each[0] > seq]
        for _, applied in ripe:
            applied.callback(None)


class Readable(Protocol):
    """An open copy, in whatever role."""

    applied: Watch

    @property
    def alloc_id(self) -> AllocId:
        """Return which copy it is."""

    @property
    def position(self) -> int:
        """Return the last record applied."""

    def peek(self, key: bytes) -> Entry | None:
        """Read a key as of what is applied."""

    def peek_page(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """List keys as of what is applied.

        Args:
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """


class Copies(Protocol):
    """The copies of this node."""

    def readable(self, shard: ShardId) -> tuple[str, Readable] | None:
        """Return a copy that can be read, and its history; None where there is none."""


class Store(Protocol):
    """The node's log, on its thread."""

    def run(self, job: Callable[[Log], T]) -> "Deferred[T]":
        """Do something with the log."""


class Looks:
    """Reads at the copies of this node.

    Invariants: it changes nothing; what it shows was committed.

    Threading: the reactor's thread; the log is read on its own.
    """

    def __init__(self, clock: IReactorTime, copies: Copies, store: Store) -> None:
        """Read at ``copies``.

        Args:
            clock: the reactor.
            copies: the copies of this node.
            store: the log.
        """
        self._clock = clock
        self._copies = copies
        self._store = store

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied; None where none can be read."""
        held = self._copies.readable(shard)
        return Position(held[0], held[1].position) if held else None

    def copy_of(self, shard: ShardId) -> AllocId:
        """Tell which copy is here; UnavailableError where none can be read."""
        return self._held(shard)[1].alloc_id

    async def reached(self, shard: ShardId, seq: int, timeout_s: float) -> None:
        """Wait until the copy here has applied a record.

        Args:
            shard: whose copy.
            seq: which record.
            timeout_s: how long to wait at most.

        Raises:
            UnavailableError: it did not in time, or there is no copy to be read.
        """
        _, copy = self._held(shard)
        if copy.position >= seq:
            return
        applied = copy.applied.until(seq)
        applied.addTimeout(max(0.0, timeout_s), self._clock)
        try:
            await applied
        except DeferredTimeout as error:
            detail = f"the copy of shard {shard} here lags behind"
            raise UnavailableError(detail, shard=shard) from error
        # Whoever applied it is to be done first: what is read now may find it broken.
        await deferLater(self._clock, 0)

    def peek(self, shard: ShardId, key: bytes) -> Entry | None:
        """Read one key at the copy here, as of what it has applied.

        Args:
            shard: whose copy.
            key: which key.
        """
        return self._held(shard)[1].peek(key)

    def peek_page(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys at the copy here, as of what it has applied.

        Args:
            shard: whose copy.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """
        return self._held(shard)[1].peek_page(prefix, after, limit, values)

    async def changes(
        self, shard: ShardId, after: int, max_bytes: int
    ) -> tuple[Record, ...]:
        """Read committed records of the copy here, in order and without a gap.

        Args:
            shard: whose copy.
            after: the seq before the first wanted.
            max_bytes: stop before the records pass this; one comes in any case.

        Returns:
            The records; none where nothing behind ``after`` is applied yet.

        Raises:
            GoneError: the log no longer goes back so far; ``earliest`` is the least
                ``after`` that it serves.
            UnavailableError: there is no copy to be read.
            DiskError, CorruptionError: the log cannot be read.
        """
        _, copy = self._held(shard)
        applied, alloc = copy.position, copy.alloc_id
        if after >= applied:
            return ()

        def job(store: Log) -> list[LogEntry]:
            """Read them, where they still are."""
            earliest = store.first(alloc) - 1
            if after < earliest:
                detail = f"the log of shard {shard} no longer goes back to {after}"
                raise GoneError(detail, shard=shard, earliest=earliest)
            return store.read(alloc, after, max_bytes)

        entries = await self._store.run(job)
        return tuple(
            read_record(entry.payload) for entry in entries if entry.seq <= applied
        )

    async def earliest(self, shard: ShardId) -> int:
        """Tell the least ``after`` that `changes` serves at the copy here."""
        _, copy = self._held(shard)
        alloc = copy.alloc_id
        return await self._store.run(lambda store: store.first(alloc) - 1)

    def _held(self, shard: ShardId) -> tuple[str, Readable]:
        """Return the copy here and its history, or say that there is none."""
        held = self._copies.readable(shard)
        if held is None:
            detail = f"this node has no copy of shard {shard} to be read"
            raise UnavailableError(detail, shard=shard)
        return held
