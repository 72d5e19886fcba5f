"""Rows of a file, as the entries of the map that they shall be.

All of it is done on a worker's thread: bytes go in, sections come out.  A section is
some rows that follow each other in the file, checked and spelled, with those that are
wrong beside them.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from torua.codec.delimited import CsvRows, JsonRows, Read, Rows
from torua.codec.rows import Row, spell_row
from torua.core.graph.importing import CSV, Bad, Wanted
from torua.core.graph.keys import edge_between, node_keys
from torua.core.graph.layout import (
    Layout,
    Reader,
    choose_pair,
    default_names,
    edge_layout,
    node_layout,
    text_reader,
    value_reader,
)
from torua.core.graph.schema import Graph, NodeTable, RelTable, column
from torua.core.graph.types import Cell, Type
from torua.errors import TooLargeError, ToruaError, UnprocessableError

SECTION_ROWS = 4096
"""Enough for a batch of hundreds of rows to each of several shards."""

SECTION_BYTES = 4 << 20
"""What a section may hold, so that a few of them are no burden."""

ROW_COST = 400
"""What a row takes besides its key and its texts, about."""

ROW_BYTES_MAX = 8 << 20
"""What the graph engine takes as one row."""

HEADERS_MAX = 64
"""How many different sets of names in JSON are remembered at once."""

ENDS_MAX = 20_000
"""How many keys of nodes are remembered, each as it is spelled."""

_SIZED = (str, bytes, list, dict)
_NUMBER = struct.Struct(">Q")


class Made(NamedTuple):
    """One row, as it shall stand.

    Attributes:
        line: where it is in the file.
        key: of its entry.
        source: the key of the node that it goes from; empty for a node.
        target: the key of the node that it goes to; likewise.
        cells: its properties.
    """

    line: int
    key: bytes
    source: bytes
    target: bytes
    cells: dict[int, Cell]


class Section(NamedTuple):
    """Some rows that follow each other.

    Attributes:
        first: the number of its first row in the file, from 1.
        last: the number of its last row.
        rows: those that are well.
        bad: those that are not.
    """

    first: int
    last: int
    rows: list[Made]
    bad: list[Bad]


Maker = Callable[[int, int, Sequence[object]], Made]
"""Makes a row of its line, its number and its fields."""


class Sheet:
    """Makes sections of a file of text that comes piece by piece.

    Invariants: each row is in one section, in order; `_number` is that of the last.

    Threading: one thread at a time.
    """

    def __init__(self, graph: Graph, table: NodeTable | RelTable, wanted: Wanted):
        """Begin before the first byte.

        Args:
            graph: the schema.
            table: where the rows go.
            wanted: how the file is to be read.
        """
        self._graph = graph
        self._table = table
        self._wanted = wanted
        self._texts = wanted.form == CSV
        self._rows: Rows
        self._rows = (
            CsvRows(wanted.delimiter, wanted.quote, wanted.escape)
            if self._texts
            else JsonRows()
        )
        self._heading = self._texts and wanted.header
        self._maker: Maker | None = None
        self._makers: dict[tuple[str, ...], Maker] = {}
        self._cut = Cutter()
        if self._texts and not (wanted.header and not wanted.columns):
            self._maker = self._make(wanted.columns or default_names(table))

    def feed(self, data: bytes) -> list[Section]:
        """Take what came, and return the sections that are full.

        Raises:
            UnprocessableError: the header does not fit the table.
        """
        return [
            section
            for read in self._rows.feed(data)
            if (section := self._take(read)) is not None
        ]

    def end(self) -> list[Section]:
        """Return what is left at the end."""
        found = [self._take(read) for read in self._rows.end()]
        found.append(self._cut.rest())
        return [section for section in found if section is not None]

    def _take(self, read: Read) -> Section | None:
        """Take one row; return the section that it completed, if it did."""
        if self._heading:
            self._heading = False
            if read.trouble:
                raise UnprocessableError(f"header: {read.trouble}")
            if self._maker is None:
                self._maker = self._make(tuple(read.fields))
            return None
        if self._cut.number < self._wanted.skip:
            return self._cut.skip()
        if read.trouble:
            return self._cut.bad(read.line, read.trouble)
        fields: Sequence[Any]
        try:
            if isinstance(read.fields, dict):
                maker, fields = self._named(read.fields), tuple(read.fields.values())
            else:
                assert self._maker is not None, "a header comes first"
                maker, fields = self._maker, read.fields
            return self._cut.good(maker(read.line, self._cut.number + 1, fields))
        except ToruaError as error:
            return self._cut.bad(read.line, error.detail)

    def _named(self, fields: dict[str, object]) -> Maker:
        """Return what makes rows of objects with certain names."""
        names = tuple(fields)
        found = self._makers.get(names)
        if found is None:
            if len(self._makers) >= HEADERS_MAX:
                self._makers.clear()
            found = self._makers[names] = self._make(names)
        return found

    def _make(self, names: Sequence[str]) -> Maker:
        """Lay rows out by a header."""
        return make_maker(self._graph, self._table, names, self._wanted)


class ParquetSheet:
    """Makes sections of a Parquet file on the disk, row group by row group.

    Invariants: at most one batch of rows is in memory.

    Threading: one thread at a time.
    """

    def __init__(
        self, path: Path, graph: Graph, table: NodeTable | RelTable, wanted: Wanted
    ) -> None:
        """Open the file.

        Args:
            path: where it is.
            graph: the schema.
            table: where the rows go.
            wanted: how it is to be read.

        Raises:
            UnprocessableError: it is no Parquet file, or does not fit the table.
        """
        # It takes a while to load, and only this format needs it.
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415

        self._skip = wanted.skip
        self._errors = (pyarrow.ArrowException, OSError)
        try:
            self._file = parquet.ParquetFile(path)
        except self._errors as error:
            raise UnprocessableError(f"not a Parquet file: {error}") from error
        names = wanted.columns or tuple(self._file.schema_arrow.names)
        self._maker = make_maker(graph, table, names, wanted)

    def sections(self) -> Iterator[Section]:
        """Yield all sections.

        Raises:
            UnprocessableError: the file is broken behind what was read so far.
        """
        cut = Cutter()
        try:
            for batch in self._file.iter_batches(batch_size=SECTION_ROWS):
                columns = [each.to_pylist() for each in batch.columns]
                for fields in zip(*columns, strict=True):
                    section = self._take(cut, fields)
                    if section is not None:
                        yield section
        except self._errors as error:
            raise UnprocessableError(f"a broken Parquet file: {error}") from error
        rest = cut.rest()
        if rest is not None:
            yield rest

    def close(self) -> None:
        """Let go of the file.  Safe to call twice."""
        self._file.close()

    def _take(self, cut: "Cutter", fields: Sequence[object]) -> Section | None:
        """Take one row; its number stands for its line."""
        number = cut.number + 1
        if number <= self._skip:
            return cut.skip()
        try:
            return cut.good(self._maker(number, number, fields))
        except ToruaError as error:
            return cut.bad(number, error.detail)


class Cutter:
    """Cuts rows into sections.

    Invariants: every row is in one section; `number` counts all rows so far.
    """

    def __init__(self) -> None:
        """Begin before the first row."""
        self.number = 0
        self._begin()

    def _begin(self) -> None:
        """Begin a section."""
        self._first = self.number + 1
        self._size = 0
        self._rows: list[Made] = []
        self._bad: list[Bad] = []

    def good(self, made: Made) -> Section | None:
        """Take a row that is well; return the section that it completed, if it did."""
        self.number += 1
        self._rows.append(made)
        self._size += ROW_COST + len(made.key)
        for cell in made.cells.values():
            self._size += len(cell) if isinstance(cell, _SIZED) else 0
        return self._full()

    def bad(self, line: int, detail: str) -> Section | None:
        """Take a row that is not.

        Args:
            line: where it is.
            detail: what is wrong with it.
        """
        self.number += 1
        self._bad.append(Bad(line, detail))
        return self._full()

    def skip(self) -> Section | None:
        """Count a row that is not wanted; return the section, if it is full."""
        self.number += 1
        return self._full()

    def rest(self) -> Section | None:
        """Return the last section; None where there is nothing in it."""
        if self.number < self._first:
            return None
        found = Section(self._first, self.number, self._rows, self._bad)
        self._begin()
        return found

    def _full(self) -> Section | None:
        """Return the section if it is full."""
        count = self.number + 1 - self._first
        if count < SECTION_ROWS and self._size < SECTION_BYTES:
            return None
        return self.rest()


def make_maker(
    graph: Graph, table: NodeTable | RelTable, names: Sequence[str], wanted: Wanted
) -> Maker:
    """Return what makes rows of a file with certain names.

    It raises UnprocessableErrors for rows that are wrong.

    Args:
        graph: the schema.
        table: where they go.
        names: the header.
        wanted: how the file is to be read.
    """
    texts = wanted.form == CSV
    null = wanted.null if texts else None
    reader = text_reader if texts else value_reader
    if isinstance(table, NodeTable):
        return _node_maker(graph, table, node_layout(table, names), reader, null)
    return _edge_maker(graph, table, edge_layout(table, names), reader, wanted)


def _node_maker(
    graph: Graph,
    table: NodeTable,
    layout: Layout,
    reader: Callable[[Type, str], Reader],
    null: str | None,
) -> Maker:
    """Return what makes nodes."""
    cells_of = _cells_maker(table, layout, reader, null)
    key_id = column(table, table.primary_key).column_id
    key_of = node_keys(graph, table)

    def make(line: int, _number: int, fields: Sequence[object]) -> Made:
        """Make one.

        Args:
            line: where it is.
            _number: which row it is.
            fields: what it has.
        """
        cells = cells_of(fields)
        return Made(line, key_of(cells.get(key_id)), b"", b"", cells)

    return make


def _edge_maker(
    graph: Graph,
    table: RelTable,
    layout: Layout,
    reader: Callable[[Type, str], Reader],
    wanted: Wanted,
) -> Maker:
    """Return what makes relationships."""
    named = (wanted.from_table, wanted.to_table)
    if named == ("", "") and len(table.pairs) > 1:
        named = layout.ends
    source_table, target_table = choose_pair(graph, table, *named)
    assert layout.source is not None, "relationships have ends"
    assert layout.target is not None, "relationships have ends"
    source_at, target_at = layout.source, layout.target
    null = wanted.null if wanted.form == CSV else None
    cells_of = _cells_maker(table, layout, reader, null)
    source_key = _key_reader(graph, source_table, "from", reader, null)
    target_key = _key_reader(graph, target_table, "to", reader, null)
    run = blake2b(wanted.import_id.encode(), digest_size=8).digest()

    def make(line: int, number: int, fields: Sequence[object]) -> Made:
        """Make one.

        Args:
            line: where it is.
            number: which row it is; its id rests on it.
            fields: what it has.
        """
        cells = cells_of(fields)
        source, target = source_key(fields[source_at]), target_key(fields[target_at])
        key = edge_between(table, source, target, run + _NUMBER.pack(number))
        return Made(line, key, source, target, cells)

    return make


def _key_reader(
    graph: Graph,
    table: NodeTable,
    what: str,
    reader: Callable[[Type, str], Reader],
    null: str | None,
) -> Callable[[object], bytes]:
    """Return what reads the key of a relationship's end; it remembers the last."""
    read = reader(column(table, table.primary_key).type, what)
    spell = node_keys(graph, table)
    known: dict[object, bytes] = {}

    def key_of(field: object) -> bytes:
        """Tell where the node stands."""
        found = known.get(field) if isinstance(field, str) else None
        if found is not None:
            return found
        if field is None or field == null:
            raise UnprocessableError(f"{what}: the key of a node is missing")
        if len(known) >= ENDS_MAX:
            known.clear()
        found = spell(read(field))
        if isinstance(field, str):
            known[field] = found
        return found

    return key_of


def _cells_maker(
    table: NodeTable | RelTable,
    layout: Layout,
    reader: Callable[[Type, str], Reader],
    null: str | None,
) -> Callable[[Sequence[object]], dict[int, Cell]]:
    """Return what reads a row's properties; those that have no field get defaults."""
    named = {each.column_id for _, each in layout.columns}
    defaults = {
        each.column_id: each.default
        for each in table.columns
        if each.column_id not in named and each.default is not None
    }
    readers = [
        (index, each.column_id, reader(each.type, each.name), each.default is None)
        for index, each in layout.columns
    ]
    width = layout.width

    def make(fields: Sequence[object]) -> dict[int, Cell]:
        """Read one row."""
        if len(fields) != width:
            raise UnprocessableError(f"{width} fields are wanted, {len(fields)} found")
        cells = dict(defaults)
        for index, column_id, read, left_out in readers:
            field = fields[index]
            if field is not None and field != null:
                cells[column_id] = read(field)
            elif not left_out:
                cells[column_id] = None
        return cells

    return make


def value_of(made: Made, born: int) -> bytes:
    """Spell the value of a row's entry.

    Args:
        made: the row.
        born: as `torua.codec.rows.Row` has it.
    """
    value = spell_row(Row(born, made.cells))
    if len(value) > ROW_BYTES_MAX:
        raise TooLargeError(f"a row has up to {ROW_BYTES_MAX} bytes")
    return value
