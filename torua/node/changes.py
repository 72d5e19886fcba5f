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

from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.plain import plain, shape
from torua.core.changes import (
    Cursor,
    Mark,
    beginnings,
    changes_of,
    mark_of,
    read_cursor,
    spell_cursor,
)
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.reading import Position
from torua.core.records import Record
from torua.core.splitting.moving import born
from torua.core.state import ClusterState
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
from torua.node.feed import POLL_S, Feed, Pull, Pulled

KIND = "changes"
"""The kind of message by which a feed reads on another node."""

FEEDS_MAX = 32
"""Feeds of one node at once: each may hold a batch of every shard in memory."""

BATCH_BYTES = 256 << 10
"""About what one reader holds; a larger value comes alone."""

SPARE_S = 2.0
"""How much longer an answer may take than the wait."""

EARLIEST = "earliest"
"""Asks for all that the logs still have."""

log = Logger()


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
        states.subscribe(self._on_state)

    def _on_state(self, state: ClusterState) -> None:
        """Have feeds read shards that splits made, from their beginnings."""
        for feed in list(self._open):
            feed.grow(beginnings(state))

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
        state = self._states.state
        shards = born(state)
        if not shards:
            raise UnavailableError("the cluster has not given out its shards yet")
        asked = {} if since in ("", EARLIEST) else read_cursor(since)
        if asked:
            asked = beginnings(state) | asked
        if asked and sorted(asked) != shards:
            raise _unknown(state, asked)
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
        feed.grow(beginnings(self._states.state))
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
            earliest = int(error.members.get("earliest") or 0)
            held = self._states.state.shards.get(shard)
            return Mark(mark.history, max(earliest, held.born if held else 0))
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


def _unknown(state: ClusterState, asked: Cursor) -> ToruaError:
    """Say why nobody can go on from a cursor that names other shards than there are."""
    known = [shard for shard in born(state) if shard in asked]
    if known == born(state) and all(
        mark_of(state.shards[shard].history_uuid, 0).history == asked[shard].history
        for shard in known
    ):
        return UnavailableError("this node does not know yet of a shard that was split")
    return MalformedError("the id of the last event is of another cluster")


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
