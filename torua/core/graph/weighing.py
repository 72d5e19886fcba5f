"""How much room schemas take in the cluster state, which every node holds and sends."""

from torua.core.graph.schema import Graph, NodeTable, RelTable, tables
from torua.core.graph.types import spell_type

GRAPH_BYTES_MAX = 1 << 20
"""A schema is one entry of every shard, and written anew with every change."""

GRAPHS_BYTES_MAX = 4 << 20
"""The cluster state is kept and sent whole."""

_EACH = 48


def weight_of(graph: Graph) -> int:
    """Estimate what a schema takes in the cluster state, in bytes."""
    return _EACH + len(graph.name) + sum(map(_weight_of_table, tables(graph)))


def _weight_of_table(table: NodeTable | RelTable) -> int:
    """Estimate what one table takes."""
    pairs = len(table.pairs + table.dropped) if isinstance(table, RelTable) else 0
    return (
        _EACH
        + len(table.name)
        + pairs * 8
        + sum(
            _EACH
            + len(column.name)
            + 2 * len(spell_type(column.type))
            + len(repr(column.default))
            for column in table.columns
        )
    )
