"""Rows of graphs as values of a shard's map: CBOR, the same on every copy."""

import cbor2
from msgspec import Struct

from torua.codec.plain import decode, encode, plain, read, shape, spell
from torua.core.graph.remains import Remains
from torua.core.graph.schema import Graph
from torua.core.graph.types import Cell


class Row(Struct, frozen=True, array_like=True):
    """One node's or relationship's properties.

    Attributes:
        born: a node's: the version at which it was made, 0 for that of this entry; a
            relationship's: that of the node that it goes to.
        cells: by column id; what is left out is the column's default, which mostly is
            NULL.  So a NULL stands here only where the column has another default.
    """

    born: int
    cells: dict[int, Cell]


def spell_row(row: Row) -> bytes:
    """Spell a row."""
    return cbor2.dumps([row.born, {key: row.cells[key] for key in sorted(row.cells)}])


def read_row(data: bytes) -> Row:
    """Read a row; ProtocolError where ``data`` is none."""
    return read(data, Row)


def spell_schema(graph: Graph) -> bytes:
    """Spell a schema's entry: its version in eight bytes, then all of it."""
    return graph.version.to_bytes(8) + spell(graph)


def read_schema(data: bytes) -> Graph:
    """Read a schema's entry; ProtocolError where ``data`` is none."""
    return read(data[8:], Graph)


def spell_remains(remains: tuple[Remains, ...]) -> bytes:
    """Spell what is to be swept away."""
    return encode(plain(remains))


def read_remains(data: bytes) -> tuple[Remains, ...]:
    """Read what is to be swept away; ProtocolError where ``data`` says nothing so."""
    return shape(decode(data), tuple[Remains, ...])
