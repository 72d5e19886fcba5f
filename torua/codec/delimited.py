"""Rows of CSV and lines of JSON, out of bytes that come piece by piece.

CSV is read as RFC 4180 has it, with any delimiter: a quoted field may have delimiters
and line ends in it.  What is wrong is told with the line where its row begins, and
reading goes on behind it.
"""

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any, NamedTuple, Protocol

import msgspec

ROW_BYTES_MAX = 16 << 20
"""A row that is longer has a quote too many; it would be held in memory whole."""

csv.field_size_limit(ROW_BYTES_MAX)

_UNFINISHED = "unexpected end of data"
_BOM = b"\xef\xbb\xbf"


class Read(NamedTuple):
    """One row.

    Attributes:
        line: where it begins, from 1.
        fields: texts of CSV; names and values of JSON.
        trouble: what is wrong with it; then it has no fields.
    """

    line: int
    fields: list[str] | dict[str, object]
    trouble: str = ""


class Rows(Protocol):
    """A reader of one format."""

    def feed(self, data: bytes) -> Iterator[Read]:
        """Take what came, and yield the rows that are whole."""

    def end(self) -> Iterator[Read]:
        """Yield what is left at the end."""


class Lines:
    """Cuts what comes into pieces that end with a line.

    Invariants: `rest` has no line end, and is no longer than a row may be; every byte
    is handed on once, in order.
    """

    def __init__(self) -> None:
        """Begin before the first byte."""
        self.rest = b""
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """Take what came, and return all whole lines.

        A byte order mark at the beginning is dropped; what has no line end yet is kept
        for the next time.
        """
        if not self._begun:
            data = self.rest + data
            self.rest = b""
            if len(data) < len(_BOM):
                self.rest = data
                return b""
            self._begun = True
            data = data.removeprefix(_BOM)
        end = data.rfind(b"\n") + 1
        if end == 0:
            self.rest += data
            return self.end() if len(self.rest) > ROW_BYTES_MAX else b""
        found = self.rest + data[:end]
        self.rest = data[end:]
        return found

    def end(self) -> bytes:
        """Return the last line, which may have no end."""
        rest, self.rest = self.rest, b""
        return rest if self._begun else rest.removeprefix(_BOM)


class CsvRows:
    """Reads CSV.

    Invariants: `_carried` is the beginning of one row, empty or within a quoted field.
    """

    def __init__(self, delimiter: str, quote: str, escape: str) -> None:
        """Say how it is spelled.

        Args:
            delimiter: one character.
            quote: one character; empty for none.
            escape: one character; empty where quotes are doubled.
        """
        self._lines = Lines()
        self._carried: list[str] = []
        self._line = 1
        self._options: dict[str, Any] = {
            "delimiter": delimiter,
            "quotechar": quote or None,
            "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            "escapechar": escape or None,
            "doublequote": not escape,
            "strict": True,
        }

    def feed(self, data: bytes) -> Iterator[Read]:
        """Take what came, and yield the rows that are whole."""
        yield from self._read(self._lines.feed(data), last=False)

    def end(self) -> Iterator[Read]:
        """Yield what is left at the end."""
        yield from self._read(self._lines.end(), last=True)

    def _read(self, data: bytes, *, last: bool) -> Iterator[Read]:
        """Read whole lines, behind what was carried."""
        while True:
            text, bad, data, why = _decoded(data)
            lines = [*self._carried, *StringIO(text, newline="\n")]
            self._carried = []
            yield from self._rows(lines, last=last or bool(bad))
            if not bad:
                break
            yield Read(self._line, [], why)
            self._line += 1

    def _rows(self, lines: list[str], *, last: bool) -> Iterator[Read]:
        """Read lines; an unfinished row at their end is carried unless it is last."""
        first, done = self._line, 0
        reader = csv.reader(lines, **self._options)
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                if str(error) == _UNFINISHED and not last:
                    self._carried = lines[done:]
                    if sum(map(len, self._carried)) <= ROW_BYTES_MAX:
                        break
                    self._carried = []
                yield Read(first + done, [], f"not CSV: {error}")
                done = reader.line_num
                continue
            if fields is None:
                break
            if fields:
                yield Read(first + done, fields)
            done = reader.line_num
        self._line = first + done


class JsonRows:
    """Reads objects of JSON, one a line.

    Invariants: `_line` is the number of the next line.
    """

    def __init__(self) -> None:
        """Begin before the first line."""
        self._lines = Lines()
        self._line = 1
        self._decoder = msgspec.json.Decoder(dict[str, object])

    def feed(self, data: bytes) -> Iterator[Read]:
        """Take what came, and yield the rows that are whole."""
        yield from self._read(self._lines.feed(data))

    def end(self) -> Iterator[Read]:
        """Yield what is left at the end."""
        yield from self._read(self._lines.end())

    def _read(self, data: bytes) -> Iterator[Read]:
        """Read whole lines."""
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            number, self._line = self._line, self._line + 1
            if not line.strip():
                continue
            try:
                yield Read(number, self._decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield Read(number, {}, f"not an object of JSON: {error}")


def _decoded(data: bytes) -> tuple[str, bytes, bytes, str]:
    """Decode UTF-8 up to the first line that is none.

    Returns:
        The text before it, that line, what follows it, and what is wrong with it.
    """
    try:
        return data.decode(), b"", b"", ""
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        end = data.find(b"\n", error.start) + 1 or len(data)
        why = f"not UTF-8: {error.reason}"
        return data[:start].decode(), data[start:end], data[end:], why
