"""One transaction's changes to a map's rows, its facts, and its journal."""

import sqlite3

from torua.core.graph.keys import is_graph_key
from torua.core.records import Answered, Effect, KvPut, Record
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
        key = effect.key
        old = self._execute(rows.FIND, (key,)).fetchone()
        if old is not None:
            self._keys -= not is_graph_key(key)
            self._bytes -= len(key) + old[0]
            self._sum = rows.add(self._sum, -old[1])
        if isinstance(effect, KvPut):
            self._put(effect, seq)
            self._note(key, seq, old is None)
        elif old is not None:
            self._execute(rows.DELETE, (key,))
            self._note(key, seq, False)

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
