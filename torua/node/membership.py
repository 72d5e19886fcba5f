"""The living membership of a node: its machine, its UDP socket, its TCP exchanges."""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from torua.codec.datagrams import REASONS, Kind, PacketCodec
from torua.codec.seal import Seal
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Status
from torua.core.membership import messages as m
from torua.core.membership.machine import Membership
from torua.core.membership.timing import Timing
from torua.errors import ProtocolError, ToruaError
from torua.net.gossip import GossipPort
from torua.node.driver import Driver
from torua.node.lag import ReactorLag

_log = Logger()

DROP_REASONS = (
    *REASONS,
    "wrong-target",
    "stale-target",
    "superseded",
    "own",
    "foreign-cluster",
    "old-life",
    "sync-by-datagram",
)
"""Every reason for which a packet is counted and dropped."""


_EVENTS = {
    Status.ALIVE: (LogLevel.info, "joined"),
    Status.SUSPECT: (LogLevel.warn, "is suspect"),
    Status.DEAD: (LogLevel.warn, "is dead"),
    Status.LEFT: (LogLevel.info, "left"),
}


class Exchanges(Protocol):
    """What membership needs of the connections between nodes (`torua.net.peers`)."""

    on_exchange: Callable[[bytes], bytes | None]

    async def exchange(self, address: Address, body: bytes, timeout_s: float) -> bytes:
        """Ask whoever listens at an address; a `ToruaError` where no answer came.

        Args:
            address: where.
            body: opaque.
            timeout_s: how long to wait.
        """

    def know(self, node_id: NodeId, address: Address, boot_epoch: int) -> None:
        """Stay connected to a live node.

        Args:
            node_id: which.
            address: where it listens.
            boot_epoch: the life that it leads.
        """

    def part(self, node_id: NodeId) -> None:
        """Ask nothing more of a node that leaves, and let it answer what it has."""

    def forget(self, node_id: NodeId) -> None:
        """Connect no more to a node that is gone."""


class Settings(Struct, frozen=True):
    """What the operator says of membership.

    Attributes:
        cluster_name: in every packet; those of others are dropped.
        secret: shared by the cluster; None to go without seals.
        timing: the preset.
        random: draws whom to probe, and jitter.
    """

    cluster_name: str
    secret: bytes | None
    timing: Timing
    random: Random


class MembershipService:
    """Runs the membership of this node, and tells the other parts of it.

    `gossip` is to be bound by the assembly to the number of the TCP listener.

    Invariants: members are those of the machine, which only the driver enters; each
    exchange that begins also ends, in an answer or without one; a node that was
    superseded calls `on_superseded` once.

    Threading: the reactor's thread only.

    Attributes:
        gossip: the UDP port.
        remember: to be set: keeps the addresses of the others, to be seeds after a
            restart.
        on_superseded: to be set: stops the node, for a later life of it is about.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        me: Member,
        exchanges: Exchanges,
        settings: Settings,
        registry: CollectorRegistry,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            reactor: it tells the time.
            me: this node in this life, alive, at incarnation 0.
            exchanges: TCP; ``on_exchange`` of it is ours from now on.
            settings: the same on every node of the cluster.
            registry: for the metrics ``torua_membership_*``.
        """
        self._clock = reactor
        self._exchanges = exchanges
        self._meta = me.meta
        self.remember: Callable[[tuple[Address, ...]], None] = lambda peers: None
        self.on_superseded: Callable[[], None] = lambda: None
        seal = Seal(settings.secret) if settings.secret else None
        self._codec = PacketCodec(settings.cluster_name, seal)
        timing, sizes = settings.timing, self._codec.sizes
        self._stall_s = timing.timeout_s / 2
        self._machine = Membership(me, timing, sizes, settings.random)
        self._driver = Driver[m.Input, m.Output](self._machine, reactor, self._perform)
        self._lag = ReactorLag(reactor, timing.timeout_s, self.stalled, registry)
        self._subscribers: list[Callable[[Member], None]] = []
        self._answers: dict[int, bytes | None] = {}
        self._asked = 0
        self._left: Deferred[None] | None = None
        self._running = False
        self.gossip = GossipPort(self._on_datagram, registry)
        self._declare(registry)
        exchanges.on_exchange = self._on_exchange

    @property
    def me(self) -> Member:
        """This node, as it says it is."""
        return self._machine.me

    @property
    def members(self) -> Mapping[NodeId, Member]:
        """All that are known, by id: this node, and for a while the gone, included."""
        return self._machine.members

    @property
    def health_score(self) -> int:
        """How badly this node itself does, 0 (well) to 8."""
        return self._machine.health_score

    def last_heard(self, node_id: NodeId) -> float | None:
        """Tell how many seconds ago a packet of a node came; None where none did."""
        if node_id == self.me.node_id:
            return 0.0
        heard_at = self._machine.heard_at.get(node_id)
        return None if heard_at is None else self._clock.seconds() - heard_at

    def subscribe(self, callback: Callable[[Member], None]) -> None:
        """Have each change told from now on, of this node as well.

        Args:
            callback: given the member as it is believed to be now; one that is to be
                forgotten is told of once more, as it was, when it no longer stands in
                `members`.
        """
        self._subscribers.append(callback)

    def start(self, seeds: tuple[Address, ...] = ()) -> None:
        """Look for the others, for ever.

        Args:
            seeds: where they may be; of what was remembered as well as of what the
                operator said.
        """
        self._running = True
        self._lag.start()
        self._driver.receive(m.Start(tuple(seeds)))

    def leave(self) -> "Deferred[None]":
        """Tell the others that this node goes; to be called once.

        Returns:
            Fires when the word is spread, or when there was no more time for it.
        """
        assert self._left is None
        self._left = Deferred()
        self._driver.receive(m.Leave())
        return self._left

    def stop(self) -> None:
        """Send and take nothing any more.  Safe to call twice."""
        self._running = False
        self._lag.stop()
        self._driver.stop()

    def update_meta(self, **changes: object) -> None:
        """Say other things of this node from now on.

        Args:
            changes: fields of `torua.core.members.Meta` and their values.
        """
        self._meta = replace(self._meta, **changes)
        self._driver.receive(m.UpdateMeta(self._meta))

    def stalled(self, seconds: float) -> None:
        """Take note that the reactor, or an fsync, took so long."""
        if seconds > self._stall_s:
            self._driver.receive(m.Stalled(seconds))

    # From and to the network

    def _on_datagram(self, data: bytes, source: Address) -> None:
        """Take a datagram, if it can be read."""
        if not self._running:
            return
        try:
            packet = self._codec.read(data, Kind.DATAGRAM)
        except ProtocolError as error:
            self._count_drop(str(error.members["reason"]))
        else:
            self._driver.receive(m.Received(packet, source))

    def _on_exchange(self, data: bytes) -> bytes | None:
        """Answer a TCP exchange at once; None to close it without a word."""
        if not self._running:
            return None
        try:
            packet = self._codec.read(data, Kind.QUESTION)
        except ProtocolError as error:
            self._count_drop(str(error.members["reason"]))
            return None
        self._asked += 1
        self._answers.clear()
        self._driver.receive(m.Asked(self._asked, packet))
        return self._answers.pop(self._asked, None)

    async def _ask(self, ask: m.Ask) -> None:
        """Carry out a TCP exchange to its end."""
        answer: m.Packet | None = None
        body = self._codec.spell(ask.packet, Kind.QUESTION)
        try:
            data = await self._exchanges.exchange(ask.address, body, ask.timeout_s)
            answer = self._codec.read_answer(data, ask.packet)
        except ProtocolError as error:
            self._count_drop(str(error.members.get("reason", "malformed")))
        except CancelledError:
            pass  # The connections are being closed, and so is this node.
        except ToruaError as error:
            _log.debug(
                "no exchange with {address}: {error}",
                address=str(ask.address),
                error=error.detail,
            )
        if self._running:
            self._driver.receive(m.Answered(ask.ref, answer))

    def _perform(self, output: m.Output) -> None:
        """Do what the machine decided."""
        match output:
            case m.Send(address, packet):
                data = self._codec.spell(packet, Kind.DATAGRAM)
                self.gossip.send(address, data)
            case m.Ask():
                asking = Deferred.fromCoroutine(self._ask(output))
                asking.addErrback(lambda failure: _log.failure("ask", failure))
            case m.Answer(ref, packet):
                if packet is not None:
                    self._answers[ref] = self._codec.spell(packet, Kind.ANSWER)
            case m.MemberChanged(member, previous):
                self._changed(member, previous)
            case _:
                self._tell(output)

    def _tell(
        self,
        output: m.MemberForgotten
        | m.HealthChanged
        | m.TcpOnly
        | m.NameClash
        | m.ForeignCluster
        | m.Misfit
        | m.Superseded
        | m.Remember
        | m.Dropped
        | m.LeaveDone,
    ) -> None:
        """Tell people or other parts of what the machine found."""
        match output:
            case m.MemberForgotten(member):
                self._forgotten(member)
            case m.HealthChanged(score):
                self._health.set(score)
            case m.Remember(peers):
                self.remember(peers)
            case m.Dropped(reason):
                self._count_drop(reason)
            case m.LeaveDone():
                self._clock.callLater(0, self._end_leave)
            case _:
                self._warn(output)

    def _warn(
        self,
        output: m.TcpOnly | m.NameClash | m.ForeignCluster | m.Misfit | m.Superseded,
    ) -> None:
        """Say what an operator must look at."""
        match output:
            case m.TcpOnly(member):
                self._tcp_only.inc()
                _log.warn(
                    "{name} at {address} answers over TCP but not over UDP: "
                    "is UDP blocked?",
                    name=member.name,
                    address=str(member.address),
                )
            case m.NameClash(member, other):
                _log.error(
                    "two nodes are called {name}: {node_id} at {address} and "
                    "{other_id} at {other_address}",
                    name=member.name,
                    node_id=member.node_id,
                    address=str(member.address),
                    other_id=other.node_id,
                    other_address=str(other.address),
                )
            case m.ForeignCluster(member, cluster_uuid):
                _log.error(
                    "{name} at {address} belongs to another cluster, {cluster_uuid}, "
                    "and is refused; the two stay apart",
                    name=member.name,
                    address=str(member.address),
                    cluster_uuid=cluster_uuid,
                )
            case m.Misfit(member, why):
                _log.error(
                    "{name} at {address} runs Torua {version} and is refused: {why}; "
                    "the one or the other must be upgraded step by step",
                    name=member.name,
                    address=str(member.address),
                    version=member.meta.version,
                    why=why,
                )
            case m.Superseded(epoch):
                _log.critical(
                    "another life of this node is about (boot epoch {epoch}, this one "
                    "is {own}): was its disk copied?  This node stops",
                    epoch=epoch,
                    own=self.me.boot_epoch,
                )
                self.stop()
                self.on_superseded()

    # What is believed of members

    def _changed(self, member: Member, previous: Member | None) -> None:
        """Tell of a change: the log of what matters, peers, and the subscribers."""
        if member.node_id != self.me.node_id:
            _log_change(member, previous)
            if member.is_live:
                self._exchanges.know(member.node_id, member.address, member.boot_epoch)
            elif member.status is Status.LEFT:
                self._exchanges.part(member.node_id)
            else:
                self._exchanges.forget(member.node_id)
        self._notify(member)

    def _forgotten(self, member: Member) -> None:
        """Let a member go."""
        self._exchanges.forget(member.node_id)
        self._notify(member)

    def _notify(self, member: Member) -> None:
        """Tell the subscribers; one that fails does not keep it from the others."""
        for callback in self._subscribers:
            try:
                callback(member)
            except Exception:
                _log.failure("a subscriber of membership failed")

    def _end_leave(self) -> None:
        """Let the leaver know, once the driver is through."""
        left = self._left
        if left is not None and not left.called:
            left.callback(None)

    # Metrics

    def _declare(self, registry: CollectorRegistry) -> None:
        """Make the metrics."""
        members = Gauge(
            "torua_membership_members",
            "Members by what is believed of them",
            ["status"],
            registry=registry,
        )
        drops = Counter(
            "torua_membership_drops",
            "Packets dropped, by reason",
            ["reason"],
            registry=registry,
        )
        self._health = Gauge(
            "torua_membership_health_score",
            "Local health of this node: 0 well, 8 very slow",
            registry=registry,
        )
        self._tcp_only = Counter(
            "torua_membership_tcp_only",
            "Members found to answer over TCP but not over UDP",
            registry=registry,
        )
        for status in Status:
            gauge = members.labels(status.name.lower())
            gauge.set_function(partial(self._count_members, status))
        self._drops = {reason: drops.labels(reason) for reason in DROP_REASONS}

    def _count_members(self, status: Status) -> int:
        """Count the members of which this is believed."""
        return sum(member.status is status for member in self.members.values())

    def _count_drop(self, reason: str) -> None:
        """Count a packet that was dropped."""
        self._drops.get(reason, self._drops["malformed"]).inc()


def _log_change(member: Member, previous: Member | None) -> None:
    """Write the line that an operator looks for, where the status is another."""
    was = None if previous is None else previous.status
    again = previous is not None and previous.boot_epoch < member.boot_epoch
    if member.status == was and not again:
        return
    level, what = _EVENTS[member.status]
    if member.status is Status.ALIVE and previous is not None:
        what = "is back"
    elif previous is None and not member.is_live:
        return
    _log.emit(
        level,
        "member {name} at {address} {what}",
        name=member.name,
        address=str(member.address),
        what=what,
        node_id=member.node_id,
        boot_epoch=member.boot_epoch,
    )
