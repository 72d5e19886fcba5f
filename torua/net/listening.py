"""Ports: one number for UDP and TCP, and one clear line where it cannot be had."""

import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from torua.core.ids import Address
from torua.errors import StartupError

PORT_ATTEMPTS = 20
"""How often a free TCP port is tried whose UDP twin is taken."""

BACKLOG = 1024
"""So many connections may wait to be taken: as many clients as may come at once after a
fault.  One more is let in after a second only, when its system asks again; Twisted's
own number is 50."""


def listen(reactor: Any, address: Address, factory: IProtocolFactory) -> IListeningPort:
    """Listen by TCP.

    Args:
        reactor: opens the port.
        address: where; port 0 picks a free one.
        factory: what is listened with.

    Raises:
        StartupError: it cannot be had; it says why.
    """
    host = quoteStringArgument(address.host)
    kind = "tcp6" if ":" in address.host else "tcp"
    where = f"{kind}:{address.port}:backlog={BACKLOG}:interface={host}"
    outcome: list[IListeningPort | Failure] = []
    serverFromString(reactor, where).listen(factory).addBoth(outcome.append)
    (port,) = outcome
    if isinstance(port, Failure):
        error = getattr(port.value, "socketError", None)
        why = getattr(error, "strerror", None) or port.getErrorMessage()
        raise StartupError(f"cannot listen on {address} (TCP): {why}")
    return port


def listen_twice(
    reactor: Any,
    address: Address,
    factory: IProtocolFactory,
    ports: list[IListeningPort],
) -> tuple[socket.socket, int]:
    """Take one number by UDP and TCP; return the UDP socket, and the number.

    For port 0 it looks for a number that is free in both.

    Args:
        reactor: opens the TCP port.
        address: where.
        factory: what TCP is listened with.
        ports: takes the TCP port.

    Raises:
        StartupError: it cannot be had; it says why.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    for attempt in range(PORT_ATTEMPTS):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.setblocking(False)
        try:
            udp.bind(address)
            number = int(udp.getsockname()[1])
            ports.append(listen(reactor, Address(address.host, number), factory))
        except OSError as error:
            udp.close()
            why = error.strerror or error
            raise StartupError(f"cannot listen on {address} (UDP): {why}") from error
        except StartupError:
            udp.close()
            if address.port or attempt + 1 == PORT_ATTEMPTS:
                raise
        else:
            return udp, number
    raise AssertionError


def number_of(port: IListeningPort) -> int:
    """Tell which number a port got."""
    bound: Any = port.getHost()
    return int(bound.port)


def resolve(host: str) -> str:
    """Return the IP address of a host; gossip needs one."""
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError as error:
        raise StartupError(f"--advertise {host!r}: {error.strerror}") from error


def stopped(port: IListeningPort) -> "Deferred[Any]":
    """Listen no more; the Deferred fires when the port is free."""
    return maybeDeferred(port.stopListening)
