"""Shards in memory that judge groups as primaries do, and graphs to keep in them."""

from collections.abc import Sequence
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, deferLater

from tests.core.replication.desk import DictMap
from torua.codec.rows import read_row
from torua.core.graph.keys import (
    EdgeKey,
    GraveKey,
    NodeKey,
    node_key,
    read_key,
    read_pk,
    schema_key,
)
from torua.core.graph.schema import (
    Column,
    Graph,
    NodeTable,
    Placement,
    RelTable,
    column,
    node_table,
    node_table_by_id,
    table_by_id,
)
from torua.core.graph.types import Cell, Kind, Type
from torua.core.ids import ShardId
from torua.core.kv import (
    Call,
    Entry,
    Group,
    Operation,
    Outcome,
    Page,
    Put,
    Served,
    keys_of,
)
from torua.core.reading import Position as Place
from torua.core.reading import Token
from torua.core.replication.batch import Draft, split
from torua.core.replication.tip import Position, Tip
from torua.core.routing import even_slots, shard_of
from torua.core.splitting.moving import is_own
from torua.core.state import SlotRange
from torua.errors import MovedError, UnavailableError
from torua.node.graph.removal import Incoming

CALL = Call("r1")

PERSON = NodeTable(
    16,
    "Person",
    (Column(0, "id", Type(Kind.INT64)), Column(1, "name", Type(Kind.STRING))),
    "id",
)
CITY = NodeTable(17, "City", (Column(0, "name", Type(Kind.STRING)),), "name")
KNOWS = RelTable(18, "KNOWS", ((16, 16),), (Column(0, "since", Type(Kind.INT64)),))
LIVES = RelTable(19, "LIVES", ((16, 17),), (), "MANY_ONE")
RULES = RelTable(20, "RULES", ((16, 17),), (), "ONE_ONE")

SHARDED = Graph(7, "g", nodes=(PERSON, CITY), rels=(KNOWS, LIVES))
SINGLE = Graph(
    8, "s", Placement.SINGLE, nodes=(PERSON, CITY), rels=(KNOWS, LIVES, RULES)
)


class FakeShard:
    """One shard: a committed map, and the tip that judges by it.

    Invariants: every record is committed at once.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.view = DictMap()
        self.tip = Tip(self.view, Position())
        self.records = 0

    def do(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Judge operations, as `torua.core.replication.judge` does.

        What is judged is committed and applied before the next part is.
        """
        found: list[Outcome] = []
        for part in split(operations, False):
            draft = Draft(self.tip, 0)
            for operation in part:
                draft.judge(operation)
            found += draft.outcomes
            record = draft.record(ShardId(0), 1, None)
            if record is not None:
                self.records += 1
                self.tip.append(record)
                for each in self.tip.commit(self.tip.seq):
                    self.view.apply(each)
        return found


class FakeShards:
    """Several shards, and a way to them that takes its time.

    Invariants: what is asked is done at one instant between the call and its answer.

    Attributes:
        shards: all of them.
        broken: shards that do not answer.
        slots: the slot table.
        coming: the slot table from the next group on, if there is another one.
        moved: the groups that come next are refused so, as slots move just then.
    """

    def __init__(
        self, clock: IReactorTime, count: int = 4, random: Random | None = None
    ) -> None:
        """Begin with the schemas of both graphs in each shard.

        Args:
            clock: by which the way takes time.
            count: how many shards.
            random: draws how long each way is; None: no time at all.
        """
        self.shards = [FakeShard() for _ in range(count)]
        self.coming: tuple[SlotRange, ...] = ()
        self.moved: list[MovedError] = []
        self.broken: set[int] = set()
        self.groups: list[Group] = []
        self.answered: dict[tuple[int, str], list[Outcome]] = {}
        self.slots = even_slots(count)
        self._clock = clock
        self._random = random
        for graph in (SHARDED, SINGLE):
            self.define(graph)

    def define(self, graph: Graph) -> None:
        """Let all shards have a schema."""
        value = graph.version.to_bytes(8)
        for shard in self.shards:
            shard.do((Put(schema_key(graph.graph_id), value, ""),))

    def slow(self, random: Random) -> None:
        """Take some time from now on."""
        self._random = random

    def home(self, graph: Graph, table: str, key: Cell) -> int:
        """Return the shard of a node.

        Args:
            graph: its graph.
            table: its table's name.
            key: its primary key.
        """
        return self.shard_of_key(node_key(graph, node_table(graph, table), key))

    async def _way(self) -> None:
        """Take some time."""
        if self._random is not None:
            await deferLater(self._clock, self._random.randrange(1, 9) / 1000)

    def shard_of_key(self, key: bytes) -> ShardId:
        """Return the shard of a key."""
        return shard_of(self.slots, key)

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key.

        Args:
            key: which.
            call: who asks.
        """
        await self._way()
        shard = self.shard_of_key(key)
        self._check(shard)
        return self.shards[shard].view.get(key), Served(shard, "n1", "t")

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Do operations, or give the answer to the same promise again.

        Args:
            shard: where.
            operations: what.
            call: who asks.
        """
        await self._way()
        self._check(shard)
        if self.coming and isinstance(operations[0], Group):
            self.slots, self.coming = self.coming, ()
        keys = [key for each in operations for key in keys_of(each)]
        if any(self.shard_of_key(key) != shard for key in keys if not is_own(key)):
            raise MovedError("some of it is another shard's")
        if self.moved and isinstance(operations[0], Group):
            raise self.moved.pop(0)
        promise = call.idempotency
        place = (shard, promise.key if promise else "")
        self.groups += [each for each in operations if isinstance(each, Group)]
        outcomes = self.answered.get(place) if promise else None
        if outcomes is None:
            outcomes = self.shards[shard].do(operations)
        if promise:
            self.answered[place] = outcomes
        at = Token(shard, Place("h", self.shards[shard].tip.seq))
        await self._way()
        return tuple(outcomes), at

    async def list_shard(
        self, shard: ShardId, span: tuple[bytes, bytes], limit: int, call: Call
    ) -> Page:
        """List keys.

        Args:
            shard: where.
            span: prefix, and after what.
            limit: at most so many.
            call: who asks.
        """
        await self._way()
        self._check(shard)
        prefix, after = span
        entries = self.shards[shard].view.entries
        keys = sorted(k for k in entries if k.startswith(prefix) and k > after)
        more = keys[limit - 1] if len(keys) > limit else None
        return Page(tuple(entries[key] for key in keys[:limit]), more)

    async def incoming(
        self, graph: Graph, table: NodeTable, keys: Sequence[Cell], call: Call
    ) -> list[Incoming]:
        """Find relationships by where they go.

        Args:
            graph: the schema.
            table: of the nodes.
            keys: of the nodes.
            call: who asks.
        """
        found: list[Incoming] = []
        for shard in range(len(self.shards)):
            await self._way()
            self._check(shard)
            for each in edges(self, graph, shard):
                if each.target[0] == table and each.target[1] in keys:
                    found.append(each)
        return found

    def _check(self, shard: int) -> None:
        """Raise where a shard does not answer."""
        if shard in self.broken:
            raise UnavailableError(f"shard {shard} is red", shard=shard)


def edges(store: FakeShards, graph: Graph, shard: int | None = None) -> list[Incoming]:
    """List the relationships of a graph as they are stored.

    Args:
        store: where.
        graph: the schema.
        shard: of this one only; None: of all.
    """
    found = []
    chosen = store.shards if shard is None else [store.shards[shard]]
    for each in chosen:
        for key, entry in sorted(each.view.entries.items()):
            spot = read_key(key)
            if isinstance(spot, EdgeKey) and spot.graph_id == graph.graph_id:
                found.append(_edge(graph, spot, entry))
    return found


def nodes(store: FakeShards, graph: Graph) -> dict[tuple[str, Cell], dict[str, Cell]]:
    """List the nodes of a graph: table and key, and properties.

    Args:
        store: where.
        graph: the schema.
    """
    found = {}
    for shard in store.shards:
        for key, entry in shard.view.entries.items():
            spot = read_key(key)
            if isinstance(spot, NodeKey) and spot.graph_id == graph.graph_id:
                table, pk = _end(graph, spot.table_id, spot.pk)
                cells = read_row(entry.value or b"").cells
                named = {each.name: cells.get(each.column_id) for each in table.columns}
                found[table.name, pk] = named
    return found


def graves(store: FakeShards, graph: Graph) -> set[tuple[str, Cell, int]]:
    """List the graves of a graph.

    Args:
        store: where.
        graph: the schema.
    """
    found = set()
    for shard in store.shards:
        for key in shard.view.entries:
            spot = read_key(key)
            if isinstance(spot, GraveKey) and spot.graph_id == graph.graph_id:
                table, pk = _end(graph, spot.table_id, spot.pk)
                found.add((table.name, pk, spot.born))
    return found


def born(store: FakeShards, graph: Graph, end: tuple[NodeTable, Cell]) -> int | None:
    """Tell at which version a node was made; None where it is not there.

    Args:
        store: where.
        graph: the schema.
        end: table and key.
    """
    key = node_key(graph, *end)
    entry = store.shards[store.shard_of_key(key)].view.get(key)
    return None if entry is None else read_row(entry.value or b"").born or entry.version


def check_consistent(store: FakeShards, graph: Graph) -> None:
    """Check the rules of what is stored: nothing dangles that readers would see.

    A relationship's source is there.  Its target is there as it was, or a grave tells
    readers to look.
    """
    buried = graves(store, graph)
    for edge in edges(store, graph):
        assert born(store, graph, edge.source) is not None, "no source"
        table, pk = edge.target
        alive = born(store, graph, edge.target) == edge.born
        assert alive or (table.name, pk, edge.born) in buried, "no grave"


def visible(store: FakeShards, graph: Graph) -> list[tuple[str, Cell, Cell, bytes]]:
    """List the relationships that readers see: type, keys of both ends, id.

    Args:
        store: where.
        graph: the schema.
    """
    return sorted(
        (edge.rel.name, edge.source[1], edge.target[1], edge.edge_id)
        for edge in edges(store, graph)
        if born(store, graph, edge.target) == edge.born
    )


def _edge(graph: Graph, spot: EdgeKey, entry: Entry) -> Incoming:
    """Read a relationship."""
    rel = table_by_id(graph, spot.rel_id)
    assert isinstance(rel, RelTable)
    row = read_row(entry.value or b"")
    return Incoming(
        rel,
        _end(graph, spot.source_id, spot.source_pk),
        _end(graph, spot.target_id, spot.target_pk),
        spot.edge_id,
        entry.version,
        row.born or entry.version,
    )


def _end(graph: Graph, table_id: int, pk: bytes) -> tuple[NodeTable, Cell]:
    """Read one end of a relationship."""
    table = node_table_by_id(graph, table_id)
    return table, read_pk(column(table, table.primary_key).type, pk)


def settle(clock: Clock) -> None:
    """Let all that waits for time go on until nothing does."""
    for _ in range(100_000):
        if not clock.getDelayedCalls():
            return
        clock.advance(0.001)
    raise AssertionError("it does not end")
