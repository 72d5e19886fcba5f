"""Tests for `torua.node.writing` and the router: the short way, then the long one."""

from random import Random

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, Holdings
from tests.node.test_writing import CALL, PROMISE, Nodes
from torua.core.ids import NodeId
from torua.core.kv import Call, Outcome, Put, Served
from torua.errors import OutcomeUnknownError, OverloadedError, UnavailableError
from torua.node.router import Router


class RoutedTests(SynchronousTestCase):
    """What a router makes of what the short way tells."""

    def setUp(self) -> None:
        """Make two nodes; the first has the long way, too."""
        self.nodes = Nodes()
        self.held = {ONE: Holdings(0, 2), TWO: Holdings(1, 3)}
        self.routers = {node: self.router(node) for node in (ONE, TWO)}

    def router(self, node: NodeId) -> Router:
        """Make a router with both ways."""
        nodes, held = self.nodes, self.held[node]
        return Router(
            node,
            nodes.states[node],
            (held, held),
            nodes.wire.end(node),
            nodes.clock,
            is_live=lambda _: True,
            random=Random(1),
            targets=nodes.targets[node],
            writes=nodes.writes[node],
        )

    def write(
        self, key: bytes, call: Call = CALL
    ) -> "Deferred[tuple[Outcome, Served]]":
        """Begin to put a key through the first node.

        Args:
            key: which.
            call: who asks.
        """
        return Deferred.fromCoroutine(self.routers[ONE].write(Put(key, b"v"), call))

    def test_what_was_not_begun_goes_the_long_way(self) -> None:
        """Here and elsewhere."""
        for node, shard in ((ONE, 0), (TWO, 1)):
            key = self.nodes.keys_of(shard)[0]
            self.nodes.primaries[node].errors[key] = UnavailableError("not here")
            write = self.write(key)
            self.nodes.clock.advance(0)
            _, served = self.successResultOf(write)
            self.assertEqual(served.shard, shard)
            self.assertIn(key, self.held[node].held[shard])

    def test_what_may_have_been_done_is_done_again_only_where_that_is_safe(
        self,
    ) -> None:
        """Where even that does not help, it stays unknown."""
        key = self.nodes.keys_of(0)[0]
        primaries, held = self.nodes.primaries[ONE], self.held[ONE]
        primaries.errors[key] = OutcomeUnknownError("the term ended")
        unsafe = self.write(key)
        self.nodes.clock.advance(0)
        self.failureResultOf(unsafe, OutcomeUnknownError)
        self.assertEqual(held.calls, [])
        safe = structs.replace(CALL, idempotency=PROMISE)
        again = self.write(key, safe)
        self.nodes.clock.advance(0)
        self.successResultOf(again)
        held.error = OverloadedError("too much")
        in_vain = self.write(key, safe)
        self.nodes.clock.advance(0)
        self.failureResultOf(in_vain, OutcomeUnknownError)

    def test_what_is_traced_goes_the_long_way(self) -> None:
        """There its context is passed on."""
        key = self.nodes.keys_of(1)[0]
        traced = structs.replace(CALL, traceparent="00-1-2-01")
        self.successResultOf(self.write(key, traced))
        self.assertEqual(self.held[TWO].calls[0].traceparent, "00-1-2-01")
        self.assertEqual(self.nodes.primaries[TWO].begun, [])
