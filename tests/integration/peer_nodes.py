"""Real `Peers` on loopback, and strangers that do not behave."""

import importlib
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from torua.codec.frames import Lane
from torua.core.ids import Address, NodeId
from torua.net.peers import Identity, Inbound, Peers
from torua.net.sockets import OneFactory


class Node:
    """A node's connections, listening, with a handler that echoes.

    Invariants: ``events`` holds each up and down in order.
    """

    def __init__(self, reactor: Any, number: int, **options: Any) -> None:
        """Make it; ``options`` may hold name, epoch, cluster, uuid and secret."""
        self.reactor = reactor
        self.node_id = NodeId(f"{number:032x}")
        self.epoch = options.get("epoch", 1)
        self.peers = Peers(
            reactor,
            Identity(self.node_id, options.get("name", f"n{number}"), self.epoch),
            options.get("cluster", "test"),
            secret=options.get("secret"),
            registry=CollectorRegistry(),
        )
        self.peers.cluster_uuid = options.get("uuid", "")
        self.events: list[tuple[str, NodeId]] = []
        self.reasons: list[str] = []
        self.notices: list[Inbound] = []
        self.peers.watch(self._up, self._down)
        self.peers.handle("echo", self._echo)
        self.peers.handle("note", self._note)
        self.port: Any = None

    async def listen(self, port: int = 0) -> None:
        """Listen on loopback."""
        endpoint = TCP4ServerEndpoint(self.reactor, port, interface="127.0.0.1")
        self.port = await endpoint.listen(self.peers.factory())

    @property
    def address(self) -> Address:
        """Tell where it listens."""
        assert self.port is not None
        return Address("127.0.0.1", self.port.getHost().port)

    def know(self, other: "Node") -> None:
        """Be told of another."""
        self.peers.know(other.node_id, other.address, other.epoch)

    def is_up(self, other: "Node") -> bool:
        """Tell whether it says that it is connected with another."""
        mine = [what for what, whom in self.events if whom == other.node_id]
        return mine[-1:] == ["up"]

    def frames_in(self, lane: Lane) -> int:
        """Tell how many frames of a lane came in."""
        return self.peers.meters.frames_in[lane]

    def dropped(self, reason: str) -> float:
        """Tell how many drops of a kind were counted."""
        return float(self.peers.meters.drops.labels(reason)._value.get())

    async def stop(self) -> None:
        """Listen no more, and close everything."""
        port, self.port = self.port, None
        if port is not None:
            await port.stopListening()
        await self.peers.stop()

    def _up(self, node_id: NodeId) -> None:
        """Note that a connection stands."""
        self.events.append(("up", node_id))

    def _down(self, node_id: NodeId, reason: str) -> None:
        """Note that there is none."""
        self.events.append(("down", node_id))
        self.reasons.append(reason)

    async def _echo(self, inbound: Inbound) -> object:
        """Answer with what came."""
        return inbound.body

    async def _note(self, inbound: Inbound) -> object:
        """Keep what came."""
        self.notices.append(inbound)
        return None


class Stranger(Protocol):
    """A raw connection, for what no `Peers` would do.

    Invariants: ``received`` is all that came.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.received = b""
        self.closed: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell that it is over."""
        self.closed.callback(None)


class PeerCase(TestCase):
    """Sets up nodes, and leaves nothing behind.

    Invariants: every node and stranger that it made is closed at the end.
    """

    timeout = 30

    def setUp(self) -> None:
        """Take the reactor that runs the tests."""
        self.reactor: Any = importlib.import_module("twisted.internet.reactor")
        self.nodes: list[Node] = []

    async def node(self, number: int, **options: Any) -> Node:
        """Make a node that listens.

        Args:
            number: gives its node id.
            options: as `Node` takes them.
        """
        node = Node(self.reactor, number, **options)
        await node.listen(options.get("port", 0))
        self.addCleanup(lambda: Deferred.fromCoroutine(node.stop()))
        return node

    async def pair(self, **options: Any) -> tuple[Node, Node]:
        """Make two nodes that are connected."""
        one, two = await self.node(1, **options), await self.node(2, **options)
        one.know(two)
        await self.until(lambda: one.is_up(two) and two.is_up(one))
        return one, two

    async def stranger(self, node: Node) -> Stranger:
        """Connect to a node as somebody unknown, who hangs up at the end.

        What it sends, and when, is for the test to say.
        """
        host, port = node.address
        endpoint = TCP4ClientEndpoint(self.reactor, host, port)
        stranger = Stranger()
        await endpoint.connect(OneFactory(stranger))

        def leave() -> None:
            """Hang up."""
            if not stranger.closed.called:
                stranger.transport.abortConnection()  # type: ignore[union-attr]

        self.addCleanup(lambda: stranger.closed)
        self.addCleanup(leave)
        return stranger

    async def listener(self, protocol: type[Protocol]) -> Address:
        """Listen as somebody unknown."""
        endpoint = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(protocol))
        self.addCleanup(port.stopListening)
        return Address("127.0.0.1", port.getHost().port)

    async def until(self, condition: Callable[[], bool], limit_s: float = 10) -> None:
        """Wait until something holds.

        Args:
            condition: what.
            limit_s: fail after so long.
        """
        end = self.reactor.seconds() + limit_s
        while not condition():
            self.assertLess(self.reactor.seconds(), end, "waited too long")
            await deferLater(self.reactor, 0.001)


def ask(
    one: Node, two: Node, body: object, kind: str = "echo", timeout_s: float = 5.0
) -> "Deferred[Any]":
    """Send a request from one node to another.

    Args:
        one: who asks.
        two: who is asked.
        body: what.
        kind: which handler.
        timeout_s: how long to wait.
    """
    return Deferred.fromCoroutine(
        one.peers.request(two.node_id, kind, body, lane=Lane.READS, timeout_s=timeout_s)
    )


def are_up(one: Node, two: Node) -> bool:
    """Tell whether both say that they are connected.

    Args:
        one: says so of the other.
        two: the same.
    """
    return one.is_up(two) and two.is_up(one)


def have_dropped(one: Node, two: Node, reason: str) -> bool:
    """Tell whether each of two counted more than one drop.

    Args:
        one: counts.
        two: counts too.
        reason: of the drops.
    """
    return min(one.dropped(reason), two.dropped(reason)) > 1
