"""The primary of one shard: it orders writes, and says when they are done.

Theory of operation (cluster.md, section 3; PacificA).  A write is admitted, judged by
the tip, and appended; each copy that is tracked keeps it and says so; the least of what
they keep is the global checkpoint (gcp); up to there records are applied to the views,
and only then are the requests answered that rest on them.

    RECOVERING --no-op of this term stored--> ACTIVE <--room again-- FULL
         |                                     |  '---disk is full---^ |
         '----------- step down, or the log failed ------> STOPPED <---'

Requests wait in the order in which they were admitted, each for the tip that it was
judged by, whether it changed anything or not (R8).  In FULL nothing of what was in
flight was written, so the tip falls back to the checkpoint, and seqs are given again
that nobody ever saw.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

from msgspec import Struct, field

from torua.core.kv import IdempotencyKey, Operation, Outcome, Put
from torua.core.records import Answered, KvDelete, Record
from torua.core.replication.batch import (
    READ_BYTES_MAX,
    TIME_NS_MAX,
    Answer,
    Draft,
    part_key,
    settle,
    split,
    weight_of,
)
from torua.core.replication.messages import (
    Append,
    Apply,
    Begin,
    DiskFull,
    Expire,
    Input,
    Limits,
    Output,
    Refuse,
    Reign,
    Reply,
    RoomAgain,
    Serve,
    StepDown,
    StorageFailed,
    Stored,
    Sweep,
    Write,
)
from torua.core.replication.tip import RECORD_COST, Tip, View
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)

SWEEP_PERIOD_S = 0.25
"""An expired key is gone within a second, the log's and the request's time included."""

SWEEP_AGAIN_S = 0.01
"""Until the next sweep where one did not suffice."""

SWEEP_KEYS_MAX = 1000
"""One sweep is one record, of at most a thousand keys of a kibibyte."""


class State(Enum):
    """What a primary may do."""

    RECOVERING = "recovering"
    ACTIVE = "active"
    FULL = "full"
    STOPPED = "stopped"


class Answers(Protocol):
    """Spells answers, for the log, and reads them again."""

    def spell(self, answer: Answer) -> bytes:
        """Spell an answer."""

    def read(self, data: bytes) -> Answer:
        """Read what `spell` spelled."""


class _Waiting(Struct):
    """A request that was admitted and not answered yet.

    Invariants: ``seq`` is the tip that it was judged by, its own records included; they
    are those from ``first`` on.
    """

    requests: list[int]
    first: int
    seq: int
    cost: int
    idempotency: IdempotencyKey | None
    outcomes: list[Outcome] = field(default_factory=list)
    read_bytes: int = 0

    def extend(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of its next operations."""
        self.outcomes.extend(outcomes)
        self.read_bytes += sum(_read_size(each) for each in outcomes)


class Primary:
    """Orders the writes of one shard, for one term.

    Invariants: the checkpoint rises, and is the least seq that any tracked copy keeps
    (R4); whoever waits is in order of the seqs it waits for, all above the checkpoint;
    no request is answered twice; an idempotency key is in flight, or answered in the
    view, or unknown, and only the unknown is run (R11).

    Performance: a write is O(operations); `receive(Stored)` is O(records it commits).

    Attributes:
        state: what it may do now.
    """

    def __init__(
        self,
        reign: Reign,
        view: View,
        answers: Answers,
        limits: Limits = Limits(),  # noqa: B008 it is frozen
    ) -> None:
        """Prepare a term; `Begin` takes it up.

        Args:
            reign: which copy leads, from which record on.
            view: the copy's view, holding all records up to ``reign.seq``.
            answers: spells what idempotency keys are answered.
            limits: what may be in flight.
        """
        self.state = State.RECOVERING
        self._reign = reign
        self._view = view
        self._answers = answers
        self._limits = limits
        self._tip = Tip(view, reign.seq, reign.time_ns)
        self._match = {reign.alloc_id: reign.seq}
        self._waiting: deque[_Waiting] = deque()
        self._in_flight: dict[str, _Waiting] = {}
        self._requests = self._cost = 0
        self._sweep_at: float | None = None

    @property
    def gcp(self) -> int:
        """The newest record that is committed."""
        return self._tip.committed

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._waiting and not self._tip

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.

        Returns:
            What the caller must do, in this order.
        """
        if isinstance(message, Write):
            return list(self._write(message, now))
        if self.state is State.STOPPED:
            return []
        return list(self._proceed(message, now))

    def wake(self, now: float) -> list[Output]:
        """Ask for the wall clock, where keys may be due."""
        if self._sweep_at is None or now < self._sweep_at:
            return []
        self._sweep_at = now + SWEEP_PERIOD_S
        return [Sweep()]

    def next_deadline(self) -> float | None:
        """Tell when keys may be due; None while none expires."""
        return self._sweep_at

    def _proceed(self, message: Input, now: float) -> Iterator[Output]:
        """Take an input that matters only while the term lasts."""
        match message:
            case Stored():
                yield from self._stored(message.seq, now)
            case Expire():
                yield from self._expire(message.now_ns, now)
            case Begin() | RoomAgain():
                yield from self._begin(message.now_ns)
            case DiskFull():
                yield from self._full()
            case StorageFailed() | StepDown():
                yield from self._stop(message.detail)

    def _begin(self, now_ns: int) -> Iterator[Output]:
        """Open the term with a no-op; or serve again, after the disk was full."""
        if self.state is State.FULL:
            self.state = State.ACTIVE
        elif self.state is State.RECOVERING and not self._tip:
            yield self._append((), now_ns)

    def _write(self, write: Write, now: float) -> Iterator[Output]:
        """Admit a batch, or refuse it; attach it to the same one in flight."""
        parts = split(write.operations, write.idempotency is not None)
        cost = RECORD_COST + sum(weight_of(each) for each in write.operations)
        refusal = self._inadmissible(len(parts), cost) or self._misused(write)
        if refusal is not None:
            yield _refuse(write.request, refusal)
            return
        key = write.idempotency
        same = self._in_flight.get(key.key) if key is not None else None
        if same is not None:
            same.requests.append(write.request)
            self._requests += 1
            return
        yield from self._admit(self._judge(write, parts))
        if any(
            isinstance(each, Put) and each.ttl_s is not None
            for each in write.operations
        ):
            self._arm(now)

    def _judge(self, write: Write, parts: list[tuple[Operation, ...]]) -> _Waiting:
        """Judge a batch part by part, each by the tip that the last one left."""
        tip, key = self._tip, write.idempotency
        cost = RECORD_COST * (1 + len(write.operations))
        waiting = _Waiting([write.request], tip.seq + 1, 0, cost, key)
        for number, part in enumerate(parts):
            known = self._known(key, number)
            if known is None:
                self._part(waiting, number, part, write.now_ns)
            else:
                waiting.extend(self._answers.read(known.answer).outcomes)
        waiting.seq = tip.seq
        waiting.cost += waiting.read_bytes
        return waiting

    def _known(self, key: IdempotencyKey | None, part: int) -> Answered | None:
        """Return what a part of a batch was answered before, if it was."""
        return None if key is None else self._view.answered(part_key(key.key, part))

    def _part(
        self, waiting: _Waiting, number: int, part: tuple[Operation, ...], now_ns: int
    ) -> None:
        """Judge one part of a batch, and put its record, if any, on the tip."""
        draft = Draft(self._tip, now_ns, max(0, READ_BYTES_MAX - waiting.read_bytes))
        for operation in part:
            draft.judge(operation)
        waiting.extend(draft.outcomes)
        key = waiting.idempotency
        answer = b"" if key is None else self._answers.spell(draft.answer())
        answered = settle(key, number, answer)
        record = draft.record(self._reign.shard, self._reign.term, answered)
        if record is not None:
            self._tip.append(record)

    def _admit(self, waiting: _Waiting) -> Iterator[Output]:
        """Have a request's records kept, and let it wait for the tip."""
        records = self._tip.since(waiting.first)
        if records:
            yield Append(records)
        if waiting.seq <= self._tip.committed:
            yield Reply(waiting.requests[0], tuple(waiting.outcomes))
            return
        self._waiting.append(waiting)
        self._requests += 1
        self._cost += waiting.cost
        if waiting.idempotency is not None:
            self._in_flight[waiting.idempotency.key] = waiting

    def _inadmissible(self, records: int, cost: int) -> ToruaError | None:
        """Tell why so much more may not be begun now; None where it may."""
        match self.state:
            case State.RECOVERING:
                return UnavailableError("the shard is not yet served")
            case State.STOPPED:
                return UnavailableError("this copy is no longer the primary")
            case State.FULL:
                return DiskFullError("the disk of the shard's primary is full")
            case State.ACTIVE:
                return self._overload(records, cost)

    def _overload(self, records: int, cost: int) -> ToruaError | None:
        """Tell which limit so much more would break; None for none."""
        limits = self._limits
        if (
            self._requests >= limits.requests
            or len(self._tip) + records > limits.records
            or self._tip.cost + self._cost + cost > limits.bytes
        ):
            return OverloadedError("too many writes are in flight on this shard")
        return None

    def _misused(self, write: Write) -> ToruaError | None:
        """Tell whether an idempotency key came before with another request."""
        key = write.idempotency
        if key is None:
            return None
        same = self._in_flight.get(key.key)
        if same is not None and same.idempotency is not None:
            fingerprint = same.idempotency.fingerprint
        else:
            known = self._known(key, 0)
            fingerprint = known.fingerprint if known else key.fingerprint
        if fingerprint == key.fingerprint:
            return None
        return UnprocessableError("the idempotency key belongs to another request")

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
        mine = self._reign.alloc_id
        self._match[mine] = max(self._match[mine], seq)
        done = self._tip.commit(self._committable())
        if done:
            yield Apply(done)
        if done and self.state is State.RECOVERING:
            self.state = State.ACTIVE
            self._sweep_at = now + SWEEP_PERIOD_S
            yield Serve(self._reign.term)
        yield from self._answer()

    def _committable(self) -> int:
        """Return the least seq that any tracked copy keeps: the checkpoint (R4)."""
        return min(self._match.values())

    def _answer(self) -> Iterator[Output]:
        """Answer, in order, whoever waited for no more than the checkpoint."""
        while self._waiting and self._waiting[0].seq <= self._tip.committed:
            waiting = self._leave()
            outcomes = tuple(waiting.outcomes)
            for request in waiting.requests:
                yield Reply(request, outcomes)

    def _leave(self) -> _Waiting:
        """Take the request out that has waited longest."""
        waiting = self._waiting.popleft()
        self._requests -= len(waiting.requests)
        self._cost -= waiting.cost
        if waiting.idempotency is not None:
            del self._in_flight[waiting.idempotency.key]
        return waiting

    def _full(self) -> Iterator[Output]:
        """Fall back to what is kept; nothing above it was done."""
        self._tip.drop()
        if self.state is State.ACTIVE:
            self.state = State.FULL
        full = DiskFullError("the disk of the shard's primary is full")
        partly = OutcomeUnknownError("the disk became full in the middle of the batch")
        while self._waiting:
            waiting = self._leave()
            error = full if waiting.first > self._tip.committed else partly
            for request in waiting.requests:
                yield _refuse(request, error)

    def _stop(self, detail: str) -> Iterator[Output]:
        """End the term: what is in flight may or may not be done (R12)."""
        self.state = State.STOPPED
        self._sweep_at = None
        self._tip.drop()
        while self._waiting:
            for request in self._leave().requests:
                yield _refuse(request, OutcomeUnknownError(detail))

    def _arm(self, now: float) -> None:
        """See to it that there is a sweep to come."""
        if self._sweep_at is None:
            self._sweep_at = now + SWEEP_PERIOD_S

    def _expire(self, now_ns: int, now: float) -> Iterator[Output]:
        """Propose to remove the keys that are due and unchanged at the tip (R19)."""
        limits, tip = self._limits, self._tip
        crowded = 2 * tip.cost > limits.bytes or 2 * len(tip) > limits.records
        if self.state is not State.ACTIVE or crowded:
            return
        time_ns = max(now_ns, tip.time_ns)
        due = self._view.due(time_ns, SWEEP_KEYS_MAX)
        effects = tuple(
            KvDelete(key) for key, version in due if tip.lookup(key) == version
        )
        if len(due) >= SWEEP_KEYS_MAX:
            self._sweep_at = now + SWEEP_AGAIN_S
        elif not tip and not self._view.due(TIME_NS_MAX, 1):
            self._sweep_at = None
        if effects:
            yield self._append(effects, now_ns)


def _refuse(request: int, error: ToruaError) -> Refuse:
    """Spell an error as the answer of a request."""
    return Refuse(request, error.code, error.detail)


def _read_size(outcome: Outcome) -> int:
    """Return how many bytes of a value an outcome carries."""
    entry = outcome.entry
    return 0 if entry is None or entry.value is None else len(entry.value)
