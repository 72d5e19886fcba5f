"""What becomes of a batch at the tip: its answers, and the records that it needs."""

from collections.abc import Sequence
from typing import Protocol

from torua.core.kv import Get, IdempotencyKey, Operation
from torua.core.records import Answered
from torua.core.replication.batch import (
    READ_BYTES_MAX,
    Answer,
    Draft,
    part_key,
    settle,
)
from torua.core.replication.messages import Reign, Write
from torua.core.replication.requests import Waiting
from torua.core.replication.tip import RECORD_COST, Tip, View
from torua.errors import ToruaError, UnprocessableError


class Answers(Protocol):
    """Spells answers, for the log, and reads them again."""

    def spell(self, answer: Answer) -> bytes:
        """Spell an answer."""

    def read(self, data: bytes) -> Answer:
        """Read what `spell` spelled."""


class Judge:
    """Judges batches for one term.

    Invariants: what it judges is judged by the tip, and laid on it at once; an
    idempotency key that is answered in the view is never run again (R11).
    """

    def __init__(self, reign: Reign, tip: Tip, view: View, answers: Answers) -> None:
        """Judge by a tip.

        Args:
            reign: whose records they are.
            tip: takes them.
            view: knows the idempotency keys that are answered.
            answers: spells what they are answered.
        """
        self._reign = reign
        self._tip = tip
        self._view = view
        self._answers = answers

    def judge(self, write: Write, parts: Sequence[tuple[Operation, ...]]) -> Waiting:
        """Judge a batch part by part, each by the tip that the last one left.

        Args:
            write: the batch.
            parts: the same, split.
        """
        tip, key = self._tip, write.idempotency
        cost = RECORD_COST * (1 + len(write.operations))
        waiting = Waiting([write.request], tip.seq + 1, 0, cost, key)
        for number, part in enumerate(parts):
            known = self._known(key, number)
            if known is None:
                self._part(waiting, number, part, write.now_ns)
            else:
                waiting.extend(self._answers.read(known.answer).outcomes)
        waiting.seq = tip.seq
        waiting.cost += waiting.read_bytes
        return waiting

    def misused(self, write: Write, same: Waiting | None) -> ToruaError | None:
        """Tell whether an idempotency key came before with another request.

        Args:
            write: the batch.
            same: what is in flight with its key.
        """
        key = write.idempotency
        if key is None:
            return None
        if same is not None and same.idempotency is not None:
            fingerprint = same.idempotency.fingerprint
        else:
            known = self._known(key, 0)
            fingerprint = known.fingerprint if known else key.fingerprint
        if fingerprint == key.fingerprint:
            return None
        return UnprocessableError("the idempotency key belongs to another request")

    def _known(self, key: IdempotencyKey | None, part: int) -> Answered | None:
        """Return what a part of a batch was answered before, if it was."""
        return None if key is None else self._view.answered(part_key(key.key, part))

    def _part(
        self, waiting: Waiting, number: int, part: tuple[Operation, ...], now_ns: int
    ) -> None:
        """Judge one part of a batch, and put its record, if any, on the tip."""
        wanted = [each.key for each in part if isinstance(each, Get) and each.value]
        room = max(0, READ_BYTES_MAX - waiting.read_bytes)
        draft = Draft(self._tip, now_ns, room, wanted)
        for operation in part:
            draft.judge(operation)
        waiting.extend(draft.outcomes)
        key = waiting.idempotency
        answer = b"" if key is None else self._answers.spell(draft.answer())
        answered = settle(key, number, answer)
        record = draft.record(self._reign.shard, self._reign.term, answered)
        if record is not None:
            self._tip.append(record)
