"""All connections between this node and the others: framed CBOR over TCP.

`Peers` is the door of this package: the wire is described in ``docs/protocol.md``, one
connection in `torua.net.connection`, how a pair keeps to one in `torua.net.peer`.
"""

import random
import secrets
from collections.abc import Callable
from itertools import count

from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Fault

from torua.codec.envelopes import (
    Failure,
    Notice,
    Reply,
    Request,
    read_envelope,
    spell_envelope,
)
from torua.codec.frames import Lane, Message
from torua.codec.rope import Bytes
from torua.core.builds import BUILD, Build
from torua.core.ids import Address, NodeId
from torua.errors import ToruaError, UnavailableError, from_wire
from torua.net.connection import Connection
from torua.net.door import Reception
from torua.net.exchange import EXCHANGE_BYTES_MAX, Answerer, Asker
from torua.net.handlers import Handler, Handlers, Inbound
from torua.net.handshake import (
    NONCE_BYTES,
    REASONS,
    Handshake,
    Identity,
    Refusal,
    Terms,
)
from torua.net.meters import Complaints, Meters
from torua.net.peer import Peer
from torua.net.sockets import OneFactory, endpoint
from torua.net.steps import Steps

_log = Logger()

_CLUSTER = ""
"""The kind of the one notice that is ours: the cluster's uuid, learned since."""

__all__ = ["Identity", "Inbound", "Lane", "Peers"]

TROUBLE = REASONS - {"crossed"} | {"garbage", "slow", "silent", "stuck", "refused"}
"""Reasons for the end of a connection that an operator should hear of."""

EPOCHS_MAX = 4096
"""Nodes of which we remember the last life: all that ever were in a large cluster."""


class Peers:
    """All connections of this node with others, one a pair.

    Invariants: nothing of it is left in the reactor once `stop` has fired; a node that
    membership made known is dialled for as long as it is not forgotten; nothing is sent
    to, and nothing taken from, a node of another cluster.

    Performance: see ``docs/protocol.md``.

    Attributes:
        feature_level: to be set: the cluster's; who does not know it is refused.
        steps: what takes long waits there for a turn of its own.
    """

    def __init__(  # noqa: PLR0913
        self,
        reactor: IReactorTime,
        me: Identity,
        cluster_name: str,
        *,
        secret: bytes | None,
        registry: CollectorRegistry,
        build: Build = BUILD,
    ) -> None:
        """Prepare; nothing is dialled before `know`.

        Args:
            reactor: it tells the time and connects by TCP.
            me: this node, in this life.
            cluster_name: as the operator set it; others of another name are refused.
            secret: shared by the cluster; None to go without proofs and seals.
            registry: for the metrics ``torua_net_*``.
            build: what this node's program speaks and can store.
        """
        self.clock = reactor
        self.steps = Steps(reactor)
        self.meters = Meters(registry)
        self.dice: random.Random = random.SystemRandom()
        self.on_exchange: Callable[[bytes], bytes | None] = lambda _: None
        self._me = me
        self._terms = Terms(me, cluster_name, "", secret, build)
        self.feature_level = 0
        self._peers: dict[NodeId, Peer] = {}
        self._peer_of: dict[Connection, Peer] = {}
        self._epochs: dict[NodeId, int] = {}
        self._ups: list[Callable[[NodeId], None]] = []
        self._downs: list[Callable[[NodeId, str], None]] = []
        self._asking: set[Deferred[bytes]] = set()
        self._stopping: Deferred[None] | None = None
        self._ticks = count(1)
        self._complaints = Complaints(reactor, self.meters, _log)
        self._handlers = Handlers(self.meters, self._answer, _log)
        self._reception = Reception(
            reactor,
            lambda: self._connection(None),
            lambda: Answerer(reactor, self._respond, self._complaints.about, _log),
            self._complaints.about,
            self.gone,
        )
        self.meters.queue_bytes.set_function(self._queue_bytes)

    @property
    def cluster_uuid(self) -> str:
        """Tell to which cluster this node belongs; empty before it is known."""
        return self._terms.cluster_uuid

    @cluster_uuid.setter
    def cluster_uuid(self, value: str) -> None:
        """Learn it, and tell all; whoever belongs to another is sent away."""
        self._terms = self._terms._replace(cluster_uuid=value)
        notice = spell_envelope(Notice(_CLUSTER, value))
        for peer in list(self._peers.values()):
            if peer.link is not None:
                self._compare(peer.link)
                peer.send(Lane.CONTROL, notice)

    def _compare(self, connection: Connection) -> None:
        """Close a connection with another cluster."""
        theirs, ours = connection.cluster_uuid, self._terms.cluster_uuid
        if theirs and ours and theirs != ours:
            detail = f"it belongs to cluster {theirs!r}, this node to {ours!r}"
            connection.close("cluster", detail)

    def factory(self) -> IProtocolFactory:
        """Give what is to be listened on, at the address that others know."""
        return self._reception

    def know(self, node_id: NodeId, address: Address, boot_epoch: int) -> None:
        """Stay connected to a live node; may be said again and again.

        Args:
            node_id: which.
            address: where it listens.
            boot_epoch: the life that it leads; earlier ones are refused from now on.
        """
        if node_id != self._me.node_id and self._stopping is None:
            self._peer(node_id).know(address, boot_epoch)

    def forget(self, node_id: NodeId) -> None:
        """Close what there is with a node that is dead or gone; it may come again."""
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.forget("forgotten")
            self._drop(peer)

    def part(self, node_id: NodeId) -> None:
        """Ask nothing more of a node that leaves; what it was asked it answers yet."""
        peer = self._peers.get(node_id)
        if peer is None or peer.link is None:
            self.forget(node_id)
        else:
            peer.part()

    def handle(self, kind: str, handler: Handler) -> None:
        """Have all messages of one kind handled from now on.

        Args:
            kind: at most 64 characters; it has no handler yet.
            handler: is given each; what it gives, or what comes of a Deferred or
                coroutine that it gives, is the reply of a request: plain values that
                CBOR can spell.
        """
        self._handlers.handle(kind, handler)

    def watch(
        self,
        on_up: Callable[[NodeId], None],
        on_down: Callable[[NodeId, str], None],
    ) -> None:
        """Hear of connections; several may.

        Args:
            on_up: told of a node when there is a connection with it.
            on_down: told of a node, and why, when there is none any more, and also
                whenever it could not be reached.
        """
        self._ups.append(on_up)
        self._downs.append(on_down)

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """Send a notice: it arrives once, or not at all, and nobody is told.

        Args:
            node_id: to whom.
            kind: which handler is meant.
            body: plain values.
            lane: how urgent it is; on the control lane notices keep their order.
        """
        peer = self._peers.get(node_id)
        if peer is None:
            self.meters.drop("unreachable")
        else:
            peer.send(lane, spell_envelope(Notice(kind, body)))

    async def request(  # noqa: PLR0913
        self,
        node_id: NodeId,
        kind: str,
        body: object,
        *,
        lane: Lane,
        timeout_s: float,
        request_id: str = "",
        traceparent: str = "",
    ) -> object:
        """Ask a node, and wait for its answer.  It is sent once, never again.

        Args:
            node_id: whom.
            kind: which handler is meant.
            body: plain values.
            lane: how urgent it is; the answer comes by the same lane.
            timeout_s: how long to wait; the other side is told.
            request_id: for the other side's log lines.
            traceparent: W3C trace context, passed on.

        Raises:
            UnavailableError: it did not reach the node, whole; nothing was done.
            OutcomeUnknownError: it was sent, but no answer came.
            OverloadedError: too much waits here, or is at work there.
            ToruaError: whatever the handler raised.
        """
        peer = self._peers.get(node_id)

        def spell(number: int) -> Bytes:
            """Spell the request under its number."""
            return spell_envelope(Request(number, kind, request_id, traceparent, body))

        try:
            if peer is None:
                raise UnavailableError(f"no connection to node {node_id}")
            result = await peer.ask(lane, spell, timeout_s)
            if isinstance(result, Failure):
                raise from_wire(result.code, result.detail, result.members)
        except ToruaError as error:
            self.meters.requests.labels(error.code).inc()
            raise
        except CancelledError:
            self.meters.requests.labels("cancelled").inc()
            raise
        self.meters.answered += 1
        return result

    async def exchange(self, address: Address, body: bytes, timeout_s: float) -> bytes:
        """Ask whoever listens at an address, on a connection of its own.

        Args:
            address: where.
            body: opaque, at most `EXCHANGE_BYTES_MAX` bytes.
            timeout_s: how long to wait for the answer.

        Raises:
            UnavailableError: no answer came.
        """
        assert len(body) <= EXCHANGE_BYTES_MAX
        if self._stopping is not None:
            raise UnavailableError("this node is stopping")
        asker = Asker(body)
        connecting = endpoint(self.clock, address).connect(OneFactory(asker))
        asking: Deferred[bytes] = connecting.addCallback(lambda _: asker.answer)
        self._asking.add(asking)
        asking.addTimeout(timeout_s, self.clock)
        try:
            answer: bytes = await asking
            return answer
        except ToruaError:
            raise
        except Exception as error:
            if isinstance(error, CancelledError) and self._stopping is None:
                raise
            raise UnavailableError(f"no answer from {address}: {error}") from error
        finally:
            self._asking.discard(asking)
            self._finish_stop()

    def stop(self) -> "Deferred[None]":
        """Close everything; the Deferred fires when nothing is left.

        Who waits for an answer gets an error.  Listening is for those to end who began
        it, before this.
        """
        if self._stopping is None:
            self._stopping = Deferred()
            for node_id in list(self._peers):
                self.forget(node_id)
            for asking in list(self._asking):
                asking.cancel()
            for connection in list(self._peer_of):
                connection.close("stopped", "this node stops")
            for door in list(self._reception.doors):
                door.abort()
            self._finish_stop()
        return self._stopping

    def tick(self) -> int:
        """Give a number greater than all before; see `Owner`."""
        return next(self._ticks)

    def connect(self, peer: Peer, address: Address) -> "Deferred[Connection]":
        """Open a connection to a peer; see `Hub`.

        Args:
            peer: with whom.
            address: where it listens.
        """
        connection = self._connection(peer.node_id)
        self._peer_of[connection] = peer
        opening = endpoint(self.clock, address).connect(OneFactory(connection))

        def give_up(reason: Fault) -> Fault:
            """Forget a connection that never was."""
            del self._peer_of[connection]
            return reason

        return opening.addCallbacks(lambda _: connection, give_up)

    def on_up(self, peer: Peer) -> None:
        """Tell that a peer is connected; see `Hub`."""
        for callback in self._ups:
            callback(peer.node_id)

    def on_down(self, peer: Peer, detail: str) -> None:
        """Tell that a peer is not, or could not be; see `Hub`.

        Args:
            peer: which.
            detail: why, in a sentence for people.
        """
        for callback in self._downs:
            callback(peer.node_id, detail)

    def admit(self, connection: Connection) -> Refusal | None:
        """Decide on a connection; see `Owner`."""
        if self._stopping is not None:
            return Refusal("crossed", "this node is stopping")
        node_id = connection.other.identity.node_id
        peer = self._peers.get(node_id)
        if peer is None:
            peer = self._new_peer(node_id)
        return peer.objection(connection)

    def up(self, connection: Connection) -> None:
        """Take a connection that stands; see `Owner`.

        It becomes the link of its peer, which replaces what there was.
        """
        other = connection.other
        peer = self._peer(other.identity.node_id)
        self._peer_of[connection] = peer
        self.meters.connections.inc()
        _log.info(
            "connected with {name!r} ({node}) at {remote}",
            name=other.name,
            node=other.node_id,
            remote=connection.remote,
        )
        peer.adopt(connection)
        self._peers[peer.node_id] = peer

    def received(self, connection: Connection, message: Message) -> None:
        """Take a message from a peer; see `Owner`.

        Args:
            connection: by which it came.
            message: an envelope, or garbage.
        """
        envelope = read_envelope(message.body)
        match envelope:
            case Request():
                deadline = float("inf")
                if message.timeout_ms:
                    deadline = self.clock.seconds() + message.timeout_ms / 1000
                self._handlers.request(connection, envelope, message.lane, deadline)
            case Notice(kind=kind) if kind == _CLUSTER:
                connection.cluster_uuid = str(envelope.body)
                self._compare(connection)
            case Notice():
                self._handlers.notice(connection, envelope.kind, envelope.body)
            case Reply():
                self._answered(connection, envelope.number, envelope.body)
            case Failure():
                self._answered(connection, envelope.number, envelope)

    def down(self, connection: Connection, reason: str, detail: str) -> None:
        """Take note of the end of a connection; see `Owner`.

        Args:
            connection: which; it may never have been up.
            reason: a word of ours.
            detail: a sentence for people.
        """
        peer = self._peer_of.get(connection)
        self._mourn(connection, reason, detail)
        if peer is not None:
            peer.lost(connection, reason, detail)
            if peer.address is None and peer.link is None:
                self._drop(peer)

    def _mourn(self, connection: Connection, reason: str, detail: str) -> None:
        """Count the end of a connection; log it once, if it matters to anybody."""
        subject = connection.remote
        if connection.established:
            self.meters.connections.dec()
            subject = f"{connection.other.name!r} at {subject}"
        if reason in TROUBLE:
            self._complaints.about(subject, reason, detail)
            return
        self.meters.drop(reason)
        if connection.established:
            _log.info(
                "connection with {subject} ended: {detail}",
                subject=subject,
                detail=detail,
            )

    def gone(self, socket: object) -> None:
        """Take note that a socket is closed; see `Owner`."""
        if isinstance(socket, Connection):
            self._peer_of.pop(socket, None)
        self._finish_stop()

    def _finish_stop(self) -> None:
        """Tell who waits for the end, if this is it."""
        left = self._peer_of or self._reception.doors or self._asking
        if self._stopping is not None and not self._stopping.called and not left:
            self._stopping.callback(None)

    def _connection(self, target: NodeId | None) -> Connection:
        """Make a connection that begins as soon as it has a transport."""
        terms = self._terms._replace(feature_level=self.feature_level)
        handshake = Handshake(terms, target, secrets.token_bytes(NONCE_BYTES))
        dialled = target is not None
        return Connection(self.clock, self, handshake, self.meters, dialled)

    def _new_peer(self, node_id: NodeId) -> Peer:
        """Make a peer that remembers its last life."""
        peer = Peer(self, self._me.node_id, node_id)
        peer.epoch = self._epochs.get(node_id, 0)
        return peer

    def _peer(self, node_id: NodeId) -> Peer:
        """Give the peer of a node, a new one if need be."""
        peer = self._peers.get(node_id)
        if peer is None:
            peer = self._peers[node_id] = self._new_peer(node_id)
        return peer

    def _drop(self, peer: Peer) -> None:
        """Forget a peer, but not its last life."""
        if self._peers.pop(peer.node_id, None) is None:
            return
        self._epochs.pop(peer.node_id, None)
        self._epochs[peer.node_id] = peer.epoch
        if len(self._epochs) > EPOCHS_MAX:
            del self._epochs[next(iter(self._epochs))]

    def _answer(self, connection: Connection, lane: Lane, body: Bytes) -> bool:
        """Send a reply, if anybody is left to take it."""
        peer = self._peer_of.get(connection)
        return peer is None or peer.reply(connection, lane, body)

    def _answered(self, connection: Connection, number: int, result: object) -> None:
        """Give an answer to whoever waits for it."""
        if not self._peer_of[connection].answer(number, result):
            self.meters.drop("late-answer")

    def _respond(self, question: bytes) -> bytes | None:
        """Answer an exchange, if membership does."""
        return self.on_exchange(question)

    def _queue_bytes(self) -> float:
        """Tell how many bytes wait to be sent, for the metrics."""
        return float(sum(peer.outbox.size for peer in self._peers.values()))
