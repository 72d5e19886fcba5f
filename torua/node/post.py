"""What copies say to copies on other nodes: carried as notices, many in one.

All that the copies of this node have for one other node in one turn of the reactor goes
in one message.  A notice may be lost, with the connection: the machines ask again.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from torua.codec.copies import MESSAGES_MAX, plain_message, read_messages
from torua.codec.frames import Lane
from torua.core.ids import NodeId
from torua.core.replication.tip import RECORD_COST, cost_of
from torua.core.replication.wire import Append, Message
from torua.net.handlers import Handler, Inbound
from torua.node.turn import Stage, Turn

KIND = "repl"

BODY_BYTES_MAX = 2 << 20
"""One notice is spelled and read in milliseconds; a larger message goes alone."""

Deliver = Callable[[NodeId, Message], None]


class Notices(Protocol):
    """The connections to the other nodes, for what is told and not asked."""

    def handle(self, kind: str, handler: Handler) -> None:
        """Have all messages of one kind handled from now on.

        Args:
            kind: of messages.
            handler: takes each.
        """

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """Send a notice, as well as it goes.

        Args:
            node_id: to whom.
            kind: of message.
            body: plain values.
            lane: how urgent it is.
        """


class _Meter(Collector):
    """Counts messages in plain numbers, gathered when somebody looks.

    Invariants: what is counted rises.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the metrics."""
        self.sent = self.received = self.bytes = 0
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Spell what was counted.

        Returns:
            One family a metric.
        """
        messages = CounterMetricFamily(
            "torua_replication_messages",
            "Messages between copies of shards",
            labels=["way"],
        )
        messages.add_metric(["out"], self.sent)
        messages.add_metric(["in"], self.received)
        yield messages
        yield CounterMetricFamily(
            "torua_replication_bytes",
            "Bytes of records sent to other copies, estimated",
            value=self.bytes,
        )


class Post:
    """Carries messages between the copies here and those elsewhere.

    Invariants: messages to one node leave in the order of `send`; a turn is due exactly
    while something waits.

    Threading: the reactor's thread.
    """

    def __init__(
        self,
        turn: Turn,
        peers: Notices,
        deliver: Deliver,
        registry: CollectorRegistry,
    ) -> None:
        """Carry messages from now on.

        Args:
            turn: the end of the reactor's turn.
            peers: connections to the others.
            deliver: takes a message that came, and from which node.
            registry: of the node's metrics.
        """
        self._turn = turn
        self._peers = peers
        self._deliver = deliver
        self._waiting: dict[NodeId, deque[Message]] = {}
        self._meter = _Meter(registry)
        peers.handle(KIND, self._on_notice)

    def send(self, node: NodeId, message: Message) -> None:
        """Send a message at the end of this turn.

        Args:
            node: to which.
            message: for a copy there.
        """
        if not self._waiting:
            self._turn.add(Stage.SEND, self._flush)
        self._waiting.setdefault(node, deque()).append(message)

    def _flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, {}
        for node, messages in waiting.items():
            while messages:
                self._send(node, messages)

    def _send(self, node: NodeId, messages: deque[Message]) -> None:
        """Send as many as fit into one notice."""
        body: list[object] = []
        size = 0
        while messages and len(body) < MESSAGES_MAX:
            cost = _cost(messages[0])
            if body and size + cost > BODY_BYTES_MAX:
                break
            size += cost
            body.append(plain_message(messages.popleft()))
        self._meter.sent += len(body)
        self._meter.bytes += size
        self._peers.send(node, KIND, body, lane=Lane.REPLICATION)

    def _on_notice(self, inbound: Inbound) -> None:
        """Take what another node sent; ProtocolError where it is no such thing."""
        messages = read_messages(inbound.body)
        self._meter.received += len(messages)
        for message in messages:
            self._deliver(inbound.node_id, message)


def _cost(message: Message) -> int:
    """Estimate what a message takes, in bytes."""
    if isinstance(message, Append):
        return RECORD_COST + sum(map(cost_of, message.records))
    return RECORD_COST
