"""Single nodes and relationships, as they are asked for and written one at a time."""

from msgspec import Struct

from torua.core.graph.schema import NodeTable, RelTable
from torua.core.graph.types import Cell
from torua.core.kv import Served


class NodeSpot(Struct, frozen=True):
    """Which node: its table and primary key."""

    table: NodeTable
    key: Cell


class EdgeSpot(Struct, frozen=True):
    """Which relationship.

    Attributes:
        rel: its table.
        source: the node that it goes from.
        target: the node that it goes to.
        edge_id: which of those between the two; None: the only one.
    """

    rel: RelTable
    source: NodeSpot
    target: NodeSpot
    edge_id: bytes | None = None


class RowRead(Struct, frozen=True):
    """A node or relationship as it stands.

    Attributes:
        cells: its properties by name, NULLs left out.
        version: of its row.
        edge_id: of a relationship.
    """

    cells: dict[str, Cell]
    version: int
    edge_id: bytes = b""


class RowWritten(Struct, frozen=True):
    """What became of a write.

    Attributes:
        version: of the row now; None where it is absent.
        served: where.
    """

    version: int | None
    served: Served
