"""One client's change feed: a reader for each shard, and what they read, in turn."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.changes import Change, Mark, spell_cursor
from torua.core.ids import ShardId
from torua.core.retrying import pause_s
from torua.errors import GoneError, ToruaError, UnavailableError

POLL_S = 5.0
"""How long a copy is asked to wait for something new before it says that there is
nothing; one that died silently is noticed after that."""

HEARTBEAT_S = 10.0
"""At least so often a client hears something, and learns of its place."""

log = Logger()


class Pull(Struct, frozen=True):
    """Ask a copy what comes behind a place.

    Attributes:
        shard: of which shard.
        mark: behind which place; None asks where the copy is.
        prefix: of which keys.
        wait_s: how long to wait until there is something.
    """

    shard: ShardId
    mark: Mark | None
    prefix: bytes = b""
    wait_s: float = 0.0


class Pulled(Struct, frozen=True):
    """What came behind it: changes, and the place behind all that was looked at."""

    mark: Mark
    changes: tuple[Change, ...] = ()


class Batch(Struct, frozen=True):
    """What a feed hands on.

    Attributes:
        events: changes in order, each with the cursor behind it.
        cursor: the cursor behind all of them.
        gone: the earliest cursor that is left, where the feed ends here.
    """

    events: tuple[tuple[Change, str], ...]
    cursor: str
    gone: str | None = None


class Source(Protocol):
    """Where readers read."""

    clock: IReactorTime
    random: Random

    async def earliest(self, shard: ShardId) -> Mark:
        """Tell the earliest place from which on some copy has all of a shard."""

    async def pull(self, pull: Pull) -> Pulled:
        """Ask one copy after the other, until one can tell; see `ChangeFeeds.pull`."""


class Feed:
    """One client's changes.

    Invariants: a shard's changes are handed on in order and without a gap; each reader
    holds one batch at most, and reads on only when that was taken; after `close`
    nothing is read any more.
    """

    def __init__(
        self,
        feeds: Source,
        cursor: dict[ShardId, Mark],
        prefix: bytes,
        on_close: Callable[["Feed"], None],
    ) -> None:
        """Prepare to go on from a cursor.

        Args:
            feeds: reads.
            cursor: from where.
            prefix: of which keys.
            on_close: is told of its end.
        """
        self._feeds = feeds
        self._cursor = cursor
        self._prefix = prefix
        self._on_close = on_close
        self._held: dict[ShardId, Pulled | None] = {}
        self._taken: dict[ShardId, Deferred[None]] = {}
        self._arrived: Deferred[None] | None = None
        self._readers: list[Deferred[None]] = []
        self._closed = False
        self._fault = ""

    def start(self) -> None:
        """Have all shards read."""
        for shard in sorted(self._cursor):
            self._begin(shard)

    def _begin(self, shard: ShardId) -> None:
        """Have one shard read."""
        reader = Deferred.fromCoroutine(self._read(shard, self._cursor[shard]))
        reader.addErrback(self._broken)
        self._readers.append(reader)

    def grow(self, marks: Mapping[ShardId, Mark]) -> None:
        """Read further shards as well.

        Args:
            marks: where each begins; those that are read already go on as they are.
        """
        for shard, mark in sorted(marks.items()):
            if shard not in self._cursor and not self._closed:
                self._cursor[shard] = mark
                self._begin(shard)

    @property
    def cursor(self) -> str:
        """The place behind all that was taken."""
        return spell_cursor(self._cursor)

    async def next(self) -> Batch:
        """Return what comes next; an empty batch where nothing did for a while.

        After a batch with ``gone`` there is no other.

        Raises:
            ToruaError: it cannot go on, by our own mistake.
        """
        if not self._held and not self._fault:
            self._arrived = Deferred()
            self._arrived.addTimeout(HEARTBEAT_S, self._feeds.clock)
            try:
                await self._arrived
            except DeferredTimeout:
                return Batch((), self.cursor)
            finally:
                self._arrived = None
        if self._fault:
            raise ToruaError(self._fault)
        shard = next(iter(self._held))
        pulled = self._held.pop(shard)
        if pulled is None:
            return await self._gone(shard)
        events = tuple(self._events(shard, pulled))
        self._cursor[shard] = pulled.mark
        self._taken.pop(shard).callback(None)
        return Batch(events, self.cursor)

    def close(self) -> None:
        """Read no more.  Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for reader in self._readers:
            reader.cancel()
        self._on_close(self)

    def _events(self, shard: ShardId, pulled: Pulled) -> "list[tuple[Change, str]]":
        """Give each change the cursor behind it."""
        found = []
        for change in pulled.changes:
            place = Mark(pulled.mark.history, change.seq, change.part)
            self._cursor[shard] = place
            found.append((change, self.cursor))
        return found

    async def _gone(self, shard: ShardId) -> Batch:
        """End the feed where a shard's log no longer goes on from here."""
        earliest = dict(self._cursor)
        try:
            earliest[shard] = await self._feeds.earliest(shard)
        except UnavailableError:
            return Batch((), self.cursor, self.cursor)
        return Batch((), self.cursor, spell_cursor(earliest))

    async def _read(self, shard: ShardId, mark: Mark) -> None:
        """Read a shard on and on, a batch at a time."""
        feeds, failures = self._feeds, 0
        while True:
            try:
                pull = Pull(shard, mark, self._prefix, POLL_S)
                pulled = await feeds.pull(pull)
            except GoneError:
                self._put(shard, None)
                return
            except ToruaError:
                await deferLater(feeds.clock, pause_s(failures, feeds.random))
                failures += 1
                continue
            failures = 0
            if pulled.mark != mark:
                mark = pulled.mark
                self._taken[shard] = taken = Deferred[None]()
                self._put(shard, pulled)
                await taken

    def _put(self, shard: ShardId, pulled: Pulled | None) -> None:
        """Hold what was read until it is taken."""
        self._held[shard] = pulled
        self._wake()

    def _wake(self) -> None:
        """Let whoever waits for a batch go on."""
        arrived = self._arrived
        if arrived is not None and not arrived.called:
            arrived.callback(None)

    def _broken(self, failure: Failure) -> None:
        """End the feed with which we went wrong; its client comes again."""
        if failure.check(CancelledError):
            return
        log.failure("a change feed is wrong", failure)
        self._fault = failure.getErrorMessage() or "a change feed is wrong"
        self._wake()
