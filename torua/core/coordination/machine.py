"""Who coordinates: what makes the register go on when nodes and networks fail.

    CANDIDATE --pre-votes, then joins, of a majority--> COORDINATOR
        ^  |                                                |
        |  '--checked by a coordinator--> FOLLOWER          |
        |                                    |              |
        '---- silence, a broken connection --+-- no majority, a higher term

A node talks to itself by the same messages as to others, so that its own vote and its
own copy of the state wait for its own disk (`outbox`).  What is safe does not depend
on anything in this module: times and live sets only say when to try.
"""

from collections.abc import Iterable
from enum import Enum
from random import Random
from typing import assert_never

from msgspec.structs import replace

from torua.core.coordination.candidacy import Candidacy, rank
from torua.core.coordination.circle import is_foreign
from torua.core.coordination.founding import (
    Founding,
    blank_state,
    founders,
    is_blank,
    lacking,
)
from torua.core.coordination.leading import Leading
from torua.core.coordination.messages import (
    Accepted,
    Ack,
    Answer,
    Apply,
    Check,
    Checked,
    Commit,
    Disconnected,
    Event,
    Facts,
    Input,
    Join,
    Members,
    Message,
    Output,
    Persisted,
    PreVote,
    PreVoted,
    Publish,
    Received,
    Refused,
    StartJoin,
    Submit,
    Verdict,
    Voters,
    Wanted,
)
from torua.core.coordination.timing import Timing
from torua.core.ids import NodeId
from torua.core.members import Member, Status

__all__ = ["Coordination", "Founding", "Mode"]


class Mode(Enum):
    """What part this node plays in its term."""

    CANDIDATE = "candidate"
    FOLLOWER = "follower"
    COORDINATOR = "coordinator"


class Coordination(Leading):
    """One node's part in choosing a coordinator and committing the cluster state.

    Invariants: a message leaves only when all facts that were changed before it are on
    the disk; `coordinator` is this node exactly in mode COORDINATOR, and None exactly
    in mode CANDIDATE; `next_deadline` lies in the future of the last `wake`.

    Performance: a message costs O(members); a publication O(size of the state).

    Attributes:
        mode: what part this node plays.
        coordinator: who coordinates, as far as this node knows.
        applied: the last value known to be committed.
    """

    def __init__(
        self, facts: Facts, founding: Founding, timing: Timing, random: Random
    ) -> None:
        """Begin a life, as a candidate that knows of nobody.

        Args:
            facts: what earlier lives kept, with the ``boot_epoch`` of this one.
            founding: how to form a cluster.
            timing: how long to wait.
            random: for jitter and ids.
        """
        super().__init__(facts, timing, random)
        self.mode = Mode.CANDIDATE
        self.coordinator: NodeId | None = None
        self.applied = facts.accepted if facts.committed else Accepted()
        self._founding = founding
        self._candidacy = Candidacy(timing, random)
        self._highest_term = facts.term
        self._lost_at = 0.0

    @property
    def term(self) -> int:
        """Return the highest term that this node took part in."""
        return self.register.facts.term

    def is_deaf(self, now: float) -> bool:
        """Tell whether nothing came lately of the coordinator, which never rests.

        If this node coordinates: whether no majority answered it lately.
        """
        if self.mode is Mode.COORDINATOR:
            return not self._is_attended(now)
        known = self.coordinator or self.me
        return self._pulse.silence(known, now) > self._timing.deaf_after_s

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: this node's monotonic clock, in seconds; it may jump ahead.
        """
        if self._candidacy.stand_at is None:
            self._stand_later(now, 0.0)
        match message:
            case Received():
                self._received(message, now)
            case Persisted():
                self._outbox.persisted(message.token)
            case Members():
                self._meet(message.members, now)
            case Disconnected():
                self._disconnected(message, now)
            case Submit():
                self._submit(message, now)
            case _:
                assert_never(message)
        return self._flush(now)

    def wake(self, now: float) -> list[Output]:
        """Do what is due: a round of checks, an attempt, or giving up."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            match self.mode:
                case Mode.COORDINATOR if now < self._check_at:
                    self._advance(now)
                case Mode.COORDINATOR:
                    self._lead_on(now)
                case Mode.FOLLOWER:
                    self._follow_on(now)
                case Mode.CANDIDATE:
                    self._stand(now)
        return self._flush(now)

    def next_deadline(self) -> float | None:
        """Tell when `wake` next has work; None before the first input."""
        match self.mode:
            case Mode.COORDINATOR:
                return min(self._check_at, self._look_at)
            case Mode.FOLLOWER:
                return min(self._check_at, self._lost_at)
            case Mode.CANDIDATE:
                return self._candidacy.stand_at

    # What comes in

    def _received(self, received: Received, now: float) -> None:
        """Read a letter, unless it is of another cluster or of an earlier life."""
        source, letter = received.source, received.letter
        if is_foreign(self.register.facts.cluster_uuid, letter.cluster_uuid):
            self._report(self._circle.news([(source, letter.cluster_uuid)]))
            return
        known = self._circle.epoch(source)
        if not self._circle.admits(source, received.boot_epoch):
            return
        self._pulse.hear(source, now)
        if received.boot_epoch > known and source == self.coordinator:
            self._become_candidate(f"{source} was started anew", now)
        self._dispatch(source, letter.message, now)

    def _dispatch(self, source: NodeId, message: Message, now: float) -> None:
        """Act on one message, from a peer or from this node itself."""
        match message:
            case PreVote() | PreVoted() | StartJoin() | Join() | Refused():
                self._elect(source, message, now)
            case Check():
                self._check(source, message, now)
            case Checked():
                self._checked(source, message, now)
            case Commit():
                self._commit(source, message, now)
            case Publish() | Wanted() | Ack():
                self._replicate(source, message, now)
            case _:
                assert_never(message)

    def _elect(
        self,
        source: NodeId,
        message: PreVote | PreVoted | StartJoin | Join | Refused,
        now: float,
    ) -> None:
        """Act on a message of an election."""
        match message:
            case PreVote():
                self._pre_vote(source, message, now)
            case PreVoted():
                self._pre_voted(source, message, now)
            case StartJoin():
                self._start_join(source, message, now)
            case Join():
                self._join(source, message, now)
            case Refused():
                self._see_term(message.term, now)

    def _replicate(
        self, source: NodeId, message: Publish | Wanted | Ack, now: float
    ) -> None:
        """Act on a message about a publication."""
        match message:
            case Publish():
                self._publish(source, message, now)
            case Wanted():
                self._positions.pop(source, None)
                self._send_publication(source)
            case Ack():
                self._ack(source, message)

    def _meet(self, members: Iterable[Member], now: float) -> None:
        """Take over what membership believes, less those of another cluster."""
        uuid = self.register.facts.cluster_uuid
        self._report(self._circle.meet(members, uuid))
        held = self._circle.members.get(self.coordinator or self.me)
        if self.mode is Mode.FOLLOWER and held and held.status is Status.LEFT:
            self._lose("it left", now)
        self._advance(now)

    def _disconnected(self, message: Disconnected, now: float) -> None:
        """Doubt a node whose connection broke: it must answer soon."""
        peer, doubt_until = message.peer, self._doubt(message, now)
        follows = self.mode is Mode.FOLLOWER and peer == self.coordinator
        if follows and self._lost_at > doubt_until:
            self._lost_at = doubt_until
            self._send_check(peer, leads=False, nonce=self._pulse.ask(now))

    def _submit(self, submit: Submit, now: float) -> None:
        """Take a command, if this node coordinates and has room for it."""
        if self.mode is Mode.COORDINATOR and self._commands.add(submit):
            self._advance(now)
        else:
            self._outbox.add([Answer(submit.request, Verdict.UNAVAILABLE)])

    # Elections

    def _stand(self, now: float) -> None:
        """Ask the electorate whether it would join; changes no term."""
        chosen = self._choose_founders()
        electorate = self.register.electorate(chosen)
        self._stand_later(now, self._candidacy.backoff())
        attempt = self._candidacy.begin(chosen, now)
        if self.me not in electorate:
            return
        for node in electorate:
            self._post(node, PreVote(attempt, self.term, self.register.position))

    def _pre_vote(self, source: NodeId, message: PreVote, now: float) -> None:
        """Grant, where no other coordinator is healthy and the candidate not behind."""
        self._positions[source] = message.position
        self._see_term(message.term, now)
        mine = self.register.position
        granted = message.position >= mine and not self._is_led(source, now)
        self._post(source, PreVoted(message.attempt, granted, self.term, mine))

    def _pre_voted(self, source: NodeId, message: PreVoted, now: float) -> None:
        """Count a grant; with enough of them, raise the term and ask for joins."""
        self._positions[source] = message.position
        self._see_term(message.term, now)
        mine = self._candidacy
        counts = mine.counts(message.attempt, now) and self.mode is Mode.CANDIDATE
        if not message.granted or not counts:
            return
        mine.grants.add(source)
        if not self.register.elects(mine.grants, mine.founders):
            return
        mine.end()
        self._stand_later(now, self._timing.join_timeout_s)
        self._outbox.notice(Event.STANDING, self.me)
        term = max(self.term, self._highest_term) + 1
        start = self.register.ask(term, mine.founders)
        for node in self.register.electorate(mine.founders):
            self._post(node, start)

    def _start_join(self, source: NodeId, message: StartJoin, now: float) -> None:
        """Vote for whoever is first in a new term."""
        reply = self.register.start_join(message)
        if isinstance(reply, Join):
            if self.mode is not Mode.CANDIDATE:
                self._become_candidate(f"{source} asked for a new term", now)
            self._candidacy.end()
            self._stand_later(now, self._timing.join_timeout_s)
            reply = replace(reply, heard=self._pulse.ages(now))
        self._post(source, reply)

    def _join(self, source: NodeId, message: Join, now: float) -> None:
        """Count a vote; the one that decides makes this node coordinator."""
        self._see_term(message.term, now)
        won = self.register.join(source, message)
        if source in self.register.joins:
            self._positions[source] = message.position
            self._pulse.learn(message.heard, now, self._timing.check_interval_s)
        if won:
            self._win(now)
        else:
            self._advance(now)

    def _win(self, now: float) -> None:
        """Coordinate: say so to all, and publish what was accepted in this term."""
        self.mode, self.coordinator = Mode.COORDINATOR, self.me
        self._candidacy.settle()
        self._outbox.notice(Event.ELECTED, self.me)
        self._begin_term(now)
        blank = blank_state(self._founding, self._circle.live(), self._random)
        self._propose(*self.register.first(blank), now=now)

    def _choose_founders(self) -> Voters:
        """Return the first set to try; nobody where a set or a cluster is known."""
        live = self._circle.live()
        if not is_blank(self.register.facts, live):
            return ()
        chosen = founders(self._founding, live)
        if not chosen:
            event, detail = lacking(self._founding, live)
            self._outbox.notice(event, self.me, detail)
        return chosen

    def _stand_later(self, now: float, delay: float) -> None:
        """Stand in ``delay``, and later the better other candidates are."""
        voters, gone = self.register.electorate(()), self._pulse.is_gone
        live = [each for each in self._circle.live() if not gone(each.node_id, now)]
        able = [each for each in live if not voters or each.node_id in voters]
        mine = rank(self.me, self.register.position, self._positions, able)
        self._candidacy.postpone(now, delay, mine)

    # Being led

    def _is_led(self, source: NodeId, now: float) -> bool:
        """Tell whether a coordinator other than ``source`` is healthy."""
        if self.mode is Mode.COORDINATOR:
            return True
        follows = self.mode is Mode.FOLLOWER and now < self._lost_at
        return follows and self.coordinator != source

    def _follow(self, source: NodeId, term: int, now: float) -> bool:
        """Be led by the coordinator of ``term``, joining it where the term is new.

        Returns:
            Whether it leads this node; False where its term is over.
        """
        if term > self.term:
            self._start_join(source, StartJoin(term, self._circle.epoch(source)), now)
        if term < self.term:
            self._post(source, Refused(self.term))
            return False
        if self.mode is Mode.COORDINATOR:
            return source == self.me
        if self.coordinator != source:
            self.mode, self.coordinator = Mode.FOLLOWER, source
            self._candidacy.settle()
            self._check_at = now + self._timing.check_interval_s
            self._outbox.notice(Event.FOLLOWING, source)
        self._lost_at = now + self._timing.quorum_timeout_s
        return True

    def _follow_on(self, now: float) -> None:
        """Check the coordinator, or give it up."""
        assert self.coordinator is not None
        if now >= self._lost_at:
            self._lose("it is silent", now)
            return
        self._send_check(self.coordinator, leads=False, nonce=self._pulse.ask(now))
        self._check_at = now + self._timing.check_interval_s

    def _lose(self, why: str, now: float) -> None:
        """Follow nobody any more, and stand before long; what is known is old."""
        assert self.mode is Mode.FOLLOWER
        self._outbox.notice(Event.LOST, self.coordinator or self.me, why)
        self.mode, self.coordinator = Mode.CANDIDATE, None
        self._positions.clear()
        self._stand_later(now, 0.0)

    def _become_candidate(self, why: str, now: float) -> None:
        """Leave whatever part this node played."""
        if self.mode is Mode.COORDINATOR:
            self._step_down(why, now)
        elif self.mode is Mode.FOLLOWER:
            self._lose(why, now)

    def _see_term(self, term: int, now: float) -> None:
        """Remember a term for the next election; a higher one ends this node's own."""
        self._highest_term = max(self._highest_term, term)
        if term > self.term and self.mode is Mode.COORDINATOR:
            self._step_down(f"term {term} has begun", now)

    def _check(self, source: NodeId, message: Check, now: float) -> None:
        """Answer a heartbeat; one from a coordinator is also its claim to lead."""
        if message.leads and not self._follow(source, message.term, now):
            return
        self._see_term(message.term, now)
        leads = self.mode is Mode.COORDINATOR and message.term == self.term
        facts = self.register.facts
        position = self.register.position
        reply = Checked(self.term, leads, message.nonce, position, facts.committed)
        self._post(source, reply)

    # Leading

    def _checked(self, source: NodeId, message: Checked, now: float) -> None:
        """Count an answer, and send whoever is behind what it misses."""
        self._see_term(message.term, now)
        current = self._pulse.answer(source, message.nonce)
        if self.mode is Mode.FOLLOWER and source == self.coordinator and current:
            if not message.leads and message.term == self.term:
                self._lose("it coordinates no longer", now)
            elif message.leads:
                self._lost_at = now + self._timing.quorum_timeout_s
        published = self.register.published
        if self.mode is not Mode.COORDINATOR or published is None:
            return
        if message.position != published.position:
            self._positions[source] = message.position
            self._send_publication(source)
        elif not (self.register.committed and message.committed):
            self._ack(source, Ack(*message.position))

    def _lead_on(self, now: float) -> None:
        """Check all, unless a majority is silent or a publication does not get on."""
        since = now - self._timing.quorum_timeout_s
        answering = self._pulse.answering(since) | {self.me}
        if self._led_since < since and not self.register.elects(answering):
            self._step_down("no majority answers", now)
        elif not self.register.is_idle and now >= self._publish_by:
            self._step_down("a publication takes too long", now)
        else:
            self._send_checks(now)
            self._advance(now)

    def _step_down(self, why: str, now: float) -> None:
        """Coordinate no longer; what was asked for is undone, or nobody knows."""
        assert self.mode is Mode.COORDINATOR
        self._outbox.notice(Event.STEPPED_DOWN, self.me, why)
        self.mode, self.coordinator = Mode.CANDIDATE, None
        self.register.resign()
        self._outbox.add(self._commands.drop())
        self._stand_later(now, 0.0)

    # The state

    def _publish(self, source: NodeId, message: Publish, now: float) -> None:
        """Keep a publication of the coordinator of this term."""
        if not self._follow(source, message.term, now):
            return
        reply = self.register.accept(message)
        if reply is not None:
            self._post(source, reply)

    def _commit(self, source: NodeId, message: Commit, now: float) -> None:
        """Apply what was accepted, now that it is committed."""
        belonged = self.register.facts.cluster_uuid
        if not self.register.commit(message):
            return
        self.applied = self.register.facts.accepted
        self._outbox.add([Apply(self.applied)])
        uuid = self.register.facts.cluster_uuid
        if uuid != belonged and self.applied.committed_voters == ():
            self._outbox.notice(Event.FORMED, source, uuid)
        if self.mode is Mode.COORDINATOR:
            self._outbox.add(self._commands.done())
            self._advance(now)

    # What goes out

    def _flush(self, now: float) -> list[Output]:
        """Let go what may go, to this node itself at once; return all outputs."""
        self._outbox.keep(self.register.facts)
        while (letter := self._outbox.take()) is not None:
            target, message = letter
            if target == self.me:
                self._dispatch(self.me, message, now)
                self._outbox.keep(self.register.facts)
            else:
                self._outbox.send(target, message)
        return self._outbox.drain()
