"""One transaction's changes to a map's rows, its facts, and its journal.

Only the last state of each key is written, however many records changed it.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby

from torua.core.graph.keys import is_graph_key
from torua.core.records import (
    NOTE_KEY,
    Answered,
    Effect,
    KvDelete,
    KvPut,
    Moved,
    Record,
)
from torua.storage import journal, rows
from torua.storage.rows import Facts


class MapChange:
    """One transaction's changes to rows, and what they do to the facts.

    Invariants: counts and sum are those of the rows as they stand.

    Performance: what stood before is found by hundreds of keys in one query, and each
    kind of change is one statement run over all of its rows.
    """

    def __init__(
        self, connection: sqlite3.Connection, facts: Facts, noted: journal.Journal
    ) -> None:
        """Begin with the facts as they are.

        Args:
            connection: in a transaction.
            facts: true of its rows.
            noted: where it is noted which keys change.
        """
        self._journal = noted
        self._connection = connection
        self._execute = connection.execute
        self._keys = facts.keys
        self._bytes = facts.bytes
        self._sum = facts.sum

    def records(self, records: Sequence[Record]) -> None:
        """Do all that some records say, in order.

        Args:
            records: in order.
        """
        for seq, part in groupby(records, _seq_of_moved):
            some = list(part)
            if seq is None:
                self._effects(some)
            for record in some:
                if record.moved is not None:
                    self._move(record.moved, record.seq)
                if record.answered is not None:
                    self.answer(record.answered, record.time_ns)

    def _effects(self, records: Sequence[Record]) -> None:
        """Do all effects of some records, in order."""
        last: dict[bytes, tuple[int, Effect]] = {
            effect.key: (record.seq, effect)
            for record in records
            for effect in record.effects
        }
        old = self._find(sorted(last))
        if self._journal.begun.rows_from is not None:
            self._note(records, old)
        self._replace(old, last)

    def _move(self, moved: Moved, seq: int) -> None:
        """Do what a split moves; what is of a later version stays."""
        wanted: dict[bytes, tuple[int, Effect]] = {
            key: (version, KvDelete(key)) for key, version in moved.removed
        }
        for each in moved.entries:
            put = KvPut(each.key, each.value, each.content_type, each.expires_ns)
            wanted[each.key] = (each.version, put)
        last = {key: new for key, new in wanted.items() if self._is_newer(key, new)}
        if moved.note:
            last[NOTE_KEY] = (seq, KvPut(NOTE_KEY, moved.note, ""))
        old = self._find(list(last))
        for key, (_, effect) in last.items():
            sets = isinstance(effect, KvPut)
            if key != NOTE_KEY and (sets or key in old):
                self._journal.note(key, seq, sets and key not in old)
        self._replace(old, last)
        for answer in moved.answers:
            if self._execute(rows.ANSWERED, (answer.answered.key,)).fetchone() is None:
                self.answer(answer.answered, answer.time_ns)

    def _is_newer(self, key: bytes, new: tuple[int, Effect]) -> bool:
        """Tell whether what is to be is newer than what is."""
        found = self._execute(rows.HEAD, (key,)).fetchone()
        version, effect = new
        if found is None:
            return isinstance(effect, KvPut)
        known = int(found[1])
        return known < version or (known == version and not isinstance(effect, KvPut))

    def _replace(
        self, old: dict[bytes, rows.Old], last: dict[bytes, tuple[int, Effect]]
    ) -> None:
        """Bring rows, and the facts, from what is there to what is to be.

        Args:
            old: what is there of the keys of ``last``.
            last: the version that each key gets, and how.
        """
        new: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        gone: list[tuple[int]] = []
        total = size = count = 0
        for key, (seq, effect) in last.items():
            was = old.get(key)
            if was is not None:
                place, old_size, old_checksum = was
                size -= old_size
                total -= old_checksum
            if not isinstance(effect, KvPut):
                if was is not None:
                    gone.append((place,))
                    size -= len(key)
                    count -= not is_graph_key(key)
                continue
            value, kind, expires = effect.value, effect.content_type, effect.expires_ns
            checksum = rows.entry_checksum(key, seq, expires, kind, value)
            row = (seq, expires, kind, len(value), checksum, value)
            size += len(value)
            total += checksum
            if was is None:
                new.append((key, *row))
                size += len(key)
                count += not is_graph_key(key)
            else:
                changed.append((*row, place))
        many = self._connection.executemany
        for statement, some in (
            (rows.DELETE, gone),
            (rows.INSERT, new),
            (rows.UPDATE, changed),
        ):
            if some:
                many(statement, some)
        self._keys += count
        self._bytes += size
        self._sum = rows.add(self._sum, total)

    def _find(self, keys: Sequence[bytes]) -> dict[bytes, rows.Old]:
        """Find what stands of some keys, in order, before the change."""
        found: dict[bytes, rows.Old] = {}
        for start in range(0, len(keys), rows.FIND_MAX):
            some = keys[start : start + rows.FIND_MAX]
            find = rows.among(rows.OLD_COLUMNS, len(some))
            for key, place, size, checksum in self._execute(find, some):
                found[key] = place, size, checksum
        return found

    def _note(self, records: Sequence[Record], old: Iterable[bytes]) -> None:
        """Note in the journal what changes, effect by effect."""
        there = set(old)
        for record in records:
            for effect in record.effects:
                key, put = effect.key, isinstance(effect, KvPut)
                if put or key in there:
                    self._journal.note(key, record.seq, key not in there)
                (there.add if put else there.discard)(key)

    def answer(self, answered: Answered, time_ns: int) -> None:
        """Write the row of an answered idempotency key, in place of an older one.

        Args:
            answered: the key and its answer.
            time_ns: the record's.
        """
        old = self._execute(rows.ANSWERED, (answered.key,)).fetchone()
        if old is not None:
            self._sum = rows.add(self._sum, -old[3])
        checksum = rows.answer_checksum(answered, time_ns)
        row = (answered.key, answered.fingerprint, answered.answer, time_ns, checksum)
        self._execute(rows.ANSWER, row)
        self._sum = rows.add(self._sum, checksum)

    def forget_answers(self, before_ns: int) -> None:
        """Delete the answers of records before a time."""
        for (checksum,) in self._execute(rows.FORGET_ANSWERS, (before_ns,)).fetchall():
            self._sum = rows.add(self._sum, -checksum)

    def facts(self, last: Record) -> Facts:
        """Return the facts after all changes, the last of which ``last`` made."""
        return Facts(
            last.seq, last.term, last.time_ns, self._keys, self._bytes, self._sum
        )


def _seq_of_moved(record: Record) -> int | None:
    """Tell apart the records of splits, each of which is done by itself."""
    return None if record.moved is None else record.seq
