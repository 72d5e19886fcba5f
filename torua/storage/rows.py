"""The map's tables, and the sums by which a row knows whether it is what was written.

Each row carries a checksum over all of its columns; the one row of facts carries the
sum of all of them, so that a row that was changed, lost or doubled shows when the map
is opened, and equal maps have equal sums whatever the order in which they were filled.
"""

import struct
from functools import lru_cache

import mmh3
from google_crc32c import value as crc32c
from msgspec import Struct

from torua.core.graph.keys import GRAPH_BYTE, is_graph_key
from torua.core.kv import Entry
from torua.core.records import Answered

TABLES = (
    """CREATE TABLE facts (
        id INTEGER PRIMARY KEY, applied_seq INTEGER, term INTEGER, time_ns INTEGER,
        keys INTEGER, bytes INTEGER, sum INTEGER, checksum INTEGER)""",
    """CREATE TABLE entries (
        key BLOB NOT NULL UNIQUE, version INTEGER, expires_ns INTEGER,
        content_type TEXT, size INTEGER, checksum INTEGER, value BLOB)""",
    """CREATE INDEX due ON entries (expires_ns, key, version)
        WHERE expires_ns IS NOT NULL""",
    """CREATE TABLE idempotency (
        key TEXT NOT NULL UNIQUE, fingerprint BLOB, answer BLOB, time_ns INTEGER,
        checksum INTEGER)""",
    "CREATE INDEX answered_at ON idempotency (time_ns)",
)

INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)"
UPDATE = """UPDATE entries SET version = ?, expires_ns = ?, content_type = ?, size = ?,
    checksum = ?, value = ? WHERE rowid = ?"""
DELETE = "DELETE FROM entries WHERE rowid = ?"
OLD_COLUMNS = "key, rowid, size, checksum"
HEAD_COLUMNS = "key, version, size, content_type, expires_ns"
ENTRY_COLUMNS = f"{HEAD_COLUMNS}, value, checksum"
GET = f"SELECT {ENTRY_COLUMNS} FROM entries WHERE key = ?"  # noqa: S608
HEAD = f"SELECT {HEAD_COLUMNS} FROM entries WHERE key = ?"  # noqa: S608
DUE = """SELECT key, version FROM entries WHERE expires_ns <= ?
    ORDER BY expires_ns, key LIMIT ?"""
ANSWERED = (
    "SELECT fingerprint, answer, time_ns, checksum FROM idempotency WHERE key = ?"
)
ANSWER = "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?)"
FORGET_ANSWERS = "DELETE FROM idempotency WHERE time_ns < ? RETURNING checksum"
FACTS = "SELECT applied_seq, term, time_ns, keys, bytes, sum, checksum FROM facts"
SET_FACTS = "INSERT OR REPLACE INTO facts VALUES (1, ?, ?, ?, ?, ?, ?, ?)"
ALL_ENTRIES = f"SELECT {ENTRY_COLUMNS} FROM entries"  # noqa: S608
ALL_ANSWERS = "SELECT key, fingerprint, answer, time_ns, checksum FROM idempotency"
ENTRIES_AFTER = f"""SELECT {HEAD_COLUMNS}, value, checksum FROM entries
    WHERE key > ? ORDER BY key LIMIT ?"""  # noqa: S608
KEYS_AFTER = "SELECT key FROM entries WHERE key > ? ORDER BY key LIMIT ?"
ANSWERS_AFTER = """SELECT key, fingerprint, answer, time_ns, checksum FROM idempotency
    WHERE key > ? ORDER BY key LIMIT ?"""

FIND_MAX = 250
"""SQLite looks for so many keys in one statement, and each count is one to prepare."""

Row = tuple[bytes, int, int, str, int | None, bytes, int]
Old = tuple[int, int, int]
"""Where an entry stands (rowid), its size and its checksum."""

AnswerRow = tuple[str, bytes, bytes, int, int]

_WRONG_TYPES = (TypeError, ValueError, AttributeError, struct.error)
"""What a row raises whose columns are not even of the types that were written."""

_ENTRY = struct.Struct("<cHQqI")
_ANSWER = struct.Struct("<cHqII")
_FACTS = struct.Struct("<c6q")


class Facts(Struct, frozen=True):
    """What the map knows of itself.

    Attributes:
        applied_seq: the last record applied.
        term: that record's.
        time_ns: that record's.
        keys: how many entries there are, but rows of graphs.
        bytes: how large their keys and values are together.
        sum: of all rows' checksums, as a signed number of 64 bits.
    """

    applied_seq: int = 0
    term: int = 0
    time_ns: int = 0
    keys: int = 0
    bytes: int = 0
    sum: int = 0

    def checksum(self) -> int:
        """Compute the checksum of the row of facts."""
        return _hash(_FACTS.pack(b"f", *self.columns()))

    def columns(self) -> tuple[int, int, int, int, int, int]:
        """Return the columns of the row, but for id and checksum."""
        return (
            self.applied_seq,
            self.term,
            self.time_ns,
            self.keys,
            self.bytes,
            self.sum,
        )


@lru_cache(maxsize=4 * FIND_MAX)
def among(columns: str, count: int) -> str:
    """Spell the query for columns of so many keys.

    Args:
        columns: of entries, with commas.
        count: up to `FIND_MAX`; keys in order are found fastest.
    """
    places = ", ".join("?" * count)
    return f"SELECT {columns} FROM entries WHERE key IN ({places})"  # noqa: S608


def digest_of(facts: Facts) -> bytes:
    """Return 16 bytes that are equal where ``applied_seq`` and all content are."""
    parts = (facts.applied_seq, facts.sum)
    return b"".join(part.to_bytes(8, "big", signed=True) for part in parts)


def entry_checksum(
    key: bytes, version: int, expires_ns: int | None, content_type: str, value: bytes
) -> int:
    """Compute the checksum of an entry's row.

    Args:
        key: as in `KvPut`, like all that follow.
        version: the seq of the record that set it.
        expires_ns: 0 or more, or None.
        content_type: of the value.
        value: whole.
    """
    expires = -1 if expires_ns is None else expires_ns
    fields = _ENTRY.pack(b"e", len(key), version, expires, crc32c(value))
    return _hash(fields + key + content_type.encode())


def answer_checksum(answered: Answered, time_ns: int) -> int:
    """Compute the checksum of the row of an answered idempotency key.

    Args:
        answered: the key and its answer.
        time_ns: of the record that settled it.
    """
    key = answered.key.encode()
    fields = _ANSWER.pack(
        b"i",
        len(key),
        time_ns,
        crc32c(answered.fingerprint),
        crc32c(answered.answer),
    )
    return _hash(fields + key)


def add(total: int, change: int) -> int:
    """Add to a sum, which stays a signed number of 64 bits.

    Args:
        total: the sum.
        change: a checksum, or its negative to take one out.
    """
    return (total + change + (1 << 63)) % (1 << 64) - (1 << 63)


def entry_of(row: Row) -> Entry | None:
    """Make an entry of a row of ``GET``; None where the row is not what was written."""
    key, version, size, content_type, expires_ns, value, checksum = row
    try:
        expected = entry_checksum(key, version, expires_ns, content_type, value)
    except _WRONG_TYPES:
        return None
    if checksum != expected or size != len(value):
        return None
    return Entry(key, version, size, content_type, value, expires_ns)


def headed_of(row: tuple[bytes, int, int, str, int | None]) -> Entry:
    """Make an entry without its value."""
    key, version, size, content_type, expires_ns = row
    return Entry(key, version, size, content_type, None, expires_ns)


def span_of(prefix: bytes, after: bytes) -> tuple[str, list[bytes]]:
    """Spell which keys begin with ``prefix`` and come behind ``after``.

    Args:
        prefix: empty for all but those of rows of graphs.
        after: empty for all.
    """
    where, bounds = ("WHERE key > ?", [after])
    if prefix > after:
        where, bounds = ("WHERE key >= ?", [prefix])
    stem = prefix.rstrip(b"\xff")
    if stem:
        where += " AND key < ?"
        bounds.append(stem[:-1] + bytes([stem[-1] + 1]))
    if not is_graph_key(prefix):
        where += " AND key < ?"
        bounds.append(bytes((GRAPH_BYTE,)))
    return where, bounds


def answered_of(row: AnswerRow) -> Answered | None:
    """Make an answer of a row; None where the row is not what was written."""
    key, fingerprint, answer, time_ns, checksum = row
    answered = Answered(key, fingerprint, answer)
    try:
        return answered if checksum == answer_checksum(answered, time_ns) else None
    except _WRONG_TYPES:
        return None


def facts_of(row: tuple[int, ...]) -> Facts | None:
    """Make facts of a row of ``FACTS``; None where it is not what was written."""
    *columns, checksum = row
    facts = Facts(*columns)
    try:
        return facts if checksum == facts.checksum() else None
    except _WRONG_TYPES:
        return None


def _hash(data: bytes) -> int:
    """Hash to a signed number of 64 bits, as SQLite keeps them."""
    number: int = mmh3.hash64(data)[0]
    return number
