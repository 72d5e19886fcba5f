"""One shard copy on this node, open: its map, its checkpoints, its lead for a term.

    OPEN --lead--> LEADING --step down--> OPEN     any --close--> CLOSED
      '-- the map or the log failed --> FAILED <--'

A copy leads one term at most; for another one it is closed and opened again, which
replays what the last term left in the log.  Reads are served from the map, which holds
exactly the committed records; expired keys are there until their logged delete.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from itertools import count
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.plain import read, spell
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Call, Entry, Operation, Outcome, Page
from torua.core.records import Record
from torua.core.replication import primary
from torua.core.replication.batch import Answer
from torua.core.replication.messages import (
    Append,
    Apply,
    Begin,
    DiskFull,
    Expire,
    Input,
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
from torua.core.replication.tip import cost_of
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
    from_wire,
)
from torua.node.commit import GroupCommit
from torua.node.driver import Driver
from torua.node.looks import Watch
from torua.node.threads import Worker
from torua.storage.map import Map

T = TypeVar("T")

CHECKPOINT_BYTES = 4 << 20
"""So much applied, and the map's WAL is written back: a restart replays no more."""

CHECKPOINT_PERIOD_S = 5.0
"""At the latest so long after a write the map is made durable, and the log cut."""

SCAN_BYTES_MAX = 8 << 20
"""One page of a listing is held in memory, at the primary and by whoever merges."""

RETRY_AFTER_S = 1
"""What a client is told to wait where the shard is not served, or is crowded."""

log = Logger()


class State(Enum):
    """What a copy is doing."""

    OPEN = "open"
    LEADING = "leading"
    FAILED = "failed"
    CLOSED = "closed"


class _CborAnswers:
    """Spells answers as the log and the map keep them.

    Invariants: it has no state.
    """

    def spell(self, answer: Answer) -> bytes:
        """See `torua.core.replication.primary.Answers.spell`."""
        return spell(answer)

    def read(self, data: bytes) -> Answer:
        """See `torua.core.replication.primary.Answers.read`."""
        return read(data, Answer)


class OpenCopy:
    """A copy whose map holds all of its log.

    Invariants: the machine leads only in LEADING; whoever waits for a write is answered
    once, by the machine or with an unknown outcome; at most one checkpoint is under
    way; after FAILED or CLOSED the map is not touched but to close it.

    Threading: the reactor's thread; checkpoints run on the worker's.

    Attributes:
        shard: of which shard.
        alloc_id: which copy.
        state: what it does.
        term: which term it leads, or led; 0 for none.
        serving: whether its no-op is stored, so that it serves.
        failure: why it failed; empty where it did not.
        retry: whether opening it again may help.
        applied: tells who waits for a record to be applied.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        shard: ShardId,
        alloc_id: AllocId,
        view: Map,
        commit: GroupCommit,
        *,
        worker: Worker,
        wall_ns: Callable[[], int],
        on_change: Callable[["OpenCopy"], None],
    ) -> None:
        """Hold a copy that was opened and replayed.

        Args:
            clock: the reactor.
            shard: of which shard.
            alloc_id: which copy.
            view: its map, with all records of its log.
            commit: the node's log.
            worker: does checkpoints.
            wall_ns: tells the wall clock (Unix, nanoseconds).
            on_change: is told when it begins to serve, and when it fails.
        """
        self.shard = shard
        self.alloc_id = alloc_id
        self.state = State.OPEN
        self.term = 0
        self.serving = False
        self.failure = ""
        self.retry = False
        self.applied = Watch()
        self._clock = clock
        self._view = view
        self._commit = commit
        self._worker = worker
        self._wall_ns = wall_ns
        self._on_change = on_change
        self._machine: primary.Primary | None = None
        self._driver: Driver[Input, Output] | None = None
        self._numbers = count(1)
        self._waiting: dict[int, Deferred[tuple[Outcome, ...]]] = {}
        self._dirty = 0
        self._timer: IDelayedCall | None = None
        self._checkpoint: Deferred[None] | None = None

    @property
    def position(self) -> int:
        """The last record applied."""
        return self._view.applied_seq

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return self._view.keys

    @property
    def size_bytes(self) -> int:
        """How large keys and values are together."""
        return self._view.size_bytes

    @property
    def idle(self) -> bool:
        """Whether no write is in flight."""
        return self._machine is None or self._machine.idle

    def lead(self, term: int) -> None:
        """Become primary in a term, for the first time in the life of this object."""
        assert (self.state, self.term) == (State.OPEN, 0), "a copy leads one term"
        self.state = State.LEADING
        self.term = term
        view = self._view
        reign = Reign(
            self.shard, self.alloc_id, term, view.applied_seq, view.applied_time_ns
        )
        self._machine = primary.Primary(reign, view, _CborAnswers())
        self._driver = Driver(self._machine, self._clock, self._perform)
        self._commit.attach(self.alloc_id, self)
        self._tell(Begin(self._wall_ns()))

    async def write(
        self, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations in order; one outcome each.

        Whoever calls may go away meanwhile: the write goes on.

        Args:
            operations: what to do.
            call: who asks, and how long it waits.

        Raises:
            ToruaError: as the machine refuses it; OutcomeUnknownError after
                ``call.timeout_s``, or where the term ended meanwhile.
        """
        self._check_leading()
        if self._commit.crowded:
            raise OverloadedError(
                "too much waits for the disk", retry_after=RETRY_AFTER_S
            )
        request = next(self._numbers)
        done: Deferred[tuple[Outcome, ...]] = Deferred()
        done.addTimeout(call.timeout_s, self._clock, _out_of_time)
        self._waiting[request] = done
        self._tell(Write(request, tuple(operations), self._wall_ns(), call.idempotency))
        return await done

    def get(self, key: bytes) -> Entry | None:
        """Read a key with its value; None where it is absent."""
        self._check_serving()
        return self._guarded(lambda: self._view.get(key))

    def scan(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """List keys in byte order, as many as one page may hold.

        Args:
            prefix: what keys begin with; empty for all.
            after: the key to go on after; empty from the first.
            limit: at most so many.
            values: whether the values come too.
        """
        self._check_serving()
        return self._guarded(lambda: self._page(prefix, after, limit, values))

    def peek(self, key: bytes) -> Entry | None:
        """Read a key as of what is applied, in whatever role."""
        return self._guarded(lambda: self._view.get(key))

    def peek_page(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """List keys as of what is applied, in whatever role.

        Args:
            prefix: what keys begin with; empty for all.
            after: the key to go on after; empty from the first.
            limit: at most so many.
            values: whether the values come too.
        """
        return self._guarded(lambda: self._page(prefix, after, limit, values))

    def stored(self, seq: int) -> None:
        """See `torua.node.commit.Listener.stored`."""
        self._tell(Stored(seq))

    def full(self) -> None:
        """See `torua.node.commit.Listener.full`."""
        self._tell(DiskFull())

    def room(self) -> None:
        """See `torua.node.commit.Listener.room`."""
        self._tell(RoomAgain(self._wall_ns()))

    def failed(self, detail: str) -> None:
        """See `torua.node.commit.Listener.failed`."""
        self.fail(detail)

    def step_down(self, detail: str) -> None:
        """Lead no more; what is in flight is of unknown outcome."""
        if self.state is not State.LEADING:
            return
        self.state = State.OPEN
        self._end(StepDown(detail))

    def fail(self, detail: str, retry: bool = False) -> None:
        """Never serve again what may not be what was written.

        Args:
            detail: why.
            retry: whether it is worth opening it again.
        """
        if self.state in (State.FAILED, State.CLOSED):
            return
        leading = self.state is State.LEADING
        self.state, self.failure, self.retry = State.FAILED, detail, retry
        if leading:
            self._end(StorageFailed(detail))
        self._on_change(self)

    def close(self) -> "Deferred[None]":
        """Let go of it, behind the checkpoint under way; what was applied is durable.

        Returns:
            Fires when the map is closed, never with a failure.
        """
        self.step_down("the copy is closed")
        self.state = State.CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done = self._worker.run(self._view.close)
        done.addErrback(self._unclosed)
        return done

    def _end(self, message: StepDown | StorageFailed) -> None:
        """End the term of the machine, and what waits for it."""
        self.serving = False
        self._tell(message)
        if self._driver is not None:
            self._driver.stop()
        self._commit.detach(self.alloc_id)
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            _settle(done, OutcomeUnknownError(message.detail))

    def _tell(self, message: Input) -> None:
        """Hand the machine an input; if it cannot go on, neither can the copy."""
        assert self._driver is not None
        try:
            self._driver.receive(message)
        except ToruaError as error:
            self.fail(f"the map failed: {error.detail}", _is_passing(error))
        except AssertionError as error:
            log.failure("shard {shard} is wrong", shard=self.shard)
            self.fail(f"an invariant does not hold: {error}")

    def _perform(self, output: Output) -> None:
        """Do what the machine asks for."""
        match output:
            case Append():
                self._commit.append(self.alloc_id, output.records)
            case Apply():
                self._apply(output.records)
            case Reply():
                done = self._waiting.pop(output.request, None)
                _settle(done, output.outcomes)
            case Refuse():
                done = self._waiting.pop(output.request, None)
                _settle(done, self._refusal(output))
            case Serve():
                self.serving = True
                self._on_change(self)
            case Sweep():
                self._tell(Expire(self._wall_ns()))

    def _apply(self, records: tuple[Record, ...]) -> None:
        """Bring the map forward; a copy that cannot serves no more."""
        if self.state is not State.LEADING:
            return
        try:
            self._view.apply(records)
        except ToruaError as error:
            self.fail(f"the map failed: {error.detail}", _is_passing(error))
            return
        self.applied.advance(self._view.applied_seq)
        self._dirty += sum(cost_of(record) for record in records)
        if self._dirty >= CHECKPOINT_BYTES:
            self._begin_checkpoint()
        elif self._timer is None:
            self._timer = self._clock.callLater(
                CHECKPOINT_PERIOD_S, self._begin_checkpoint
            )

    def _begin_checkpoint(self) -> None:
        """Make the map durable on the worker, and let go of the log up to there."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        if self._checkpoint is not None or self.state is State.CLOSED:
            return
        self._dirty = 0
        self._checkpoint = self._worker.run(self._view.checkpoint).addCallback(
            self._cut
        )
        self._checkpoint.addErrback(self._uncheckpointed)
        self._checkpoint.addCallback(self._end_checkpoint)

    def _cut(self, durable: int) -> "Deferred[None]":
        """Tell the log what it need not keep any longer for this copy."""
        return self._commit.run(lambda store: store.cut(self.alloc_id, durable))

    def _end_checkpoint(self, _: object) -> None:
        """Be ready for the next one; begin it where enough came meanwhile."""
        self._checkpoint = None
        if self._dirty >= CHECKPOINT_BYTES:
            self._begin_checkpoint()

    def _uncheckpointed(self, failure: Failure) -> None:
        """Go on where only room was missing: the log keeps what the map may lose."""
        if failure.check(DiskFullError):
            log.warn("shard {shard}: no room for a checkpoint", shard=self.shard)
        else:
            self.fail(f"a checkpoint failed: {failure.getErrorMessage()}")

    def _unclosed(self, failure: Failure) -> None:
        """Note a map that did not close: the log has it all."""
        detail = failure.getErrorMessage()
        log.warn(
            "shard {shard} did not close: {detail}", shard=self.shard, detail=detail
        )

    def _page(self, prefix: bytes, after: bytes, limit: int, values: bool) -> Page:
        """Read one page, and find out whether it is the last."""
        found = self._view.scan(prefix, after, limit + 1, values, SCAN_BYTES_MAX)
        items = tuple(found[:limit])
        more = len(found) > limit or bool(
            items and self._view.scan(prefix, items[-1].key, 1, False, 1)
        )
        return Page(items, items[-1].key if more else None)

    def _guarded(self, action: Callable[[], T]) -> T:
        """Read the map; where that fails, serve it no more."""
        try:
            return action()
        except ToruaError as error:
            self.fail(f"the map failed: {error.detail}", _is_passing(error))
            raise UnavailableError(
                self.failure, shard=self.shard, retry_after=RETRY_AFTER_S
            ) from error

    def _check_leading(self) -> None:
        """Raise where writes are not taken here."""
        if self.state is not State.LEADING:
            detail = self.failure or f"this copy of shard {self.shard} is not primary"
            raise UnavailableError(detail, shard=self.shard, retry_after=RETRY_AFTER_S)

    def _check_serving(self) -> None:
        """Raise where reads are not answered here."""
        self._check_leading()
        if not self.serving:
            detail = f"shard {self.shard} is not yet served"
            raise UnavailableError(detail, shard=self.shard, retry_after=RETRY_AFTER_S)

    def _refusal(self, refuse: Refuse) -> ToruaError:
        """Make the error that the machine refused a request with."""
        facts: dict[str, object] = {"shard": self.shard}
        if refuse.error in (OverloadedError.code, UnavailableError.code):
            facts["retry_after"] = RETRY_AFTER_S
        return from_wire(refuse.error, refuse.detail, facts)


def _settle(
    done: Deferred[tuple[Outcome, ...]] | None, result: tuple[Outcome, ...] | ToruaError
) -> None:
    """Answer whoever waits for a write, if it still does."""
    if done is None or done.called:
        return
    if isinstance(result, ToruaError):
        done.errback(result)
    else:
        done.callback(result)


def _out_of_time(result: object, timeout_s: float) -> tuple[Outcome, ...]:
    """Say that the caller's time ended before the write did."""
    raise OutcomeUnknownError(f"not done within {timeout_s:g} s; it may be done yet")


def _is_passing(error: ToruaError) -> bool:
    """Tell whether an error may be gone when the copy is opened again."""
    return isinstance(error, DiskFullError)
