"""One transaction's changes to a map's rows, its facts, and its journal."""

import sqlite3

from torua.core.graph.keys import is_graph_key
from torua.core.records import NOTE_KEY, Answered, Effect, KvPut, Moved, Record
from torua.storage import journal, rows
from torua.storage.rows import Facts


class MapChange:
    """One transaction's changes to rows, and what they do to the facts.

    Invariants: counts and sum are those of the rows as they stand.
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
        self._note = noted.note
        self._execute = connection.execute
        self._keys = facts.keys
        self._bytes = facts.bytes
        self._sum = facts.sum

    def effect(self, effect: Effect, seq: int) -> None:
        """Do one effect.

        Args:
            effect: what to do.
            seq: of the record that it is in.
        """
        put = effect if isinstance(effect, KvPut) else None
        self._change(effect.key, put, seq, seq)

    def _change(
        self, key: bytes, put: KvPut | None, version: int, noted: int | None
    ) -> None:
        """Change a key's row.

        Args:
            key: which.
            put: what it has from then on; None where it is absent.
            version: that it then has.
            noted: the record that is noted to have changed it; None for none.
        """
        old = self._execute(rows.FIND, (key,)).fetchone()
        if old is not None:
            self._keys -= not is_graph_key(key)
            self._bytes -= len(key) + old[0]
            self._sum = rows.add(self._sum, -old[1])
        if put is not None:
            self._put(put, version)
        elif old is not None:
            self._execute(rows.DELETE, (key,))
        else:
            return
        if noted is not None:
            self._note(key, noted, put is not None and old is None)

    def move(self, moved: Moved, seq: int) -> None:
        """Do what a split moves; what is of a later version stays.

        Args:
            moved: what to do.
            seq: of the record that it is in.
        """
        for key, version in moved.removed:
            if self._version(key) <= version:
                self._change(key, None, version, seq)
        for each in moved.entries:
            if self._version(each.key) < each.version:
                kept = KvPut(each.key, each.value, each.content_type, each.expires_ns)
                self._change(each.key, kept, each.version, seq)
        for answer in moved.answers:
            known = self._execute(rows.ANSWERED, (answer.answered.key,)).fetchone()
            if known is None:
                self.answer(answer.answered, answer.time_ns)
        if moved.note:
            self._change(NOTE_KEY, KvPut(NOTE_KEY, moved.note, ""), seq, None)

    def _version(self, key: bytes) -> int:
        """Return the version of a key; less than any where it is absent."""
        found = self._execute(rows.HEAD, (key,)).fetchone()
        return -1 if found is None else int(found[1])

    def _put(self, put: KvPut, seq: int) -> None:
        """Write an entry's row."""
        key, value, kind, expires = put.key, put.value, put.content_type, put.expires_ns
        checksum = rows.entry_checksum(key, seq, expires, kind, value)
        self._execute(rows.PUT, (key, seq, expires, kind, len(value), checksum, value))
        self._keys += not is_graph_key(key)
        self._bytes += len(key) + len(value)
        self._sum = rows.add(self._sum, checksum)

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
