"""Tests for `torua.node.router`: two routers, a wire of real CBOR, no sockets."""

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import (
    ONE,
    TWO,
    Holdings,
    States,
    Wire,
    state_of,
    targets,
    with_replica,
)
from torua.core.graph.keys import schema_key
from torua.core.ids import NodeId, ShardId
from torua.core.kv import (
    Call,
    Check,
    Condition,
    Delete,
    Entry,
    Get,
    Group,
    IdempotencyKey,
    Put,
)
from torua.core.reading import Level, Position, Reading, Token, read_tokens
from torua.core.routing import shard_of
from torua.core.state import SLOTS, SlotRange
from torua.errors import (
    MovedError,
    OutcomeUnknownError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from torua.net.peers import Lane
from torua.node.router import Router

T = TypeVar("T")
CALL = Call("r1", timeout_s=5.0)
KEYS = [b"key-%d" % number for number in range(20)]


class TwoNodes(SynchronousTestCase):
    """Shard 0 is on node one, shard 1 on node two; requests come to either."""

    def setUp(self) -> None:
        """Make two nodes."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.dead: set[NodeId] = set()
        self.state = state_of({0: ONE, 1: TWO})
        self.states = {node: States(self.state) for node in (ONE, TWO)}
        self.held = {ONE: Holdings(0), TWO: Holdings(1)}
        self.targets = {
            node: targets(node, self.clock, lambda each: each not in self.dead)
            for node in (ONE, TWO)
        }
        self.routers = {
            node: Router(
                node,
                self.states[node],
                (self.held[node], self.held[node]),
                self.wire.end(node),
                self.clock,
                is_live=lambda each: each not in self.dead,
                random=Random(1),
                targets=self.targets[node],
            )
            for node in (ONE, TWO)
        }

    def run_now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns that has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def key_of(self, shard: int) -> bytes:
        """Find a key of a shard."""
        return next(k for k in KEYS if shard_of(self.state.slots, k) == shard)


class RouterTests(TwoNodes):
    """What is asked of one node is served by whoever has it."""

    def test_what_one_node_takes_another_gives(self) -> None:
        """Every key put through one node is read through the other, the same bytes."""
        for key in KEYS:
            self.run_now(self.routers[ONE].write(Put(key, b"\0" + key), CALL))
        for key in KEYS:
            entry, served = self.run_now(self.routers[TWO].get(key, CALL))
            assert entry is not None
            self.assertEqual(entry.value, b"\0" + key)
            self.assertEqual(served.shard, shard_of(self.state.slots, key))
            self.assertEqual(served.node, f"n{served.shard + 1}")

    def test_only_what_is_elsewhere_is_forwarded_in_its_lane(self) -> None:
        """A node's own shard costs no message; writes and reads have their lanes."""
        mine, other = self.key_of(0), self.key_of(1)
        self.run_now(self.routers[ONE].write(Put(mine, b""), CALL))
        self.run_now(self.routers[ONE].get(mine, CALL))
        self.assertEqual(self.wire.asked, [])
        self.run_now(self.routers[ONE].write(Delete(other), CALL))
        self.run_now(self.routers[ONE].get(other, CALL))
        self.run_now(self.routers[ONE].bulk([Get(other)], CALL))
        lanes = [(TWO, "kv", lane) for lane in (Lane.WRITES, Lane.READS, Lane.READS)]
        self.assertEqual(self.wire.asked, lanes)

    def test_a_group_is_done_at_the_shard_that_is_named(self) -> None:
        """It travels whole; the answer says what is behind it."""
        keys = [b"\xffn" + self.key_of(1), b"\xffe" + self.key_of(1)]
        check = Check(keys[0], (Condition(None, match=False),), b"x", most=3)
        group = Group((check,), (Put(keys[0], b"1", ""), Delete(keys[1])))
        router = self.routers[ONE]
        outcomes, token = self.run_now(router.act(ShardId(1), [group], CALL))
        assert [outcome.error for outcome in outcomes] == [None]
        assert token is not None
        assert token.shard == 1
        assert list(self.held[TWO].held[1]) == [keys[0]]
        read, _ = self.run_now(router.act(ShardId(1), [Get(keys[0])], CALL))
        assert read[0].entry is not None
        assert read[0].entry.value == b"1"

    def test_a_group_is_not_done_where_its_keys_are_no_more(self) -> None:
        """Its shard was chosen by an older slot table: it is to be routed anew.

        What is of the shard itself, and of no slot, does not matter.
        """
        row = b"\xffn" + self.key_of(1)
        moved = (SlotRange(0, SLOTS - 1, ShardId(1)),)
        for node in (ONE, TWO):
            self.states[node].state = structs.replace(
                self.state, slots=moved, slots_version=2
            )
        router = self.routers[ONE]
        for operation in (Group((), (Put(row, b"1", ""),)), Get(row)):
            acting = router.act(ShardId(0), [operation], CALL)
            self.failureResultOf(Deferred.fromCoroutine(acting), MovedError)
        assert self.held[ONE].held == {0: {}}
        schema = Group((Check(schema_key(7), (Condition(None, match=False),)),), ())
        self.run_now(router.act(ShardId(0), [schema], CALL))

    def test_nothing_is_acted_on_before_there_are_shards(self) -> None:
        """It is not done, and may be tried again."""
        self.states[ONE].state = state_of({})
        acting = self.routers[ONE].act(ShardId(0), [Get(b"a")], CALL)
        self.failureResultOf(Deferred.fromCoroutine(acting), UnavailableError)

    def test_who_asks_and_what_it_promised_travel_along(self) -> None:
        """Request id, deadline, trace and idempotency key reach the primary's node."""
        promise = IdempotencyKey("PUT /kv/x", b"f")
        call = Call("r9", 5.0, promise, "00-trace")
        self.run_now(self.routers[ONE].write(Put(self.key_of(1), b""), call))
        (heard,) = self.held[TWO].calls
        self.assertEqual(heard, call)

    def test_an_outcome_with_an_error_is_raised_as_that_error(self) -> None:
        """A condition that does not hold is one exception, wherever the shard is."""
        put = Put(self.key_of(1), b"", conditions=(Condition(None, True),))
        failed = Deferred.fromCoroutine(self.routers[ONE].write(put, CALL))
        self.failureResultOf(failed, PreconditionError)

    def test_an_error_of_the_primary_reaches_the_client_as_it_was(self) -> None:
        """The code and the facts of an error survive the wire."""
        self.held[TWO].error = OverloadedError("full", retry_after=2)
        get = Deferred.fromCoroutine(self.routers[TWO].get(self.key_of(1), CALL))
        error = self.failureResultOf(get, OverloadedError).value
        self.assertEqual(error.members, {"retry_after": 2})

    def test_bulk_keeps_the_order_and_confines_a_failure(self) -> None:
        """Each operation has its outcome in its place; one shard down fails its own."""
        put = [Put(key, key) for key in KEYS]
        self.run_now(self.routers[ONE].bulk(put, CALL))
        del self.wire.ends[TWO]
        self.dead.add(TWO)
        bulk = self.routers[ONE].bulk(list(map(Get, KEYS)), CALL)
        outcomes, _ = self.run_now(bulk)
        for key, outcome in zip(KEYS, outcomes, strict=True):
            if shard_of(self.state.slots, key) == 0:
                assert outcome.entry is not None
                self.assertEqual(outcome.entry.value, key)
            else:
                self.assertEqual(outcome.error, "unavailable")
                self.assertIn("shard 1 is red", outcome.detail)

    def test_a_listing_is_of_all_shards_in_byte_order(self) -> None:
        """Pages through either node give every key once, in order."""
        self.run_now(self.routers[TWO].bulk([Put(key, b"v") for key in KEYS], CALL))
        listed: list[bytes] = []
        after: bytes | None = b""
        while after is not None:
            scan = self.routers[ONE].scan(b"key-1", after, 3, False, CALL)
            page = self.run_now(scan)
            listed += [item.key for item in page.items]
            after = page.next
        self.assertEqual(listed, sorted(k for k in KEYS if k.startswith(b"key-1")))

    def test_a_listing_that_lacks_a_shard_is_refused(self) -> None:
        """No list is quietly partial."""
        del self.wire.ends[TWO]
        self.dead.add(TWO)
        scan = Deferred.fromCoroutine(self.routers[ONE].scan(b"", b"", 9, False, CALL))
        self.failureResultOf(scan, UnavailableError)

    def test_a_stale_route_is_refused_and_followed_once_the_state_is_here(self) -> None:
        """A router behind the state waits for it, and then finds the new primary."""
        moved = state_of({0: ONE, 1: ONE}, version=2)
        self.states[TWO].apply(moved)
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key_of(1), CALL))
        self.assertNoResult(get)
        self.held[ONE].held[1] = {}
        self.states[ONE].apply(moved)
        entry, served = self.successResultOf(get)
        self.assertEqual((entry, served.node), (None, "n1"))

    def test_a_bulk_request_whose_slots_move_is_grouped_anew(self) -> None:
        """What the owner refuses goes to where the slots are now; nothing is lost."""
        moved = structs.replace(
            state_of({0: ONE, 1: TWO}, version=2),
            slots=(SlotRange(0, SLOTS - 1, ShardId(0)),),
            slots_version=2,
        )
        self.states[TWO].apply(moved)
        puts = [Put(key, b"v") for key in KEYS]
        bulk = Deferred.fromCoroutine(self.routers[ONE].bulk(puts, CALL))
        self.assertNoResult(bulk)
        self.states[ONE].apply(moved)
        self.clock.advance(0)
        outcomes, _ = self.successResultOf(bulk)
        self.assertEqual([each.error for each in outcomes], [None] * len(KEYS))
        self.assertEqual(sorted(self.held[ONE].held[0]), sorted(KEYS))
        self.assertEqual(self.held[TWO].held[1], {})

    def test_a_node_behind_the_senders_state_waits_before_it_serves(self) -> None:
        """An errand with a newer routing version is done only by that version."""
        moved = state_of({0: ONE, 1: TWO}, version=2)
        self.states[ONE].apply(moved)
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key_of(1), CALL))
        self.assertNoResult(get)
        self.assertEqual(self.held[TWO].calls, [])
        self.states[TWO].apply(moved)
        self.successResultOf(get)

    def test_waiting_for_a_state_ends(self) -> None:
        """Where the state does not come, the request fails and leaves no timer."""
        self.states[ONE].apply(state_of({0: ONE, 1: TWO}, version=2))
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key_of(1), CALL))
        self.clock.advance(5.0)
        self.failureResultOf(get, UnavailableError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_before_shards_are_given_out_everything_is_unavailable(self) -> None:
        """A cluster without shards says so, and when to come back."""
        self.states[ONE].apply(state_of({}, version=2))
        get = Deferred.fromCoroutine(self.routers[ONE].get(b"k", CALL))
        error = self.failureResultOf(get, UnavailableError).value
        self.assertEqual(error.members["retry_after"], 1)


class RetryTests(TwoNodes):
    """Shard 1 fails over from node two to node one."""

    def fail_over(self) -> None:
        """Make node one primary of shard 1, with what node two had."""
        self.held[ONE].held[1] = dict(self.held[TWO].held[1])
        self.states[ONE].apply(state_of({0: ONE, 1: ONE}, version=2, term=2))

    def test_a_write_that_was_not_begun_waits_for_the_failover(self) -> None:
        """Nobody reachable is a slow answer, not an error, once there is a primary."""
        del self.wire.ends[TWO]
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(1), b"v"), CALL)
        )
        for _ in range(20):
            self.clock.advance(0.1)
        self.assertNoResult(put)
        self.fail_over()
        _, served = self.successResultOf(put)
        self.assertEqual(served.node, "n1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_write_waits_no_longer_than_its_caller(self) -> None:
        """Nothing was done, and the caller hears so in time, with a time to return."""
        del self.wire.ends[TWO]
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(1), b"v"), CALL)
        )
        for _ in range(51):
            self.clock.advance(0.1)
        self.failureResultOf(put, UnavailableError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_red_shard_is_said_at_once(self) -> None:
        """Where no in-sync copy lives, waiting would not help."""
        del self.wire.ends[TWO]
        self.dead.add(TWO)
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key_of(1), CALL))
        error = self.failureResultOf(get, UnavailableError).value
        self.assertEqual(error.members, {"shard": 1, "retry_after": 1})
        self.assertIn("red", error.detail)

    def test_an_unknown_outcome_is_not_tried_again(self) -> None:
        """A write that may have happened is the caller's to decide about."""
        self.held[TWO].errors = [OutcomeUnknownError("the term ended")]
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(1), b"v"), CALL)
        )
        self.failureResultOf(put, OutcomeUnknownError)
        self.assertEqual(len(self.held[TWO].calls), 1)

    def test_an_unknown_outcome_under_an_idempotency_key_is_tried_again(self) -> None:
        """The primary tells a repetition by its key, so the caller gets its answer."""
        self.held[TWO].errors = [OutcomeUnknownError("the term ended")]
        call = Call("r1", 5.0, IdempotencyKey("PUT /kv/x", b"f"))
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(1), b"v"), call)
        )
        self.clock.advance(0.1)
        self.successResultOf(put)
        self.assertEqual(len(self.held[TWO].calls), 2)

    def test_an_outcome_once_unknown_is_never_called_not_done(self) -> None:
        """The first attempt may have happened, whatever became of the second."""
        self.held[TWO].errors = [OutcomeUnknownError("the term ended")]
        self.held[TWO].error = UnavailableError("no longer")
        call = Call("r1", 5.0, IdempotencyKey("PUT /kv/x", b"f"))
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(1), b"v"), call)
        )
        for _ in range(60):
            self.clock.advance(0.1)
        self.failureResultOf(put, OutcomeUnknownError)

    def test_a_read_of_a_silent_primary_goes_to_its_successor(self) -> None:
        """A read is given up as soon as another node leads."""
        self.wire.silent.add(TWO)
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key_of(1), CALL))
        self.clock.advance(2.0)
        self.assertNoResult(get)
        self.fail_over()
        self.clock.advance(0.01)
        self.clock.advance(0.01)
        _, served = self.successResultOf(get)
        self.assertEqual(served.node, "n1")

    def test_a_write_at_a_silent_primary_is_unknown_once_it_is_replaced(self) -> None:
        """An answer may be on its way for a while; then nobody knows, and says so."""
        self.wire.silent.add(TWO)
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(1), b"v"), CALL)
        )
        self.fail_over()
        self.clock.advance(0.9)
        self.assertNoResult(put)
        self.clock.advance(0.2)
        self.failureResultOf(put, OutcomeUnknownError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_hangs_here_ends_with_its_callers_time(self) -> None:
        """Local work obeys the deadline: unknown for writes, not done for reads."""
        self.held[ONE].gate = Deferred()
        put = Deferred.fromCoroutine(
            self.routers[ONE].write(Put(self.key_of(0), b"v"), CALL)
        )
        self.held[ONE].gate = Deferred()
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key_of(0), CALL))
        self.clock.advance(5.0)
        self.failureResultOf(put, OutcomeUnknownError)
        self.failureResultOf(get, UnavailableError)


class ReadingTests(TwoNodes):
    """Shard 0 is led by node one; both nodes have a copy of it."""

    def setUp(self) -> None:
        """Give shard 0 a second copy."""
        super().setUp()
        self.state = with_replica(self.state, 0, TWO)
        self.state = structs.replace(self.state, routing_version=2)
        for states in self.states.values():
            states.apply(self.state)
        self.key = self.key_of(0)
        self.old = Entry(self.key, 1, 3, value=b"old")
        self.held[ONE].held[0] = {self.key: Entry(self.key, 2, 3, value=b"new")}
        self.held[TWO].held[0] = {self.key: self.old}
        self.held[ONE].applied[0] = 2

    def read(self, node: NodeId, reading: Reading) -> tuple[bytes | None, str, str]:
        """Read the key through a node; return its value, who served it, and a token.

        Args:
            node: who is asked.
            reading: how fresh.
        """
        call = structs.replace(CALL, reading=reading)
        get = Deferred.fromCoroutine(self.routers[node].get(self.key, call))
        entry, served = self.successResultOf(get)
        assert entry is not None
        return entry.value, served.node, served.token

    def test_any_copy_serves_a_read_that_does_not_mind(self) -> None:
        """The node that is asked serves it without a message."""
        found = self.read(TWO, Reading(Level.ANY))
        self.assertEqual(found[:2], (b"old", "n2"))
        self.assertEqual(self.wire.asked, [])

    def test_a_linearizable_read_is_the_primarys(self) -> None:
        """A copy here does not matter."""
        found = self.read(TWO, Reading())
        self.assertEqual(found[:2], (b"new", "n1"))

    def test_another_copy_is_read_where_the_first_one_fails(self) -> None:
        """A copy that cannot be read costs a message, not an error."""
        del self.held[TWO].held[0]
        found = self.read(TWO, Reading(Level.ANY))
        self.assertEqual(found[:2], (b"new", "n1"))

    def test_a_copy_on_a_dead_node_is_not_asked(self) -> None:
        """Only live members are."""
        del self.held[ONE].held[0]
        self.dead.add(TWO)
        call = Call("r1", 0.1, reading=Reading(Level.ANY))
        get = Deferred.fromCoroutine(self.routers[ONE].get(self.key, call))
        self.clock.advance(0.2)
        self.failureResultOf(get, UnavailableError)
        self.assertEqual(self.wire.asked, [])

    def test_a_session_reads_what_it_wrote_on_whatever_copy(self) -> None:
        """The token of a write keeps a copy that lags from answering."""
        put = self.routers[TWO].write(Put(self.key, b"mine"), CALL)
        _, served = self.run_now(put)
        self.held[ONE].applied[0] = 2
        seen = read_tokens(served.token)
        found = self.read(TWO, Reading(Level.SESSION, seen))
        self.assertEqual(found[:2], (b"mine", "n1"))
        self.held[TWO].applied[0] = 2
        found = self.read(TWO, Reading(Level.SESSION, seen))
        self.assertEqual(found[1], "n2")

    def test_a_token_of_another_history_is_answered_by_the_primary(self) -> None:
        """What the session saw may be gone; what is true now is the primary's word."""
        seen = (Token(ShardId(0), Position("gone", 99)),)
        found = self.read(TWO, Reading(Level.SESSION, seen))
        self.assertEqual(found[:2], (b"new", "n1"))

    def test_a_token_of_another_shard_asks_for_nothing(self) -> None:
        """Each shard has its own."""
        seen = (Token(ShardId(1), Position("h", 99)),)
        found = self.read(TWO, Reading(Level.SESSION, seen))
        self.assertEqual(found[:2], (b"old", "n2"))

    def test_a_bounded_read_is_not_older_than_that(self) -> None:
        """The primary's place is asked for once in so long, and waited for."""
        bounded = Reading(Level.BOUNDED, max_staleness_s=1.0)
        self.assertEqual(self.read(TWO, bounded)[:2], (b"new", "n1"))
        self.held[TWO].applied[0] = 2
        asked = len(self.wire.asked)
        self.clock.advance(0.9)
        self.assertEqual(self.read(TWO, bounded)[:2], (b"old", "n2"))
        self.assertEqual(len(self.wire.asked), asked)
        self.held[ONE].applied[0] = 3
        self.clock.advance(0.2)
        self.assertEqual(self.read(TWO, bounded)[:2], (b"new", "n1"))

    def test_a_read_tells_what_it_saw(self) -> None:
        """Its token makes the session monotonic."""
        _, _, token = self.read(TWO, Reading())
        self.assertEqual(read_tokens(token), (Token(ShardId(0), Position("h", 2)),))

    def test_a_list_is_as_fresh_as_asked(self) -> None:
        """Each shard's part by its own copies."""
        call = structs.replace(CALL, reading=Reading(Level.ANY))
        page = self.run_now(self.routers[TWO].scan(b"", b"", 9, True, call))
        self.assertEqual([item.value for item in page.items], [b"old"])
        page = self.run_now(self.routers[TWO].scan(b"", b"", 9, True, CALL))
        self.assertEqual([item.value for item in page.items], [b"new"])
