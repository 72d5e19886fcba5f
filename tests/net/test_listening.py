"""Ports, in memory."""

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor

from torua.core.ids import Address
from torua.net.listening import listen


def test_many_clients_may_come_at_once() -> None:
    """As after a fault: the kernel keeps them until they are taken."""
    reactor = MemoryReactor()
    factory = Factory()
    listen(reactor, Address("127.0.0.1", 7400), factory)
    assert reactor.tcpServers == [(7400, factory, 1024, "127.0.0.1")]
