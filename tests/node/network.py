"""Connections between nodes in one test: in order, as plain CBOR, and cut at will."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from torua.codec.plain import decode, encode
from torua.core.ids import NodeId
from torua.errors import ToruaError, UnavailableError
from torua.net.handlers import Handler, Inbound
from torua.net.peers import Lane


class Network:
    """All connections of one test.

    Invariants: messages between two nodes keep their order; nothing passes from or to
    a node that is cut off.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin without a node.

        Args:
            clock: the reactor of all.
        """
        self.clock = clock
        self.ends: dict[NodeId, Wires] = {}
        self.cut: set[NodeId] = set()
        self.sent: list[tuple[NodeId, NodeId, str, object]] = []
        self.lose: Callable[[str, object], bool] = lambda kind, body: False

    def join(self, node: NodeId) -> "Wires":
        """Connect a node, in a new life, with all others."""
        end = self.ends[node] = Wires(self, node)
        self.cut.discard(node)
        for other in list(self.ends.values()):
            if other is not end and other.node not in self.cut:
                self.clock.callLater(0, other.up, node)
                self.clock.callLater(0, end.up, other.node)
        return end

    def leave(self, node: NodeId) -> None:
        """Cut a node off; the others find it gone, and again."""
        self.cut.add(node)
        for other in self.ends.values():
            if other.node not in self.cut:
                for _ in range(2):
                    self.clock.callLater(0, other.down, node)

    def passes(self, one: NodeId, other: NodeId) -> bool:
        """Tell whether two nodes are connected.

        Args:
            one: of them.
            other: of them.
        """
        known = one in self.ends and other in self.ends
        return known and not {one, other} & self.cut


class Wires:
    """The connections of one life of a node: what `torua.net.peers.Peers` offers.

    Invariants: a handler is called for each message of its kind.
    """

    def __init__(self, network: Network, node: NodeId) -> None:
        """Begin without a handler.

        Args:
            network: the connections of all.
            node: whose these are.
        """
        self.node = node
        self._network = network
        self._handlers: dict[str, Handler] = {}
        self._ups: list[Callable[[NodeId], None]] = []
        self._downs: list[Callable[[NodeId, str], None]] = []

    def handle(self, kind: str, handler: Handler) -> None:
        """See `Peers.handle`.

        Args:
            kind: of messages.
            handler: takes them.
        """
        self._handlers[kind] = handler

    def watch(
        self,
        on_up: Callable[[NodeId], None],
        on_down: Callable[[NodeId, str], None],
    ) -> None:
        """See `Peers.watch`.

        Args:
            on_up: told of a connection.
            on_down: told of none.
        """
        self._ups.append(on_up)
        self._downs.append(on_down)

    def up(self, node: NodeId) -> None:
        """Tell of a connection."""
        for callback in self._ups:
            callback(node)

    def down(self, node: NodeId) -> None:
        """Tell that there is none."""
        for callback in self._downs:
            callback(node, "cut")

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """See `Peers.send`.

        Args:
            node_id: to whom.
            kind: of message.
            body: plain values.
            lane: ignored.
        """
        network = self._network
        network.sent.append((self.node, node_id, kind, body))
        if network.passes(self.node, node_id) and not network.lose(kind, body):
            spelled = encode(body)
            network.clock.callLater(0, self._deliver, node_id, kind, spelled)

    def _deliver(self, node_id: NodeId, kind: str, body: bytes) -> None:
        """Hand a notice to the other node."""
        if self._network.passes(self.node, node_id):
            self._network.ends[node_id].take(self.node, kind, body)

    def take(self, sender: NodeId, kind: str, body: bytes) -> "Deferred[object]":
        """Handle a message.

        Args:
            sender: from whom.
            kind: of message.
            body: CBOR.
        """
        inbound = Inbound(sender, 1, kind, decode(body), float("inf"))
        return maybeDeferred(self._handlers[kind], inbound)

    async def request(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane, timeout_s: float
    ) -> object:
        """See `Peers.request`.

        Args:
            node_id: whom.
            kind: of message.
            body: plain values.
            lane: ignored.
            timeout_s: ignored.
        """
        network = self._network
        lost = network.lose(kind, body)
        if lost or not network.passes(self.node, node_id):
            raise UnavailableError("cut off")
        try:
            return await network.ends[node_id].take(self.node, kind, encode(body))
        except ToruaError as error:
            raise type(error)(error.detail) from error
