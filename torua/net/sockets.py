"""TCP sockets as Twisted has them: how they are opened and tuned."""

import socket
import sys
from typing import Generic, TypeVar, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import (
    IAddress,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection as Socket

from torua.core.ids import Address

CONNECT_S = 2.0
"""How long TCP may take: one lost SYN is sent again after 1 s; failover waits."""

NOTSENT_BYTES = 128 << 10
"""What the kernel may hold unsent: what it has taken, no urgent frame can overtake."""

_TCP_NOTSENT_LOWAT = 25

P = TypeVar("P", bound=Protocol)


class OneFactory(Factory, Generic[P]):
    """Gives out the one protocol that it was made with.

    Invariants: it is used for one connection.
    """

    noisy = False

    def __init__(self, protocol: P) -> None:
        """Prepare to give ``protocol`` out."""
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> P:
        """Give it out."""
        return self._protocol


def endpoint(reactor: IReactorTime, address: Address) -> IStreamClientEndpoint:
    """Find the endpoint for an address: of IPv4, IPv6, or by name.

    Args:
        reactor: it also connects by TCP.
        address: where to connect to.
    """
    tcp = IReactorTCP(reactor)
    if isIPAddress(address.host):
        return TCP4ClientEndpoint(tcp, address.host, address.port, CONNECT_S)
    if isIPv6Address(address.host):
        return TCP6ClientEndpoint(tcp, address.host, address.port, CONNECT_S)
    return HostnameEndpoint(tcp, address.host, address.port, CONNECT_S)


def socket_of(protocol: Protocol) -> Socket:
    """Give the transport of a protocol that is connected by TCP."""
    assert protocol.transport is not None
    return cast(Socket, protocol.transport)


def write_now(transport: Socket, data: bytes) -> None:
    """Write at once what the socket takes; the transport writes the rest when it can.

    The reactor's own way waits for the next turn, and tells the kernel twice whether
    this socket is of interest.

    Args:
        transport: a connection's, by TCP alone, or a test's.
        data: to be written.
    """
    idle = isinstance(transport, Socket) and not (
        transport.dataBuffer or transport._tempDataBuffer
    )
    if idle and transport.connected and not transport.disconnecting:
        try:
            taken = transport.socket.send(data)
        except OSError:
            # Shows again to the reactor, which then closes the connection.
            taken = 0
        if taken == len(data):
            return
        data = data[taken:]
    if data:
        transport.write(data)


def host_of(protocol: Protocol) -> str:
    """Name the host on the other side."""
    peer = socket_of(protocol).getPeer()
    return str(getattr(peer, "host", peer))


def tune(transport: object) -> None:
    """Set what a socket of small, urgent and large messages wants."""
    if isinstance(transport, Socket):
        transport.setTcpNoDelay(True)
        level, option = socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT
        if sys.platform == "linux":
            transport.getHandle().setsockopt(level, option, NOTSENT_BYTES)
