"""A copy's map as another process reads it: beside the node, and without its help.

Each look is one short read transaction, for while one is open the map's WAL cannot be
begun anew.  What changes between two looks stands in the journal.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torua.core.graph.keys import GRAPH_BYTE, schema_key
from torua.errors import UnavailableError
from torua.storage import journal, rows
from torua.storage.journal import Begun

GROUP_ROWS = 1000
"""So many changes are taken up at once; more makes each no cheaper."""

PAGE_BYTES = 8 << 20
"""A page of entries ends once it has so many bytes."""

VALUE_BYTES_MAX = 1 << 20
"""A larger value of a user's key is not read."""

_VALUE = (
    f"CASE WHEN size > {VALUE_BYTES_MAX} AND {{key}} < x'FF' THEN NULL ELSE value END"
)
_CHANGES = f"""SELECT j.key, j.created, e.version, {_VALUE.format(key="j.key")},
    e.content_type, e.size FROM
    (SELECT key, seq, created FROM journal WHERE seq > ? AND seq <= ?) j
    LEFT JOIN entries e ON e.key = j.key ORDER BY j.seq"""  # noqa: S608
_BOUND = "SELECT seq FROM journal WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?"
_PAGE = f"""SELECT key, version, {_VALUE.format(key="key")}, content_type, size
    FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"""  # noqa: S608
_SCHEMA = "SELECT value FROM entries WHERE key = ?"
_ANY = "SELECT 1 FROM entries WHERE key >= ? AND key < ? LIMIT 1"
_BUSY_TIMEOUT_S = 30.0


class Change(NamedTuple):
    """What a key is now that changed.

    Attributes:
        key: which.
        created: the record that made it, if nobody had it before that; else 0.
        version: of its entry; None where that is gone.
        value: likewise; None for a user's key also where it is too large.
        content_type: likewise.
        size: likewise.
    """

    key: bytes
    created: int
    version: int | None
    value: bytes | None
    content_type: str | None
    size: int | None


class Entry(NamedTuple):
    """One entry; see `torua.core.kv.Entry`."""

    key: bytes
    version: int
    value: bytes | None
    content_type: str
    size: int


class Look(NamedTuple):
    """What was seen at one moment.

    Attributes:
        seq: the last record whose changes are among these; all up to it are.
        applied: where the map stood.
        begun: behind where the journal is complete.
        schema: the value of the graph's schema entry, if there is one.
        graves: whether some deleted node's relationships may still be there.
        changes: in the order of the records.
    """

    seq: int
    applied: int
    begun: Begun
    schema: bytes | None
    graves: bool
    changes: list[Change]

    @property
    def last(self) -> bool:
        """Whether nothing was left to look at."""
        return self.seq == self.applied


class MapReader:
    """Reads one map, while a node writes it.

    Invariants: no transaction is open between two calls.

    Threading: any one thread at a time.
    """

    def __init__(self, path: Path, graph_id: int) -> None:
        """Open a map; it must be there.

        Args:
            path: its file.
            graph_id: the graph that is of interest.

        Raises:
            UnavailableError: it cannot be opened.
        """
        self._schema_key = schema_key(graph_id)
        head = graph_id.to_bytes(4)
        self._graves = [bytes((GRAPH_BYTE,)) + b"g" + p + head for p in (b"\0", b"\1")]
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with _blame(path):
            self._connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        self._path = path

    def look(self, after: int, limit: int = GROUP_ROWS) -> Look:
        """See what changed behind a record, all of it or the first part.

        Args:
            after: the record; negative: only where the map stands.
            limit: about so many changes; all of one record are told in any case.

        Raises:
            UnavailableError: the map cannot be read.
        """
        with self._transaction() as execute:
            (applied, *_) = execute(rows.FACTS).fetchone()
            found = execute(journal.FACTS).fetchone()
            schema = execute(_SCHEMA, (self._schema_key,)).fetchone()
            graves = any(
                execute(_ANY, (prefix, prefix + b"\xff" * 8)).fetchone()
                for prefix in self._graves
            )
            bound, changes = applied, []
            if after >= 0:
                more = execute(_BOUND, (after, limit)).fetchone()
                bound = self._through(execute, after, more[0]) if more else applied
                changes = [Change(*row) for row in execute(_CHANGES, (after, bound))]
        begun = Begun(*found) if found else Begun()
        return Look(
            bound, applied, begun, schema[0] if schema else None, graves, changes
        )

    def pages(self, start: bytes, end: bytes, limit: int) -> Iterator[list[Entry]]:
        """Read all entries within bounds, each page as it is when it is read.

        Args:
            start: the first key that there could be.
            end: what all keys are less than.
            limit: the most in a page; it ends sooner where values are large.

        Raises:
            UnavailableError: the map cannot be read.
        """
        while True:
            with self._transaction() as execute:
                page = _page(execute(_PAGE, (start, end, limit)))
            if not page:
                return
            yield page
            start = page[-1].key + b"\0"

    def close(self) -> None:
        """Let go of the map."""
        self._connection.close()

    @staticmethod
    def _through(execute: Callable[..., Any], start: int, bound: int) -> int:
        """Tell up to where to look, so that no record is cut."""
        before = execute(
            "SELECT max(seq) FROM journal WHERE seq > ? AND seq < ?", (start, bound)
        ).fetchone()[0]
        return bound if before is None else int(before)

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., Any]]:
        """Read at one moment."""
        with _blame(self._path), closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor.execute
            finally:
                cursor.execute("ROLLBACK")


def after(prefix: bytes) -> bytes:
    """Return the least key behind all that begin with ``prefix``."""
    stem = prefix.rstrip(b"\xff")
    assert stem, "there is none"
    return stem[:-1] + bytes([stem[-1] + 1])


@contextmanager
def _blame(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one that says to come again."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnavailableError(f"{path} cannot be read: {error}") from error


def _page(found: sqlite3.Cursor) -> list[Entry]:
    """Take entries while they are not too many bytes; the rest is left."""
    page: list[Entry] = []
    size = 0
    for row in found:
        page.append(Entry(*row))
        size += len(page[-1].value or b"")
        if size > PAGE_BYTES:
            break
    return page
