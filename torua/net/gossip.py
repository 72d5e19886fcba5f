"""The one UDP socket of a node: datagrams in and out, counted, and nothing more."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from torua.codec.datagrams import DATAGRAM_BYTES_MAX
from torua.core.ids import Address


class GossipPort(DatagramProtocol):
    """Carries datagrams; it does not know what they mean.

    To be given to ``listenUDP`` by the assembly, under the number of the TCP listener.

    Invariants: nothing larger than `DATAGRAM_BYTES_MAX` passes either way; `send` never
    raises, for a datagram may always be lost.
    """

    transport: IUDPTransport | None

    def __init__(
        self,
        on_datagram: Callable[[bytes, Address], None],
        registry: CollectorRegistry,
    ) -> None:
        """Prepare; nothing passes before the port listens.

        Args:
            on_datagram: takes each datagram and where it came from.
            registry: for the metrics ``torua_gossip_*``.
        """
        self.transport = None
        self._on_datagram = on_datagram
        datagrams = Counter(
            "torua_gossip_datagrams", "Datagrams", ["direction"], registry=registry
        )
        octets = Counter(
            "torua_gossip_bytes",
            "Bytes of datagrams, without headers of UDP",
            ["direction"],
            registry=registry,
        )
        unsent = "Datagrams not carried, by reason"
        drops = Counter(
            "torua_gossip_undelivered", unsent, ["reason"], registry=registry
        )
        self._in = (datagrams.labels("in"), octets.labels("in"))
        self._out = (datagrams.labels("out"), octets.labels("out"))
        self._drops = {
            reason: drops.labels(reason)
            for reason in ("oversize", "closed", "address", "refused")
        }

    def send(self, address: Address, data: bytes) -> None:
        """Send a datagram, or count why it was not sent.

        Args:
            address: its host must be an IP address.
            data: at most `DATAGRAM_BYTES_MAX` bytes.
        """
        host, port = address
        if self.transport is None:
            self._drop("closed")
        elif len(data) > DATAGRAM_BYTES_MAX:
            self._drop("oversize")
        elif not port or not (isIPAddress(host) or isIPv6Address(host)):
            self._drop("address")
        else:
            self._write(self.transport, data, address)

    def stopProtocol(self) -> None:
        """Carry nothing any more."""
        self.transport = None

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Hand on what came, unless it is too large to be ours."""
        if len(datagram) > DATAGRAM_BYTES_MAX:
            self._drop("oversize")
            return
        _count(self._in, datagram)
        self._on_datagram(datagram, Address(*addr[:2]))

    def connectionRefused(self) -> None:
        """Count that the last datagram met a closed port."""
        self._drop("refused")

    def _write(self, transport: IUDPTransport, data: bytes, address: Address) -> None:
        """Give a datagram to the socket, which may have no way to send it."""
        try:
            transport.write(data, (address.host, address.port))
        except (OSError, ValueError):
            self._drop("address")
        else:
            _count(self._out, data)

    def _drop(self, reason: str) -> None:
        """Count a datagram that was not carried."""
        self._drops[reason].inc()


def _count(counters: tuple[Counter, Counter], data: bytes) -> None:
    """Count one datagram and its bytes."""
    counters[0].inc()
    counters[1].inc(len(data))
