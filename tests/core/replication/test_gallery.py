"""The bug gallery of one shard: each switch breaks a rule, and is found."""

from collections.abc import Iterator

import pytest

from tests.core.replication.desk import DictMap
from tests.core.replication.oracle import Trial
from torua.core.kv import IdempotencyKey
from torua.core.records import KvDelete
from torua.core.replication.batch import Answer
from torua.core.replication.judge import Judge
from torua.core.replication.messages import Input, Output, Reply
from torua.core.replication.primary import Primary
from torua.core.replication.requests import Waiting

SEEDS = 40
STEPS = 60


class EarlyRefusal(Primary):
    """Answers what changed nothing before the tip that it rests on is committed."""

    def _admit(self, waiting: Waiting, now: float) -> Iterator[Output]:
        """Answer too early."""
        if waiting.seq < waiting.first:
            waiting.seq = 0
        yield from super()._admit(waiting, now)


class ReplyBeforeStored(Primary):
    """Answers as soon as the records are on their way to the disk."""

    def _admit(self, waiting: Waiting, now: float) -> Iterator[Output]:
        """Answer too early."""
        yield Reply(waiting.requests[0], tuple(waiting.outcomes))


class ApplyAboveCheckpoint(Primary):
    """Commits up to the tip when any record is stored."""

    def _committable(self) -> int:
        """Count what is not stored."""
        return self._tip.seq


class ForgetfulJudge(Judge):
    """Knows no idempotency key."""

    def _recalled(self, key: IdempotencyKey | None, parted: bool) -> list[Answer]:
        """Look up too little."""
        return []


class Forgetful(Primary):
    """Knows only the idempotency keys that are in flight."""

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take an input, with another judge.

        Args:
            message: what came.
            now: the monotonic clock.
        """
        self._judge.__class__ = ForgetfulJudge
        return super().receive(message, now)


class BlindSweep(Primary):
    """Expires a key that was due, whatever became of it since."""

    def _expire(self, now_ns: int, now: float) -> Iterator[Output]:
        """Judge by the clock alone."""
        due = self._view.due(now_ns, 10)
        if due:
            yield self._append(tuple(KvDelete(key) for key, _ in due), now_ns)


class ClockedReads(Primary):
    """Takes expired keys for absent by its own clock, without a record."""

    def _expire(self, now_ns: int, now: float) -> Iterator[Output]:
        """Judge by the clock alone."""
        assert isinstance(self._view, DictMap)
        for key, _ in self._view.due(now_ns, 10):
            del self._view.entries[key]
        return
        yield


class KeepsWhatWasNotWritten(Primary):
    """Goes on from records for which the disk had no room."""

    def _full(self) -> Iterator[Output]:
        """Answer, and forget nothing."""
        drop, self._tip.drop = self._tip.drop, lambda: None  # type: ignore[method-assign]
        yield from super()._full()
        self._tip.drop = drop  # type: ignore[method-assign]


class SaysNothingWasDone(Primary):
    """Calls a full disk what was a part of a batch done."""

    def _full(self) -> Iterator[Output]:
        """Answer all alike."""
        for waiting in self._requests._queue:
            waiting.first = self._tip.seq + 1
        yield from super()._full()


class FirstPartJudge(Judge):
    """Knows what the first part of a batch was answered."""

    def _recalled(self, key: IdempotencyKey | None, parted: bool) -> list[Answer]:
        """Look up too little."""
        return super()._recalled(key, parted)[:1]


class RunsPartsAgain(Primary):
    """Looks up the answer of a batch's first part only."""

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take an input, with another judge.

        Args:
            message: what came.
            now: the monotonic clock.
        """
        self._judge.__class__ = FirstPartJudge
        return super().receive(message, now)


GALLERY: list[type[Primary]] = [
    EarlyRefusal,
    ReplyBeforeStored,
    ApplyAboveCheckpoint,
    Forgetful,
    BlindSweep,
    ClockedReads,
    RunsPartsAgain,
    KeepsWhatWasNotWritten,
    SaysNothingWasDone,
]


def finds(primary: type[Primary]) -> bool:
    """Tell whether any of the trials fails with this machine."""
    for seed in range(SEEDS):
        try:
            Trial(seed, primary).run(STEPS)
        except (AssertionError, KeyError, IndexError):
            return True
    return False


@pytest.mark.parametrize("switch", GALLERY, ids=lambda switch: switch.__name__)
def test_the_trials_find(switch: type[Primary]) -> None:
    """A machine that breaks the rule does not pass."""
    assert finds(switch)


def test_the_trials_find_nothing_else() -> None:
    """The machine as it stands passes the same trials."""
    assert not finds(Primary)
