"""Rows taken up by the graph engine, in one transaction of its own.

The end of a relationship must be in its table: where it lives on another shard, or is
not there yet, or was deleted, a ghost stands for it, which is a row with nothing but
the key.  A node that arrives takes its ghost's row, and a node that is deleted leaves
one: rows of nodes are never removed but by building anew.

Rows are matched in bulk from an Arrow table, but a relationship that is to go is found
alone by its ends: in bulk the engine reads the whole table (docs/decisions/0007).
"""

from collections.abc import Iterable

import pyarrow as pa

from torua.core.graph.schema import Graph, NodeTable, RelTable
from torua.core.graph.types import Cell, Kind, Type
from torua.storage.columns import column
from torua.storage.exchange import column_types, key_type, quote, sendable, write
from torua.storage.graphrows import (
    Edge,
    Node,
    Pair,
    Rows,
    edge_columns,
    ends_of,
    ghost_columns,
    node_columns,
)
from torua.storage.kuzu import Session
from torua.storage.layout import GHOST, end_types

SIMPLE = frozenset(
    {
        Kind.BOOL,
        Kind.INT8,
        Kind.INT16,
        Kind.INT32,
        Kind.INT64,
        Kind.UINT8,
        Kind.UINT16,
        Kind.UINT32,
        Kind.STRING,
    }
)
"""Types whose cells the engine takes as parameters, as they are."""


def apply(session: Session, rows: Rows) -> int:
    """Make the engine's rows what ``rows`` says, within an open transaction.

    Args:
        session: in a transaction; to be closed after it.
        rows: the newest state of each.

    Returns:
        How many rows of the engine are of no more use.

    Raises:
        EngineError: the transaction is void.
    """
    graph = rows.graph
    nodes = {t.table_id: t for t in graph.nodes}
    rels = {t.table_id: t for t in graph.rels}
    garbage = 0
    for pair, edges in rows.edges.items():
        stale = [edge for edge in edges.values() if not edge.fresh]
        garbage += _remove(session, graph, rels[pair[0]], pair, stale)
    for id, found in rows.nodes.items():
        _put_nodes(
            session, nodes[id], [n for n in found.values() if n.cells is not None]
        )
        garbage += _haunt(
            session, nodes[id], [n for n in found.values() if n.cells is None]
        )
    _ghosts(session, nodes, rows)
    for pair, edges in rows.edges.items():
        there = [edge for edge in edges.values() if edge.cells is not None]
        _create_edges(session, graph, rels[pair[0]], pair, there)
    return garbage


def _put_nodes(session: Session, table: NodeTable, nodes: list[Node]) -> None:
    """Write nodes, over their older states or ghosts."""
    if not nodes:
        return
    there = _there(session, table, [node.key for node in nodes])
    arrow = node_columns(table, nodes)
    types = _types(table)
    old = arrow.take(pa.array(sorted(there), pa.int64()))
    new = arrow.take(
        pa.array([i for i in range(len(nodes)) if i not in there], pa.int64())
    )
    if old.num_rows:
        given, names = loaded(sendable(old, types))
        sets = ", ".join(
            f"n.{quote(name)} = {write(names[name], types[name])}"
            for name in arrow.column_names
            if name != table.primary_key
        )
        session.do(f"{_matched(table, names)} SET {sets}", {"arrow": given})
    if new.num_rows:
        _create_nodes(session, table, new)


def _create_nodes(session: Session, table: NodeTable, arrow: pa.Table) -> None:
    """Create nodes whose keys are not there."""
    types = _types(table)
    given, names = loaded(sendable(arrow, types))
    cells = ", ".join(
        f"{quote(name)}: {write(spelled, types[name])}"
        for name, spelled in names.items()
    )
    text = f"LOAD FROM $arrow CREATE (n:{quote(table.name)} {{{cells}}})"
    session.do(text, {"arrow": given})


def _haunt(session: Session, table: NodeTable, nodes: list[Node]) -> int:
    """Make ghosts of nodes that were deleted."""
    if not nodes:
        return 0
    keys = column(key_type(table), [node.key for node in nodes])
    names = [c.name for c in table.columns if c.name != table.primary_key]
    sets = [f"n.{quote(name)} = NULL" for name in (*names, "tv_ver", "tv_born")]
    given, spelled = loaded(pa.table({table.primary_key: keys}))
    text = f"{_matched(table, spelled)} SET n.{GHOST} = true, {', '.join(sets)}"
    session.do(text, {"arrow": given})
    return len(nodes)


def _ghosts(session: Session, nodes: dict[int, NodeTable], rows: Rows) -> None:
    """Make ghosts for the ends of relationships that are not there."""
    wanted: dict[int, dict[Cell, None]] = {}
    for pair, edges in rows.edges.items():
        there = (edge for edge in edges.values() if edge.cells is not None)
        for id, key in ends_of(pair, there):
            wanted.setdefault(id, {})[key] = None
    for id, found in wanted.items():
        keys = list(found)
        there_rows = _there(session, nodes[id], keys)
        missing = [key for i, key in enumerate(keys) if i not in there_rows]
        if missing:
            _create_nodes(session, nodes[id], ghost_columns(nodes[id], missing))


def _create_edges(
    session: Session, graph: Graph, table: RelTable, pair: Pair, edges: list[Edge]
) -> None:
    """Create relationships whose ends are there."""
    if not edges:
        return
    arrow = edge_columns(graph, table, (pair[1], pair[2]), edges)
    source, target = (_node(graph, id) for id in pair[1:])
    types = column_types(graph, table.name, (source.name, target.name))
    given, names = loaded(sendable(arrow, types))
    start, end = (write(names.pop(n), types[n]) for n in ("tv_from", "tv_to"))
    far = given.column_names[1]
    cells = ", ".join(f"{quote(n)}: {write(c, types[n])}" for n, c in names.items())
    text = (
        f"LOAD FROM $arrow MATCH (a:{quote(source.name)}) "
        f"WHERE a.{quote(source.primary_key)} = {start} "
        f"WITH a, {', '.join((far, *names.values()))} MATCH (b:{quote(target.name)}) "
        f"WHERE b.{quote(target.primary_key)} = {end} "
        f"CREATE (a)-[:{quote(table.name)} {{{cells}}}]->(b)"
    )
    session.do(text, {"arrow": given})


def _remove(
    session: Session, graph: Graph, table: RelTable, pair: Pair, edges: list[Edge]
) -> int:
    """Remove relationships, where they are there."""
    source, target = (_node(graph, id) for id in pair[1:])
    far = (
        "r.tv_d"
        if "tv_d" in end_types(graph, table)
        else (f"b.{quote(target.primary_key)}")
    )
    ends = (key_type(source), key_type(target))
    pattern = (
        f"MATCH (a:{quote(source.name)})-[r:{quote(table.name)}]->"
        f"(b:{quote(target.name)}) WHERE a.{quote(source.primary_key)} = "
    )
    if all(type.kind in SIMPLE for type in ends):
        text = f"{pattern}$s AND {far} = $d AND r.tv_id = $i DELETE r"
        for edge in edges:
            start, end = edge.ends
            session.do(text, {"s": start, "d": end, "i": edge.edge_id})
    elif edges:
        start, end = (
            write(n, t) for n, t in zip(("tv_c0", "tv_c1"), ends, strict=True)
        )
        arrow = {
            "tv_c0": column(ends[0], [edge.ends[0] for edge in edges]),
            "tv_c1": column(ends[1], [edge.ends[1] for edge in edges]),
            "tv_c2": column(Type(Kind.BLOB), [edge.edge_id for edge in edges]),
        }
        text = (
            f"LOAD FROM $arrow {pattern}{start} AND {far} = {end} AND r.tv_id = tv_c2"
        )
        session.do(f"{text} DELETE r", {"arrow": pa.table(arrow)})
    return len(edges)


def _there(session: Session, table: NodeTable, keys: Iterable[Cell]) -> set[int]:
    """Tell which of some keys have a row, by their places among them."""
    keys = list(keys)
    given, names = loaded(
        pa.table(
            {
                table.primary_key: column(key_type(table), keys),
                "tv_row": column(Type(Kind.INT64), list(range(len(keys)))),
            }
        )
    )
    text = f"{_matched(table, names)} RETURN {names['tv_row']}"
    return set(session.run(text, {"arrow": given}).column(0).to_pylist())


def loaded(arrow: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """Give the columns of a table names that no variable has.

    Args:
        arrow: to be read by ``LOAD FROM``.

    Returns:
        The table, and by its columns' names those that they have there.
    """
    names = {name: f"tv_c{i}" for i, name in enumerate(arrow.column_names)}
    return arrow.rename_columns(list(names.values())), names


def _matched(table: NodeTable, names: dict[str, str]) -> str:
    """Spell how rows of an Arrow table find their nodes."""
    key = table.primary_key
    start = f"LOAD FROM $arrow MATCH (n:{quote(table.name)})"
    return f"{start} WHERE n.{quote(key)} = {write(names[key], key_type(table))}"


def _types(table: NodeTable) -> dict[str, Type]:
    """Tell the types of a node table's columns."""
    return column_types(Graph(0, "", nodes=(table,)), table.name, None)


def _node(graph: Graph, id: int) -> NodeTable:
    """Return a node table by its id."""
    return next(t for t in graph.nodes if t.table_id == id)
