"""Who waits for a copy's machine to answer: by number, each answered once."""

import secrets
from collections.abc import Callable, Sequence
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

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

Waiting = Deferred[tuple[Outcome, ...]]

_Asked = tuple[int, Sequence[Operation], IdempotencyKey | None]


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
        self._waiting: dict[int, tuple[Waiting, int]] = {}

    def write(self, timeout_s: float) -> tuple[int, Waiting]:
        """Number a write; after its time nobody knows what became of it."""
        return self._ask(timeout_s, _out_of_time)

    def proof(self, timeout_s: float) -> tuple[int, Waiting]:
        """Number a read that is to be confirmed in time."""
        return self._ask(timeout_s, _unproven)

    def answer(self, output: Reply | Refuse) -> None:
        """Answer one, if it still waits."""
        done = self._take(output.request)
        if done is None:
            return
        if isinstance(output, Reply):
            done.callback(output.outcomes)
        else:
            done.errback(self._refusal(output))

    def end(self, detail: str) -> None:
        """Tell all who wait that nobody knows."""
        for request in tuple(self._waiting):
            done = self._take(request)
            if done is not None:
                done.errback(OutcomeUnknownError(detail))

    def _ask(
        self, timeout_s: float, out_of_time: Callable[[float], ToruaError]
    ) -> tuple[int, Waiting]:
        """Number a request, and make what waits for it."""
        request = next(self._numbers)

        def end() -> None:
            """Say that the time is up."""
            late = self._take(request)
            if late is not None:
                late.errback(out_of_time(timeout_s))

        def forget(_: Waiting) -> None:
            """Wait no longer."""
            self._take(request)

        done: Waiting = Deferred(forget)
        self._waiting[request] = done, self._deadlines.add(timeout_s, end)
        return request, done

    def _take(self, request: int) -> Waiting | None:
        """Let a request wait no more; None where it does not."""
        done, number = self._waiting.pop(request, (None, 0))
        if done is not None:
            self._deadlines.drop(number)
        return done

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
    return OutcomeUnknownError(f"not done within {timeout_s:g} s; it may be done yet")


def _unproven(timeout_s: float) -> ToruaError:
    """Say that the caller's time ended before the other copies confirmed a read."""
    return UnavailableError(f"the other copies did not confirm within {timeout_s:g} s")
