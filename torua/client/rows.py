"""What statements return: all rows at once, or row after row."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct, field
from urllib3.exceptions import HTTPError

from torua.client.errors import unexpected
from torua.client.transport import Opened, T


class Result(Struct, frozen=True):
    """The answer of a statement.

    Attributes:
        columns: names.
        types: of the columns, as Cypher has them.
        rows: values in the order of the columns.
        stats: how it was answered, and what was changed.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[list[Any]]
    stats: dict[str, Any] = field(default_factory=dict)

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Rows:
    """The rows of an answer, read as they come; an iterator and a context manager.

    Who does not read to the end closes it.  A node waits 30 s for a client that reads
    nothing, then cuts it off.

    Invariants: rows come in order, each once; where the connection breaks it is raised,
    never taken for the end.  It belongs to one thread.
    """

    def __init__(self, opened: Opened) -> None:
        """Read what was opened."""
        self._opened = opened
        self._rows = self._read()
        headers = opened.response.headers
        self.columns = _told(headers.get("Torua-Columns"), tuple[str, ...], ())
        self.types = _told(headers.get("Torua-Types"), tuple[str, ...], ())
        self.stats = _told(headers.get("Torua-Stats"), dict[str, Any], {})

    def __iter__(self) -> Iterator[list[Any]]:
        """Return the rows that are left."""
        return self._rows

    def __next__(self) -> list[Any]:
        """Return the next row."""
        return next(self._rows)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, whatever happened."""
        self.close()

    def close(self) -> None:
        """Read no more."""
        self._opened.response.close()

    def _read(self) -> Iterator[list[Any]]:
        """Yield rows, line by line."""
        rest = b""
        while data := self._more():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line, type=list[Any])
        self._opened.response.release_conn()

    def _more(self) -> bytes:
        """Return what comes next; nothing at the end."""
        try:
            return self._opened.response.read1(1 << 16)
        except (HTTPError, OSError) as error:
            detail = "the connection broke within an answer"
            raise unexpected(detail, self._opened.endpoint) from error


def _told(text: str | None, kind: type[T], default: T) -> T:
    """Read what a header says of the rows; a default where it was too long to say."""
    return default if text is None else msgspec.json.decode(text, type=kind)
