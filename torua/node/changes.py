"""The change feed: what every shard's log says, from a place on, to whoever listens.

One reader a shard asks a copy, here or on another node, for what comes behind the place
where it is, and waits there until something does.  What it got waits until the client
took it; then it asks on.  Any copy will do, for none applies what may be rolled back;
where one fails, or its log does not go back so far, another is asked.

    OPENING --all shards have the place--> FLOWING --log or history gone--> ended
"""

from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.plain import plain, shape
from torua.core.changes import (
    Change,
    Mark,
    changes_of,
    mark_of,
    read_cursor,
    spell_cursor,
)
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.reading import Position
from torua.core.records import Record
from torua.core.retrying import pause_s
from torua.errors import (
    GoneError,
    MalformedError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.net.peers import Inbound, Lane
from torua.node.dispatch import States
from torua.node.errands import Peers

KIND = "changes"
"""The kind of message by which a feed reads on another node."""

FEEDS_MAX = 32
"""Feeds of one node at once: each may hold a batch of every shard in memory."""

BATCH_BYTES = 256 << 10
"""About what one reader holds; a larger value comes alone."""

POLL_S = 5.0
"""How long a copy is asked to wait for something new before it says that there is
nothing; one that died silently is noticed after that."""

SPARE_S = 2.0
"""How much longer an answer may take than the wait."""

HEARTBEAT_S = 10.0
"""At least so often a client hears something, and learns of its place."""

EARLIEST = "earliest"
"""Asks for all that the logs still have."""

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


class Looks(Protocol):
    """The copies of this node: see `torua.node.looks`."""

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied; None where none can be read."""

    async def reached(self, shard: ShardId, seq: int, timeout_s: float) -> None:
        """Wait until the copy here has applied a record, or raise.

        Args:
            shard: whose copy.
            seq: which record.
            timeout_s: how long to wait at most.
        """

    async def changes(
        self, shard: ShardId, after: int, max_bytes: int
    ) -> tuple[Record, ...]:
        """Read committed records in order; GoneError where they are no more.

        Args:
            shard: whose copy.
            after: the seq before the first.
            max_bytes: about so much.
        """

    async def earliest(self, shard: ShardId) -> int:
        """Tell the least ``after`` that `changes` serves."""


class ChangeFeeds:
    """Opens feeds here, and lets those of other nodes read here.

    Invariants: there are never more than `FEEDS_MAX` feeds; nothing is told that a
    copy has not applied.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        states: States,
        looks: Looks,
        peers: Peers,
        clock: IReactorTime,
        *,
        holders: Callable[[ShardId], Sequence[NodeId]],
        random: Random,
        registry: CollectorRegistry,
    ) -> None:
        """Begin to answer the feeds of other nodes.

        Args:
            me: this node.
            states: the applied cluster state.
            looks: the copies here.
            peers: the way to the other nodes.
            clock: the reactor.
            holders: tells which live nodes have a copy to be read, best first.
            random: draws pauses.
            registry: of the node's metrics.
        """
        self._me = me
        self._states = states
        self._looks = looks
        self._peers = peers
        self.clock = clock
        self.random = random
        self._holders = holders
        self._open: dict[Feed, None] = {}
        feeds = Gauge("torua_changes_feeds", "Open change feeds", registry=registry)
        feeds.set_function(lambda: len(self._open))
        peers.handle(KIND, self._answer)

    async def open(self, prefix: bytes, since: str, call: Call) -> "Feed":
        """Begin a feed.

        Args:
            prefix: of which keys.
            since: a cursor; empty for what comes from now on, `EARLIEST` for all that
                there is.
            call: who asks, and how long it waits for the beginning.

        Raises:
            MalformedError: the cursor is none of this cluster's.
            GoneError: what comes behind it is no more; ``earliest`` is a cursor from
                which on everything still is.
            OverloadedError: there are too many feeds.
            UnavailableError: a shard cannot be read now.
        """
        self._check_room()
        shards = sorted(self._states.state.shards)
        if not shards:
            raise UnavailableError("the cluster has not given out its shards yet")
        asked = {} if since in ("", EARLIEST) else read_cursor(since)
        if asked and sorted(asked) != shards:
            raise MalformedError("the id of the last event is of another cluster")
        every = since == EARLIEST
        beginning = _all([self._begin(each, asked.get(each), every) for each in shards])
        beginning.addTimeout(call.timeout_s, self.clock)
        try:
            cursor = dict(zip(shards, await beginning, strict=True))
        except DeferredTimeout as error:
            raise UnavailableError("not all shards answered in time") from error
        if asked and cursor != asked:
            detail = "the logs no longer go back so far"
            raise GoneError(detail, earliest=spell_cursor(cursor))
        self._check_room()
        feed = Feed(self, cursor, prefix, self._open.pop)
        self._open[feed] = None
        feed.start()
        return feed

    def _check_room(self) -> None:
        """Refuse a feed where there are too many."""
        if len(self._open) >= FEEDS_MAX:
            raise OverloadedError(f"a node serves {FEEDS_MAX} change feeds at once")

    async def _begin(self, shard: ShardId, asked: Mark | None, every: bool) -> Mark:
        """Tell where a shard's changes begin: as asked, or as early as there are any.

        Args:
            shard: which.
            asked: where the client was; None where it has not been anywhere.
            every: whether such a client wants all that there is, or what comes.
        """
        if asked is None and every:
            return await self.earliest(shard)
        try:
            pulled = await self.pull(Pull(shard, asked))
        except GoneError:
            return await self.earliest(shard)
        return pulled.mark if asked is None else asked

    async def earliest(self, shard: ShardId) -> Mark:
        """Tell the earliest place from which on some copy has all of a shard."""
        mark = (await self.pull(Pull(shard, None))).mark
        try:
            await self.pull(Pull(shard, Mark(mark.history, -1)))
        except GoneError as error:
            return Mark(mark.history, int(error.members.get("earliest") or 0))
        raise AssertionError("a log goes back before its beginning")

    async def pull(self, pull: Pull) -> Pulled:
        """Ask one copy after the other, until one can tell.

        Raises:
            GoneError: none of those that answer goes back so far; ``earliest`` is the
                least that one of them still has.
            UnavailableError: none answers.
        """
        gone: list[int] = []
        trouble: ToruaError | None = None
        for node in self._holders(pull.shard):
            try:
                return await self._pull_at(node, pull)
            except GoneError as error:
                gone.append(int(error.members.get("earliest") or 0))
            except ToruaError as error:
                trouble = error
        if gone:
            raise GoneError("no log goes back so far", earliest=min(gone))
        detail = f"no copy of shard {pull.shard} can be read"
        raise UnavailableError(detail, shard=pull.shard) from trouble

    async def _pull_at(self, node: NodeId, pull: Pull) -> Pulled:
        """Ask the copy of one node."""
        if node == self._me:
            return await self._look(pull)
        answer = await self._peers.request(
            node,
            KIND,
            plain(pull),
            lane=Lane.READS,
            timeout_s=pull.wait_s + SPARE_S,
        )
        return shape(answer, Pulled)

    async def _answer(self, inbound: Inbound) -> object:
        """Tell another node's feed what the copy here has."""
        return plain(await self._look(shape(inbound.body, Pull)))

    async def _look(self, pull: Pull) -> Pulled:
        """Tell what comes behind a place at the copy here, once something does."""
        shard, mark = pull.shard, pull.mark
        at = self._position(shard)
        if mark is None:
            return Pulled(mark_of(at.history, at.seq))
        if mark_of(at.history, 0).history != mark.history:
            await self._refuse_history(shard, at)
        if at.seq <= mark.seq and not await self._waited(pull, mark):
            return Pulled(mark)
        records = await self._looks.changes(shard, mark.seq, BATCH_BYTES)
        if self._position(shard).history != at.history:
            raise UnavailableError(f"shard {shard} begins another history")
        if not records:
            return Pulled(mark)
        assert records[0].seq == mark.seq + 1, "a gap in the log"
        changes = changes_of(records, pull.prefix, mark.part)
        return Pulled(mark_of(at.history, records[-1].seq), tuple(changes))

    async def _waited(self, pull: Pull, mark: Mark) -> bool:
        """Wait for something new; whether there is."""
        if pull.wait_s <= 0:
            return False
        try:
            wait_s = min(pull.wait_s, POLL_S)
            await self._looks.reached(pull.shard, mark.seq + 1, wait_s)
        except UnavailableError:
            if self._position(pull.shard).seq < mark.seq:
                raise
            return False
        return True

    async def _refuse_history(self, shard: ShardId, at: Position) -> None:
        """Say that a history is no more, unless it is the copy here that is behind."""
        held = self._states.state.shards.get(shard)
        if held is None or held.history_uuid != at.history:
            raise UnavailableError(f"the copy of shard {shard} here is of the past")
        earliest = await self._looks.earliest(shard)
        raise GoneError(f"shard {shard} began another history", earliest=earliest)

    def _position(self, shard: ShardId) -> Position:
        """Tell where the copy here is; UnavailableError where there is none."""
        at = self._looks.position(shard)
        if at is None:
            raise UnavailableError(f"no copy of shard {shard} here", shard=shard)
        return at


class Feed:
    """One client's changes.

    Invariants: a shard's changes are handed on in order and without a gap; each reader
    holds one batch at most, and reads on only when that was taken; after `close`
    nothing is read any more.
    """

    def __init__(
        self,
        feeds: ChangeFeeds,
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
            reader = Deferred.fromCoroutine(self._read(shard, self._cursor[shard]))
            reader.addErrback(self._broken)
            self._readers.append(reader)

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


def _all(
    parts: "list[Coroutine[Deferred[Mark], object, Mark]]",
) -> "Deferred[list[Mark]]":
    """Run coroutines at once; fires with what each returned, or the first error."""
    running = [Deferred.fromCoroutine(part) for part in parts]
    done: Deferred[list[Mark]] = gatherResults(running, consumeErrors=True)

    def unwrap(failure: Failure) -> Failure:
        """Return the error itself."""
        assert isinstance(failure.value, FirstError)
        return failure.value.subFailure

    return done.addErrback(unwrap)
