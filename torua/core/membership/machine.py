"""The membership of one node: what it hears, what it believes, what it says.

SWIM with Lifeguard, after hashicorp/memberlist: `prober` doubts, `suspicion` lets
doubts ripen, `dissemination` spreads the news, `pushpull` carries all of it, `beliefs`
says what overrides what.  Here they meet.
"""

from random import Random
from typing import assert_never

from msgspec.structs import replace

from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership.beliefs import overrides, precedence
from torua.core.membership.foreign import Foreign
from torua.core.membership.health import LocalHealth
from torua.core.membership.messages import (
    Ack,
    Answer,
    Answered,
    Asked,
    Dropped,
    HealthChanged,
    Input,
    Leave,
    LeaveDone,
    MemberChanged,
    MemberForgotten,
    Message,
    Nack,
    NameClash,
    Output,
    Packet,
    Ping,
    PingReq,
    Received,
    Remember,
    Rumour,
    Stalled,
    Start,
    Superseded,
    Sync,
    UpdateMeta,
)
from torua.core.membership.outbox import Outbox, Sizes, To
from torua.core.membership.prober import Prober
from torua.core.membership.pushpull import PushPull, doubted
from torua.core.membership.screening import later_life, objection
from torua.core.membership.table import Table
from torua.core.membership.timing import Timing

INCARNATION_MAX = 1 << 53
"""No node refutes that often; a rumour that says so is made up."""

LEAVE_FANOUT = 8
"""So many are told of a leave at once; in a small cluster that is everybody."""

WARNERS = 4
"""In each period so many of all members ask a suspect, lest they miss its answer."""


class Membership:
    """The membership of one node, as a machine (`torua.core.machine`).

    Invariants: this node believes itself alive until it leaves; its incarnation only
    rises; no member of another cluster than ours is held; once superseded, it is silent
    for ever.

    Performance: a packet costs O(rumours in it), plus O(suspects) for the deadline.
    """

    def __init__(self, me: Member, timing: Timing, sizes: Sizes, rng: Random) -> None:
        """Be alone, and wait for `Start`.

        Args:
            me: this node, alive.
            timing: the preset.
            sizes: what fits into a datagram.
            rng: the only chance there is.
        """
        self._timing = timing
        self._rng = rng
        self._health = LocalHealth()
        self._shown_health = 0
        self._table = Table(me, timing, rng)
        self._outbox = Outbox(self._table, timing, sizes)
        self._prober = Prober(self._table, self._outbox, self._health, timing, rng)
        self._pushpull = PushPull(self._table, self._outbox, timing, rng)
        self._gossip_at = 0.0
        self._tick_at: float | None = None
        self._published_at = float("-inf")
        self._leave_by: float | None = None
        self._is_over = False
        self._foreign = Foreign()
        self._peers: tuple[Address, ...] = ()

    @property
    def me(self) -> Member:
        """This node, as it says it is."""
        return self._table.me

    @property
    def members(self) -> dict[NodeId, Member]:
        """All that are known, this node and the dead included.  To read only."""
        return self._table.members

    @property
    def heard_at(self) -> dict[NodeId, float]:
        """When a packet last came from each.  To read only."""
        return self._table.heard_at

    @property
    def health_score(self) -> int:
        """How badly this node does itself: 0 healthy, 8 at the worst."""
        return self._health.score

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input.

        Nothing follows once this life is over.
        """
        if not self._is_over:
            self._forgive(now)
            self._take(message, now)
        return self._done()

    def wake(self, now: float) -> list[Output]:
        """Act on the time that has passed (`torua.core.machine`)."""
        if not self._is_over:
            self._forgive(now)
            self._wake(now)
        return self._done()

    def next_deadline(self) -> float | None:
        """Tell when `wake` next has work to do."""
        if self._is_over:
            return None
        times = [
            self._tick_at,
            self._prober.next_deadline(),
            self._pushpull.next_deadline(),
            self._table.suspicions.next_deadline(),
            self._leave_by,
            self._gossip_at if self._may_gossip else None,
        ]
        return min((time for time in times if time is not None), default=None)

    @property
    def _may_gossip(self) -> bool:
        """Tell whether there is news, and somebody to tell it to."""
        return len(self._outbox.rumours) > 0 and len(self._table.order) > 0

    def _done(self) -> list[Output]:
        """Hand over the outputs; a superseded node has nothing else to say."""
        if self._health.score != self._shown_health:
            self._shown_health = self._health.score
            self._outbox.emit(HealthChanged(self._shown_health))
        return self._outbox.drain()

    def _take(self, message: Input, now: float) -> None:
        """Tell the inputs apart."""
        match message:
            case Received():
                self._received(message, now)
            case Asked():
                self._outbox.emit(Answer(message.ref, self._asked(message, now)))
            case Answered():
                self._answered(message, now)
            case Start() | UpdateMeta() | Stalled() | Leave():
                self._told(message, now)
            case _:
                assert_never(message)

    def _told(self, message: Start | UpdateMeta | Stalled | Leave, now: float) -> None:
        """Take an input from at home."""
        match message:
            case Start(seeds):
                self._prober.start(now)
                self._pushpull.start(seeds, now)
                self._tick_at = now + self._timing.period_s
            case UpdateMeta(meta):
                self._update_meta(meta)
            case Stalled(seconds):
                self._health.worsen(int(seconds > self._timing.timeout_s / 2))
            case Leave():
                self._leave(now)
            case _:
                assert_never(message)

    # What comes from outside

    def _received(self, received: Received, now: float) -> None:
        """Take a datagram, if it is for this life and from a current one."""
        packet = received.packet
        reason = self._objection(packet)
        if reason:
            self._outbox.emit(Dropped(reason))
            self._correct(reason, received, now)
            return
        self._heard(packet, now)
        for rumour in packet.rumours:
            self._merge(rumour, now)
        if not self._is_over and packet.message is not None:
            self._probe_message(packet.message, received, now)

    def _probe_message(self, message: Message, heard: Received, now: float) -> None:
        """Pass on what belongs to probes."""
        match message:
            case Ping():
                self._prober.pinged(heard.packet, message, heard.source, now)
            case PingReq():
                self._prober.ping_requested(heard.packet, message, heard.source, now)
            case Ack():
                self._prober.acked(heard.packet, message, now)
            case Nack():
                self._prober.nacked(heard.packet, message)
            case Sync():
                self._outbox.emit(Dropped("sync-by-datagram"))
            case _:
                assert_never(message)

    def _objection(self, packet: Packet) -> str:
        """Say why a packet is not to be taken; stop where it shows a later life."""
        reason = objection(packet, self._table, self._foreign)
        if reason == "superseded":
            self._supersede(later_life(packet, self._table.me))
        return reason

    def _correct(self, reason: str, received: Received, now: float) -> None:
        """Tell who means an earlier life, lives one, or is of another cluster, so.

        Only where there is a message, so that no two correct each other for ever.
        """
        packet = received.packet
        if packet.message is None:
            return
        to = To(received.source, packet.sender, packet.sender_epoch)
        if reason == "old-life":
            self._outbox.tell(to, packet.sender, now)
        elif reason in ("stale-target", "foreign-cluster"):
            self._outbox.tell(to, self._table.me.node_id, now)

    def _asked(self, asked: Asked, now: float) -> Packet | None:
        """Answer a TCP exchange."""
        packet, message = asked.packet, asked.packet.message
        reason = self._objection(packet)
        is_sync = isinstance(message, Sync)
        if reason and not (is_sync and reason in ("own", "stale-target", "old-life")):
            self._outbox.emit(Dropped(reason))
            foreign = is_sync and reason == "foreign-cluster"
            return self._refusal(packet, now) if foreign else None
        if isinstance(message, Ping) and packet.target:
            self._merge_all(packet, now)
            about = self._outbox.accusation(packet.sender, now)
            return self._outbox.answer_to(packet, Ack(message.nonce), about)
        if not is_sync:
            return None
        if reason != "own" and not self._merge_all(packet, now):
            return self._refusal(packet, now)
        rumours = self._table.rumours(now)
        return self._outbox.answer_to(packet, Sync(), rumours)

    def _refusal(self, packet: Packet, now: float) -> Packet:
        """Show a node of another cluster who we are, and nothing more."""
        return self._outbox.answer_to(packet, Sync(), self._table.rumours(now)[:1])

    def _answered(self, answered: Answered, now: float) -> None:
        """Take the end of a TCP exchange."""
        packet = answered.packet
        if packet is not None:
            reason = self._objection(packet)
            if reason and reason != "own":
                self._outbox.emit(Dropped(reason))
                packet = None
        if self._prober.tcp_answered(answered.ref, packet):
            if packet is not None:
                self._merge_all(packet, now)
            return
        self._pushpull.answered(answered.ref, packet, now)
        if packet is not None and packet.sender != self._table.me.node_id:
            # Who knew nobody has no news for those who just told it everything.
            self._merge_all(packet, now, spread=len(self._table.order) > 0)

    # What is believed

    def _merge_all(self, packet: Packet, now: float, *, spread: bool = True) -> bool:
        """Merge what came by TCP, unless its sender is of another cluster.

        The dead are merged as suspects: it may be the teller who was cut off.
        """
        for rumour in packet.rumours:
            if rumour.member.node_id == packet.sender and self._refuse(rumour.member):
                return False
        self._heard(packet, now)
        for rumour in packet.rumours:
            held = self._table.other(rumour.member.node_id)
            known = held is not None and held.is_live
            heard = doubted(rumour, packet.sender) if known else rumour
            self._merge(heard, now, spread=spread)
        return True

    def _merge(self, rumour: Rumour, now: float, *, spread: bool = True) -> None:
        """Believe a rumour if it overrides what is held, and pass it on."""
        member = rumour.member
        if self._is_over or member.incarnation >= INCARNATION_MAX:
            return
        if member.node_id == self._table.me.node_id:
            self._hear_of_self(member)
            return
        held = self._table.members.get(member.node_id)
        if held is not None and not overrides(member, held):
            self._confirm(rumour, held)
            return
        tombstone = not member.is_live and rumour.age_s >= self._timing.reap_s
        if not tombstone and not self._refuse(member):
            self._adopt(rumour, held, now, spread)

    def _adopt(
        self, rumour: Rumour, held: Member | None, now: float, spread: bool
    ) -> None:
        """Believe a rumour, and say so."""
        member = rumour.member
        self._table.adopt(rumour, now)
        if spread:
            self._outbox.rumours.put(rumour)
        self._outbox.emit(MemberChanged(member, held))
        if member.is_live and (held is None or not held.is_live):
            self._compare_names(member)
            if held is not None:
                self._pushpull.hasten(now)

    def _confirm(self, rumour: Rumour, held: Member) -> None:
        """Count a further accuser, and pass its word on where it counts."""
        same = precedence(rumour.member) == precedence(held)
        if not same or held.status is not Status.SUSPECT:
            return
        if self._table.suspicions.confirm(held.node_id, rumour.by):
            self._outbox.rumours.put(Rumour(held, rumour.by))

    def _hear_of_self(self, member: Member) -> None:
        """Refute a doubt; stop where this life is over."""
        me = self._table.me
        if member.boot_epoch > me.boot_epoch:
            self._supersede(member.boot_epoch)
        if member.boot_epoch != me.boot_epoch or me.status is Status.LEFT:
            return
        if member.status is Status.LEFT:
            self._supersede(member.boot_epoch)
        elif overrides(member, me):
            self._health.worsen(int(member.status is not Status.ALIVE))
            self._change_me(incarnation=member.incarnation + 1)
        elif member.status is not Status.ALIVE:
            # Refuted already, but somebody has not heard it: it rides on the answer.
            self._outbox.rumours.put(Rumour(me, me.node_id))

    def _change_me(self, **changes: object) -> None:
        """Say something else of this node, to all."""
        before = self._table.change_me(**changes)
        me = self._table.me
        self._outbox.rumours.put(Rumour(me, me.node_id))
        self._outbox.emit(MemberChanged(me, before))

    def _heard(self, packet: Packet, now: float) -> None:
        """Note that a member was heard of directly."""
        if packet.sender in self._table.members:
            self._table.heard_at[packet.sender] = now

    def _supersede(self, epoch: int) -> None:
        """Fall silent: another life of this node is about."""
        self._is_over = True
        self._outbox.emit(Superseded(epoch))

    # Other clusters, other nodes of the same name

    def _refuse(self, member: Member) -> bool:
        """Tell whether a member is none of ours; if so, say so and let it go.

        A life once refused stays so, whatever others still believe of it.
        """
        if (member.node_id, member.boot_epoch) in self._foreign:
            return True
        refused, said = self._foreign.judge(self._table.me.meta, member)
        for line in said:
            self._outbox.emit(line)
        if refused and self._table.other(member.node_id) is not None:
            self._forget(member.node_id)
        return refused

    def _forget(self, node_id: NodeId) -> None:
        """Know a member no more."""
        self._outbox.rumours.discard(node_id)
        self._outbox.emit(MemberForgotten(self._table.forget(node_id)))

    def _compare_names(self, member: Member) -> None:
        """Say so where another live node, not the one it replaces, bears this name."""
        for other in self._table.namesakes(member):
            self._outbox.emit(NameClash(member, other))

    # What happens at home

    def _update_meta(self, meta: Meta) -> None:
        """Say other things of this node; let go whom a new cluster_uuid excludes."""
        me = self._table.me
        meta = replace(meta, health_score=me.meta.health_score)
        if me.status is not Status.LEFT and meta != me.meta:
            self._change_me(meta=meta, incarnation=me.incarnation + 1)
            others = [m for m in self._table.members.values() if m is not self.me]
            for member in others:
                self._refuse(member)

    def _leave(self, now: float) -> None:
        """Tell the others that this node goes, and probe no more."""
        self._prober.stop()
        self._pushpull.stop()
        self._leave_by = now + self._timing.leave_s
        self._gossip_at = max(self._gossip_at, now)
        self._change_me(status=Status.LEFT)
        for node_id in self._table.order.sample(LEAVE_FANOUT):
            self._outbox.post(self._outbox.to(node_id), None, now)
        self._end_leave(now)

    def _end_leave(self, now: float) -> None:
        """Report that the word is spread, or that there is no more time for it."""
        if self._leave_by is None:
            return
        told = self._table.me.node_id not in self._outbox.rumours
        if told or not len(self._table.order) or self._leave_by <= now:
            self._leave_by = None
            self._outbox.emit(LeaveDone())

    # What time brings

    def _forgive(self, now: float) -> None:
        """Hold against nobody the time during which this node itself stood still.

        What they sent meanwhile still waits to be read.
        """
        if self._tick_at is None or now - self._tick_at <= self._timing.timeout_s / 2:
            return
        stood_still = now - self._tick_at + self._timing.period_s
        self._tick_at = now
        self._prober.postpone(stood_still)
        self._table.suspicions.postpone(stood_still)

    def _wake(self, now: float) -> None:
        """Do what is due: doubt, bury, exchange, spread."""
        me = self._table.me.node_id
        accused = self._prober.wake(now)
        if accused is not None:
            doubt = replace(accused, status=Status.SUSPECT)
            self._merge(Rumour(doubt, me), now)
        for node_id in self._table.suspicions.ripe(now):
            dead = replace(self._table.members[node_id], status=Status.DEAD)
            self._merge(Rumour(dead, me), now)
        self._pushpull.wake(now)
        if self._tick_at is not None and self._tick_at <= now:
            self._tick(now)
        if self._gossip_at <= now:
            self._gossip(now)
        self._end_leave(now)

    def _gossip(self, now: float) -> None:
        """Pass on what news there is."""
        if not self._may_gossip:
            return
        self._gossip_at = now + self._timing.gossip_s
        for node_id in self._table.order.sample(self._timing.fanout):
            if self._outbox.rumours:
                self._outbox.post(self._outbox.to(node_id), None, now)

    def _tick(self, now: float) -> None:
        """Once a period: tell the doubted, publish the health, forget, remember."""
        self._tick_at = now + self._timing.period_s
        for node_id in self._table.long_gone(now):
            self._forget(node_id)
        for node_id in self._table.suspicions.suspects():
            if self._rng.random() * self._table.live < WARNERS:
                self._prober.warn(node_id, now)
        dead = self._table.dead(now, self._timing.dead_gossip_s)
        if dead:
            node_id = self._rng.choice(dead).node_id
            self._outbox.post(self._outbox.to(node_id), None, now)
        self._publish_health(now)
        peers = self._table.peers()
        if peers and peers != self._peers:
            self._peers = peers
            self._outbox.emit(Remember(peers))

    def _publish_health(self, now: float) -> None:
        """Let the others know how this node does, not too often."""
        me, score = self._table.me, self._health.score
        quiet = now - self._published_at < self._timing.publish_s
        if quiet or score == me.meta.health_score or me.status is Status.LEFT:
            return
        self._published_at = now
        meta = replace(me.meta, health_score=score)
        self._change_me(meta=meta, incarnation=me.incarnation + 1)
