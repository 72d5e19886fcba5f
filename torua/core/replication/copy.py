"""One copy of a shard, in whichever role the committed state gives it.

    REPLICA --the state names this copy and life--> PRIMARY
       ^  '-- another history, or a divergence --> FAILED (for ever)
       '-- the state, or a message, is of a later term --'

The copy goes on from one role to the next with its log, its checkpoint and its terms;
so a promotion begins with what is in the log above the checkpoint, and a demotion keeps
what was appended, for the next primary to confirm or to void.
"""

from collections.abc import Iterator
from enum import Enum
from random import Random

from torua.core.ids import AllocId
from torua.core.records import Record
from torua.core.replication import primary
from torua.core.replication.barrier import Led
from torua.core.replication.follower import TermAt
from torua.core.replication.judge import Answers
from torua.core.replication.messages import (
    AskTerm,
    Begin,
    Configure,
    CopyFacts,
    DiskFull,
    Failed,
    Identity,
    Input,
    Keep,
    Kept,
    Limits,
    Output,
    Received,
    Refuse,
    Reign,
    Request,
    RoomAgain,
    StepDown,
    SteppedDown,
    StorageFailed,
    Truncate,
    Writes,
)
from torua.core.replication.replica import DivergenceError, Replica, State
from torua.core.replication.tip import Position, View
from torua.core.replication.wire import Ask
from torua.core.state import Shard
from torua.errors import UnavailableError


class Role(Enum):
    """What a copy is."""

    REPLICA = "replica"
    PRIMARY = "primary"
    FAILED = "failed"


class ShardCopy:
    """One copy, from when it is opened to when it is closed.

    Invariants: it leads only in a term in which a committed state names it and its
    life, and which is the highest that it knows; exactly one of the two machines is at
    work; once FAILED it says nothing more.

    Attributes:
        role: what it is.
        me: which copy, in which life.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: Identity,
        facts: CopyFacts,
        at: Position,
        tail: tuple[Record, ...],
        *,
        view: View,
        answers: Answers,
        term_at: TermAt,
        random: Random,
        limits: Limits = Limits(),  # noqa: B008 it is frozen
    ) -> None:
        """Take up a copy whose view is at its checkpoint.

        Args:
            me: which copy, in which life.
            facts: what was kept of it.
            at: up to where its view is: all that it knows to be committed.
            tail: the records of its log above that, all durable.
            view: what is applied.
            answers: spells what idempotency keys are answered.
            term_at: tells the terms of the log's records.
            random: makes nonces.
            limits: what may be in flight.
        """
        self.role = Role.REPLICA
        self.me = me
        self._facts = facts
        self._view = view
        self._answers = answers
        self._term_at = term_at
        self._random = random
        self._limits = limits
        self._shard: Shard | None = None
        self._last_primary: AllocId | None = None
        self._spent = facts.term
        self._begin: Begin | None = None
        self._stale = False
        stored = at.seq + len(tail)
        self._replica = self._follow(facts, at, tail, stored)
        self._primary: primary.Primary | None = None

    @property
    def gcp(self) -> int:
        """The newest record that is known to be committed, and is applied."""
        return self._primary.gcp if self._primary else self._replica.gcp

    @property
    def term(self) -> int:
        """The highest term seen."""
        return self._replica.term

    @property
    def serves(self) -> bool:
        """Whether linearizable reads and writes are taken here."""
        return self._primary is not None and self._primary.serves

    @property
    def is_between(self) -> bool:
        """Whether it does not lead yet, or takes over or hands over just now."""
        between = (primary.State.RECOVERING, primary.State.DRAINING)
        return self._primary is None or self._primary.state in between

    @property
    def idle(self) -> bool:
        """Whether no write is in flight."""
        return self._primary is None or self._primary.idle

    @property
    def leading(self) -> primary.Primary | None:
        """Return the primary's machine, where this copy leads."""
        return self._primary

    def confirms(self, ask: Ask) -> bool:
        """Answer another node's barrier: whether the term it asks for is the last.

        Args:
            ask: about this copy.
        """
        if self.role is not Role.REPLICA or ask.alloc_id != self.me.alloc_id:
            return False
        return self._replica.confirms(ask)

    def awaits(self, term: int, nonce: int) -> bool:
        """Tell whether a snapshot may come now: another is not to cross it.

        Args:
            term: of the session in which it is sent.
            nonce: the session's.
        """
        return self.role is Role.REPLICA and self._replica.awaits(term, nonce)

    def led(self) -> Led | None:
        """Return whom a barrier asks now, and what; None where nothing is served."""
        leading = self._primary
        if leading is None or not leading.serves:
            return None
        return Led(self.term, leading.group.peers())

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.
        """
        if self.role is Role.FAILED:
            return list(_refusal(message, "this copy has failed"))
        try:
            return list(self._receive(message, now))
        except DivergenceError as error:
            return list(self._fail(str(error), now))

    def wake(self, now: float) -> list[Output]:
        """Take note of the time, and answer what is to be done about it, in order."""
        return self._primary.wake(now) if self._primary else []

    def next_deadline(self) -> float | None:
        """Tell when `wake` next has work to do; None while only inputs matter."""
        return self._primary.next_deadline() if self._primary else None

    def _receive(self, message: Input, now: float) -> Iterator[Output]:
        """Take one input, in the role that it finds or that it gives."""
        match message:
            case Configure():
                yield from self._configure(message, now)
            case Kept(term=term) if self._begin and term >= self.term:
                begin, self._begin = self._begin, None
                yield from self._hand(begin, now)
            case StorageFailed():
                yield from self._fail(message.detail, now)
            case Received() if self._outranks(message):
                yield from self._step_down("another copy is primary", now)
                yield from self._hand(message, now)
            case _:
                yield from self._hand(message, now)

    def _hand(self, message: Input, now: float) -> Iterator[Output]:
        """Hand an input to the machine at work."""
        if self._primary is not None:
            yield from self._ground(message)
            yield from self._primary.receive(message, now)
        else:
            yield from _refusal(message, "this copy is not the primary")
            yield from self._replica.receive(message, now)

    def _ground(self, message: Input) -> Iterator[Output]:
        """Void what a full disk left behind the log, before the primary appends again.

        A truncation that was on its way to the disk with the records is lost with them.
        """
        leading = self._primary
        if isinstance(message, DiskFull):
            self._stale = True
        if not isinstance(message, Begin | RoomAgain) or not self._stale:
            return
        assert leading is not None, "only a primary is grounded here"
        self._stale = False
        own, at = leading.group.own, leading.position
        term = at.term if own == at.seq else self._term_at(own)
        assert term is not None, "the end of the log is not in it"
        yield Truncate(own, term)

    def _outranks(self, received: Received) -> bool:
        """Tell whether a message shows that the term that this copy leads is over."""
        message = received.message
        if self._primary is None or message.history != self._facts.history:
            return False
        return message.shard == self.me.shard and message.term > self._replica.term

    def _configure(self, message: Configure, now: float) -> Iterator[Output]:
        """Take the role that the committed state gives."""
        shard, known = message.shard, self._shard
        if known is not None and shard.shard_version < known.shard_version:
            return
        if shard.history_uuid != self._facts.history:
            yield from self._fail("the shard goes on with another history", now)
            return
        last, self._shard = self._last_primary, shard
        if shard.primary is not None:
            self._last_primary = shard.primary.alloc_id
        leads = self._leads(shard)
        if self._primary is not None and leads and shard.primary_term == self.term:
            yield from self._primary.receive(message, now)
            return
        yield from self._step_down("the shard has another primary", now)
        in_sync = self.me.alloc_id in shard.in_sync
        self._replica.configure(shard.primary_term, in_sync)
        if leads and shard.primary_term <= self._spent:
            where = (shard.primary_term, self.me.alloc_id, shard.shard_version)
            yield AskTerm(shard.shard, *where)
        elif leads and self._may_lead(shard):
            yield from self._lead(message, last)

    def _may_lead(self, shard: Shard) -> bool:
        """Tell whether this copy knows of nothing that speaks against its lead."""
        replica = self._replica
        installing = replica.state is State.INSTALLING
        return shard.primary_term >= replica.term and not installing

    def _leads(self, shard: Shard) -> bool:
        """Tell whether a state names this copy in this life."""
        named, me = shard.primary, self.me
        if named is None:
            return False
        mine = (me.alloc_id, me.node, me.boot_epoch)
        return (named.alloc_id, named.node, named.boot_epoch) == mine

    def _lead(self, message: Configure, last: AllocId | None) -> Iterator[Output]:
        """Lead, from what is in the log above the checkpoint, once that is kept."""
        replica, shard = self._replica, message.shard
        lost = [copy.alloc_id for copy in shard.copies if copy.node in message.lost]
        if last is not None and replica.handed != shard.primary_term - 1:
            lost.append(last)
        replica.term = self._spent = shard.primary_term
        reign = Reign(
            shard=shard.shard,
            alloc_id=self.me.alloc_id,
            term=shard.primary_term,
            seq=replica.gcp,
            time_ns=replica.at.time_ns,
            node=self.me.node,
            config=shard,
            seq_term=replica.at.term,
            tail=tuple(replica.tail),
            stored=replica.stored,
            suspects=tuple(lost),
        )
        self.role = Role.PRIMARY
        self._primary = self._crown(reign)
        self._begin = Begin(message.now_ns)
        yield from replica.ground()
        yield Keep(CopyFacts(self._facts.history, replica.term, replica.gcp))

    def _crown(self, reign: Reign) -> primary.Primary:
        """Make the primary's machine."""
        return primary.Primary(
            reign, self._view, self._answers, self._limits, self._term_at
        )

    def _step_down(self, detail: str, now: float) -> Iterator[Output]:
        """Lead no more; the log stays as it is, for the next primary to judge."""
        leading, self._primary = self._primary, None
        self._begin = None
        if leading is None:
            return
        was = self._replica
        self.role = Role.REPLICA
        facts = CopyFacts(self._facts.history, was.term, leading.gcp)
        at, tail, stored = leading.position, leading.log(), leading.group.own
        self._replica = self._follow(facts, at, tail, stored)
        if self._stale:
            self._stale = False
            self._replica.spoil()
        yield from leading.receive(StepDown(detail), now)
        yield SteppedDown(was.term)

    def _follow(
        self,
        facts: CopyFacts,
        at: Position,
        tail: tuple[Record, ...],
        stored: int,
    ) -> Replica:
        """Make the replica's machine."""
        return Replica(
            self.me,
            facts,
            at,
            tail,
            stored,
            term_at=self._term_at,
            random=self._random,
        )

    def _fail(self, detail: str, now: float) -> Iterator[Output]:
        """Go on never again."""
        if self._primary is not None:
            yield from self._primary.receive(StorageFailed(detail), now)
            self._primary = None
        self.role = Role.FAILED
        yield Failed(detail)


def _refusal(message: Input, detail: str) -> Iterator[Output]:
    """Refuse a request where nobody takes it."""
    if not isinstance(message, Request):
        return
    for each in message.writes if isinstance(message, Writes) else (message,):
        yield Refuse(each.request, UnavailableError.code, detail)
