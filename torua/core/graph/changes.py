"""What a statement changed: nodes and relationships, as they shall be."""

from msgspec import Struct

from torua.core.graph.types import Cell


class NodeChange(Struct, frozen=True, tag="node"):
    """One node as it shall be.

    Attributes:
        table: by name.
        key: a cell of the primary key's type.
        cells: all its properties by name, the key among them; None: it is deleted.
        version: the version that was read; None: it shall not exist yet.
        detach: a deletion takes its relationships along; else there may be none.
    """

    table: str
    key: Cell
    cells: dict[str, Cell] | None
    version: int | None = None
    detach: bool = False


class EdgeChange(Struct, frozen=True, tag="edge"):
    """One relationship as it shall be.

    Attributes:
        table: by name.
        source: table and key of the node that it goes from.
        target: table and key of the node that it goes to.
        edge_id: tells it from others of its type between the same nodes; empty in one
            that is new and was not given one.
        cells: its properties by name; None: it is deleted.
        version: the version that was read; None: it is new.
        merged: it is new, and ``edge_id`` is its id even if it is empty, so that who
            makes the same at once comes to the same relationship.
    """

    table: str
    source: tuple[str, Cell]
    target: tuple[str, Cell]
    edge_id: bytes
    cells: dict[str, Cell] | None
    version: int | None = None
    merged: bool = False


Change = NodeChange | EdgeChange


class Changed(Struct, frozen=True):
    """What became of a statement's changes.

    Attributes:
        nodes_created: how many; likewise all that follow.
        nodes_deleted: ..
        nodes_updated: ..
        edges_created: ..
        edges_deleted: ..
        edges_updated: ..
        atomic: whether all of them were one record of one shard.
        parts: per shard, in order: what was refused, with its reason; empty if none.
        version: of the record, where it was one.
        tokens: for ``Torua-Token``: a place behind all of it on each shard.
    """

    nodes_created: int = 0
    nodes_deleted: int = 0
    nodes_updated: int = 0
    edges_created: int = 0
    edges_deleted: int = 0
    edges_updated: int = 0
    atomic: bool = True
    parts: tuple[str, ...] = ()
    version: int | None = None
    tokens: str = ""
