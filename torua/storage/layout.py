"""How the tables of a graph are laid out in an engine.

Where they follow a shard they have hidden columns, whose names begin with ``tv_``.
"""

from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import Kind, Type, spell_type
from torua.storage import exchange
from torua.storage.exchange import quote

GHOST = "tv_ghost"
"""Of a node: it lives on another shard, and only its key stands here."""

_NODE_HIDDEN = ((GHOST, Kind.BOOL), ("tv_ver", Kind.INT64), ("tv_born", Kind.INT64))
_REL_HIDDEN = (("tv_id", Kind.BLOB), ("tv_ver", Kind.INT64), ("tv_born", Kind.INT64))


def node_ddl(table: NodeTable, hidden: bool) -> str:
    """Spell the statement that makes a node table.

    Args:
        table: which.
        hidden: whether with the columns whose names begin with ``tv_``.
    """
    columns = [_column(column, hidden) for column in table.columns]
    if hidden:
        columns += [f"{name} {kind}" for name, kind in _NODE_HIDDEN]
    columns.append(f"PRIMARY KEY ({quote(table.primary_key)})")
    return f"CREATE NODE TABLE {quote(table.name)} ({', '.join(columns)})"


def rel_ddl(graph: Graph, table: RelTable, hidden: bool) -> str:
    """Spell the statement that makes a relationship table.

    Multiplicities are checked before a row is written, never by the engine, whose rows
    come in any order.

    Args:
        graph: whose it is.
        table: which.
        hidden: whether with the columns whose names begin with ``tv_``; ``tv_s`` and
            ``tv_d`` are there only where all pairs' keys on that side have one type.
    """
    names = {node.table_id: node.name for node in graph.nodes}
    parts = [f"FROM {quote(names[s])} TO {quote(names[d])}" for s, d in table.pairs]
    parts += [_column(column, hidden) for column in table.columns]
    if hidden:
        ends = end_types(graph, table)
        parts += [f"{name} {spell_type(kind)}" for name, kind in ends.items()]
        parts += [f"{name} {kind}" for name, kind in _REL_HIDDEN]
    return f"CREATE REL TABLE {quote(table.name)} ({', '.join(parts)})"


def _column(column: Column, hidden: bool) -> str:
    """Spell a column; its default only where users' statements make rows."""
    spelled = f"{quote(column.name)} {spell_type(column.type)}"
    if hidden or column.default is None:
        return spelled
    return f"{spelled} DEFAULT {exchange.literal(column.type, column.default)}"


def end_types(graph: Graph, table: RelTable) -> dict[str, Type]:
    """Tell which of ``tv_s`` and ``tv_d`` a table has, and of which type.

    Args:
        graph: whose it is.
        table: which.
    """
    keys = {node.table_id: exchange.key_type(node) for node in graph.nodes}
    found = {}
    for side, name in enumerate(("tv_s", "tv_d")):
        types = {keys[pair[side]] for pair in table.pairs}
        if len(types) == 1:
            found[name] = types.pop()
    return found
