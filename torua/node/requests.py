"""Who waits for a copy's machine to answer: by number, each answered once."""

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.codec.plain import read, spell
from torua.core.ids import ShardId
from torua.core.kv import IdempotencyKey, Operation, Outcome
from torua.core.replication import messages
from torua.core.replication.batch import Answer
from torua.core.replication.messages import Refuse, Reply, Write
from torua.errors import (
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
    from_wire,
)
from torua.node.deadlines import Deadlines
from torua.node.turn import Stage, Turn

RETRY_AFTER_S = 1
"""What a client is told to wait where the shard is not served, or is crowded."""

Told = Callable[[tuple[Outcome, ...] | ToruaError], object]
"""What is told the outcomes of a request, or why there are none, once."""

Waiting = Deferred[tuple[Outcome, ...]]

_Asked = tuple[int, Sequence[Operation], IdempotencyKey | None]


log = Logger()


class CborAnswers:
    """Spells answers as the log and the map keep them.

    Invariants: it has no state.
    """

    def spell(self, answer: Answer) -> bytes:
        """See `torua.core.replication.judge.Answers.spell`."""
        return spell(answer)

    def read(self, data: bytes) -> Answer:
        """See `torua.core.replication.judge.Answers.read`."""
        return read(data, Answer)


def awaited() -> tuple[Waiting, Told]:
    """Make what waits for outcomes, or fails with why there are none, and tells it."""
    done: Waiting = Deferred()

    def told(found: tuple[Outcome, ...] | ToruaError) -> None:
        """Fire it."""
        if isinstance(found, ToruaError):
            done.errback(found)
        else:
            done.callback(found)

    return done, told


def _give(told: Told, found: tuple[Outcome, ...] | ToruaError) -> None:
    """Tell one; the copy and the others go on, whatever becomes of that."""
    try:
        told(found)
    except Exception:
        log.failure("what became of a write could not be told")


class Requests:
    """The requests of one open copy.

    Invariants: a number is used once; whoever waits is told once.
    """

    def __init__(self, clock: IReactorTime, shard: ShardId) -> None:
        """Begin with nobody.

        Args:
            clock: the reactor.
            shard: whose copy.
        """
        self._shard = shard
        # Not those of a copy that was open before: what proves its reads may come yet.
        self._numbers = count(secrets.randbits(60))
        self._deadlines = Deadlines(clock)
        self._waiting: dict[int, tuple[Told, int]] = {}

    def write(self, timeout_s: float, told: Told) -> int:
        """Number a write; after its time nobody knows what became of it.

        Args:
            timeout_s: how long it may take.
            told: is told what became of it.
        """
        return self._ask(timeout_s, _out_of_time, told)

    def awaited(self, timeout_s: float) -> tuple[int, Waiting]:
        """Number a write, likewise, of which a Deferred tells."""
        done, told = awaited()
        return self.write(timeout_s, told), done

    def proof(self, timeout_s: float) -> tuple[int, Waiting]:
        """Number a read that is to be confirmed in time."""
        done, told = awaited()
        return self._ask(timeout_s, _unproven, told), done

    def answer(self, output: Reply | Refuse) -> None:
        """Answer one, if it still waits."""
        told = self._take(output.request)
        if told is not None:
            _give(
                told,
                output.outcomes if isinstance(output, Reply) else self._refusal(output),
            )

    def end(self, detail: str) -> None:
        """Tell all who wait that nobody knows."""
        for request in tuple(self._waiting):
            self._tell(request, OutcomeUnknownError(detail))

    def _ask(
        self, timeout_s: float, late: Callable[[float], ToruaError], told: Told
    ) -> int:
        """Number a request, and keep whom to tell."""
        request = next(self._numbers)
        end = partial(self._end_late, request, late, timeout_s)
        self._waiting[request] = told, self._deadlines.add(timeout_s, end)
        return request

    def _end_late(
        self, request: int, late: Callable[[float], ToruaError], timeout_s: float
    ) -> None:
        """Say that the time is up."""
        self._tell(request, late(timeout_s))

    def _tell(self, request: int, error: ToruaError) -> None:
        """Tell a request, if it still waits, why it has no outcomes."""
        told = self._take(request)
        if told is not None:
            _give(told, error)

    def _take(self, request: int) -> Told | None:
        """Let a request wait no more; None where it does not."""
        told, number = self._waiting.pop(request, (None, 0))
        if told is not None:
            self._deadlines.drop(number)
        return told

    def _refusal(self, refuse: Refuse) -> ToruaError:
        """Make the error that the machine refused a request with."""
        facts: dict[str, object] = {"shard": self._shard}
        if refuse.error in (OverloadedError.code, UnavailableError.code):
            facts["retry_after"] = RETRY_AFTER_S
        return from_wire(refuse.error, refuse.detail, facts)


class Writes:
    """The writes of one copy that came in this turn.

    Invariants: the machine is handed each once, in order, at the end of the turn, and
    before any state that this node applies after it was admitted.
    """

    def __init__(
        self,
        turn: Turn,
        wall_ns: Callable[[], int],
        tell: Callable[[messages.Writes], None],
    ) -> None:
        """Begin with none.

        Args:
            turn: when it ends.
            wall_ns: tells the wall clock (Unix, nanoseconds).
            tell: hands something to the machine.
        """
        self._turn = turn
        self._wall_ns = wall_ns
        self._tell = tell
        self._waiting: list[_Asked] = []

    def __bool__(self) -> bool:
        """Whether any waits for the end of the turn."""
        return bool(self._waiting)

    def add(
        self,
        request: int,
        operations: Sequence[Operation],
        idempotency: IdempotencyKey | None,
    ) -> None:
        """Have the machine handed another.

        Args:
            request: its number.
            operations: what to do.
            idempotency: the caller's promise, if it made one.
        """
        if not self._waiting:
            self._turn.add(Stage.DECIDE, self.end)
        self._waiting.append((request, operations, idempotency))

    def end(self) -> None:
        """Hand all to the machine; at once where a state comes.

        What they were admitted by holds until then and no longer: a split is told where
        the log ends for slots that move, and nothing of them may follow (R17).
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        now_ns = self._wall_ns()
        writes = [Write(each[0], tuple(each[1]), now_ns, each[2]) for each in waiting]
        self._tell(messages.Writes(tuple(writes)))


def _out_of_time(timeout_s: float) -> ToruaError:
    """Say that the caller's time ended before the write did."""
    return OutcomeUnknownError(f"not done within {timeout_s:.3g} s; it may be done yet")


def _unproven(timeout_s: float) -> ToruaError:
    """Say that the caller's time ended before the other copies confirmed a read."""
    return UnavailableError(f"the other copies did not confirm within {timeout_s:g} s")
