"""The primary of one shard: it orders writes, and says when they are done.

Theory of operation (cluster.md, section 3; PacificA).  A write is admitted, judged by
the tip, and appended; each copy that is tracked keeps it and says so; the least of what
they keep is the global checkpoint (gcp); up to there records are applied to the views,
and only then are the requests answered that rest on them.

                                  .--hand over--> DRAINING --time is up--.
                                  |                                      v
    RECOVERING --no-op committed--> ACTIVE <--room again-- FULL       ACTIVE
         |                          |  '---disk is full---^ |            |
         '------- step down, or the log failed ----> STOPPED <-----------'

A term begins with what is in the log above the checkpoint, and a no-op on top of it.
Requests wait in the order in which they were admitted, each for the tip that it was
judged by, whether it changed anything or not (R8); see `requests`.  Whom the records go
to, and who counts, is in `group`.

In FULL nothing of what was in flight was written here.  Where it went to nobody else,
the tip falls back to the checkpoint, and seqs are given again that nobody ever saw;
else the same records are appended once more when there is room.
"""

from collections.abc import Iterator, Sequence
from enum import Enum

from torua.core.ids import AllocId
from torua.core.records import KvDelete, Record
from torua.core.replication.batch import expires, split, weight_of
from torua.core.replication.follower import Source, TermAt
from torua.core.replication.group import Group, lone
from torua.core.replication.judge import Answers, Judge
from torua.core.replication.messages import (
    Append,
    Apply,
    Barrier,
    BarrierDone,
    Begin,
    Confirm,
    DiskFull,
    Drained,
    Expire,
    HandOver,
    Identity,
    Input,
    Limits,
    Move,
    Output,
    Refuse,
    Reign,
    Reply,
    RoomAgain,
    Send,
    Serve,
    StepDown,
    StorageFailed,
    Stored,
    Sweep,
    Write,
    Writes,
)
from torua.core.replication.requests import Proof, Requests, Waiting
from torua.core.replication.sweeping import Sweeps
from torua.core.replication.tip import (
    RECORD_COST,
    Position,
    Tip,
    View,
    moved_cost,
)
from torua.core.replication.wire import HandingOver
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)

HAND_OVER_S = 3.0
"""A hand-over that nobody decided by then is off, and writes are admitted again."""


class State(Enum):
    """What a primary may do."""

    RECOVERING = "recovering"
    ACTIVE = "active"
    DRAINING = "draining"
    FULL = "full"
    STOPPED = "stopped"


class Primary:
    """Orders the writes of one shard, for one term.

    Invariants: the checkpoint rises, and is the least seq that any tracked copy keeps
    (R4); whoever waits is in order of the seqs it waits for, all above the checkpoint;
    no request is answered twice; an idempotency key is in flight, or answered in the
    view, or unknown, and only the unknown is run (R11); a seq that was streamed is
    never given again in this term.

    Performance: a write is O(operations + copies); `receive(Stored)` is O(records it
    commits).

    Attributes:
        state: what it may do now.
        group: the copies that it leads.
    """

    def __init__(
        self,
        reign: Reign,
        view: View,
        answers: Answers,
        limits: Limits = Limits(),  # noqa: B008 it is frozen
        term_at: TermAt = lambda seq: 0,
    ) -> None:
        """Prepare a term; `Begin` takes it up.

        Args:
            reign: which copy leads, from which record on.
            view: the copy's view, holding all records up to ``reign.seq``.
            answers: spells what idempotency keys are answered.
            limits: what may be in flight.
            term_at: tells the terms of the log's records.
        """
        self.state = State.RECOVERING
        self._reign = reign
        self._view = view
        self._tip = Tip(view, Position(reign.seq, reign.seq_term, reign.time_ns))
        for record in reign.tail:
            self._tip.append(record)
        config = reign.config or lone(reign)
        source = Source(
            reign.shard, config.history_uuid, reign.term, self._tip, term_at
        )
        me = Identity(reign.shard, reign.alloc_id, reign.node, 0)
        stored = reign.seq if reign.stored is None else reign.stored
        self.group = Group(me, config, source, stored)
        self._judge = Judge(reign, self._tip, view, answers)
        self._requests = Requests(limits)
        self._unwritten = self._begun = False
        self._sweeps = Sweeps(self._tip, view, limits)
        self._no_op: int | None = None
        self._target: AllocId | None = None
        self._drain_by: float | None = None

    @property
    def gcp(self) -> int:
        """The newest record that is committed."""
        return self._tip.committed

    @property
    def position(self) -> Position:
        """The newest record that is committed, its term and time."""
        return self._tip.at

    @property
    def tip(self) -> int:
        """The newest record appended."""
        return self._tip.seq

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._requests and not self._tip

    @property
    def serves(self) -> bool:
        """Whether reads are answered."""
        return self.state in (State.ACTIVE, State.DRAINING, State.FULL)

    def log(self) -> tuple[Record, ...]:
        """Return the records above the checkpoint that are, or will be, in the log."""
        tail = self._tip.since(self._tip.committed + 1)
        return tail[: self.group.own - self.gcp] if self._unwritten else tail

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.

        Returns:
            What the caller must do, in this order.
        """
        match message:
            case Writes():
                return list(self._writes(message.writes, now))
            case Confirm():
                return list(self._confirm(message.request, now))
            case Move():
                return list(self._move(message, now))
        if self.state is State.STOPPED:
            return []
        return list(self._proceed(message, now))

    def wake(self, now: float) -> list[Output]:
        """Ask for the wall clock, where keys may be due; send and ask again."""
        return [] if self.state is State.STOPPED else list(self._wake(now))

    def next_deadline(self) -> float | None:
        """Tell when something is due; None while only inputs matter."""
        times = [
            self._sweeps.at,
            self._drain_by,
            self._requests.next_deadline(),
            None if self.state is State.STOPPED else self.group.next_deadline(),
        ]
        return min((time for time in times if time is not None), default=None)

    def _wake(self, now: float) -> Iterator[Output]:
        """Do what is due."""
        if self._sweeps.at is not None and now >= self._sweeps.at:
            self._sweeps.begin(now)
            yield Sweep()
        if self._drain_by is not None and now >= self._drain_by:
            self._resume()
        for request in self._requests.retries(now):
            yield from self._prove(request, now)
        yield from self.group.wake(now)
        yield from self._advance(now)

    def _proceed(self, message: Input, now: float) -> Iterator[Output]:
        """Take an input that matters only while the term lasts."""
        match message:
            case Stored():
                yield from self._stored(message.seq, now)
            case BarrierDone():
                yield from self._proven(message, now)
            case Expire():
                yield from self._expire(message.now_ns, now)
            case Begin() | RoomAgain():
                self._begun = self._begun or isinstance(message, Begin)
                yield from self._begin(message.now_ns, now)
            case DiskFull():
                yield from self._full()
            case HandOver():
                yield from self._hand_over(message.target, now)
            case StorageFailed() | StepDown():
                yield from self._stop(message.detail)
            case _:
                yield from self.group.receive(message, now)
                yield from self._advance(now)
                self._requests.need(len(self.group.tracked), now)

    def _begin(self, now_ns: int, now: float) -> Iterator[Output]:
        """Open the term with a no-op; or go on, after the disk was full."""
        if self._unwritten:
            self._unwritten = False
            again = self._tip.since(self.group.own + 1)
            if again:
                yield Append(again)
        if self.state is State.FULL:
            self.state = State.ACTIVE
        elif self._begun and self._no_op is None:
            yield from self._open(now_ns, now)

    def _open(self, now_ns: int, now: float) -> Iterator[Output]:
        """Append the no-op, and stream all above the checkpoint to all copies."""
        yield self._append((), now_ns)
        self._no_op = self._tip.seq
        yield from self.group.begin(self._reign.suspects, now)
        yield from self._advance(now)

    def _writes(self, writes: Sequence[Write], now: float) -> Iterator[Output]:
        """Take batches in order, and have the records of all kept and sent together."""
        first, closed = self._tip.seq + 1, self._closed()
        for write in writes:
            yield from self._write(write, closed, now)
        yield from self._keep(first, now)

    def _write(
        self, write: Write, closed: ToruaError | None, now: float
    ) -> Iterator[Output]:
        """Admit a batch, or refuse it; attach it to the same one in flight."""
        parts = split(write.operations, write.idempotency is not None)
        same = self._requests.same(write.idempotency)
        cost = RECORD_COST + sum(map(weight_of, write.operations))
        room = closed or self._requests.overfull(self._tip, len(parts), cost)
        refusal = (None if same else room) or self._judge.misused(write, same)
        if refusal is not None:
            yield _refuse(write.request, refusal)
        elif same is not None:
            self._requests.attach(same, write.request)
        else:
            parted = self.group.shard.is_parted
            yield from self._admit(self._judge.judge(write, parts, parted), now)
            if any(map(expires, write.operations)):
                self._sweeps.arm(now)

    def _admit(self, waiting: Waiting, now: float) -> Iterator[Output]:
        """Let a request wait for the tip and for proof."""
        waiting.since = now
        if waiting.effectless and not self.group.alone:
            waiting.proof = Proof.BARRIER
            yield Barrier(waiting.requests[0])
        elif waiting.seq <= self._tip.committed:
            yield Reply(waiting.requests[0], tuple(waiting.outcomes))
            return
        self._requests.add(waiting, self._tip.committed)

    def _keep(self, first: int, now: float) -> Iterator[Output]:
        """Have the records of the tip from ``first`` on kept, here and elsewhere."""
        records = self._tip.since(first)
        if records:
            yield Append(records)
            yield from self.group.pump(now)

    def _move(self, move: Move, now: float) -> Iterator[Output]:
        """Have a record of a split kept, in the term in which it was meant."""
        cost = moved_cost(move.moved)
        refusal = self._closed() or self._requests.overfull(self._tip, 1, cost)
        if move.term != self._reign.term:
            refusal = UnavailableError("it was meant for another term")
        if refusal is not None:
            yield _refuse(move.request, refusal)
            return
        waiting = self._judge.move(move)
        yield from self._admit(waiting, now)
        yield from self._keep(waiting.first, now)
        self._sweeps.arm(now)

    def _confirm(self, request: int, now: float) -> Iterator[Output]:
        """Prove that a value just read was the newest; alone, nobody else could lead.

        Only our own request could have put another copy in sync.
        """
        if not self.serves:
            yield _refuse(request, UnavailableError("the shard is not served here"))
        elif self._requests.crowded:
            yield _refuse(request, OverloadedError("too many requests are in flight"))
        else:
            waiting = Waiting([request], self._tip.seq + 1, 0, RECORD_COST, None)
            yield from self._admit(waiting, now)

    def _prove(self, request: int, now: float) -> Iterator[Output]:
        """Ask for another barrier; where nobody is left to ask, that is proof."""
        if self.group.alone:
            yield from self._proven(BarrierDone(request, passed=True), now)
        else:
            yield Barrier(request)

    def _proven(self, message: BarrierDone, now: float) -> Iterator[Output]:
        """Answer a request that a barrier proves, or try again for a while.

        Where a peer is silent and nothing waits for it, a no-op shall: so one that is
        gone is found out though nobody writes.
        """
        if message.passed:
            waiting = self._requests.passed(message.request, self._tip.committed)
            yield from self._reply(waiting)
            return
        waiting = self._requests.failed(message.request, now)
        if waiting is not None:
            yield _refuse(
                message.request, UnavailableError("the other copies do not confirm it")
            )
        if self.state is State.ACTIVE and not self._tip:
            yield self._append((), 0)
            yield from self.group.pump(now)

    def _closed(self) -> ToruaError | None:
        """Tell why nothing may be begun now; None where it may."""
        match self.state:
            case State.RECOVERING:
                return UnavailableError("the shard is not yet served")
            case State.STOPPED:
                return UnavailableError("this copy is no longer the primary")
            case State.DRAINING:
                return UnavailableError("the shard is being handed over")
            case State.FULL:
                return DiskFullError("the disk of the shard's primary is full")
            case State.ACTIVE if not self.group.sufficient:
                return UnavailableError("too few copies of the shard are in sync")
            case State.ACTIVE:
                return None

    def _append(self, effects: tuple[KvDelete, ...], now_ns: int) -> Append:
        """Put a record of the primary's own on the tip, and have it kept."""
        reign, tip = self._reign, self._tip
        time_ns = tip.rise(now_ns)
        record = Record(reign.shard, tip.seq + 1, reign.term, time_ns, effects)
        tip.append(record)
        return Append((record,))

    def _stored(self, seq: int, now: float) -> Iterator[Output]:
        """Note what this node keeps, and commit what all keep."""
        assert seq <= self._tip.seq, "stored what was never appended"
        self.group.own = max(self.group.own, seq)
        yield from self._advance(now)

    def _committable(self) -> int:
        """Return the least seq that any tracked copy keeps: the checkpoint (R4)."""
        return self.group.committable()

    def _advance(self, now: float) -> Iterator[Output]:
        """Commit what all keep, and do what waited for that."""
        done = self._tip.commit(self._committable())
        if done:
            yield Apply(done)
            self.group.moved(now)
        opened = self._no_op is not None and self._no_op <= self._tip.committed
        if opened and self.state is State.RECOVERING:
            self.state = State.FULL if self._unwritten else State.ACTIVE
            self._sweeps.begin(now)
            yield Serve(self._reign.term)
            yield from self.group.open(now)
        yield from self._answer()
        yield from self._drain()

    def _answer(self) -> Iterator[Output]:
        """Answer, in order, whoever waited for no more than the checkpoint.

        While too few copies are counted, nothing succeeds.
        """
        if self.group.sufficient:
            for waiting in self._requests.take(self._tip.committed):
                yield from self._reply(waiting)

    def _reply(self, waiting: Waiting | None) -> Iterator[Output]:
        """Answer all who wait for the same."""
        if waiting is not None:
            outcomes = tuple(waiting.outcomes)
            for request in waiting.requests:
                yield Reply(request, outcomes)

    def _hand_over(self, target: AllocId, now: float) -> Iterator[Output]:
        """Admit no more, so that another copy can lead with nothing in doubt."""
        if self.state is State.ACTIVE and self.group.is_counted(target):
            self.state = State.DRAINING
            self._target, self._drain_by = target, now + HAND_OVER_S
            yield from self._drain()

    def _drain(self) -> Iterator[Output]:
        """Say, once, that nothing is in flight; not where the target was dropped."""
        target, reign, shard = self._target, self._reign, self.group.shard
        if self.state is not State.DRAINING or target is None:
            return
        if not self.group.is_counted(target):
            self._resume()
        elif self.idle:
            self._target = None
            where = (reign.shard, shard.history_uuid, reign.term, target)
            yield Send(self.group.node_of(target), HandingOver(*where))
            yield Drained(reign.shard, reign.term, target, shard.shard_version)

    def _resume(self) -> None:
        """Admit again: nobody decided in time, and if anybody does yet, CAS decides."""
        self._drain_by = self._target = None
        if self.state is State.DRAINING:
            self.state = State.ACTIVE

    def _full(self) -> Iterator[Output]:
        """Fall back to what is kept, where nobody else was sent more."""
        if self.state in (State.ACTIVE, State.DRAINING):
            self._resume()
            self.state = State.FULL
        shared = not self.group.alone or self.group.streamed > self.group.own
        if shared or self.gcp < self.group.own:
            self._unwritten = True
            return
        self._no_op = None if self.state is State.RECOVERING else self._no_op
        self._tip.drop()
        full = DiskFullError("the disk of the shard's primary is full")
        partly = OutcomeUnknownError("the disk became full in the middle of the batch")
        for waiting in self._requests.drop():
            error = full if waiting.first > self._tip.committed else partly
            for request in waiting.requests:
                yield _refuse(request, error)

    def _stop(self, detail: str) -> Iterator[Output]:
        """End the term: what is in flight may or may not be done (R12)."""
        self.state = State.STOPPED
        self._sweeps.at = self._drain_by = None
        self._tip.drop()
        for waiting in self._requests.drop():
            harmless = waiting.effectless
            kind = UnavailableError if harmless else OutcomeUnknownError
            for request in waiting.requests:
                yield _refuse(request, kind(detail))

    def _expire(self, now_ns: int, now: float) -> Iterator[Output]:
        """Propose to remove the keys that are due and unchanged at the tip (R19).

        Until a new shard has its slots its parent does, and tells of it (R20).
        """
        leaving = self.group.shard.leaving
        active = self.state is State.ACTIVE and not self.group.shard.is_unborn
        effects = self._sweeps.due(now_ns, now, leaving) if active else ()
        if effects:
            yield self._append(effects, now_ns)
            yield from self.group.pump(now)


def _refuse(request: int, error: ToruaError) -> Refuse:
    """Spell an error as the answer of a request."""
    return Refuse(request, error.code, error.detail)
