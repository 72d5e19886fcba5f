"""What a statement changed in an engine in memory, as values.

What was copied into the engine is compared with what is there when the statement is
done.  Columns are compared as Arrow arrays; only rows that differ become Python's
objects.  Nodes are told apart by their keys, relationships by their offsets: the engine
numbers rows in the order in which they are copied, keeps a row's number when a property
is set, and never uses one twice.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from torua.core.graph.changes import Change, EdgeChange, NodeChange
from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import Cell
from torua.errors import UnprocessableError
from torua.storage.cells import cells
from torua.storage.exchange import key_type, quote, read
from torua.storage.gathered import Place, Tables, match
from torua.storage.kuzu import Engine

_OFFSET = "tv_offset"


def differences(
    engine: Engine, graph: Graph, tables: Tables, detach: bool
) -> tuple[Change, ...]:
    """Find what a statement did.

    Args:
        engine: in which it was run.
        graph: its schema.
        tables: what was copied before that.
        detach: whether nodes are deleted together with relationships that were not
            gathered.

    Returns:
        Deletions of relationships, then of nodes; then nodes, then relationships that
        are new or other than they were.

    Raises:
        UnprocessableError: a table was changed of which not all columns were gathered.
    """
    found = _Differences(engine, graph, tables)
    nodes, edges = list(found.nodes(detach)), list(found.edges())
    gone: list[Change] = [each for each in edges if each.cells is None]
    gone += (each for each in nodes if each.cells is None)
    made: list[Change] = [each for each in nodes if each.cells is not None]
    made += (each for each in edges if each.cells is not None)
    return (*gone, *made)


class _Differences:
    """Compares table by table.

    Invariants: changes nothing.
    """

    def __init__(self, engine: Engine, graph: Graph, tables: Tables) -> None:
        """Compare an engine with what was copied into it."""
        self._engine = engine
        self._tables = tables
        self._nodes = {node.table_id: node for node in graph.nodes}
        self._graph = graph

    def nodes(self, detach: bool) -> Iterator[NodeChange]:
        """Find nodes that are gone, other, or new."""
        for node in self._graph.nodes:
            before = self._tables.get((node.name, None))
            after = self._scan((node.name, None), node)
            if after is None or (before is not None and _same(before, after)):
                continue
            yield from self._node_changes(node, before, after, detach)

    def _node_changes(
        self, node: NodeTable, before: pa.Table | None, after: pa.Table, detach: bool
    ) -> Iterator[NodeChange]:
        """Find the changes of one table."""
        keys, version = cells(after.column(node.primary_key), key_type(node)), {}
        left: dict[Any, tuple[Cell, int]] = {}
        if before is not None:
            versions = before.column("tv_ver").to_pylist()
            old = cells(before.column(node.primary_key), key_type(node))
            left = {_hashed(k): (k, v) for k, v in zip(old, versions, strict=True)}
            version = dict(left)
        changed = _other(before, after)
        there = {_hashed(key) for key in keys}
        for name, (key, seen) in left.items():
            if name not in there:
                yield NodeChange(node.name, key, None, seen, detach)
        rows = _rows(after.filter(changed), node.columns)
        places = pc.indices_nonzero(changed).to_pylist()
        for at, row in zip(places, rows, strict=True):
            _, seen_version = version.get(_hashed(keys[at]), (None, None))
            yield NodeChange(node.name, keys[at], row, seen_version)

    def edges(self) -> Iterator[EdgeChange]:
        """Find relationships that are gone, other, or new."""
        for rel in self._graph.rels:
            for source, target in rel.pairs:
                ends = self._nodes[source], self._nodes[target]
                pair = ends[0].name, ends[1].name
                before = self._tables.get((rel.name, pair))
                after = self._scan((rel.name, pair), rel, ends)
                if after is None or (before is not None and _same(before, after)):
                    continue
                yield from self._edge_changes(rel, ends, before, after)

    def _edge_changes(
        self,
        rel: RelTable,
        ends: tuple[NodeTable, NodeTable],
        before: pa.Table | None,
        after: pa.Table,
    ) -> Iterator[EdgeChange]:
        """Find the changes of one pair of a table."""
        offsets = after.column(_OFFSET).to_pylist()
        if before is not None:
            gone = sorted(set(range(before.num_rows)) - set(offsets))
            yield from self._gone(rel, ends, before.take(pa.array(gone, pa.int64())))
        changed = _other(before, after)
        rows = after.filter(changed)
        sources = _ends(rows, "tv_from", ends[0])
        targets = _ends(rows, "tv_to", ends[1])
        made = _rows(rows, rel.columns)
        for at, offset in enumerate(rows.column(_OFFSET).to_pylist()):
            edge_id, version = b"", None
            if before is not None and offset < before.num_rows:
                edge_id = before.column("tv_id")[offset].as_py()
                version = before.column("tv_ver")[offset].as_py()
            yield EdgeChange(
                rel.name, sources[at], targets[at], edge_id, made[at], version
            )

    def _gone(
        self, rel: RelTable, ends: tuple[NodeTable, NodeTable], rows: pa.Table
    ) -> Iterator[EdgeChange]:
        """Turn rows that are gone into changes."""
        columns = (
            _ends(rows, "tv_from", ends[0]),
            _ends(rows, "tv_to", ends[1]),
            rows.column("tv_id").to_pylist(),
            rows.column("tv_ver").to_pylist(),
        )
        for source, target, edge_id, version in zip(*columns, strict=True):
            yield EdgeChange(rel.name, source, target, edge_id, None, version)

    def _scan(
        self,
        place: Place,
        table: NodeTable | RelTable,
        ends: tuple[NodeTable, NodeTable] | None = None,
    ) -> pa.Table | None:
        """Read a table as it is now, in the order of its rows; None if it was not used.

        What was not gathered is empty, and is so still unless rows were made.
        """
        before = self._tables.get(place)
        if before is None and not self._filled(place):
            return None
        shown = [f"offset(id(n)) AS {_OFFSET}"]
        if ends is not None:
            for variable, name, end in zip(
                "ab", ("tv_from", "tv_to"), ends, strict=True
            ):
                value = read(f"{variable}.{quote(end.primary_key)}", key_type(end))
                shown.append(f"{value} AS {name}")
        known = None if before is None else set(before.column_names)
        missing = False
        for column in table.columns:
            if known is not None and column.name not in known:
                missing = True
                continue
            value = read(f"n.{quote(column.name)}", column.type)
            shown.append(f"{value} AS {quote(column.name)}")
        found = self._engine.run(f"{match(place)} RETURN {', '.join(shown)}")
        found = found.sort_by(_OFFSET)
        if missing and before is not None and not _same(before, found):
            raise UnprocessableError(f"not all columns of {table.name} were gathered")
        return found

    def _filled(self, place: Place) -> bool:
        """Tell whether there is any row in a table."""
        found = self._engine.run(f"{match(place)} RETURN 1 LIMIT 1")
        return bool(found.num_rows)


def _same(before: pa.Table, after: pa.Table) -> bool:
    """Tell whether nothing was changed, as far as that is seen at once."""
    if before.num_rows != after.num_rows:
        return False
    offsets = after.column(_OFFSET)
    if not pc.all(pc.equal(offsets, pa.array(range(after.num_rows)))).as_py():
        return False
    names = [name for name in after.column_names if name in before.column_names]
    return all(before.column(name).equals(after.column(name)) for name in names)


def _other(before: pa.Table | None, after: pa.Table) -> Any:
    """Mark the rows of a table that are new, or not as they were."""
    offsets = after.column(_OFFSET).combine_chunks()
    if before is None:
        return pa.array([True] * after.num_rows, pa.bool_())
    old = pc.less(offsets, before.num_rows)
    at = pc.if_else(old, offsets, pa.scalar(None, pa.int64()))
    changed = pc.invert(old)
    for name in after.column_names:
        if name in before.column_names:
            was = before.column(name).take(at)
            changed = pc.or_(changed, _unequal(was, after.column(name)))
    return changed.combine_chunks() if hasattr(changed, "combine_chunks") else changed


def _unequal(one: Any, other: Any) -> Any:
    """Mark where two columns differ; NULL equals NULL, and NaN equals NaN."""
    try:
        same = pc.fill_null(pc.equal(one, other), False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
        return pa.array([repr(a) != repr(b) for a, b in pairs], pa.bool_())
    same = pc.or_(same, pc.and_(pc.is_null(one), pc.is_null(other)))
    if pa.types.is_floating(one.type):
        nan = pc.and_(pc.is_nan(one), pc.is_nan(other))
        same = pc.or_(same, pc.fill_null(nan, False))
    return pc.invert(same).combine_chunks()


def _rows(table: pa.Table, columns: tuple[Column, ...]) -> list[dict[str, Cell]]:
    """Turn rows into cells by name."""
    values = [cells(table.column(column.name), column.type) for column in columns]
    names = [column.name for column in columns]
    if not names:
        return [{} for _ in range(table.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _ends(table: pa.Table, name: str, node: NodeTable) -> list[tuple[str, Cell]]:
    """Turn a column of keys into ends of relationships."""
    return [(node.name, key) for key in cells(table.column(name), key_type(node))]


def _hashed(key: Cell) -> Cell:
    """Make of a key what dictionaries take, so that 1 and 1.0 are two."""
    return repr(key)
