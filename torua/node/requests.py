"""Who waits for a copy's machine to answer: by number, each answered once."""

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torua.codec.plain import read, spell
from torua.core.ids import ShardId
from torua.core.kv import Outcome
from torua.core.replication.batch import Answer
from torua.core.replication.messages import Refuse, Reply
from torua.errors import (
    OutcomeUnknownError,
    OverloadedError,
    ToruaError,
    UnavailableError,
    from_wire,
)

RETRY_AFTER_S = 1
"""What a client is told to wait where the shard is not served, or is crowded."""

Waiting = Deferred[tuple[Outcome, ...]]


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
        self._clock = clock
        self._shard = shard
        self._numbers = count(1)
        self._waiting: dict[int, Waiting] = {}

    def write(self, timeout_s: float) -> tuple[int, Waiting]:
        """Number a write; after its time nobody knows what became of it."""
        return self._ask(timeout_s, _out_of_time)

    def proof(self, timeout_s: float) -> tuple[int, Waiting]:
        """Number a read that is to be confirmed in time."""
        return self._ask(timeout_s, _unproven)

    def answer(self, output: Reply | Refuse) -> None:
        """Answer one, if it still waits."""
        done = self._waiting.pop(output.request, None)
        if isinstance(output, Reply):
            _settle(done, output.outcomes)
        else:
            _settle(done, self._refusal(output))

    def end(self, detail: str) -> None:
        """Tell all who wait that nobody knows."""
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            _settle(done, OutcomeUnknownError(detail))

    def _ask(
        self, timeout_s: float, out_of_time: Callable[[object, float], Any]
    ) -> tuple[int, Waiting]:
        """Number a request, and make what waits for it."""
        request = next(self._numbers)
        done: Waiting = Deferred()
        done.addTimeout(timeout_s, self._clock, out_of_time)
        self._waiting[request] = done
        return request, done

    def _refusal(self, refuse: Refuse) -> ToruaError:
        """Make the error that the machine refused a request with."""
        facts: dict[str, object] = {"shard": self._shard}
        if refuse.error in (OverloadedError.code, UnavailableError.code):
            facts["retry_after"] = RETRY_AFTER_S
        return from_wire(refuse.error, refuse.detail, facts)


def _settle(done: Waiting | None, result: tuple[Outcome, ...] | ToruaError) -> None:
    """Answer whoever waits for a request, if it still does."""
    if done is None or done.called:
        return
    if isinstance(result, ToruaError):
        done.errback(result)
    else:
        done.callback(result)


def _out_of_time(result: object, timeout_s: float) -> tuple[Outcome, ...]:
    """Say that the caller's time ended before the write did."""
    raise OutcomeUnknownError(f"not done within {timeout_s:g} s; it may be done yet")


def _unproven(result: object, timeout_s: float) -> tuple[Outcome, ...]:
    """Say that the caller's time ended before the other copies confirmed a read."""
    raise UnavailableError(f"the other copies did not confirm within {timeout_s:g} s")
