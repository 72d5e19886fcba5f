"""Whether a map is what was written: each row, and all of them together."""

import sqlite3
from pathlib import Path

from torua.core.graph.keys import is_graph_key
from torua.core.kv import Entry
from torua.core.records import Answered
from torua.errors import CorruptionError
from torua.storage import rows
from torua.storage.rows import Facts


def verify(connection: sqlite3.Connection, path: Path) -> Facts:
    """Check the database's structure, every row, and the facts against them.

    Args:
        connection: to the map.
        path: where that is, for the error.

    Returns:
        The facts.

    Raises:
        CorruptionError: something is not what was written.
    """
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != ("ok",):
        raise damaged(path, str(verdict[0]))
    found = connection.execute(rows.FACTS).fetchall()
    facts = rows.facts_of(found[0]) if len(found) == 1 else None
    if facts is None:
        raise damaged(path, "facts")
    if sums(connection, path) != facts.columns()[3:]:
        raise damaged(path, "entries are missing or doubled")
    return facts


def sums(connection: sqlite3.Connection, path: Path) -> tuple[int, int, int]:
    """Read every row; count the entries, their bytes, and sum the checksums.

    Args:
        connection: to the map.
        path: where that is, for the error.

    Raises:
        CorruptionError: a row is not what was written.
    """
    keys = size = total = 0
    for row in connection.execute(rows.ALL_ENTRIES):
        found = entry(row, path)
        keys += not is_graph_key(found.key)
        size += len(found.key) + found.size
        total = rows.add(total, row[-1])
    for row in connection.execute(rows.ALL_ANSWERS):
        answer(row, path)
        total = rows.add(total, row[-1])
    return keys, size, total


def entry(row: rows.Row, path: Path) -> Entry:
    """Make an entry of a row, after checking it.

    Args:
        row: as it was read.
        path: of the map, for the error.

    Raises:
        CorruptionError: the row is not what was written.
    """
    found = rows.entry_of(row)
    if found is None:
        raise damaged(path, f"the row of key {row[0]!r}")
    return found


def answer(row: rows.AnswerRow, path: Path) -> Answered:
    """Make an answer of a row, after checking it.

    Args:
        row: as it was read.
        path: of the map, for the error.

    Raises:
        CorruptionError: the row is not what was written.
    """
    found = rows.answered_of(row)
    if found is None:
        raise damaged(path, f"the row of idempotency key {row[0]!r}")
    return found


def damaged(path: Path, what: str) -> CorruptionError:
    """Make the error that names the file.

    Args:
        path: of the map.
        what: is wrong with it.
    """
    return CorruptionError(f"{path} is damaged: {what}", file=str(path))
