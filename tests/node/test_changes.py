"""Tests for `torua.node.changes`: feeds over copies that are lists of records."""

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import (
    ONE,
    TWO,
    States,
    Wire,
    state_of,
    with_history,
    with_replica,
)
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.reading import Position
from torua.core.records import Effect, KvDelete, KvPut, Record
from torua.errors import (
    GoneError,
    MalformedError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.node.changes import EARLIEST, FEEDS_MAX, SPARE_S, ChangeFeeds
from torua.node.feed import HEARTBEAT_S, POLL_S, Batch, Feed
from torua.node.looks import Watch

T = TypeVar("T")
CALL = Call("r1", 5.0)
SHARD = ShardId(0)


class Copies:
    """Copies of one node, as lists of records.

    Invariants: a copy has applied ``applied`` of its records.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with no copy."""
        self.clock = clock
        self.logs: dict[ShardId, list[Record]] = {}
        self.applied: dict[ShardId, int] = {}
        self.cut: dict[ShardId, int] = {}
        self.history = "h"
        self.watch = Watch()
        self.reads = 0

    def append(self, shard: ShardId, *effects: Effect, apply: bool = True) -> None:
        """Append one record.

        Args:
            shard: to whose log.
            effects: of the record.
            apply: whether it is committed.
        """
        records = self.logs.setdefault(shard, [])
        seq = len(records) + 1
        records.append(Record(shard, seq, 1, seq, effects))
        if apply:
            self.apply(shard, seq)

    def apply(self, shard: ShardId, seq: int) -> None:
        """Apply records up to one.

        Args:
            shard: whose.
            seq: of the last.
        """
        self.applied[shard] = seq
        self.watch.advance(seq)

    def position(self, shard: ShardId) -> Position | None:
        """Tell what a copy has applied."""
        if shard not in self.logs:
            return None
        return Position(self.history, self.applied.get(shard, 0))

    async def reached(self, shard: ShardId, seq: int, timeout_s: float) -> None:
        """Wait until a record is applied.

        Args:
            shard: whose copy.
            seq: which.
            timeout_s: how long at most.
        """
        if self.applied.get(shard, 0) >= seq:
            return
        applied = self.watch.until(seq)
        applied.addTimeout(timeout_s, self.clock)
        try:
            await applied
        except CancelledError:
            raise
        except Exception as error:
            raise UnavailableError("it lags") from error

    async def changes(
        self, shard: ShardId, after: int, max_bytes: int
    ) -> tuple[Record, ...]:
        """Read two records at most.

        Args:
            shard: whose.
            after: behind which.
            max_bytes: ignored.
        """
        self.reads += 1
        if after < self.cut.get(shard, 0):
            raise GoneError("gone", earliest=self.cut.get(shard, 0))
        return tuple(self.logs[shard][after : min(after + 2, self.applied[shard])])

    async def earliest(self, shard: ShardId) -> int:
        """Tell what was cut."""
        return self.cut.get(shard, 0)


def put(key: bytes, value: bytes = b"v") -> KvPut:
    """Make an effect.

    Args:
        key: which key.
        value: what it has from then on.
    """
    return KvPut(key, value, "t")


class ChangesTests(SynchronousTestCase):
    """Shard 0 has a copy on both nodes; node one leads it."""

    def setUp(self) -> None:
        """Make both nodes."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.states = States(with_replica(state_of({0: ONE}), 0, TWO))
        self.holders = {ONE: [ONE, TWO], TWO: [TWO, ONE]}
        self.copies = {node: Copies(self.clock) for node in (ONE, TWO)}
        self.feeds = {
            node: ChangeFeeds(
                node,
                self.states,
                self.copies[node],
                self.wire.end(node),
                self.clock,
                holders=lambda _, node=node: self.holders[node],  # type: ignore[misc]
                random=Random(1),
                registry=CollectorRegistry(),
            )
            for node in (ONE, TWO)
        }
        for copies in self.copies.values():
            copies.append(SHARD, put(b"a", b"1"), put(b"b", b"2"))

    def append(self, *effects: Effect) -> None:
        """Commit a record on both nodes."""
        for copies in self.copies.values():
            copies.append(SHARD, *effects)

    def run_now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns that has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def open(self, since: str = "", prefix: bytes = b"", node: NodeId = ONE) -> Feed:
        """Open a feed, to be closed at the end.

        Args:
            since: from where.
            prefix: of which keys.
            node: by whom.
        """
        feed = self.run_now(self.feeds[node].open(prefix, since, CALL))
        self.addCleanup(feed.close)
        return feed

    def told(self, feed: Feed) -> list[tuple[bytes, bytes | None]]:
        """Take one batch, and return its keys and values."""
        batch = self.run_now(feed.next())
        return [(change.key, change.value) for change, _ in batch.events]

    def refusal(self, since: str, kind: type[ToruaError]) -> ToruaError:
        """Return the error with which a feed is refused.

        Args:
            since: from where it was to begin.
            kind: what is expected.
        """
        opening = Deferred.fromCoroutine(self.feeds[ONE].open(b"", since, CALL))
        error = self.failureResultOf(opening, kind).value
        assert isinstance(error, kind)
        return error

    def test_a_feed_begins_with_what_comes_after_it(self) -> None:
        """What was there before is not told; what comes is, as it comes."""
        feed = self.open()
        coming = Deferred.fromCoroutine(feed.next())
        self.assertNoResult(coming)
        self.append(put(b"c", b"3"), KvDelete(b"a"))
        batch = self.successResultOf(coming)
        told = [(each.key, each.version, each.value) for each, _ in batch.events]
        self.assertEqual(told, [(b"c", 2, b"3"), (b"a", 2, None)])

    def test_a_feed_from_the_earliest_has_all_that_the_log_has(self) -> None:
        """Back to where it was cut."""
        self.append(put(b"c"))
        for copies in self.copies.values():
            copies.cut[SHARD] = 1
        self.assertEqual(self.told(self.open(EARLIEST)), [(b"c", b"v")])

    def test_a_feed_goes_on_from_any_event(self) -> None:
        """Within a record too: nothing is doubled, nothing is missing."""
        batch = self.run_now(self.open(EARLIEST).next())
        (_, first), (_, second) = batch.events
        self.assertEqual(self.told(self.open(first)), [(b"b", b"2")])
        feed = self.open(second)
        self.append(put(b"c", b"3"))
        self.assertEqual(self.told(feed), [(b"c", b"3")])

    def test_what_is_not_applied_is_not_told(self) -> None:
        """A record in the log may yet be rolled back."""
        feed = self.open()
        coming = Deferred.fromCoroutine(feed.next())
        for copies in self.copies.values():
            copies.append(SHARD, put(b"c"), apply=False)
        self.clock.advance(1.0)
        self.assertNoResult(coming)
        self.copies[ONE].apply(SHARD, 2)
        self.assertEqual(len(self.successResultOf(coming).events), 1)

    def test_only_keys_with_the_prefix_are_told_and_the_place_moves_on(self) -> None:
        """A client that sees nothing for a while does not fall behind the log."""
        feed = self.open(prefix=b"x")
        self.append(put(b"y"))
        batch = self.run_now(feed.next())
        self.assertEqual(batch.events, ())
        self.append(put(b"x1"))
        self.assertEqual(self.told(feed), [(b"x1", b"v")])
        self.assertEqual(self.told(self.open(batch.cursor, b"x")), [(b"x1", b"v")])

    def test_a_slow_client_stops_the_reading(self) -> None:
        """One batch is held, and no more is read until it was taken."""
        feed = self.open(EARLIEST)
        for number in range(20):
            self.append(put(b"k%d" % number))
        reads = self.copies[ONE].reads
        self.clock.advance(1.0)
        self.assertEqual(self.copies[ONE].reads, reads)
        told = [key for _ in range(11) for key, _ in self.told(feed)]
        self.assertEqual(told, [b"a", b"b", *(b"k%d" % each for each in range(20))])

    def test_a_shard_elsewhere_is_read_over_there_and_waited_for(self) -> None:
        """One request waits there until something comes; nobody asks in a loop."""
        self.holders[ONE] = [TWO]
        feed = self.open()
        asked = len(self.wire.asked)
        coming = Deferred.fromCoroutine(feed.next())
        self.clock.advance(POLL_S / 2)
        self.assertEqual(len(self.wire.asked), asked)
        self.append(put(b"c"))
        self.assertEqual(len(self.successResultOf(coming).events), 1)

    def test_another_copy_goes_on_where_one_died(self) -> None:
        """The place holds on every copy of the same history."""
        self.holders[ONE] = [TWO]
        feed = self.open()
        self.append(put(b"c"))
        self.assertEqual(self.told(feed), [(b"c", b"v")])
        self.wire.silent.add(TWO)
        self.holders[ONE] = [TWO, ONE]
        self.clock.advance(POLL_S)
        self.copies[ONE].append(SHARD, put(b"d"))
        self.clock.advance(POLL_S + SPARE_S)
        self.assertEqual(self.told(feed), [(b"d", b"v")])

    def test_a_copy_whose_log_is_shorter_is_passed_over(self) -> None:
        """A copy rebuilt from a snapshot has no past; another may have."""
        self.append(put(b"c"))
        self.copies[ONE].cut[SHARD] = 2
        self.assertEqual(len(self.told(self.open(EARLIEST))), 3)

    def test_a_place_that_no_log_has_is_gone_with_the_earliest(self) -> None:
        """And from the earliest on everything is there."""
        begin = self.open(EARLIEST).cursor
        self.append(put(b"c"))
        self.append(put(b"d"))
        for copies in self.copies.values():
            copies.cut[SHARD] = 2
        error = self.refusal(begin, GoneError)
        earliest = str(error.members["earliest"])
        self.assertEqual(self.told(self.open(earliest)), [(b"d", b"v")])

    def test_a_place_of_another_history_is_gone(self) -> None:
        """What was told there may never have happened here."""
        since = self.open().cursor
        for copies in self.copies.values():
            copies.history = "other"
        shard = self.states.state.shards[SHARD]
        self.assertEqual(shard.history_uuid, "h")
        self.refusal(since, UnavailableError)
        state = with_history(self.states, "other")
        self.states.apply(state)
        self.refusal(since, GoneError)

    def test_a_feed_that_falls_behind_the_log_ends_and_says_from_where_on(
        self,
    ) -> None:
        """It never leaves changes out in silence."""
        feed = self.open()
        for number in range(6):
            self.append(put(b"k%d" % number))
        for copies in self.copies.values():
            copies.cut[SHARD] = 6
        taken: list[Batch] = []
        while not taken or taken[-1].gone is None:
            taken.append(self.run_now(feed.next()))
        self.assertEqual([len(each.events) for each in taken], [1, 0])
        self.append(put(b"z"))
        left = self.told(self.open(taken[-1].gone or ""))
        self.assertEqual([key for key, _ in left], [b"k5", b"z"])

    def test_silence_is_told_as_an_empty_batch(self) -> None:
        """A client hears that it still listens, and where it is."""
        feed = self.open()
        coming = Deferred.fromCoroutine(feed.next())
        self.clock.advance(HEARTBEAT_S)
        self.assertEqual(self.successResultOf(coming), Batch((), feed.cursor))

    def test_a_closed_feed_leaves_nothing_behind(self) -> None:
        """Neither readers nor timers; and there is room for another."""
        feed = self.open(node=TWO)
        coming = Deferred.fromCoroutine(feed.next())
        feed.close()
        feed.close()
        coming.cancel()
        self.failureResultOf(coming, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_there_are_only_so_many_feeds(self) -> None:
        """One more is refused, until one is closed."""
        feeds = [self.open() for _ in range(FEEDS_MAX)]
        self.refusal("", OverloadedError)
        feeds[0].close()
        self.open()

    def test_a_cursor_of_other_shards_is_refused(self) -> None:
        """It is not a place in this cluster."""
        self.refusal("!", MalformedError)
        self.states.apply(state_of({0: ONE, 1: ONE}, version=2))
        for copies in self.copies.values():
            copies.append(ShardId(1), put(b"z"))
        since = self.open().cursor
        self.states.apply(state_of({0: ONE}, version=3))
        self.states.apply(with_history(self.states, "another"))
        self.refusal(since, MalformedError)

    def test_a_cursor_of_a_shard_that_this_node_does_not_know_yet_is_waited_with(
        self,
    ) -> None:
        """A split made it; another node, or this one soon, goes on from there."""
        self.states.apply(state_of({0: ONE, 1: ONE}, version=2))
        for copies in self.copies.values():
            copies.append(ShardId(1), put(b"z"))
        since = self.open().cursor
        self.states.apply(state_of({0: ONE}, version=3))
        self.refusal(since, UnavailableError)

    def test_a_shard_that_nobody_can_read_refuses_the_feed(self) -> None:
        """A feed of some shards only would look whole."""
        self.holders[ONE] = []
        self.refusal("", UnavailableError)
