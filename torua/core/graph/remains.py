"""Which rows a schema left behind: those of tables that were dropped.

They are of nothing, for ids are never given twice, and may be removed at any time.
"""

from collections.abc import Iterator

from msgspec import Struct

from torua.core.graph.keys import EdgeKey, read_key, rows_prefix
from torua.core.graph.schema import Graph, RelTable


class Remains(Struct, frozen=True, array_like=True):
    """Rows that are of nothing any more.

    Attributes:
        prefix: what their keys begin with.
        rel_id: only relationships of this table; None: all that begin so.
        target_id: and only those that go to nodes of this table.
    """

    prefix: bytes
    rel_id: int | None = None
    target_id: int | None = None

    def has(self, key: bytes) -> bool:
        """Tell whether a key that begins so is among them."""
        if self.rel_id is None:
            return True
        row = read_key(key)
        return (
            isinstance(row, EdgeKey)
            and row.rel_id == self.rel_id
            and self.target_id in (None, row.target_id)
        )


def remains(old: Graph, new: Graph | None) -> tuple[Remains, ...]:
    """List which rows a change of a schema leaves behind.

    Args:
        old: the schema that rows were written by.
        new: the one that is to come; None: the graph is dropped.
    """
    if new is None:
        return tuple(Remains(rows_prefix(old, letter)) for letter in "neg")
    return tuple(_of_nodes(old, new)) + tuple(_of_rels(old, new))


def _of_nodes(old: Graph, new: Graph) -> Iterator[Remains]:
    """List the rows of node tables that were dropped."""
    kept = [table.table_id for table in new.nodes]
    for table in old.nodes:
        if table.table_id not in kept:
            for letter in "ng":
                yield Remains(rows_prefix(old, letter, table.table_id))


def _of_rels(old: Graph, new: Graph) -> Iterator[Remains]:
    """List the rows of relationship tables, and pairs of them, that were dropped."""
    kept = {table.table_id: table for table in new.rels}
    for table in old.rels:
        left = kept.get(table.table_id)
        for source, target in _dropped(table, left):
            prefix = rows_prefix(old, "e", source)
            yield Remains(prefix, table.table_id, target)


def _dropped(table: RelTable, left: RelTable | None) -> list[tuple[int, int | None]]:
    """List the pairs that a table has no longer."""
    if left is None:
        return [(source, None) for source in sorted({s for s, _ in table.pairs})]
    return [pair for pair in table.pairs if pair not in left.pairs]
