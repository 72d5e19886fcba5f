"""Tests for `torua.http.gate`, and for a site that has too much to do."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.http.wire import Wire, World, request
from torua.core.configuration import Configuration, Limits
from torua.core.resilience.admission import (
    LANE_MIN,
    LIMIT_FIRST,
    REFUSAL_MAX_S,
    TURN_S,
    Rank,
)
from torua.core.resilience.policies import Policies
from torua.http.gate import rank_of


def turns_awaited(world: World) -> int:
    """Count what waits for the end of the reactor's turn."""
    now = world.clock.seconds()
    return sum(call.getTime() <= now for call in world.clock.getDelayedCalls())


class RankTests(SynchronousTestCase):
    """What is asked has its lane by its route."""

    def test_each_route_has_its_lane(self) -> None:
        """What operators need goes first, what takes many at once last."""
        found = {
            Rank.CONTROL: [("GET", "/health"), ("GET", "/metrics"), ("POST", "/x")],
            Rank.READ: [("GET", "/kv"), ("GET", "/kv/<rest:key>"), ("GET", "/changes")],
            Rank.WRITE: [("PUT", "/kv/<rest:key>"), ("DELETE", "/kv/<rest:key>")],
            Rank.QUERY: [("POST", "/cypher"), ("POST", "/graph/import/<table>")],
            Rank.BULK: [("POST", "/bulk")],
        }
        for rank, routes in found.items():
            self.assertEqual({rank_of(*route) for route in routes}, {rank})


OFF = Configuration(resilience=Policies(admission=False))


class OverloadTests(SynchronousTestCase):
    """Reads that do not end fill the node."""

    def setUp(self) -> None:
        """Have every request wait for the test."""
        self.world = World(admission=True, connections_max=5000)
        self.gate = self.world.key_value.gate = Deferred()
        self.wires = [self.ask("GET", "/kv/a") for _ in range(LIMIT_FIRST)]

    def ask(self, method: str, target: str, body: bytes = b"") -> Wire:
        """Begin a request.

        Args:
            method: as it shall stand there.
            target: as it shall stand there.
            body: of the request.
        """
        wire = self.world.connect()
        wire.send(request(method, target, body))
        return wire

    def statuses(self, wires: list[Wire]) -> list[int]:
        """Return the statuses of the answers so far."""
        return [each.status for wire in wires for each in wire.responses()]

    def test_one_more_than_there_is_room_for_gets_429_and_when_to_come_back(
        self,
    ) -> None:
        """What was taken is done all the same; this is counted."""
        (answer,) = self.ask("GET", "/kv/a").responses()
        self.assertEqual(answer.status, 429)
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertEqual(answer.json["type"], "urn:torua:problem:overloaded")
        refused = self.world.metric("torua_http_admission_refused_total", lane="read")
        self.assertEqual(refused, 1)
        self.gate.callback(None)
        self.assertEqual(self.statuses(self.wires), [404] * LIMIT_FIRST)

    def test_whoever_looks_after_the_node_is_always_let_in(self) -> None:
        """Health and metrics are answered, however much there is to do."""
        for target in ("/health", "/metrics"):
            (answer,) = self.ask("GET", target).responses()
            self.assertEqual(answer.status, 200)

    def test_a_connection_that_was_refused_serves_on(self) -> None:
        """A body that was not taken is read and dropped, and accounted for."""
        more = [self.ask("PUT", "/kv/b", b"x" * 1000) for _ in range(LANE_MIN)]
        wire = self.ask("PUT", "/kv/b", b"x" * 1000)
        self.assertEqual(self.statuses([wire, *more]), [429])
        self.assertEqual(self.world.metric("torua_http_held_bytes"), LANE_MIN * 1000)
        self.ask("PUT", "/kv/b", b"x" * 1000)
        self.assertEqual(self.world.metric("torua_http_held_bytes"), LANE_MIN * 1000)
        wire.send(request("GET", "/health"))
        self.assertEqual(self.statuses([wire]), [200])
        self.gate.callback(None)
        self.world.clock.advance(0)
        self.assertEqual(self.statuses(more), [204] * LANE_MIN)
        self.assertEqual(self.world.metric("torua_http_held_bytes"), 0)

    def test_a_large_body_is_not_even_read_where_there_is_no_room(self) -> None:
        """Its headers are answered; the connection ends with that."""
        wire = self.bulk_of(300_000)
        (answer,) = wire.responses()
        self.assertEqual(answer.status, 429)
        self.assertEqual(answer.headers["connection"], "close")
        refused = self.world.metric("torua_http_admission_refused_total", lane="bulk")
        self.assertEqual(refused, 1)

    def test_a_body_of_a_refused_request_is_dropped_as_it_comes(self) -> None:
        """None of it is held, though more was done meanwhile; the connection stays."""
        wire = self.bulk_of(100_000)
        held = self.world.metric("torua_http_held_bytes")
        wire.send(b"x" * 60_000)
        self.assertEqual(self.world.metric("torua_http_held_bytes"), held)
        self.gate.callback(None)
        self.world.clock.advance(0)
        self.assertEqual(self.statuses([wire]), [])
        wire.send(b"x" * 40_000 + request("GET", "/health"))
        self.assertEqual([each.status for each in wire.responses()], [429, 200])
        refused = self.world.metric("torua_http_admission_refused_total", lane="bulk")
        self.assertEqual(refused, 1)

    def bulk_of(self, length: int) -> Wire:
        """Send the head of a bulk request for which there is no room.

        Args:
            length: of its body.
        """
        for _ in range(LANE_MIN):
            self.ask("POST", "/bulk", b'{"op":"get","key":"a"}')
        wire = self.world.connect()
        head = f"POST /bulk HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        wire.send(head.encode())
        return wire

    def test_refusals_leave_one_after_the_other(self) -> None:
        """A storm of them is spread; each leaves within a bound."""
        wires = [self.ask("GET", "/kv/a") for _ in range(1000)]
        at_once = len(self.statuses(wires))
        self.world.clock.advance(REFUSAL_MAX_S)
        self.assertLess(at_once, 10)
        self.assertEqual(len(self.statuses(wires)), 1000 - at_once)

    def test_room_is_there_again_once_answers_left(self) -> None:
        """As soon as the turn of the reactor is over."""
        self.gate.callback(None)
        self.assertEqual(self.statuses([self.ask("GET", "/kv/a")]), [429])
        self.world.clock.advance(0)
        self.assertEqual(self.statuses([self.ask("GET", "/kv/a")]), [404])
        self.assertEqual(self.world.metric("torua_http_admission_at_work"), 1)
        self.world.clock.advance(0)
        self.assertEqual(self.world.metric("torua_http_admission_at_work"), 0)
        self.assertEqual(turns_awaited(self.world), 0)

    def test_it_is_turned_off_and_on_while_requests_are_at_work(self) -> None:
        """What was taken meanwhile counts, whoever is answered when."""
        self.world.site.use(OFF)
        more = [self.ask("GET", "/kv/a") for _ in range(10)]
        self.assertEqual(self.statuses(more), [])
        at_work = LIMIT_FIRST + len(more)
        self.assertEqual(self.world.metric("torua_http_admission_at_work"), at_work)
        self.world.site.use(Configuration())
        self.assertEqual(self.statuses([self.ask("GET", "/kv/a")]), [429])
        self.world.site.use(OFF)
        self.gate.callback(None)
        self.assertEqual(self.world.metric("torua_http_admission_at_work"), 0)
        self.world.site.use(Configuration())
        self.assertEqual(self.statuses([self.ask("GET", "/kv/a")]), [404])

    def test_what_may_be_at_work_is_configured(self) -> None:
        """A lower bound counts at once, a turn is as long as it is said to be."""
        self.world.site.use(Configuration(limits=Limits(requests=40, turn_s=9.0)))
        self.assertEqual(self.world.metric("torua_http_admission_limit"), 40)
        self.world.clock.advance(TURN_S * 2)
        self.assertEqual(self.world.metric("torua_http_admission_limit"), 40)

    def test_a_long_turn_shrinks_what_is_taken(self) -> None:
        """It is measured from the first request of a turn."""
        self.world.clock.advance(TURN_S * 2)
        self.assertLess(self.world.metric("torua_http_admission_limit"), LIMIT_FIRST)


class OffTests(SynchronousTestCase):
    """A site that takes everything."""

    def test_nothing_is_refused_where_it_is_off(self) -> None:
        """Nor is anything measured."""
        world = World(connections_max=5000)
        world.key_value.gate = Deferred()
        wires = list[Wire]()
        for _ in range(LIMIT_FIRST * 2):
            wires.append(world.connect())
            wires[-1].send(request("GET", "/kv/a"))
        world.key_value.gate.callback(None)
        self.assertEqual({len(wire.responses()) for wire in wires}, {1})
        self.assertEqual(turns_awaited(world), 0)


class BulkTests(SynchronousTestCase):
    """Bulk requests that take their time."""

    def test_bulk_requests_that_all_stay_long_make_room_for_fewer(self) -> None:
        """Many are taken at first; what is found out lasts."""
        world = World(admission=True)
        before = world.metric("torua_http_admission_bulk_limit_bytes")
        gate = world.key_value.gate = Deferred()
        for _ in range(20):
            wire = world.connect()
            wire.send(request("POST", "/bulk", b'{"op":"get","key":"a"}'))
        world.clock.advance(3)
        gate.callback(None)
        world.turn()
        after = world.metric("torua_http_admission_bulk_limit_bytes")
        self.assertLess(after, before)
