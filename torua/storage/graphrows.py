"""Entries of a map as rows of the graph engine's tables.

Of all entries those of one graph are taken: nodes, relationships, and where they are
asked for users' keys as nodes of `KEY_VALUE`.  What belongs to a table or a column that
the schema has no more is left out.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pyarrow as pa

from torua.codec.rows import Row, read_row
from torua.core.graph import schema
from torua.core.graph.keys import EdgeKey, NodeKey, is_graph_key, read_key, read_pk
from torua.core.graph.schema import Graph, NodeTable, RelTable
from torua.core.graph.types import Cell, Kind, Type
from torua.storage.columns import column
from torua.storage.exchange import key_type
from torua.storage.layout import GHOST, end_types
from torua.storage.mapreader import Change, Entry

Pair = tuple[int, int, int]
"""Ids of a relationship table, and of the node tables that it goes from and to."""

_INT64 = Type(Kind.INT64)
_BLOB = Type(Kind.BLOB)
_BOOL = Type(Kind.BOOL)


class Node(NamedTuple):
    """One node as it is; without cells it is gone, or elsewhere."""

    key: Cell
    cells: dict[int, Cell] | None
    version: int = 0
    born: int = 0


class Edge(NamedTuple):
    """One relationship as it is; without cells it is gone.

    Attributes:
        ends: the keys of both ends, as cells.
        edge_id: see `EdgeKey`.
        cells: by column id.
        version: of its entry.
        born: the far end's, when it was made.
        fresh: whether no engine can have it yet.
    """

    ends: tuple[Cell, Cell]
    edge_id: bytes
    cells: dict[int, Cell] | None
    version: int = 0
    born: int = 0
    fresh: bool = False


class Rows:
    """Rows of one graph, sorted by table.

    Invariants: the last state of a row is what stands here.

    Attributes:
        nodes: by table, then by spelled key.
        edges: by table and pair, then by the entry's key.
    """

    def __init__(self, graph: Graph, keys: bool) -> None:
        """Begin with none.

        Args:
            graph: the schema.
            keys: whether users' keys are taken as nodes.
        """
        self.graph = graph
        self.nodes: dict[int, dict[bytes, Node]] = {}
        self.edges: dict[Pair, dict[bytes, Edge]] = {}
        self._keys = keys and graph.graph_id == schema.MAIN_GRAPH.graph_id
        self._node_types = {t.table_id: key_type(t) for t in graph.nodes}
        self._pairs = {(t.table_id, *pair) for t in graph.rels for pair in t.pairs}

    @property
    def count(self) -> int:
        """How many rows there are."""
        nodes = sum(len(found) for found in self.nodes.values())
        return nodes + sum(len(found) for found in self.edges.values())

    def take(self, entries: Iterable[Change | Entry], old: int = 0) -> None:
        """Take entries as they are now.

        Args:
            entries: any of the map's.
            old: a relationship that was made behind this record is fresh; 0 for none.
        """
        for entry in entries:
            if not is_graph_key(entry.key):
                self._take_user_key(entry)
                continue
            key = read_key(entry.key)
            if key.graph_id != self.graph.graph_id:
                continue
            row = None if entry.value is None else entry.value
            if isinstance(key, NodeKey):
                self._take_node(key, row, entry.version or 0)
            elif isinstance(key, EdgeKey):
                created = entry.created if isinstance(entry, Change) else 0
                fresh = 0 < old < created
                self._take_edge(entry.key, key, row, entry.version or 0, fresh)

    def _take_node(self, key: NodeKey, value: bytes | None, version: int) -> None:
        """Take a node of a table that there is."""
        type = self._node_types.get(key.table_id)
        if type is None:
            return
        cell = read_pk(type, key.pk)
        node = Node(cell, None)
        if value is not None:
            row = read_row(value)
            node = Node(cell, row.cells, version, row.born or version)
        self.nodes.setdefault(key.table_id, {})[key.pk] = node

    def _take_edge(
        self, at: bytes, key: EdgeKey, value: bytes | None, version: int, fresh: bool
    ) -> None:
        """Take a relationship of a table that there is."""
        pair = (key.rel_id, key.source_id, key.target_id)
        if pair not in self._pairs:
            return
        source, target = (self._node_types[id] for id in pair[1:])
        ends = (read_pk(source, key.source_pk), read_pk(target, key.target_pk))
        row = Row(0, {}) if value is None else read_row(value)
        cells = None if value is None else row.cells
        born = row.born or version
        edge = Edge(ends, key.edge_id, cells, version, born, fresh)
        self.edges.setdefault(pair, {})[at] = edge

    def _take_user_key(self, entry: Change | Entry) -> None:
        """Take a user's key as a node."""
        if not self._keys:
            return
        key = entry.key.decode()
        node = Node(key, None)
        if entry.version is not None:
            version, value = entry.version, entry.value
            kind, size = entry.content_type, entry.size
            values: tuple[Cell, ...] = (key, value, kind, version, size)
            node = Node(key, dict(enumerate(values)), version, version)
        self.nodes.setdefault(schema.KEY_VALUE_TABLE.table_id, {})[entry.key] = node


def node_columns(table: NodeTable, nodes: list[Node]) -> pa.Table:
    """Make the columns of nodes that there are.

    Args:
        table: of all of them.
        nodes: with cells.
    """
    made = _columns(table, [node.cells or {} for node in nodes])
    key = table.primary_key
    made[key] = column(key_type(table), [node.key for node in nodes])
    made[GHOST] = column(_BOOL, [False] * len(nodes))
    made["tv_ver"] = column(_INT64, [node.version for node in nodes])
    made["tv_born"] = column(_INT64, [node.born for node in nodes])
    return pa.table(made)


def edge_columns(
    graph: Graph, table: RelTable, pair: tuple[int, int], edges: list[Edge]
) -> pa.Table:
    """Make the columns of relationships that there are.

    Args:
        graph: the schema.
        table: of all of them.
        pair: ids of the node tables that they go from and to.
        edges: with cells.
    """
    types = {t.table_id: key_type(t) for t in graph.nodes}
    ends = [
        column(types[id], [edge.ends[side] for edge in edges])
        for side, id in enumerate(pair)
    ]
    made = dict(zip(("tv_from", "tv_to"), ends, strict=True))
    made |= _columns(table, [edge.cells or {} for edge in edges])
    known = end_types(graph, table)
    for name, end in zip(("tv_s", "tv_d"), ends, strict=True):
        if name in known:
            made[name] = end
    made["tv_id"] = column(_BLOB, [edge.edge_id for edge in edges])
    made["tv_ver"] = column(_INT64, [edge.version for edge in edges])
    made["tv_born"] = column(_INT64, [edge.born for edge in edges])
    return pa.table(made)


def ghost_columns(table: NodeTable, keys: list[Cell]) -> pa.Table:
    """Make the columns of nodes that live elsewhere.

    Args:
        table: of all of them.
        keys: theirs.
    """
    ghosts = column(_BOOL, [True] * len(keys))
    return pa.table({table.primary_key: column(key_type(table), keys), GHOST: ghosts})


def ends_of(pair: Pair, edges: Iterable[Edge]) -> Iterator[tuple[int, Cell]]:
    """List the nodes at both ends: table ids and keys.

    Args:
        pair: of all of them.
        edges: with cells.
    """
    for edge in edges:
        yield from zip(pair[1:], edge.ends, strict=True)


def _columns(
    table: NodeTable | RelTable, rows: list[dict[int, Cell]]
) -> dict[str, pa.Array]:
    """Make the columns that the schema names."""
    return {
        each.name: column(
            each.type,
            [row.get(each.column_id, each.default) for row in rows],
        )
        for each in table.columns
    }
