"""What a map shows, and has yet to write: records kept in memory for a moment.

A transaction for each record costs several times what its rows do; so the map takes
many records at once, and shows them meanwhile from here.  The log has them all.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from torua.core.records import Answered, Effect, Record
from torua.core.replication.tip import cost_of

STAGED_EFFECTS_MAX = 1000
"""Written in some ten milliseconds, for which everything else waits."""

STAGED_BYTES_MAX = 1 << 20
"""Written in as long; one record may be larger."""

STAGED_BYTES_MOST = 64 << 20
"""Held in memory for a copy at the most: four of the largest values."""

WEIGHTY_EFFECTS_MAX = 16
"""A large record of no more changes is written on another thread."""

MARK_RECORDS = 256
"""After each so many records a map notes its digest, as all copies of it do."""


class Staged:
    """Records behind those that the map has written.

    Invariants: ``entries`` and ``answers`` are what the last of ``records`` say of each
    key.

    Attributes:
        records: in order.
        size_bytes: of all of them.
        entries: the last effect on each key, and its record's seq.
        answers: the last answer of each idempotency key.
        moved: whether one of the records is of a split: then all must be written.
    """

    def __init__(self) -> None:
        """Have none."""
        self.records: list[Record] = []
        self.entries: dict[bytes, tuple[int, Effect]] = {}
        self.answers: dict[str, Answered] = {}
        self.moved = False
        self.size_bytes = 0
        self._effects = 0

    @property
    def full(self) -> bool:
        """Whether they had better be written now."""
        return _is_full(self._effects, self.size_bytes)

    @property
    def weighty(self) -> bool:
        """Whether the first of them is large, and few changes: written alone."""
        return bool(self.records) and _is_weighty(self.records[0])

    def first(self) -> list[Record]:
        """List the records that are written first: until they are full."""
        count = effects = size = 0
        for record in self.records:
            if count and _is_weighty(record):
                break
            count += 1
            effects += len(record.effects) + 1
            size += cost_of(record)
            if _is_full(effects, size):
                break
        return self.records[:count]

    def behind(self, count: int) -> "Staged":
        """Give the records behind the first ones, staged."""
        rest = Staged()
        rest.add(self.records[count:])
        return rest

    def add(self, records: Iterable[Record]) -> None:
        """Take the next records."""
        for record in records:
            self.records.append(record)
            self._effects += len(record.effects) + 1
            self.size_bytes += cost_of(record)
            seq = record.seq
            for effect in record.effects:
                self.entries[effect.key] = (seq, effect)
            if record.moved is not None:
                self.moved = True
            if record.answered is not None:
                self.answers[record.answered.key] = record.answered


def _is_full(effects: int, size: int) -> bool:
    """Tell whether so many changes, of so many bytes, had better be written."""
    return effects >= STAGED_EFFECTS_MAX or size >= STAGED_BYTES_MAX


def _is_weighty(record: Record) -> bool:
    """Tell whether to write a record takes long, and seldom comes back to Python.

    A thread that writes many small changes would wait for its turn after each.
    """
    if cost_of(record) < STAGED_BYTES_MAX:
        return False
    return len(record.effects) <= WEIGHTY_EFFECTS_MAX and record.moved is None


def marked(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Cut records behind each that a digest is noted after.

    Args:
        records: in order.
    """
    for _, part in groupby(records, lambda record: (record.seq - 1) // MARK_RECORDS):
        yield list(part)
