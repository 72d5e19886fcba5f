"""A statement's changes, named and checked against the schema: what is wanted.

Tables and columns become ids, nodes and relationships the keys at which they stand.
Nothing is looked up here; what the changes rest on is told, so that it can be.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct

from torua.core.graph.changes import Change, EdgeChange, NodeChange
from torua.core.graph.keys import edge_key, node_key
from torua.core.graph.schema import (
    KEY_VALUE,
    Graph,
    NodeTable,
    RelTable,
    column,
    node_table,
    rel_table,
)
from torua.core.graph.types import Cell
from torua.errors import TooLargeError, UnprocessableError
from torua.node.graph.bundles import cell_bytes

CELL_BYTES_MAX = 8 << 20
"""The engine loses larger values."""

ROW_BYTES_MAX = 16 << 20
"""A row is a value of the shard's map."""

CHANGES_MAX = 200_000
"""All changes of a statement are held in memory by the node that does it."""

NodeEnd = tuple[NodeTable, Cell]


class WantedNode(Struct, frozen=True):
    """A node as it shall be.

    Attributes:
        key: where it stands.
        table: its table.
        pk: its primary key.
        cells: by column id, NULLs left out; None: it is deleted.
        version: that was read; None: it shall not exist yet.
        detach: its relationships go with it.
    """

    key: bytes
    table: NodeTable
    pk: Cell
    cells: dict[int, Cell] | None
    version: int | None
    detach: bool

    @property
    def what(self) -> str:
        """The node, for people."""
        return spell_end((self.table, self.pk))


class WantedEdge(Struct, frozen=True):
    """A relationship as it shall be.

    Attributes:
        key: where it stands.
        rel: its table.
        source: the node that it goes from.
        target: the node that it goes to.
        source_key: where that stands; likewise ``target_key``.
        target_key: ..
        cells: by column id, NULLs left out; None: it is deleted.
        version: that was read; None: it is new.
    """

    key: bytes
    rel: RelTable
    source: NodeEnd
    target: NodeEnd
    source_key: bytes
    target_key: bytes
    cells: dict[int, Cell] | None
    version: int | None

    @property
    def what(self) -> str:
        """The relationship, for people."""
        ends = f"{spell_end(self.source)} to {spell_end(self.target)}"
        return f"{self.rel.name} from {ends}"


class Wanted(Struct, frozen=True):
    """All changes of a statement, by key, in their order."""

    nodes: dict[bytes, WantedNode]
    edges: dict[bytes, WantedEdge]

    def rests_on(self) -> Iterator[tuple[bytes, bool]]:
        """Tell which keys are to be looked up, and whether their rows are needed."""
        for node in self.nodes.values():
            yield node.key, node.version is not None
        for edge in self.edges.values():
            if edge.version is not None:
                yield edge.key, True
            else:
                yield edge.source_key, False
                yield edge.target_key, True


def want(
    graph: Graph, changes: Sequence[Change], fresh_id: Callable[[int], bytes]
) -> Wanted:
    """Name and check the changes of a statement.

    Args:
        graph: the schema that they were made with.
        changes: cells of their columns' types; each node and relationship once.
        fresh_id: makes the id of a new relationship, by its place in ``changes``.

    Raises:
        NotFoundError: there is no such table or property.
        UnprocessableError: what a change says can't be.
        TooLargeError: a cell, a row, or all of it.
    """
    if len(changes) > CHANGES_MAX:
        detail = f"a statement changes at most {CHANGES_MAX} nodes and relationships"
        raise TooLargeError(detail)
    wanted = Wanted({}, {})
    for index, change in enumerate(changes):
        if isinstance(change, NodeChange):
            node = _node(graph, change)
            if node.key in wanted.nodes:
                raise UnprocessableError(f"{node.what} is changed twice")
            wanted.nodes[node.key] = node
        else:
            edge = _edge(graph, change, partial(fresh_id, index))
            if edge.key in wanted.edges:
                raise UnprocessableError(f"{edge.what} is changed twice")
            wanted.edges[edge.key] = edge
    return wanted


def spell_end(end: NodeEnd) -> str:
    """Name a node for people."""
    table, pk = end
    return f"{table.name} {pk!r}"


def writable(graph: Graph, name: str) -> NodeTable:
    """Return a node table that may be written.

    Args:
        graph: whose.
        name: as a user spells it.
    """
    table = node_table(graph, name)
    if table.name == KEY_VALUE:
        raise UnprocessableError(f"{KEY_VALUE} is written by way of /kv only")
    return table


def pair_of(graph: Graph, rel: RelTable, source: NodeTable, target: NodeTable) -> None:
    """Raise UnprocessableError where a table does not join two node tables.

    Args:
        graph: whose.
        rel: the relationship table.
        source: from where.
        target: to where.
    """
    if (source.table_id, target.table_id) not in rel.pairs:
        detail = f"{rel.name} does not go from {source.name} to {target.name}"
        raise UnprocessableError(detail)


def cells_of(table: NodeTable | RelTable, cells: Mapping[str, Cell]) -> dict[int, Cell]:
    """Name cells by column, and check their sizes.

    NULLs are left out, but where a column has a default: there they say that it is not
    meant.

    Args:
        table: whose.
        cells: by property.
    """
    found: dict[int, Cell] = {}
    size = 0
    for name, cell in cells.items():
        known = column(table, name)
        if cell is None:
            if known.default is not None:
                found[known.column_id] = None
            continue
        weight = cell_bytes(cell)
        if weight > CELL_BYTES_MAX:
            limit = f"up to {CELL_BYTES_MAX} bytes"
            raise TooLargeError(f"{table.name}.{name}: a value has {limit}")
        size += weight
        found[known.column_id] = cell
    if size > ROW_BYTES_MAX - 1024:
        raise TooLargeError(f"{table.name}: a row has up to {ROW_BYTES_MAX} bytes")
    return found


def _node(graph: Graph, change: NodeChange) -> WantedNode:
    """Name and check the change of a node."""
    table = writable(graph, change.table)
    key = node_key(graph, table, change.key)
    cells = change.cells
    if cells is None and change.version is None:
        raise UnprocessableError(f"{table.name} {change.key!r} was never read")
    made = None
    if cells is not None:
        primary = column(table, table.primary_key)
        made = cells_of(table, cells)
        if made.setdefault(primary.column_id, change.key) != change.key:
            raise UnprocessableError(f"{table.name}: a key does not change")
    return WantedNode(key, table, change.key, made, change.version, change.detach)


def _edge(
    graph: Graph, change: EdgeChange, fresh_id: Callable[[], bytes]
) -> WantedEdge:
    """Name and check the change of a relationship."""
    rel = rel_table(graph, change.table)
    source = (node_table(graph, change.source[0]), change.source[1])
    target = (node_table(graph, change.target[0]), change.target[1])
    pair_of(graph, rel, source[0], target[0])
    edge_id, cells = change.edge_id, change.cells
    if change.version is None:
        edge_id = edge_id if edge_id or change.merged else fresh_id()
        if cells is None:
            raise UnprocessableError(f"a {rel.name} that is deleted was never read")
    return WantedEdge(
        key=edge_key(graph, rel, source, target, edge_id),
        rel=rel,
        source=source,
        target=target,
        source_key=node_key(graph, *source),
        target_key=node_key(graph, *target),
        cells=None if cells is None else cells_of(rel, cells),
        version=change.version,
    )
