"""Tests for `torua.node.router`: two routers, a wire of real CBOR, no sockets."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, Holdings, States, Wire, state_of
from torua.core.kv import (
    Call,
    Condition,
    Delete,
    Get,
    IdempotencyKey,
    Outcome,
    Put,
)
from torua.core.routing import shard_of
from torua.errors import (
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from torua.net.peers import Lane
from torua.node.router import Router

T = TypeVar("T")
CALL = Call("r1", timeout_s=5.0)
KEYS = [b"key-%d" % number for number in range(20)]


class RouterTests(SynchronousTestCase):
    """Shard 0 is on node one, shard 1 on node two; requests come to either."""

    def setUp(self) -> None:
        """Make two nodes."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.state = state_of({0: ONE, 1: TWO})
        self.states = {node: States(self.state) for node in (ONE, TWO)}
        self.held = {ONE: Holdings(0), TWO: Holdings(1)}
        self.routers = {
            node: Router(
                node,
                self.states[node],
                self.held[node],
                self.wire.end(node),
                self.clock,
            )
            for node in (ONE, TWO)
        }

    def run_now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns that has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def key_of(self, shard: int) -> bytes:
        """Find a key of a shard."""
        return next(k for k in KEYS if shard_of(self.state.slots, k) == shard)

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

    def test_who_asks_and_what_it_promised_travel_along(self) -> None:
        """Request id, deadline, trace and idempotency key reach the primary's node."""
        promise = IdempotencyKey("PUT /kv/x", b"f")
        call = Call("r9", 5.0, promise, "00-trace")
        self.run_now(self.routers[ONE].write(Put(self.key_of(1), b""), call))
        self.assertEqual(self.held[TWO].calls, [call])

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
        outcomes = self.run_now(self.routers[ONE].bulk(list(map(Get, KEYS)), CALL))
        for key, outcome in zip(KEYS, outcomes, strict=True):
            if shard_of(self.state.slots, key) == 0:
                assert outcome.entry is not None
                self.assertEqual(outcome.entry.value, key)
            else:
                self.assertEqual(
                    outcome, Outcome(error="unavailable", detail="no connection")
                )

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
