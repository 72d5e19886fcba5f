"""What becomes of a batch at the tip: its answers, and the records that it needs."""

from collections.abc import Sequence
from typing import Protocol

from torua.core.kv import (
    Get,
    IdempotencyKey,
    Operation,
    Outcome,
    portion_key,
    portion_of,
)
from torua.core.records import Answered, Record
from torua.core.replication.batch import (
    READ_BYTES_MAX,
    Answer,
    Draft,
    part_key,
    settle,
    split,
    tags_of,
)
from torua.core.replication.messages import Move, Reign, Write
from torua.core.replication.requests import Waiting
from torua.core.replication.tip import RECORD_COST, Tip, View
from torua.errors import ToruaError, UnavailableError, UnprocessableError


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

    def judge(
        self, write: Write, parts: Sequence[tuple[Operation, ...]], parted: bool = False
    ) -> Waiting:
        """Judge a batch part by part, each by the tip that the last one left.

        Args:
            write: the batch.
            parts: the same, split.
            parted: whether the shard was split, so that it may be a part of a batch.
        """
        tip, key = self._tip, write.idempotency
        cost = RECORD_COST * (1 + len(write.operations))
        waiting = Waiting([write.request], tip.seq + 1, 0, cost, key)
        known = self._recalled(key, parted)
        if known:
            self._go_on(waiting, write, known)
        else:
            tags = _tags(write) if key else []
            for number, part in enumerate(parts):
                mine, tags = tags[: len(part)], tags[len(part) :]
                self._part(waiting, (number, tuple(mine)), part, write.now_ns)
        waiting.seq = tip.seq
        waiting.cost += waiting.read_bytes
        return waiting

    def move(self, move: Move) -> Waiting:
        """Put a record of a split on the tip; its outcome tells its place.

        Args:
            move: what it is to do.
        """
        reign, tip = self._reign, self._tip
        seq, time_ns = tip.seq + 1, tip.rise(move.now_ns)
        record = Record(reign.shard, seq, reign.term, time_ns, moved=move.moved)
        tip.append(record)
        waiting = Waiting([move.request], seq, seq, RECORD_COST, None)
        waiting.extend((Outcome(version=seq),))
        return waiting

    def misused(self, write: Write, same: Waiting | None) -> ToruaError | None:
        """Tell whether an idempotency key came before with another request.

        Or whether, since the shard was split, only a part of one in flight came again.

        Args:
            write: the batch.
            same: what is in flight with its key.
        """
        key = write.idempotency
        if key is None:
            return None
        if same is not None and same.idempotency is not None:
            fingerprint = same.idempotency.fingerprint
            if len(same.outcomes) != len(write.operations):
                return UnavailableError("a part of it is in flight with the rest")
        else:
            known = self._known(key, 0)
            fingerprint = known.fingerprint if known else key.fingerprint
        if fingerprint == key.fingerprint:
            return None
        return UnprocessableError("the idempotency key belongs to another request")

    def _known(self, key: IdempotencyKey | None, part: int) -> Answered | None:
        """Return what a part of a batch was answered before, if it was."""
        return None if key is None else self._view.answered(part_key(key.key, part))

    def _recalled(self, key: IdempotencyKey | None, parted: bool) -> list[Answer]:
        """Return what the parts of a batch were answered before, from the first on.

        Where the shard was split, what was once in other portions of the request may be
        in this one.
        """
        if key is None:
            return []
        found = self._answered(key.key)
        if parted and key.tags:
            whole, mine = portion_of(key.key)
            number, more = 0, found
            while number <= mine or more:
                more = self._answered(portion_key(whole, number))
                found += more if number != mine else []
                number += 1
        return found

    def _answered(self, key: str) -> list[Answer]:
        """Return what was answered under one key, part by part."""
        found: list[Answer] = []
        while (known := self._view.answered(part_key(key, len(found)))) is not None:
            found.append(self._answers.read(known.answer))
        return found

    def _go_on(self, waiting: Waiting, write: Write, known: Sequence[Answer]) -> None:
        """Tell again what was answered, and do the rest of a batch.

        Where the shard was split meanwhile, the answers are of more than is asked here.
        """
        if not known[0].tags:
            waiting.extend(known[0].outcomes)
            return
        tags = _tags(write, always=True)
        told = {
            tag: outcome
            for answer in known
            for tag, outcome in zip(answer.tags, answer.outcomes, strict=True)
        }
        left = [
            (tag, operation)
            for tag, operation in zip(tags, write.operations, strict=True)
            if tag not in told
        ]
        waiting.extend([told[tag] for tag in tags if tag in told])
        waiting.outcomes.clear()
        undone, place = split([operation for _, operation in left], True), 0
        assert write.idempotency is not None, "nothing would be known"
        first = len(self._answered(write.idempotency.key))
        for number, part in enumerate(undone, first):
            mine = tuple(tag for tag, _ in left[place : place + len(part)])
            self._part(waiting, (number, mine), part, write.now_ns)
            place += len(part)
        done = iter(waiting.outcomes.copy())
        waiting.outcomes = [told[tag] if tag in told else next(done) for tag in tags]

    def _part(
        self,
        waiting: Waiting,
        name: tuple[int, tuple[int, ...]],
        part: tuple[Operation, ...],
        now_ns: int,
    ) -> None:
        """Judge one part of a batch, and put its record, if any, on the tip.

        Args:
            waiting: takes the outcomes.
            name: the number of the part, and the tags of its operations.
            part: what is to be done.
            now_ns: the wall clock.
        """
        wanted = [each.key for each in part if isinstance(each, Get) and each.value]
        room = max(0, READ_BYTES_MAX - waiting.read_bytes)
        draft = Draft(self._tip, now_ns, room, wanted)
        for operation in part:
            draft.judge(operation)
        waiting.extend(draft.outcomes)
        key, (number, tags) = waiting.idempotency, name
        answer = b"" if key is None else self._answers.spell(draft.answer(tags))
        answered = settle(key, number, answer)
        record = draft.record(self._reign.shard, self._reign.term, answered)
        if record is not None:
            self._tip.append(record)


def _tags(write: Write, *, always: bool = False) -> list[int]:
    """Name the operations of a batch; a lone one needs no name, unless it had one.

    Args:
        write: the batch.
        always: whether it was one of many.
    """
    key = write.idempotency
    if key is not None and key.tags:
        return list(key.tags)
    several = always or len(write.operations) > 1
    return tags_of(write.operations) if several else []
