"""Rows of graphs as values of a shard's map: CBOR, the same on every copy."""

import cbor2
from msgspec import Struct

from torua.codec.plain import read
from torua.core.graph.types import Cell


class Row(Struct, frozen=True, array_like=True):
    """One node's or relationship's properties.

    Attributes:
        born: a node's: the version at which it was made, 0 for that of this entry; a
            relationship's: that of the node that it goes to.
        cells: by column id; NULLs are left out.
    """

    born: int
    cells: dict[int, Cell]


def spell_row(row: Row) -> bytes:
    """Spell a row."""
    cells = {key: row.cells[key] for key in sorted(row.cells)}
    return cbor2.dumps(
        [row.born, {key: cell for key, cell in cells.items() if cell is not None}]
    )


def read_row(data: bytes) -> Row:
    """Read a row; ProtocolError where ``data`` is none."""
    return read(data, Row)
