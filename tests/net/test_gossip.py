"""Tests for `torua.net.gossip`: a port without a socket."""

from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from torua.codec.datagrams import DATAGRAM_BYTES_MAX
from torua.core.ids import Address
from torua.net.gossip import GossipPort


class Wire:
    """A UDP transport that keeps what is written, or has no way to send it.

    Invariants: what is written stays in order.
    """

    def __init__(self) -> None:
        """Have sent nothing."""
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.broken = False

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Keep a datagram.

        Args:
            data: what.
            address: to whom.
        """
        if self.broken:
            raise OSError("network is unreachable")
        self.sent.append((data, address))


class GossipPortTests(SynchronousTestCase):
    """What passes, and what is counted instead."""

    def setUp(self) -> None:
        """Make a port that listens."""
        self.registry = CollectorRegistry()
        self.heard: list[tuple[bytes, Address]] = []
        self.wire = Wire()
        hear = self.heard.append
        self.port = GossipPort(lambda data, at: hear((data, at)), self.registry)
        self.port.transport = self.wire  # type: ignore[assignment]

    def undelivered(self, reason: str) -> float | None:
        """Tell how many datagrams were not carried for a reason."""
        name = "torua_gossip_undelivered_total"
        return self.registry.get_sample_value(name, {"reason": reason})

    def test_datagrams_pass_both_ways_and_are_counted(self) -> None:
        """Bytes in, bytes out, with the addresses."""
        self.port.send(Address("127.0.0.1", 9), b"out")
        self.port.send(Address("::1", 9), b"out")
        self.port.datagramReceived(b"in", ("10.0.0.1", 8))
        self.assertEqual(self.wire.sent[0], (b"out", ("127.0.0.1", 9)))
        self.assertEqual(self.heard, [(b"in", Address("10.0.0.1", 8))])
        for direction, count in (("in", 2), ("out", 6)):
            labels = {"direction": direction}
            value = self.registry.get_sample_value("torua_gossip_bytes_total", labels)
            self.assertEqual(value, count)

    def test_what_is_too_large_passes_neither_way(self) -> None:
        """One byte more than the limit is counted and dropped."""
        large = bytes(DATAGRAM_BYTES_MAX + 1)
        self.port.send(Address("127.0.0.1", 9), large)
        self.port.datagramReceived(large, ("10.0.0.1", 8))
        self.assertEqual((self.wire.sent, self.heard), ([], []))
        self.assertEqual(self.undelivered("oversize"), 2)

    def test_no_address_makes_it_raise(self) -> None:
        """Names, port 0, a network that is down: the datagram is as good as lost."""
        self.port.send(Address("evil.example", 9), b"x")
        self.port.send(Address("127.0.0.1", 0), b"x")
        self.wire.broken = True
        self.port.send(Address("127.0.0.1", 9), b"x")
        self.assertEqual(self.undelivered("address"), 3)

    def test_a_closed_port_sends_nothing(self) -> None:
        """Before it listens and after it stopped."""
        self.port.connectionRefused()
        self.port.stopProtocol()
        self.port.send(Address("127.0.0.1", 9), b"x")
        self.assertEqual(self.undelivered("closed"), 1)
        self.assertEqual(self.undelivered("refused"), 1)
