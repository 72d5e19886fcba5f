"""The schema of a graph: its node tables and relationship tables.

It is part of the cluster state.  Rows name tables and columns by ids that are never
used twice, so that renaming touches no row, and what was dropped can't come back.
"""

from enum import StrEnum

from msgspec import Struct

from torua.core.graph.types import Cell, Kind, Type
from torua.errors import NotFoundError

MAIN = "main"
"""The graph that is there from the start."""

KEY_VALUE = "KeyValue"
"""The node table of `MAIN` that shows keys and values; only ``/kv`` writes it."""


class Placement(StrEnum):
    """Where a graph's rows live.

    SHARDED: each node at the slot of its key, each relationship with its source.
    SINGLE: all of it in one shard, so that every statement is atomic.
    """

    SHARDED = "sharded"
    SINGLE = "single"


class Column(Struct, frozen=True, omit_defaults=True):
    """One property.

    Attributes:
        column_id: what stands in rows for its name; not used twice in a table.
        name: as users spell it.
        type: of its values.
        default: the value where a row has none.
    """

    column_id: int
    name: str
    type: Type
    default: Cell = None


class NodeTable(Struct, frozen=True, omit_defaults=True):
    """One label.

    Attributes:
        table_id: what stands in rows for its name.
        name: as users spell it.
        columns: its properties.
        primary_key: names the column by which its nodes are found.
        next_column: the next column's id; see `next_column`.
    """

    table_id: int
    name: str
    columns: tuple[Column, ...]
    primary_key: str
    next_column: int = 0


class RelTable(Struct, frozen=True, omit_defaults=True):
    """One relationship type.

    Attributes:
        table_id: what stands in rows for its name.
        name: as users spell it.
        pairs: ids of the node tables that it goes from and to; at least one pair.
        columns: its properties, if any.
        multiplicity: MANY_MANY, MANY_ONE, ONE_MANY or ONE_ONE.
        next_column: the next column's id; see `next_column`.
        dropped: pairs that it had once, and can't have again.
    """

    table_id: int
    name: str
    pairs: tuple[tuple[int, int], ...]
    columns: tuple[Column, ...] = ()
    multiplicity: str = "MANY_MANY"
    next_column: int = 0
    dropped: tuple[tuple[int, int], ...] = ()


class Graph(Struct, frozen=True):
    """One graph's schema.

    Attributes:
        graph_id: what stands in keys for its name; not used twice.
        name: as users spell it.
        placement: where its rows live; fixed when it is made.
        version: rises with every change.
        next_id: the next table's.
        nodes: its node tables, in the order in which they were made.
        rels: its relationship tables, likewise.
    """

    graph_id: int
    name: str
    placement: Placement = Placement.SHARDED
    version: int = 1
    next_id: int = 16
    nodes: tuple[NodeTable, ...] = ()
    rels: tuple[RelTable, ...] = ()


KEY_VALUE_TABLE = NodeTable(
    table_id=1,
    name=KEY_VALUE,
    columns=(
        Column(0, "key", Type(Kind.STRING)),
        Column(1, "value", Type(Kind.BLOB)),
        Column(2, "content_type", Type(Kind.STRING)),
        Column(3, "version", Type(Kind.INT64)),
        Column(4, "size", Type(Kind.INT64)),
    ),
    primary_key="key",
)
"""Keys and values as nodes; ``value`` is NULL where it is larger than 1 MiB."""

MAIN_GRAPH = Graph(graph_id=0, name=MAIN, nodes=(KEY_VALUE_TABLE,))
"""What `MAIN` is before anybody defined a table."""


def node_table(graph: Graph, name: str) -> NodeTable:
    """Return a node table by name, in any case; NotFoundError where there is none.

    Args:
        graph: whose.
        name: as a user spells it.
    """
    table = find_table(graph, name)
    if isinstance(table, NodeTable):
        return table
    raise NotFoundError(f"the graph {graph.name} has no node table {name}")


def rel_table(graph: Graph, name: str) -> RelTable:
    """Return a relationship table by name; NotFoundError where there is none.

    Args:
        graph: whose.
        name: as a user spells it, in any case.
    """
    table = find_table(graph, name)
    if isinstance(table, RelTable):
        return table
    raise NotFoundError(f"the graph {graph.name} has no relationship table {name}")


def tables(graph: Graph) -> tuple[NodeTable | RelTable, ...]:
    """List all tables: nodes, then relationships, each in the order of their making."""
    return graph.nodes + graph.rels


def find_table(graph: Graph, name: str) -> NodeTable | RelTable | None:
    """Return a table by name, in any case; None where there is none.

    Args:
        graph: whose.
        name: as a user spells it.
    """
    wanted = name.casefold()
    for table in tables(graph):
        if table.name.casefold() == wanted:
            return table
    return None


def table_by_id(graph: Graph, table_id: int) -> NodeTable | RelTable | None:
    """Return a table by id; None where it was dropped.

    Args:
        graph: whose.
        table_id: as in keys.
    """
    for table in tables(graph):
        if table.table_id == table_id:
            return table
    return None


def node_table_by_id(graph: Graph, table_id: int) -> NodeTable:
    """Return the node table that a relationship table names.

    Args:
        graph: whose.
        table_id: of a pair; such a table can't be dropped.
    """
    table = table_by_id(graph, table_id)
    assert isinstance(table, NodeTable), "a pair names a node table"
    return table


def column(table: NodeTable | RelTable, name: str) -> Column:
    """Return a column by name, in any case; NotFoundError where there is none.

    Args:
        table: whose.
        name: as a user spells it.
    """
    found = find_column(table, name)
    if found is None:
        raise NotFoundError(f"the table {table.name} has no property {name}")
    return found


def find_column(table: NodeTable | RelTable, name: str) -> Column | None:
    """Return a column by name, in any case; None where there is none.

    Args:
        table: whose.
        name: as a user spells it.
    """
    wanted = name.casefold()
    for each in table.columns:
        if each.name.casefold() == wanted:
            return each
    return None


def next_column(table: NodeTable | RelTable) -> int:
    """Return an id that no column of a table ever had."""
    return max(table.next_column, *(each.column_id + 1 for each in table.columns), 0)
