"""Tests for `torua.net.connection` and `torua.net.door`; time is the test's."""

from collections.abc import Callable

from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.net.wires import Town, Wire, node_id, self_address
from torua.codec.envelopes import Reply, Request, spell_envelope
from torua.codec.frames import FrameReader, FrameWriter, Lane
from torua.codec.plain import encode
from torua.net import connection, door, exchange
from torua.net.connection import Connection, State
from torua.net.handlers import Inbound
from torua.net.steps import LARGE_BYTES


def link_of(town: Town, one: int, two: int) -> Connection:
    """Give the link of one node with another.

    Args:
        town: where.
        one: whose.
        two: with whom.
    """
    link = town.peers[one]._peers[node_id(two)].link
    assert link is not None
    return link


class Visitor(StringTransport):
    """What a connection from outside leaves to be looked at.

    Invariants: ``protocol`` is at its other end.
    """

    protocol: Protocol


class QuietTests(SynchronousTestCase):
    """What a connection does while nobody says anything."""

    def setUp(self) -> None:
        """Make two connected nodes."""
        self.town = Town(1, 2)
        self.town.know(1, 2)
        self.town.run(0.2)
        self.link = link_of(self.town, 1, 2)

    def test_an_idle_connection_lives_by_heartbeats(self) -> None:
        """A minute without a message changes nothing."""
        self.town.run(60)
        self.assertEqual(self.town.events, {1: ["up 2"], 2: ["up 1"]})

    def test_silence_ends_it(self) -> None:
        """Within four seconds of the last byte both sides know."""
        for _ in range(80):
            self.town.reactor.advance(0.05)
        self.assertEqual(self.town.events[1][:2], ["up 2", "down 2"])
        self.assertEqual(self.town.events[2][:2], ["up 1", "down 1"])

    def test_our_own_standstill_is_no_silence(self) -> None:
        """Who was stopped himself reads first, and judges then."""
        self.town.reactor.advance(60)
        self.town.run(5)
        self.assertEqual(self.town.events, {1: ["up 2"], 2: ["up 1"]})

    def test_a_peer_that_takes_nothing_is_given_up(self) -> None:
        """Though its heartbeats come, it is of no use."""
        self.link.pauseProducing()
        reasons: list[str] = []
        self.town.peers[1].watch(lambda _: None, lambda _, why: reasons.append(why))
        for _ in range(110):
            self.town.run(0.1)
            self.link._wrote = self.town.reactor.seconds()
            link_of(self.town, 2, 1)._heard = self.town.reactor.seconds()
        self.assertIn("it took no byte", reasons[0])


class LargeTests(SynchronousTestCase):
    """What becomes of messages that take long."""

    def test_a_large_message_waits_for_a_turn_and_those_behind_it_for_it(self) -> None:
        """None overtakes it, and none is lost."""
        town, taken, steps = Town(1, 2), list[object](), list[Callable[[], object]]()
        town.know(1, 2)
        town.run(0.2)

        async def take(inbound: Inbound) -> None:
            """Note what came."""
            body = inbound.body
            taken.append(len(body) if isinstance(body, bytes) else body)

        town.peers[2].handle("parcel", take)
        self.patch(town.peers[2].steps, "add", steps.append)
        for body in ("before", bytes(LARGE_BYTES), bytes(LARGE_BYTES), "behind"):
            town.peers[1].send(node_id(2), "parcel", body, lane=Lane.CONTROL)
        town.run(0.5)
        self.assertEqual(taken, ["before"])
        steps.pop()()
        self.assertEqual(taken, ["before", LARGE_BYTES])
        town.run(0.5)
        steps.pop()()
        self.assertEqual(taken, ["before", LARGE_BYTES, LARGE_BYTES, "behind"])
        self.assertEqual(steps, [])

    def test_a_large_message_is_written_over_turns(self) -> None:
        """However much of it the other side takes, others get their turn between."""
        town, taken = Town(1, 2), list[int]()
        town.know(1, 2)
        town.run(0.2)

        async def take(inbound: Inbound) -> None:
            """Note how much came."""
            assert isinstance(inbound.body, bytes)
            taken.append(len(inbound.body))

        town.peers[2].handle("parcel", take)
        wire = link_of(town, 1, 2).transport
        assert isinstance(wire, Wire)
        town.peers[1].send(node_id(2), "parcel", bytes(3 * LARGE_BYTES))
        self.assertLess(sum(map(len, filter(None, wire.waiting))), 2 * LARGE_BYTES)
        town.run(0.5)
        self.assertEqual(taken, [3 * LARGE_BYTES])


class StrangerTests(SynchronousTestCase):
    """What comes from outside before, and after, it is known who it is."""

    def setUp(self) -> None:
        """Make one node."""
        self.town = Town(1, 1)
        self.peers = self.town.peers[1]

    def knock(self, data: bytes = b"") -> Visitor:
        """Connect from outside, and say something."""
        protocol = self.peers.factory().buildProtocol(self_address())
        transport = Visitor()
        assert isinstance(protocol, Protocol)
        protocol.makeConnection(transport)
        transport.protocol = protocol
        if data:
            protocol.dataReceived(data)
        return transport

    def dropped(self, reason: str) -> float:
        """Tell how many drops of a kind were counted."""
        return float(self.peers.meters.drops.labels(reason)._value.get())

    def test_who_says_nothing_is_sent_away(self) -> None:
        """Before the preamble, after it, and in an exchange."""
        for data in (b"", b"torua", connection.PREAMBLE, exchange.PREAMBLE):
            transport = self.knock(data)
            self.town.reactor.advance(4.9)
            self.assertFalse(transport.disconnecting)
            self.town.reactor.advance(0.2)
            self.assertTrue(transport.disconnecting)
        self.assertEqual(self.dropped("slow"), 4)

    def test_strangers_are_bounded(self) -> None:
        """One too many gets no protocol; as many exchanges are bounded apart."""
        doors = [self.knock() for _ in range(door.STRANGERS_MAX)]
        self.assertIsNone(self.peers.factory().buildProtocol(self_address()))
        doors[0].protocol.connectionLost()
        self.knock()
        for transport in doors[1 : door.EXCHANGES_MAX + 1]:
            transport.protocol.dataReceived(exchange.PREAMBLE)
        doors[-1].protocol.dataReceived(exchange.PREAMBLE)
        self.assertTrue(doors[-1].disconnecting)
        self.assertFalse(doors[1].disconnecting)
        self.assertEqual(self.dropped("crowded"), 2)

    def test_an_exchange_may_come_byte_by_byte(self) -> None:
        """It is answered once it is whole, and then it is over."""
        self.peers.on_exchange = lambda body: body * 2
        frames = FrameWriter().message(Lane.CONTROL, 0, b"ping")
        transport = self.knock()
        for byte in exchange.PREAMBLE + b"".join(frames):
            transport.protocol.dataReceived(bytes((byte,)))
        reader = FrameReader()
        reader.feed(transport.value())
        message = reader.read()
        assert message is not None
        self.assertEqual(message.body, b"pingping")
        self.assertTrue(transport.disconnecting)

    def test_the_same_complaint_is_logged_once_a_minute(self) -> None:
        """And counted every time."""
        lines: list[str] = []
        complaints = self.peers._complaints
        complaints._log.warn = lambda *_, **fields: lines.append(  # type: ignore[method-assign]
            fields["detail"]
        )
        self.addCleanup(complaints._log.__dict__.pop, "warn")
        for _ in range(3):
            self.knock(b"GET /")
        self.assertEqual((len(lines), self.dropped("garbage")), (1, 3))
        self.assertIn("GET /", lines[0])
        self.town.reactor.advance(61)
        self.knock(b"GET /")
        self.assertEqual(len(lines), 2)


class GarbageTests(SynchronousTestCase):
    """Peers that proved themselves, and then say what no peer says."""

    def test_garbage_ends_the_connection(self) -> None:
        """No CBOR, no envelope, and an answer to what was not yet sent whole."""
        for body in (b"\xff", encode([9]), encode({"a": 1}), encode([0, 1])):
            town = Town(1, 2)
            town.know(1, 2)
            town.run(0.2)
            link = link_of(town, 1, 2)
            link._write(link._writer.message(Lane.READS, 1, body))
            town.run()
            self.assertIs(link.state, State.CLOSED)
            drops = town.peers[2].meters.drops
            self.assertEqual(drops.labels("garbage")._value.get(), 1)

    def test_an_answer_that_nobody_waits_for_is_counted(self) -> None:
        """It may only be late."""
        town = Town(1, 2)
        town.know(1, 2)
        town.run(0.2)
        link = link_of(town, 1, 2)
        link._write(link._writer.message(Lane.READS, 1, spell_envelope(Reply(5, 1))[:]))
        town.run()
        self.assertIs(link.state, State.UP)
        drops = town.peers[2].meters.drops
        self.assertEqual(drops.labels("late-answer")._value.get(), 1)

    def test_too_many_requests_at_once_are_refused(self) -> None:
        """As many handlers as allowed are at work, one more is told so."""
        town = Town(1, 2)
        town.know(1, 2)
        town.run(0.2)
        far, near = link_of(town, 2, 1), link_of(town, 1, 2)
        far.serving = 1024
        before = far._meters.frames_out[Lane.READS]
        request = spell_envelope(Request(7, "echo", "", "", 1))[:]
        near._write(near._writer.message(Lane.READS, 1, request))
        town.run()
        self.assertEqual(far.serving, 1024)
        self.assertEqual(far._meters.frames_out[Lane.READS], before + 1)
