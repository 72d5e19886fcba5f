"""The schema as the planner asks for it: by folded names, pair by pair."""

from collections.abc import Iterable

from torua.core.graph.schema import Graph, NodeTable, RelTable
from torua.errors import UnprocessableError

Pair = tuple[str, str, str]
"""Names of a relationship table and of the node tables that it goes from and to."""


class Tables:
    """Tables, pairs and columns of one graph, by name in any case.

    Invariants: nothing of it changes once it is made.
    """

    def __init__(self, graph: Graph) -> None:
        """Look at all tables of ``graph`` once."""
        names = {table.table_id: table.name for table in graph.nodes}
        self.all_nodes = tuple(names.values())
        self.all_pairs: tuple[Pair, ...] = tuple(
            (rel.name, names[source], names[target])
            for rel in graph.rels
            for source, target in rel.pairs
        )
        every: tuple[NodeTable | RelTable, ...] = (*graph.nodes, *graph.rels)
        self._columns = {
            table.name: {column.name.lower(): column.name for column in table.columns}
            for table in every
        }
        self._nodes = {table.name.lower(): table for table in graph.nodes}
        self._rels = {table.name.lower(): table for table in graph.rels}

    def node_names(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Return the node tables that labels name, each once.

        Args:
            labels: as users spell them.

        Raises:
            UnprocessableError: there is no such node table.
        """
        found: dict[str, None] = {}
        for label in labels:
            table = self._nodes.get(label.lower())
            if table is None:
                raise UnprocessableError(f"there is no node table {label}")
            found[table.name] = None
        return tuple(found)

    def pairs(self, types: Iterable[str]) -> tuple[Pair, ...]:
        """Return all pairs of some relationship tables; of all, if none is named.

        Args:
            types: as users spell them.

        Raises:
            UnprocessableError: there is no such relationship table.
        """
        wanted: set[str] = set()
        for name in types:
            table = self._rels.get(name.lower())
            if table is None:
                raise UnprocessableError(f"there is no relationship table {name}")
            wanted.add(table.name)
        if not wanted:
            return self.all_pairs
        return tuple(pair for pair in self.all_pairs if pair[0] in wanted)

    def column(self, table: str | Pair, name: str) -> str | None:
        """Return a column's name as it is in the schema; None if there is none.

        Args:
            table: a node table, or a pair of a relationship table.
            name: as users spell it.
        """
        named = table if isinstance(table, str) else table[0]
        return self._columns[named].get(name.lower())

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the names of a table's columns, in order."""
        return tuple(self._columns[table].values())

    def key(self, table: str) -> str:
        """Return the name of a node table's primary key."""
        return self._nodes[table.lower()].primary_key
