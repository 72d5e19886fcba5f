"""From the engine's own numbers of rows to keys that mean something outside of it.

The engine names nodes and relationships by table and offset.  Neither leaves a query
worker: an answer names a node by its label and key, and a relationship by its type,
its ends and its id.
"""

from collections.abc import Mapping
from typing import Any

from torua.core.graph.schema import Graph, NodeTable, RelTable
from torua.core.graph.types import spell_type
from torua.storage import gathered
from torua.storage.exchange import quote
from torua.storage.gathered import Tables
from torua.storage.kuzu import Engine, Session
from torua.storage.leaves import leaves

_UNCOMMITTED = 1 << 62
"""Relationships that are not committed are numbered from here on."""

Place = tuple[int, int]
"""The engine's number of a table, and of a row in it."""


class Entities:
    """Looks up nodes and relationships of one engine in memory, when needed.

    Invariants: what was looked up stays true, for the statement is done.

    Performance: the first look at a table reads its keys whole.
    """

    def __init__(
        self,
        engine: Engine | Session,
        graph: Graph,
        tables: Tables,
        written: bool,
    ) -> None:
        """Look at an engine.

        Args:
            engine: in which the statement was run, or a session of it.
            graph: its schema.
            tables: what was copied into it, in that order.
            written: the statement may have changed it.
        """
        self._written = written
        self._engine = engine
        self._graph = graph
        self._tables = tables
        self._names: dict[int, gathered.Place] = {}
        self._keys: dict[int, dict[int, Any]] = {}
        self._ids: dict[int, list[str]] = {}
        self._spans: dict[tuple[int, str], dict[int, Any]] = {}
        every: tuple[NodeTable | RelTable, ...] = (*graph.nodes, *graph.rels)
        self.columns: Mapping[str, tuple[str, ...]] = {
            table.name: tuple(column.name for column in table.columns)
            for table in every
        }
        self._kinds: dict[str, str] = {}
        for table in every:
            for column in table.columns:
                kind = self._kinds.get(column.name, "")
                self._kinds[column.name] = kind + spell_type(column.type)

    def kind(self, column: str) -> str:
        """Return the types of all properties of a name.

        Args:
            column: its name.
        """
        return self._kinds.get(column, "")

    def name(self, place: Place) -> dict[str, object]:
        """Name a node by label and key, or a relationship by type and id.

        Args:
            place: where the engine has it.
        """
        number, offset = place
        label, pair = self._name(number)
        if pair is not None:
            return {"_label": label, "_id": self.edge_id(place)}
        if number not in self._keys:
            key = next(n.primary_key for n in self._graph.nodes if n.name == label)
            self._keys[number] = self._read((label, None), key, f"n.{quote(key)}")
        return {"_label": label, "_key": self._keys[number].get(offset)}

    def edge_id(self, place: Place) -> str | None:
        """Return what tells a relationship from others; None if it is new.

        Args:
            place: where the engine has it.
        """
        number, offset = place
        if number not in self._ids:
            table = self._tables.get(self._name(number))
            ids = [] if table is None else table.column("tv_id").to_pylist()
            self._ids[number] = [each.hex() for each in ids]
        ids, offset = self._ids[number], offset % _UNCOMMITTED
        return ids[offset] if offset < len(ids) else None

    def span(self, place: Place, column: str) -> str | None:
        """Return an INTERVAL as text, for the engine's own Arrow loses months.

        Args:
            place: of the row.
            column: by name.
        """
        number, offset = place
        if (number, column) not in self._spans:
            value = f"CAST(n.{quote(column)} AS STRING)"
            self._spans[number, column] = self._read(self._name(number), column, value)
        found: str | None = self._spans[number, column].get(offset)
        return found

    def _name(self, number: int) -> gathered.Place:
        """Return a table's name, and which pair of it, by the engine's number."""
        if not self._names:
            self._names = self._numbered()
        return self._names[number]

    def _numbered(self) -> dict[int, gathered.Place]:
        """Ask the engine how it numbers tables.

        A relationship table's pairs have numbers of their own, just before its own.
        """
        rows = self._engine.run("CALL show_tables() RETURN id, name").to_pylist()
        numbers = {row["name"]: row["id"] for row in rows}
        nodes = {node.table_id: node.name for node in self._graph.nodes}
        found: dict[int, gathered.Place] = {
            numbers[name]: (name, None) for name in nodes.values() if name in numbers
        }
        for rel in self._graph.rels:
            if rel.name not in numbers:
                continue
            first = numbers[rel.name] - len(rel.pairs)
            for place, (source, target) in enumerate(rel.pairs):
                found[first + place] = (rel.name, (nodes[source], nodes[target]))
        return found

    def _read(self, place: gathered.Place, column: str, value: str) -> dict[int, Any]:
        """Read a column of every row of a table, by its offset.

        Where nothing was written, that is what was copied.
        """
        if not self._written:
            table = self._tables.get(place)
            parts = () if table is None else table.column(column).chunks
            shown = [each for part in parts for each in leaves(part, "", raw=False)]
            return dict(enumerate(shown))
        found: dict[int, Any] = {}
        text = f"{gathered.match(place)} RETURN offset(id(n)), {value}"
        for batch in self._engine.run(text).to_batches():
            offsets, values = batch.columns
            shown = leaves(values, "", raw=False)
            found |= zip(offsets.to_pylist(), shown, strict=True)
        return found
