"""Reading all that a map has, page by page, while it is written.

Each page is read over a connection of its own, at one moment, on another thread than
the map's; nothing is missed as long as the records behind that moment are looked at
too.
"""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from torua.core.kv import Entry
from torua.core.records import MovedAnswer
from torua.storage import checks, rows
from torua.storage.sqlite import blame, connect


class Page(NamedTuple):
    """A part of a map, at one moment.

    Attributes:
        applied: the record that was applied last.
        entries: in byte order, those of graphs among them, with their values.
        answers: of idempotency keys, in order.
    """

    applied: int
    entries: tuple[Entry, ...] = ()
    answers: tuple[MovedAnswer, ...] = ()


def read_entries(path: Path, after: bytes, limit: int, max_bytes: int) -> Page:
    """Read entries; none at the end only.

    Args:
        path: the map's file.
        after: only keys behind this one.
        limit: at most so many, 1 or more.
        max_bytes: stop before keys and values pass this; one comes in any case.

    Raises:
        CorruptionError, DiskError: they cannot be read.
    """
    found: list[Entry] = []
    with blame(path), closing(connect(path)) as connection:
        connection.execute("BEGIN")
        applied = int(connection.execute(rows.FACTS).fetchone()[0])
        for row in connection.execute(rows.ENTRIES_AFTER, (after, limit)):
            entry = checks.entry(row, path)
            max_bytes -= len(entry.key) + entry.size
            if found and max_bytes < 0:
                break
            found.append(entry)
    return Page(applied, entries=tuple(found))


def read_answers(path: Path, after: str, limit: int) -> Page:
    """Read answers of idempotency keys; none at the end only.

    Args:
        path: the map's file.
        after: only keys behind this one.
        limit: at most so many, 1 or more.

    Raises:
        CorruptionError, DiskError: they cannot be read.
    """
    found: list[MovedAnswer] = []
    with blame(path), closing(connect(path)) as connection:
        connection.execute("BEGIN")
        applied = int(connection.execute(rows.FACTS).fetchone()[0])
        for row in connection.execute(rows.ANSWERS_AFTER, (after, limit)):
            found.append(MovedAnswer(checks.answer(row, path), row[3]))
    return Page(applied, answers=tuple(found))


def read_keys(path: Path, after: bytes, limit: int) -> list[bytes]:
    """List keys in byte order, those of graphs' rows among them.

    Args:
        path: the map's file.
        after: only those behind this one.
        limit: at most so many.

    Raises:
        CorruptionError, DiskError: they cannot be read.
    """
    with blame(path), closing(connect(path)) as connection:
        found = connection.execute(rows.KEYS_AFTER, (after, limit))
        return [key for (key,) in found.fetchall()]
