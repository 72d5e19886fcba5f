"""Two or more `Peers` in memory, on wires that a test delivers by, byte by byte."""

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from torua.core.ids import Address, NodeId
from torua.net.peers import Identity, Inbound, Peers


class Wire:
    """One end of a connection: what it writes waits until the test delivers it.

    Invariants: bytes arrive in order; after an end is lost, nothing reaches it.
    """

    def __init__(
        self, reactor: MemoryReactorClock, random: Random, protocol: Protocol
    ) -> None:
        """Make an end; `plug` connects it.

        Args:
            reactor: whose clock it goes by.
            random: chooses what is lost.
            protocol: at this end.
        """
        self.reactor = reactor
        self.random = random
        self.protocol = protocol
        self.other: Wire
        self.waiting: deque[bytes | None] = deque()
        self.lost = self.reading = False

    def plug(self) -> None:
        """Tell the protocol that it is connected."""
        self.reading = True
        self.protocol.makeConnection(self)

    def can_deliver(self) -> bool:
        """Tell whether the next thing that this end sent may arrive."""
        return bool(self.waiting) and (self.other.reading or self.other.lost)

    def deliver(self) -> None:
        """Have the next thing arrive: bytes, or the end."""
        data = self.waiting.popleft()
        if self.other.lost:
            return
        if data is None:
            self.other.lose()
        else:
            self.other.protocol.dataReceived(data)

    def lose(self) -> None:
        """Tell both ends that the connection is over, this one now."""
        if not self.lost:
            self.lost = True
            self.waiting.append(None)
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def write(self, data: bytes) -> None:
        """Have bytes wait."""
        if not self.lost:
            self.waiting.append(data)

    def writeSequence(self, buffers: Iterable[bytes]) -> None:
        """Have bytes wait."""
        self.write(b"".join(buffers))

    def abortConnection(self) -> None:
        """End it; some of what waits may still arrive."""
        kept = self.random.randint(0, len(self.waiting))
        while len(self.waiting) > kept:
            self.waiting.pop()
        self.reactor.callLater(0, self.lose)

    def loseConnection(self) -> None:
        """End it; what waits arrives."""
        self.reactor.callLater(0, self.lose)

    def getPeer(self) -> IPv4Address:
        """Name the other side."""
        return IPv4Address("TCP", "10.0.0.1", 1)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Let it write as it likes.

        Args:
            producer: never told to pause.
            streaming: always.
        """

    def unregisterProducer(self) -> None:
        """Do nothing."""

    def pauseProducing(self) -> None:
        """Let nothing arrive."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Let things arrive."""
        self.reading = True


class Town:
    """Nodes that reach each other by wires; a seed chooses what happens next.

    Invariants: all nodes share one clock, and a node listens at the port of its number.
    """

    def __init__(self, seed: int, count: int, secret: bytes | None = None) -> None:
        """Build it.

        Args:
            seed: of every choice.
            count: of nodes, numbered from 1.
            secret: of all.
        """
        self.random = Random(seed)
        self.reactor = MemoryReactorClock()
        self.peers: dict[int, Peers] = {}
        self.events: dict[int, list[str]] = {}
        self.wires: list[Wire] = []
        self.secret = secret
        for number in range(1, count + 1):
            self.start(number, 1)

    def start(self, number: int, epoch: int) -> Peers:
        """Start a node, or start it anew.

        Args:
            number: gives its node id and its port.
            epoch: its life.
        """
        peers = Peers(
            self.reactor,
            Identity(node_id(number), f"n{number}", epoch),
            "town",
            secret=self.secret,
            registry=CollectorRegistry(),
        )
        events: list[str] = []
        peers.watch(
            lambda other: events.append(f"up {int(other, 16)}"),
            lambda other, _: events.append(f"down {int(other, 16)}"),
        )
        peers.handle("echo", echo)
        peers.dice = self.random
        self.peers[number], self.events[number] = peers, events
        return peers

    def know(self, one: int, two: int, epoch: int = 1) -> None:
        """Tell a node of another.

        Args:
            one: is told.
            two: is told of.
            epoch: of the latter.
        """
        self.peers[one].know(node_id(two), Address("10.0.0.1", two), epoch)

    def step(self) -> bool:
        """Have one thing happen that can; tell whether there was any."""
        self.reactor.advance(0)
        clients: list[Any] = self.reactor.tcpClients
        ready: list[Any] = [wire for wire in self.wires if wire.can_deliver()]
        ready += clients
        if not ready:
            return False
        chosen = self.random.choice(ready)
        if isinstance(chosen, Wire):
            chosen.deliver()
        else:
            self._connect(clients.index(chosen))
        return True

    def run(self, seconds: float = 0.0) -> None:
        """Have all happen that can, and let time pass if there is to be any."""
        while self.step():
            pass
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end:
            self.reactor.advance(0.05)
            while self.step():
                pass

    def links(self, one: int, two: int) -> list[Wire]:
        """List the open wire ends of one node's link with another.

        Args:
            one: whose link.
            two: with whom.
        """
        peer = self.peers[one]._peers.get(node_id(two))
        link = peer.link if peer else None
        transport: Any = link.transport if link else None
        return [w for w in self.wires if w is transport and not w.lost]

    def _connect(self, index: int) -> None:
        """Have a dial arrive, unless it was given up meanwhile."""
        connector: Any = self.reactor.connectors.pop(index)
        _, port, factory, _, _ = self.reactor.tcpClients.pop(index)
        if getattr(connector, "stoppedConnecting", False):
            return
        dialling: Any = factory.buildProtocol(None)
        accepting: Any = self.peers[port].factory().buildProtocol(self_address())
        near = Wire(self.reactor, self.random, dialling)
        far = Wire(self.reactor, self.random, accepting)
        near.other, far.other = far, near
        self.wires += [near, far]
        far.plug()
        near.plug()


async def echo(inbound: Inbound) -> object:
    """Answer with what came."""
    return inbound.body


def self_address() -> IPv4Address:
    """Give some address."""
    return IPv4Address("TCP", "10.0.0.1", 1)


def node_id(number: int) -> NodeId:
    """Give the id of a node by its number; the lower number has the lower id."""
    return NodeId(f"{number:032x}")
