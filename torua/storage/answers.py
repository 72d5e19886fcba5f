"""Answers as bytes: JSON rows, lines of JSON, CBOR, or an Arrow stream.

Rows are spelled a chunk at a time, so that no more than a chunk of them is ever there
as Python's objects, and a body that grows too long is refused while it grows.
"""

import struct
from collections.abc import Iterator
from typing import Any

import cbor2
import msgspec
import pyarrow as pa
import pyarrow.types as at

from torua.core.graph.jobs import Format
from torua.errors import QueryTooLargeError
from torua.storage.entities import Entities
from torua.storage.kuzu import INTERNAL_TYPE
from torua.storage.shown import Shower, places

_CHUNK_ROWS = 4096
_JSON = msgspec.json.Encoder()
_NAMED = pa.struct([("_label", pa.string()), ("_key", pa.string())])


class Spelling:
    """How an answer becomes a body.

    Invariants: no body is longer than was allowed.
    """

    def __init__(self, form: Format, bytes_max: int, entities: Entities | None) -> None:
        """Prepare to spell.

        Args:
            form: the format.
            bytes_max: what is longer is refused.
            entities: names nodes and relationships; None where there are none.
        """
        self._form = form
        self._bytes_max = bytes_max
        self._entities = entities

    def body(self, table: pa.Table) -> bytes:
        """Spell all rows.

        Args:
            table: fields say in their metadata which type the engine gave them.

        Raises:
            QueryTooLargeError: there are too many bytes of them.
        """
        if self._form is Format.ARROW:
            return self._bounded([self._stream(table)])
        pieces = self._bounded_pieces(self._rows(table))
        if self._form is Format.JSON:
            return b"[" + b",".join(pieces) + b"]"
        if self._form is Format.CBOR:
            return b"\x9b" + struct.pack(">Q", table.num_rows) + b"".join(pieces)
        return b"".join(pieces)

    def _bounded(self, pieces: list[bytes]) -> bytes:
        """Join pieces that are not too long."""
        return b"".join(self._bounded_pieces(iter(pieces)))

    def _bounded_pieces(self, pieces: Iterator[bytes]) -> list[bytes]:
        """Collect pieces until they are too long."""
        found, size = [], 0
        for piece in pieces:
            size += len(piece)
            if size > self._bytes_max:
                raise QueryTooLargeError(
                    f"the answer is longer than {self._bytes_max:,} bytes; "
                    "return less, or add a LIMIT",
                    bytes_max=self._bytes_max,
                )
            found.append(piece)
        return found

    def _rows(self, table: pa.Table) -> Iterator[bytes]:
        """Spell rows, a chunk at a time."""
        shower = Shower(self._entities, self._form is Format.CBOR)
        kinds = types(table)
        for start in range(0, table.num_rows, _CHUNK_ROWS):
            chunk = table.slice(start, _CHUNK_ROWS)
            columns = [
                shower.column(column, kind)
                for column, kind in zip(chunk.columns, kinds, strict=True)
            ]
            yield self._spell([list(row) for row in zip(*columns, strict=True)])

    def _spell(self, rows: list[list[Any]]) -> bytes:
        """Spell a chunk of rows."""
        if self._form is Format.JSON:
            return _JSON.encode(rows)[1:-1]
        if self._form is Format.NDJSON:
            return _JSON.encode_lines(rows)
        return b"".join(map(cbor2.dumps, rows))

    def _stream(self, table: pa.Table) -> bytes:
        """Spell an Arrow stream, with names where the engine has numbers."""
        fields, columns = [], []
        for field, column in zip(table.schema, table.columns, strict=True):
            kind = kind_of(field)
            chunks = [self._named(chunk, kind) for chunk in column.chunks]
            made = chunks[0].type if chunks else _named_type(field.type, kind)
            columns.append(pa.chunked_array(chunks, type=made))
            fields.append(pa.field(field.name, made, metadata=field.metadata))
        sink = pa.BufferOutputStream()
        schema = pa.schema(fields)
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        body: bytes = sink.getvalue().to_pybytes()
        return body

    def _named(self, array: Any, kind: str) -> Any:
        """Put names for the engine's numbers, wherever in an array they are."""
        made = _named_type(array.type, kind)
        if made == array.type:
            return array
        if made == _NAMED:
            return self._names(array)
        if at.is_struct(array.type):
            columns = [self._named(array.field(old), kind) for old in _kept(array.type)]
            fields = [made.field(i) for i in range(made.num_fields)]
            return pa.StructArray.from_arrays(
                columns, fields=fields, mask=array.is_null()
            )
        assert at.is_list(array.type), "entities are in structs and lists"
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        items = self._named(array.values.slice(start, end - start), kind)
        offsets = [at_item - start for at_item in array.offsets.to_pylist()]
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), items, type=made, mask=array.is_null()
        )

    def _names(self, array: Any) -> Any:
        """Put names for internal ids."""
        assert self._entities is not None, "nothing was gathered, so there are none"
        rows: list[dict[str, Any] | None] = []
        for place in places(array):
            named = None if place is None else self._entities.name(place)
            if named is not None:
                key = named.get("_key", named.get("_id"))
                named = {"_label": named["_label"], "_key": _text(key)}
            rows.append(named)
        return pa.array(rows, _NAMED)


def kind_of(field: Any) -> str:
    """Return the type that the engine gave a field.

    Args:
        field: of a result's schema.
    """
    metadata = field.metadata or {}
    kind: str = metadata.get(INTERNAL_TYPE, str(field.type).upper().encode()).decode()
    return kind


def types(table: pa.Table) -> list[str]:
    """Return the types that the engine gave a result's columns.

    Args:
        table: the result.
    """
    return [kind_of(field) for field in table.schema]


def _kept(kind: Any) -> list[str]:
    """Return the names of a struct's fields that are shown."""
    names = [kind.field(i).name for i in range(kind.num_fields)]
    if "_LABEL" in names and "_SRC" not in names:
        names.remove("_ID")
    return names


_RENAMED = {
    "_LABEL": "_label",
    "_ID": "_id",
    "_SRC": "_src",
    "_DST": "_dst",
    "_NODES": "nodes",
    "_RELS": "rels",
}


def _named_type(kind: Any, spelled: str) -> Any:
    """Return what a type becomes when numbers are named."""
    if not any(word in spelled for word in ("NODE", "REL", "INTERNAL_ID")):
        return kind
    if at.is_list(kind):
        return pa.list_(_named_type(kind.value_type, spelled))
    if not at.is_struct(kind):
        return kind
    names = [kind.field(i).name for i in range(kind.num_fields)]
    if names == ["offset", "table"]:
        return _NAMED
    entity = "_LABEL" in names or names == ["_NODES", "_RELS"]
    fields = []
    for name in _kept(kind):
        shown = _RENAMED.get(name, name) if entity else name
        fields.append(pa.field(shown, _named_type(kind.field(name).type, spelled)))
    return pa.struct(fields)


def _text(key: object) -> str | None:
    """Return a key as text, which is what keys of any table have in common."""
    return key if key is None else str(key)
