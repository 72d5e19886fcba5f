"""Shards without a cluster: maps that are written as primaries do, and nothing else.

Rows get into them by `Group`s that are judged by the replication's own code, records
are applied at once.
"""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from tests.graph.oracle import State, spelled
from tests.graph.world import Content
from torua.codec.rows import Row, read_row, spell_row, spell_schema
from torua.core.graph.keys import (
    GRAPH_BYTE,
    EdgeKey,
    GraveKey,
    NodeKey,
    edge_key,
    node_key,
    read_key,
    read_pk,
    schema_key,
)
from torua.core.graph.schema import (
    Column,
    Graph,
    NodeTable,
    RelTable,
    column,
    node_table,
    node_table_by_id,
    rel_table,
    table_by_id,
)
from torua.core.graph.types import Cell, check, show
from torua.core.ids import ShardId
from torua.core.kv import Call, Entry, Operation, Outcome, Page, Put, Served
from torua.core.reading import Position, Token
from torua.core.replication.batch import Draft, split
from torua.core.replication.tip import Position as At
from torua.core.replication.tip import Tip
from torua.core.routing import even_slots, shard_of
from torua.storage.map import Map

TIME_NS = 1_700_000_000 * 10**9
HISTORY = "h"
ROWS = bytes((GRAPH_BYTE,))
LOADED_AT_ONCE = 500


class Shard:
    """The only copy of one shard.

    Invariants: what is committed is applied.
    """

    def __init__(self, number: ShardId, path: Path) -> None:
        """Open its map.

        Args:
            number: which shard.
            path: the map's file.
        """
        self.number = number
        self.path = path
        self.map = Map.open(path)
        self._tip = Tip(self.map, At())

    def act(self, operations: Sequence[Operation]) -> tuple[Outcome, ...]:
        """Do operations, each batch of them a record."""
        outcomes: list[Outcome] = []
        for part in split(operations, False):
            draft = Draft(self._tip, TIME_NS)
            for operation in part:
                draft.judge(operation)
            record = draft.record(self.number, 1, None)
            if record is not None:
                self._tip.append(record)
                self.map.apply(self._tip.commit(record.seq))
            outcomes += draft.outcomes
        return tuple(outcomes)

    @property
    def at(self) -> Position:
        """Where it stands."""
        return Position(HISTORY, self.map.applied_seq)

    def entries(self) -> list[Entry]:
        """List all rows of graphs."""
        found: list[Entry] = []
        while some := self.map.scan(
            ROWS, found[-1].key if found else b"", 1000, True, 1 << 24
        ):
            found += some
        return found

    def close(self) -> None:
        """Close its map."""
        self.map.close()


class Maps:
    """All shards: what `torua.node.router` offers of keys, without a network.

    Invariants: a row is on the shard of its slot.
    """

    def __init__(self, directory: Path, count: int = 4) -> None:
        """Make empty shards.

        Args:
            directory: where their files shall be.
            count: how many.
        """
        self._slots = even_slots(count)
        self.shards = {
            ShardId(number): Shard(ShardId(number), directory / f"{number}" / "map.db")
            for number in range(count)
        }

    def shard_of_key(self, key: bytes) -> ShardId:
        """Return the shard of a key."""
        return shard_of(self._slots, key)

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """See `torua.node.graph.lookup.Store`.

        Args:
            key: which.
            call: who asks.
        """
        shard = self.shard_of_key(key)
        return self.shards[shard].map.get(key), Served(shard, "here")

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """See `torua.node.graph.lookup.Store`.

        Args:
            shard: which.
            operations: what to do.
            call: who asks.
        """
        found = self.shards[shard].act(operations)
        return found, Token(shard, self.shards[shard].at)

    async def list_shard(
        self, shard: ShardId, span: tuple[bytes, bytes], limit: int, call: Call
    ) -> Page:
        """See `torua.node.graph.lookup.Store`.

        Args:
            shard: which.
            span: what keys begin with, and the key to go on after.
            limit: at most so many.
            call: who asks.
        """
        found = self.shards[shard].map.scan(*span, limit, False, 1 << 24)
        more = found[-1].key if len(found) == limit else None
        return Page(tuple(found), more)

    def define(self, graph: Graph) -> None:
        """Write a schema to all shards."""
        put = Put(schema_key(graph.graph_id), spell_schema(graph), "")
        for shard in self.shards.values():
            shard.act([put])

    def load(self, graph: Graph, content: Content) -> None:
        """Write rows, nodes first.

        Args:
            graph: the schema.
            content: what to write.
        """
        puts: list[Put] = []
        for name, rows in content.nodes.items():
            table = node_table(graph, name)
            for row in rows:
                cells = _cells(table, row)
                key = node_key(graph, table, cells[_key_column(table).column_id])
                puts.append(Put(key, spell_row(Row(0, cells)), ""))
        self._write(puts)
        puts = []
        for (name, start, end), rows in content.rels.items():
            rel = rel_table(graph, name)
            ends = node_table(graph, start), node_table(graph, end)
            for number, (first, last, *row) in enumerate(rows):
                keys = [
                    check(_key_column(each).type, key, "key")
                    for each, key in zip(ends, (first, last), strict=True)
                ]
                born = self._version(node_key(graph, ends[1], keys[1]))
                key = edge_key(
                    graph,
                    rel,
                    (ends[0], keys[0]),
                    (ends[1], keys[1]),
                    number.to_bytes(8),
                )
                puts.append(Put(key, spell_row(Row(born, _cells(rel, row))), ""))
        self._write(puts)

    def state(self, graph: Graph) -> State:
        """Return all rows that are to be seen, as `tests.graph.oracle` spells them.

        A relationship is seen while the node that it goes to is the one it was.

        Args:
            graph: the schema.
        """
        seen = Seen(graph)
        entries = [
            (read_key(entry.key), entry)
            for shard in self.shards.values()
            for entry in shard.entries()
        ]
        for key, entry in entries:
            if isinstance(key, NodeKey):
                seen.node(key, entry)
        for key, entry in entries:
            if isinstance(key, EdgeKey):
                seen.edge(key, entry)
        return {name: sorted(rows) for name, rows in seen.found.items()}

    def graves(self, shard: ShardId) -> int:
        """Count the graves on a shard."""
        entries = self.shards[shard].entries()
        return sum(isinstance(read_key(each.key), GraveKey) for each in entries)

    def close(self) -> None:
        """Close all maps."""
        for shard in self.shards.values():
            shard.close()

    def _version(self, key: bytes) -> int:
        """Return the version of a node that is there."""
        version = self.shards[self.shard_of_key(key)].map.version(key)
        assert version is not None, key
        return version

    def _write(self, puts: list[Put]) -> None:
        """Write each where it belongs, in records of some hundreds."""
        parts: dict[ShardId, list[Put]] = {}
        for put in puts:
            parts.setdefault(self.shard_of_key(put.key), []).append(put)
        for shard, mine in parts.items():
            for start in range(0, len(mine), LOADED_AT_ONCE):
                self.shards[shard].act(mine[start : start + LOADED_AT_ONCE])


class Seen:
    """Rows of a graph as they are to be seen.

    Invariants: nodes come before relationships.
    """

    def __init__(self, graph: Graph) -> None:
        """Begin with empty tables."""
        self._graph = graph
        self._born: dict[tuple[int, bytes], int] = {}
        self.found: State = {table.name: [] for table in graph.nodes}
        for rel in graph.rels:
            for start, end in rel.pairs:
                self.found[_pair_name(graph, rel, start, end)] = []

    def node(self, key: NodeKey, entry: Entry) -> None:
        """Take a node.

        Args:
            key: its key.
            entry: its entry.
        """
        row = read_row(entry.value or b"")
        self._born[(key.table_id, key.pk)] = row.born or entry.version
        table = node_table_by_id(self._graph, key.table_id)
        self.found[table.name].append(spelled(_shown(table.columns, row)))

    def edge(self, key: EdgeKey, entry: Entry) -> None:
        """Take a relationship, unless it is not to be seen.

        Args:
            key: its key.
            entry: its entry.
        """
        row = read_row(entry.value or b"")
        born = row.born or entry.version
        if self._born.get((key.target_id, key.target_pk)) != born:
            return
        rel = table_by_id(self._graph, key.rel_id)
        assert isinstance(rel, RelTable), "its own table"
        ends = [
            _end(self._graph, key.source_id, key.source_pk),
            _end(self._graph, key.target_id, key.target_pk),
        ]
        name = _pair_name(self._graph, rel, key.source_id, key.target_id)
        self.found[name].append(spelled([*ends, *_shown(rel.columns, row)]))


def _key_column(table: NodeTable) -> Column:
    """Return the column of a table's primary key."""
    return column(table, table.primary_key)


def _cells(table: NodeTable | RelTable, row: Sequence[object]) -> dict[int, Cell]:
    """Check plain values, and return them by column."""
    return {
        each.column_id: check(each.type, _written(value), each.name)
        for each, value in zip(table.columns, row, strict=True)
        if value is not None or each.default is not None
    }


def _written(value: object) -> object:
    """Spell a moment as JSON would."""
    return value.isoformat() if isinstance(value, date | datetime) else value


def _shown(columns: Sequence[Column], row: Row) -> list[object]:
    """Return values in the order of columns, as the oracle gives them."""
    return [
        _plain(each, row.cells.get(each.column_id, each.default)) for each in columns
    ]


def _plain(of: Column, cell: Cell) -> object:
    """Return a value as Python has it."""
    if cell is None:
        return None
    shown = show(of.type, cell)
    match str(of.type.kind):
        case "DATE":
            return date.fromisoformat(str(shown))
        case "TIMESTAMP":
            return datetime.fromisoformat(str(shown))
    return shown


def _end(graph: Graph, table_id: int, pk: bytes) -> object:
    """Return the key of a node at one end of a relationship."""
    return read_pk(_key_column(node_table_by_id(graph, table_id)).type, pk)


def _pair_name(graph: Graph, rel: RelTable, start: int, end: int) -> str:
    """Name one pair of a table as the oracle does."""
    names = [node_table_by_id(graph, each).name for each in (start, end)]
    return f"{names[0]}-{rel.name}-{names[1]}"
