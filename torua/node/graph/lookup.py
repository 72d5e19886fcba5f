"""Rows of graphs looked up by key, many at once, at the primaries.

No engine is involved: rows are entries of the shards' maps.  What is found was there at
an instant between the call and the answer, on each shard at its own.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred, FirstError, gatherResults

from torua.codec.rows import Row, read_row
from torua.core.ids import ShardId
from torua.core.kv import Call, Entry, Get, Operation, Outcome, Page, Served
from torua.core.reading import Token
from torua.errors import MovedError, TooLargeError, from_wire

T = TypeVar("T")

READS_MAX = 1_000
"""Keys read by one errand: a primary looks them up in some 10 ms."""

PAGE_KEYS = 1_000
"""Keys listed by one errand."""


class Store(Protocol):
    """Keys of the whole cluster: see `torua.node.router`."""

    def shard_of_key(self, key: bytes) -> ShardId:
        """Return the shard of a key."""

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key.

        Args:
            key: which.
            call: who asks, and how fresh it must be.
        """

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Do operations at the primary of one shard.

        Args:
            shard: owns all their keys.
            operations: what to do, in order.
            call: who asks, and how long it waits.
        """

    async def list_shard(
        self, shard: ShardId, span: tuple[bytes, bytes], limit: int, call: Call
    ) -> Page:
        """List keys of one shard in byte order, without their values.

        Args:
            shard: which.
            span: what they begin with, and the key to go on after.
            limit: at most so many.
            call: who asks, and how fresh it must be.
        """


class Stored(Struct, frozen=True):
    """A row as it stands.

    Attributes:
        version: of its entry.
        row: what it says; None where it was not asked for.
    """

    version: int
    row: Row | None = None

    @property
    def born(self) -> int:
        """A node's birth; a relationship's far end's."""
        assert self.row is not None, "the row was asked for"
        return self.row.born or self.version


class Lookup:
    """Looks up rows.

    Invariants: it changes nothing, and keeps nothing.

    Threading: the reactor's thread.
    """

    def __init__(self, store: Store) -> None:
        """Look them up in ``store``."""
        self._store = store

    async def rows(
        self, keys: Iterable[tuple[bytes, bool]], call: Call
    ) -> dict[bytes, Stored | None]:
        """Read rows, linearizable.

        Args:
            keys: which, and whether more than the version is wanted.
            call: who asks.

        Returns:
            Each key's row; None where it is absent.
        """
        wanted: dict[bytes, bool] = {}
        for key, whole in keys:
            wanted[key] = whole or wanted.get(key, False)
        shards: dict[ShardId, list[Get]] = {}
        for key, whole in wanted.items():
            shard = self._store.shard_of_key(key)
            shards.setdefault(shard, []).append(Get(key, whole))
        parts = [
            self._read(shard, gets[start : start + READS_MAX], call)
            for shard, gets in shards.items()
            for start in range(0, len(gets), READS_MAX)
        ]
        found: dict[bytes, Stored | None] = {}
        for part in await together(parts):
            found |= part
        return found

    async def one(self, key: bytes, call: Call) -> tuple[Stored | None, Served]:
        """Read one row, as fresh as the call asks.

        Args:
            key: which.
            call: who asks.
        """
        entry, served = await self._store.get(key, call)
        return (None if entry is None else stored(entry)), served

    async def under(self, prefix: bytes, limit: int, call: Call) -> list[bytes]:
        """List the keys that begin with a prefix, all of one shard, linearizable.

        Args:
            prefix: at least up to a node's key.
            limit: stop at so many.
            call: who asks.
        """
        return await self._listed(
            lambda: self._store.shard_of_key(prefix), prefix, limit, call
        )

    async def listed(
        self, shard: ShardId, prefix: bytes, limit: int, call: Call
    ) -> list[bytes]:
        """List the keys of a shard that begin with a prefix, linearizable.

        Args:
            shard: which.
            prefix: what they begin with.
            limit: stop at so many.
            call: who asks.
        """
        return await self._listed(lambda: shard, prefix, limit, call)

    async def _listed(
        self, owner: Callable[[], ShardId], prefix: bytes, limit: int, call: Call
    ) -> list[bytes]:
        """List keys page by page, each where they are by the slot table of then."""
        found: list[bytes] = []
        after = b""
        while len(found) < limit:
            room = min(PAGE_KEYS, limit - len(found))
            span = (prefix, after)
            try:
                page = await self._store.list_shard(owner(), span, room, bare(call))
            except MovedError:
                continue
            found += [entry.key for entry in page.items]
            if page.next is None:
                break
            after = page.next
        return found

    async def _read(
        self, shard: ShardId, gets: Sequence[Get], call: Call
    ) -> dict[bytes, Stored | None]:
        """Read some rows of one shard."""
        try:
            outcomes, _ = await self._store.act(shard, gets, bare(call))
        except MovedError:
            return await self.rows([(get.key, get.value) for get in gets], call)
        found: dict[bytes, Stored | None] = {}
        for get, outcome in zip(gets, outcomes, strict=True):
            if outcome.error == TooLargeError.code:
                found[get.key] = (await self.one(get.key, bare(call)))[0]
            elif outcome.error is not None:
                raise from_wire(outcome.error, outcome.detail, {"shard": shard})
            else:
                entry = outcome.entry
                found[get.key] = None if entry is None else stored(entry)
        return found


def stored(entry: Entry) -> Stored:
    """Read an entry as a row."""
    value = entry.value
    return Stored(entry.version, None if value is None else read_row(value))


def bare(call: Call) -> Call:
    """Return a call that reads: linearizable, and without the caller's promise."""
    return Call(call.request_id, call.timeout_s, traceparent=call.traceparent)


async def together(parts: Sequence[Coroutine[Deferred[T], object, T]]) -> list[T]:
    """Run coroutines at once, and return what each returned, in order."""
    running = [Deferred.fromCoroutine(part) for part in parts]
    try:
        return await gatherResults(running, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
        raise
