"""Which keys of a map changed, and when: what a graph engine has yet to take up.

It stands in the map's own database, written in the same transaction, and is no part of
what the map holds: equal maps may differ in it.  It has one row a key, however often
that changed.  It is kept only once a graph was asked for, and is complete for what came
behind `Begun`; an engine that stands before it is built anew.
"""

import sqlite3

from msgspec import Struct

TABLES = (
    """CREATE TABLE IF NOT EXISTS journal (
        key BLOB PRIMARY KEY, seq INTEGER, created INTEGER) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS journal_seq ON journal (seq)",
    """CREATE TABLE IF NOT EXISTS journal_facts (
        id INTEGER PRIMARY KEY, rows_from INTEGER, keys_from INTEGER)""",
)
"""``created``: the record that made the key, where nobody had it before; else 0."""

ROWS_MAX = 1_000_000
"""So many changes nobody took up: then it is begun anew, and engines are built anew."""

TRIM_ROWS = 256
"""Each batch of records that is applied trims so many rows: some 0.2 ms."""

FACTS = "SELECT rows_from, keys_from FROM journal_facts"

_NOTE = """INSERT INTO journal VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET
    seq = ?2, created = CASE WHEN ?3 > 0 THEN 0 ELSE created END"""
_SET_FACTS = "INSERT OR REPLACE INTO journal_facts VALUES (1, ?, ?)"
_TRIM = """DELETE FROM journal WHERE key IN
    (SELECT key FROM journal WHERE seq <= ? ORDER BY seq LIMIT ?)"""

_GRAPH_BYTE = b"\xff"


class Begun(Struct, frozen=True):
    """Behind which records a journal is complete; None where it is not kept.

    Attributes:
        rows_from: for rows of graphs.
        keys_from: for users' keys.
    """

    rows_from: int | None = None
    keys_from: int | None = None


class Journal:
    """The journal of one open map.

    Invariants: every key that changed behind `begun` has a row, with the last record
    that changed it.

    Threading: the map's.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take up what stands in the database; maps of old get its tables.

        Args:
            connection: the map's, in no transaction.
        """
        self._execute = connection.execute
        for table in TABLES:
            self._execute(table)
        found = self._execute(FACTS).fetchone()
        self.begun = Begun(*found) if found else Begun()
        self._trimmed = self._trim_to = 0
        self._rows_most = self._count()

    def begin(self, applied_seq: int, keys: bool) -> None:
        """Keep it from now on, if it is not kept already.

        Args:
            applied_seq: where the map stands.
            keys: whether users' keys are to be in it too.
        """
        old = self.begun
        rows_from = applied_seq if old.rows_from is None else old.rows_from
        keys_from = old.keys_from
        if keys and keys_from is None:
            keys_from = applied_seq
        if (rows_from, keys_from) != (old.rows_from, old.keys_from):
            self._set(Begun(rows_from, keys_from))

    def note(self, key: bytes, seq: int, created: bool) -> None:
        """Note that a key changed, in the transaction that changes it.

        Args:
            key: which.
            seq: of the record.
            created: whether it was absent before.
        """
        graph = key[:1] == _GRAPH_BYTE
        start = self.begun.rows_from if graph else self.begun.keys_from
        if start is not None:
            self._execute(_NOTE, (key, seq, seq if created else 0))
            self._rows_most += 1

    def trim(self, seq: int) -> None:
        """Let go of what all engines have taken up; it is done bit by bit."""
        self._trim_to = max(self._trim_to, seq)

    def settle(self, seq: int) -> None:
        """Keep it small, at the end of a transaction of the map's.

        Args:
            seq: where the map then stands.
        """
        if self._trim_to > self._trimmed:
            self._trim()
        if self._rows_most > ROWS_MAX:
            self._rows_most = self._count()
            if self._rows_most > ROWS_MAX:
                self._drop(seq)

    def reload(self) -> None:
        """Take up what stands in the database, once a transaction was rolled back."""
        found = self._execute(FACTS).fetchone()
        self.begun = Begun(*found) if found else Begun()
        self._trimmed = 0

    def _trim(self) -> None:
        """Remove some rows that nobody needs."""
        start, keys_from = self.begun.rows_from, self.begun.keys_from
        if start is not None and start < self._trim_to:
            if keys_from is not None:
                keys_from = max(keys_from, self._trim_to)
            self._set(Begun(self._trim_to, keys_from))
        gone = self._execute(_TRIM, (self._trim_to, TRIM_ROWS)).rowcount
        self._rows_most -= gone
        if gone < TRIM_ROWS:
            self._trimmed = self._trim_to

    def _drop(self, seq: int) -> None:
        """Begin anew, empty."""
        keys_from = None if self.begun.keys_from is None else seq
        self._execute("DELETE FROM journal")
        self._set(Begun(seq, keys_from))
        self._rows_most = 0

    def _set(self, begun: Begun) -> None:
        """Write down where it begins."""
        self._execute(_SET_FACTS, (begun.rows_from, begun.keys_from))
        self.begun = begun

    def _count(self) -> int:
        """Count the rows."""
        (count,) = self._execute("SELECT count(*) FROM journal").fetchone()
        assert isinstance(count, int), "a count"
        return count


def strip(connection: sqlite3.Connection) -> None:
    """Remove the journal from a copy of a map: another node's engines know nothing."""
    connection.execute("DELETE FROM journal")
    connection.execute("DELETE FROM journal_facts")
