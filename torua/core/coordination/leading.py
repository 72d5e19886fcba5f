"""What a coordinator does with its term: propose, publish, count, commit.

It proposes only what `torua.core.allocation` and `torua.core.coordination.voters` say
should be, one publication at a time, and the first of its term changes nothing (C10).
"""

from random import Random

from torua.core.allocation import Delays, Outlook, execute, reconcile
from torua.core.coordination.circle import Circle
from torua.core.coordination.commands import Commands
from torua.core.coordination.messages import (
    Ack,
    Check,
    Commit,
    Disconnected,
    Event,
    Facts,
    Message,
    Position,
    Voters,
)
from torua.core.coordination.outbox import Outbox
from torua.core.coordination.publisher import Publisher
from torua.core.coordination.pulse import Pulse
from torua.core.coordination.register import Register
from torua.core.coordination.timing import Timing
from torua.core.coordination.voters import has_majority, next_voters
from torua.core.ids import NodeId
from torua.core.reporting import NodeReport, Sight
from torua.core.state import ClusterState


class Leading:
    """The publishing half of `torua.core.coordination.machine.Coordination`.

    Invariants: nothing is proposed but by a register that won, and nothing but the
    first publication of a term before that is committed.

    Attributes:
        me: this node.
        register: the facts and the votes.  To read, not to write.
    """

    def __init__(self, facts: Facts, timing: Timing, random: Random) -> None:
        """Begin a life that has published nothing.

        Args:
            facts: what earlier lives kept, with the ``boot_epoch`` of this one.
            timing: how long to wait.
            random: for ids, nonces and jitter.
        """
        self.me = facts.node_id
        self.register = Register(facts)
        self._timing = timing
        self._random = random
        self._outbox = Outbox(facts)
        self._pulse = Pulse(random.getrandbits(48))
        self._commands = Commands()
        self._circle = Circle(facts.accepted.state)
        self._publisher = Publisher()
        self._positions = self._publisher.positions
        self._delays = Delays()
        self._outlook = Outlook()
        self._publish_by = 0.0
        self._check_at = 0.0
        self._look_at = float("inf")
        self._led_since = 0.0

    def report(self, node: NodeId, report: NodeReport) -> None:
        """Take what a node says of its disk and its copies; it is acted upon later.

        Args:
            node: whose.
            report: what it says.
        """
        self._outlook.report(node, report)

    def sight(self, now: float) -> Sight:
        """Tell what is known beside the state, if this node coordinates.

        Args:
            now: this node's clock.
        """
        return self._outlook.sight(now)

    def _begin_term(self, now: float) -> None:
        """Remember nothing of earlier terms, and ask all whether they are there."""
        self._led_since = now
        self._look_at = float("inf")
        self._delays = Delays()
        self._outlook = Outlook()
        self._pulse.lead(now, self._timing.check_interval_s)
        self._send_checks(now)

    def _send_checks(self, now: float) -> None:
        """Begin a round of heartbeats to everybody else."""
        nonce = self._pulse.begin_round(now)
        for node in self._targets():
            if node != self.me:
                self._send_check(node, leads=True, nonce=nonce)
        self._check_at = now + self._timing.check_interval_s

    def _targets(self) -> list[NodeId]:
        """Return whom this node leads: itself first, the voters, and all who live."""
        others = {member.node_id for member in self._circle.live()}
        others |= set(self.register.electorate(()))
        return [self.me, *sorted(others - {self.me})]

    def _doubt(self, message: Disconnected, now: float) -> float:
        """Doubt a node whose connection broke; return until when it may be silent."""
        self._pulse.broke(message.peer, now)
        until = now + self._timing.reset_grace_s
        if message.refused:
            grace_s = self._timing.refused_grace_s
            gone_at = self._pulse.refused(message.peer, now, grace_s)
            if gone_at is not None:
                self._look_at = min(self._look_at, gone_at)
                until = min(until, gone_at)
        return until

    def _advance(self, now: float) -> None:
        """Propose what should be, where this node may and anything should change.

        Commands come last: nothing is decided upon what they change, such as who is in
        sync, before that is committed.
        """
        if self._look_at <= now:
            self._look_at = float("inf")
        if not self.register.is_idle or not self._is_attended(now):
            return
        old = self.register.facts.accepted
        self._outlook.keep(old.state)
        state = reconcile(
            old.state,
            self._circle.members.values(),
            self._random,
            lost=self._lost(old.state, now),
            delays=self._delays,
            outlook=self._outlook,
            now=now,
        )
        if state is old.state:
            self._outlook.rest(state)
        for command in self._commands.publish():
            before = state
            state = execute(before, command)
            self._outlook.note(before, state, command, now)
        voters = self._next_voters(old.voters, now)
        if state is old.state and voters == old.voters:
            self._outbox.add(self._commands.done())
        else:
            self._propose(state, voters, now=now)

    def _is_attended(self, now: float) -> bool:
        """Tell whether a majority answered lately.

        One that is deaf takes all others for lost.  What it publishes still arrives,
        and the next coordinator goes on from there.
        """
        since = now - self._timing.deaf_after_s
        answering = self._pulse.answering(since) | {self.me}
        return self._led_since >= since or self.register.elects(answering)

    def _lost(self, state: ClusterState, now: float) -> set[NodeId]:
        """Return who answers no checks: to this node, or to the one that led before."""
        pulse, answering = self._pulse, self._pulse.answering(self._led_since)
        return {
            node
            for node, entry in state.nodes.items()
            if node != self.me
            and (pulse.is_lost(node, now) or (entry.lost and node not in answering))
        }

    def _next_voters(self, voters: Voters, now: float) -> Voters:
        """Return the voters that one step leads to, if they would join this node."""
        heard_of = self._pulse.heard(now - self._timing.quorum_timeout_s)
        heard_of |= {each.node_id for each in self._circle.live()}
        answering = self._pulse.answering(now - 2 * self._timing.check_interval_s)
        live = [
            node
            for node, entry in sorted(self.register.facts.accepted.state.nodes.items())
            if "voter" in entry.roles
            and (
                node == self.me
                or node in answering
                or (node in voters and node in heard_of)
            )
        ]
        chosen = next_voters(voters, live)
        return chosen if has_majority(chosen, self.register.joins) else voters

    def _propose(self, state: ClusterState, voters: Voters, *, now: float) -> None:
        """Publish the next value to all, this node among them."""
        parent = self.register.facts.accepted
        self._publisher.begin(self.register.propose(state, voters), parent)
        self._publish_by = now + self._timing.publish_timeout_s
        self._outbox.notice(Event.PUBLISHED, self.me)
        for node in self._targets():
            self._send_publication(node)

    def _send_publication(self, node: NodeId) -> None:
        """Send the last publication, where this node still coordinates."""
        if self.register.published is not None:
            message = self._publisher.message(node, has_parent=node == self.me)
            self._post(node, message)

    def _ack(self, source: NodeId, message: Ack) -> None:
        """Count an acceptance; the one that decides commits for all."""
        position = Position(message.term, message.version)
        if message.term != self.register.facts.term:
            return
        self._positions[source] = position
        if self.register.ack(source, message):
            self._outbox.notice(Event.COMMITTED, self.me)
            for node in self._targets():
                self._post(node, Commit(*position))
        elif self.register.is_published(position) and self.register.committed:
            self._post(source, Commit(*position))

    def _post(self, target: NodeId, message: Message) -> None:
        """Send, once all that the message may rest on is on the disk."""
        self._outbox.post(target, message, self.register.facts)

    def _send_check(self, node: NodeId, *, leads: bool, nonce: int) -> None:
        """Send one heartbeat."""
        self._post(node, Check(self.register.facts.term, leads, nonce))

    def _report(self, foreign: list[tuple[NodeId, str]]) -> None:
        """Say that nodes of another cluster are met."""
        for node, uuid in foreign:
            self._outbox.notice(Event.FOREIGN, node, uuid)
