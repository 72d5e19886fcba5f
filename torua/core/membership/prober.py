"""The failure detector: one member a period is asked whether it lives (SWIM, 4.1).

    IDLE --period--> DIRECT --timeout--> INDIRECT --end of period--> accused
      ^                 |                    |
      '------- ack -----'------- ack --------'    (or a TCP answer: alive, and noted)

INDIRECT asks helpers to ping in our stead, and beside them the member itself over TCP.
A helper that gets no answer either says so (a nack): then the fault is not ours.
"""

from random import Random

from msgspec import Struct

from torua.core.ids import Address, NodeId
from torua.core.members import Member
from torua.core.membership.health import LocalHealth
from torua.core.membership.messages import Ack, Nack, Packet, Ping, PingReq, TcpOnly
from torua.core.membership.outbox import Outbox, To
from torua.core.membership.table import Table
from torua.core.membership.timing import Timing

NACK_AT = 0.8
"""A helper says it got no answer after this share of the timeout, so that its word
arrives before the asker's period ends."""

RELAYS_MAX = 256
"""So many pings in the stead of others are under way; more are not taken on."""

NONCE_BITS = 48


class _Probe(Struct):
    """The probe under way.

    Invariants: ``direct_due`` < ``end_due``; ``helpers`` is empty while the probe is
    direct; ``silent`` are those of them who have not nacked.
    """

    target: NodeId
    epoch: int
    nonce: int
    direct_due: float
    end_due: float
    is_indirect: bool = False
    helpers: tuple[NodeId, ...] = ()
    silent: tuple[NodeId, ...] = ()
    tcp_ref: int = 0
    tcp_answered: bool = False


class _Relay(Struct, frozen=True):
    """A ping in the stead of another node: what to answer to whom, and by when."""

    target: NodeId
    asker: To
    nonce: int
    due: float


class Prober:
    """Probes the others, and pings in the stead of those who ask for it.

    Invariants: at most one probe is under way; at most `RELAYS_MAX` relays are.
    """

    def __init__(
        self,
        table: Table,
        outbox: Outbox,
        health: LocalHealth,
        timing: Timing,
        rng: Random,
    ) -> None:
        """Wait for `start`.

        Args:
            table: whom to probe.
            outbox: takes what is to be sent.
            health: stretches our times; worsened by what may be our own fault.
            timing: the preset.
            rng: draws helpers and nonces.
        """
        self._table = table
        self._outbox = outbox
        self._health = health
        self._timing = timing
        self._rng = rng
        self._probe: _Probe | None = None
        self._next_at: float | None = None
        self._relays: dict[int, _Relay] = {}
        self._tcp_only: dict[NodeId, int] = {}

    def start(self, now: float) -> None:
        """Probe from now on, the first time somewhere within a period."""
        self._next_at = now + self._timing.period_s * (1.0 - self._rng.random())

    def stop(self) -> None:
        """Probe no more."""
        self._next_at = self._probe = None

    def wake(self, now: float) -> Member | None:
        """Go on with the probe; return whom it found not to answer, if it did."""
        self._expire_relays(now)
        probe, accused = self._probe, None
        if probe is not None and not probe.is_indirect and probe.direct_due <= now:
            self._go_indirect(probe, now)
        if probe is not None and probe.end_due <= now:
            accused = self._end(probe)
        if self._probe is None and self._next_at is not None and self._next_at <= now:
            self._begin(now)
        return accused

    def next_deadline(self) -> float | None:
        """Tell when there is something to send or to conclude."""
        times = [relay.due for relay in self._relays.values()]
        probe = self._probe
        if probe is not None:
            times.append(probe.end_due if probe.is_indirect else probe.direct_due)
        elif self._next_at is not None:
            times.append(self._next_at)
        return min(times, default=None)

    def postpone(self, seconds: float) -> None:
        """Let the time not count during which this node stood still."""
        if self._probe is not None:
            self._probe.direct_due += seconds
            self._probe.end_due += seconds

    def warn(self, node_id: NodeId, now: float) -> None:
        """Ping a suspect out of turn: the doubt rides there, the refutation back.

        Args:
            node_id: the suspect.
            now: the time.
        """
        ping = Ping(self._rng.getrandbits(NONCE_BITS))
        self._outbox.post(self._outbox.to(node_id), ping, now)

    def pinged(self, packet: Packet, ping: Ping, source: Address, now: float) -> None:
        """Answer a ping, to where the sender is known to be.

        Args:
            packet: from whom.
            ping: the question.
            source: from where.
            now: the time.
        """
        self._outbox.post(self._back(packet, source), Ack(ping.nonce), now)

    def ping_requested(
        self, packet: Packet, asked: PingReq, source: Address, now: float
    ) -> None:
        """Ping in the stead of another node, if not too many ask for it.

        Args:
            packet: from whom.
            asked: whom to ping.
            source: from where.
            now: the time.
        """
        if len(self._relays) >= RELAYS_MAX:
            return
        nonce = self._rng.getrandbits(NONCE_BITS)
        due = now + self._timing.timeout_s * NACK_AT
        asker = self._back(packet, source)
        self._relays[nonce] = _Relay(asked.target, asker, asked.nonce, due)
        to = To(asked.address, asked.target, asked.target_epoch)
        self._outbox.post(to, Ping(nonce), now)

    def acked(self, packet: Packet, ack: Ack, now: float) -> None:
        """Take an answer: to our probe, or to a ping in another's stead.

        Args:
            packet: from whom.
            ack: the answer.
            now: the time.
        """
        probe = self._probe
        if probe is not None and probe.nonce == ack.nonce:
            if packet.sender == probe.target or packet.sender in probe.helpers:
                self._tcp_only.pop(probe.target, None)
                self._health.improve()
                self._probe = None
        elif ack.nonce in self._relays:
            relay = self._relays[ack.nonce]
            if packet.sender == relay.target:
                del self._relays[ack.nonce]
                self._outbox.post(relay.asker, Ack(relay.nonce), now)

    def nacked(self, packet: Packet, nack: Nack) -> None:
        """Take a helper's word that it got no answer either.

        Args:
            packet: from whom.
            nack: about which probe.
        """
        probe = self._probe
        if probe is not None and probe.nonce == nack.nonce:
            probe.silent = tuple(i for i in probe.silent if i != packet.sender)

    def tcp_answered(self, ref: int, packet: Packet | None) -> bool:
        """Take the end of a TCP exchange; tell whether it was the probe's.

        Args:
            ref: which exchange.
            packet: the answer.
        """
        probe = self._probe
        if probe is None or ref != probe.tcp_ref:
            return False
        if packet is not None and packet.message == Ack(probe.nonce):
            probe.tcp_answered = packet.sender == probe.target
        return True

    def _back(self, packet: Packet, source: Address) -> To:
        """Address an answer; what is known goes before what the packet came from."""
        held = self._table.other(packet.sender)
        known = held is not None and held.boot_epoch == packet.sender_epoch
        address = held.address if held is not None and known else source
        return To(address, packet.sender, packet.sender_epoch)

    def _begin(self, now: float) -> None:
        """Ping the next in turn."""
        stretch = self._health.stretch
        self._next_at = now + stretch(self._timing.period_s)
        target = self._table.order.next()
        if target is None:
            self._health.improve()
            return
        to = self._outbox.to(target)
        self._probe = _Probe(
            target,
            to.epoch,
            self._rng.getrandbits(NONCE_BITS),
            now + stretch(self._timing.timeout_s),
            now + stretch(self._timing.period_s),
        )
        self._outbox.post(to, Ping(self._probe.nonce), now)

    def _go_indirect(self, probe: _Probe, now: float) -> None:
        """Ask helpers, and the member itself over TCP."""
        probe.is_indirect = True
        if not self._is_current(probe):
            return
        to, nonce = self._outbox.to(probe.target), probe.nonce
        helpers = self._table.order.sample(self._timing.helpers, (probe.target,))
        probe.helpers = probe.silent = tuple(helpers)
        for helper in helpers:
            asked = PingReq(nonce, probe.target, probe.epoch, to.address)
            self._outbox.post(self._outbox.to(helper), asked, now)
        left = max(self._timing.timeout_s, probe.end_due - now)
        about = self._outbox.accusation(probe.target, now)
        probe.tcp_ref = self._outbox.ask(to, Ping(nonce), left, about)

    def _end(self, probe: _Probe) -> Member | None:
        """Conclude a probe that nobody acked by UDP; return whom to accuse."""
        self._probe = None
        if not self._is_current(probe):
            return None
        member = self._table.members[probe.target]
        if probe.tcp_answered:
            self._note_tcp_only(member)
            return None
        self._health.worsen(len(probe.silent) if probe.helpers else 1)
        return member

    def _is_current(self, probe: _Probe) -> bool:
        """Tell whether the life that is probed is still believed to live."""
        held = self._table.other(probe.target)
        return held is not None and held.is_live and held.boot_epoch == probe.epoch

    def _note_tcp_only(self, member: Member) -> None:
        """Say once a life that UDP does not get through to a member."""
        if self._tcp_only.get(member.node_id) != member.boot_epoch:
            self._tcp_only[member.node_id] = member.boot_epoch
            self._outbox.emit(TcpOnly(member))

    def _expire_relays(self, now: float) -> None:
        """Say where we got no answer in another's stead."""
        for nonce in [n for n, relay in self._relays.items() if relay.due <= now]:
            relay = self._relays.pop(nonce)
            self._outbox.post(relay.asker, Nack(relay.nonce), now)
