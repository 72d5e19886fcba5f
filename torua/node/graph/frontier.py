"""What surrounds a few nodes, gathered round by round (strategy S3).

Each round expands the keys that the rounds before it found, at the shards where they
live, or at all shards against the stored direction.  Every shard is read in one
transaction from its first round to the last.  What grows past `KEYS_MAX` is no
neighbourhood any more: whole tables are gathered instead.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa
from msgspec import Struct, structs

from torua.core.cypher.plan import Along, Frontier, Reached
from torua.core.cypher.shortest import ways_between
from torua.core.cypher.tables import Pair
from torua.core.graph.fragments import Expand, Fetch, Fragment
from torua.core.graph.jobs import Gathered
from torua.core.graph.schema import Graph, column, node_table
from torua.core.graph.types import Cell, Kind
from torua.core.ids import ShardId
from torua.node.graph.anchors import DoubtError, Keys, by_shard
from torua.node.graph.visits import Parts, Shards, Visits
from torua.storage.graphread import spelled

KEYS_MAX = 50_000
"""So many nodes are looked up one by one in about the time of a scan."""

ROUNDS_MAX = 40
"""Each round asks shards and waits for all of them."""

_DAYS = pa.int32()
_TICKS = pa.int64()
_INTEGERS = {
    Kind.DATE: _DAYS,
    Kind.TIMESTAMP: _TICKS,
    Kind.TIMESTAMP_NS: _TICKS,
    Kind.TIMESTAMP_MS: _TICKS,
    Kind.TIMESTAMP_SEC: _TICKS,
    Kind.TIMESTAMP_TZ: _TICKS,
}

_ENDS = 2

_Rel = tuple[str, tuple[str, str]]
"""A relationship table, and one pair of it."""


class Surrounded(Struct, frozen=True):
    """The nodes that surround one, and what is to run on them."""

    text: str
    tables: tuple[Gathered, ...]


class Neighbourhood:
    """What a frontier found so far.

    Invariants: a key is expanded once along each way.  A relationship that was found
    from both ends is there twice, which the query worker knows; none is kept where only
    the nodes are wanted.

    Threading: the reactor's thread.
    """

    def __init__(
        self, shards: Shards, graph: Graph, visits: Visits, frontier: Frontier
    ) -> None:
        """Begin with nothing found.

        Args:
            shards: tells where keys live.
            graph: the schema.
            visits: reads.
            frontier: what to follow.
        """
        self._shards = shards
        self._graph = graph
        self._visits = visits
        self._frontier = frontier
        self._seen: Keys = {}
        self._expanded: dict[Along, set[Cell]] = {}
        self._parts: dict[_Rel, list[bytes]] = {}
        self._bare = False
        self._far: set[Cell] = set()

    async def gather(self, anchors: Keys) -> tuple[Gathered, ...]:
        """Follow all rounds from some nodes, and fetch the nodes that were found.

        Args:
            anchors: where it begins.

        Raises:
            DoubtError: too much surrounds them.
        """
        await self._follow(anchors)
        rels = [
            Gathered(table, pair, tuple(parts))
            for (table, pair), parts in self._parts.items()
        ]
        return (
            *await fetch(self._shards, self._graph, self._visits, self._wanted()),
            *rels,
        )

    async def reach(self, anchors: Keys, reached: Reached) -> Surrounded | None:
        """Follow all rounds from one node, and fetch the nodes that were found.

        Args:
            anchors: where it begins.
            reached: what is to run on them.

        Returns:
            None where it takes the relationships to tell which nodes are reached.

        Raises:
            DoubtError: too much surrounds it.
        """
        self._bare = True
        await self._follow(anchors)
        tables = await fetch(self._shards, self._graph, self._visits, self._wanted())
        keys = self._seen.get(reached.table, {})
        rows = sum(_rows(part) for each in tables for part in each.parts)
        if self._visits.graves or rows != len(keys):
            return None
        text = reached.statement if len(self._far) == len(keys) else reached.apart
        return Surrounded(text, tables)

    async def between(self, anchors: Keys, pair: Pair) -> tuple[Gathered, ...] | None:
        """Find the shortest ways between two nodes, and fetch the nodes on them.

        Args:
            anchors: the two.
            pair: of the relationships on the way.

        Returns:
            None where it takes more to tell which ways there are.

        Raises:
            DoubtError: too much surrounds them.
        """
        table = pair[1]
        ends = list(anchors.get(table, {}))
        if len(ends) != _ENDS:
            return None
        self._see(table, ends)
        way: list[int] | None = None
        for number, along in enumerate(self._frontier.rounds, 1):
            await self._round(along)
            rels, walked = self._walked(pair)
            way = ways_between(walked, ends[0], ends[1], 2 * number)
            if way is not None:
                break
        rels = rels.take(pa.array(way or [], pa.int64()))
        on_it = [key for place in way or () for key in walked[place]]
        columns = dict(self._frontier.nodes).get(table)
        wanted = [(table, dict.fromkeys([*ends, *on_it]), columns)]
        (nodes,) = await fetch(self._shards, self._graph, self._visits, wanted)
        if self._visits.graves or not self._stands(rels, nodes, table):
            return None
        return nodes, Gathered(pair[0], pair[1:], (spelled(rels),))

    def _walked(self, pair: Pair) -> tuple[pa.Table, list[tuple[Cell, Cell]]]:
        """Return the relationships of a pair found so far, and the ends of each."""
        parts = self._parts.get((pair[0], pair[1:]), [])
        tables = [pa.ipc.open_stream(part).read_all() for part in parts]
        table = pa.concat_tables(tables, promote_options="permissive")
        sides = zip(("tv_from", "tv_to"), pair[1:], strict=True)
        keys = [cells(self._graph, node, table[name]) for name, node in sides]
        return table, list(zip(*keys, strict=True))

    def _stands(self, rels: pa.Table, nodes: Gathered, name: str) -> bool:
        """Tell whether the nodes that relationships go to are those they went to."""
        key = node_table(self._graph, name).primary_key
        born: dict[Cell, int] = {}
        for part in nodes.parts:
            table = pa.ipc.open_stream(part).read_all()
            keys = cells(self._graph, name, table[key])
            born.update(zip(keys, table["tv_born"].to_pylist(), strict=True))
        ends = [cells(self._graph, name, rels[side]) for side in ("tv_from", "tv_to")]
        meant = zip(ends[1], rels["tv_born"].to_pylist(), strict=True)
        there = all(key in born for key in ends[0])
        return there and all(born.get(key) == at for key, at in meant)

    async def _follow(self, anchors: Keys) -> None:
        """Follow all rounds from some nodes."""
        if len(self._frontier.rounds) > ROUNDS_MAX:
            raise DoubtError(f"it takes more than {ROUNDS_MAX} rounds")
        for table, keys in anchors.items():
            self._see(table, keys)
        for along in self._frontier.rounds:
            await self._round(along)

    def _wanted(self) -> list[tuple[str, Iterable[Cell], tuple[str, ...] | None]]:
        """List the nodes to be fetched, with the columns that are needed of them."""
        columns = dict(self._frontier.nodes)
        return [(table, keys, columns.get(table)) for table, keys in self._seen.items()]

    def _see(self, table: str, keys: Iterable[Cell]) -> None:
        """Note keys, those that are known already once."""
        self._seen.setdefault(table, {}).update(dict.fromkeys(keys))
        if sum(map(len, self._seen.values())) > KEYS_MAX:
            raise DoubtError(f"more than {KEYS_MAX} nodes surround what is named")

    async def _round(self, ways: Sequence[Along]) -> None:
        """Expand once along all ways, from the nodes that are new to each.

        Where one round finds none, a later one may still, along another way.
        """
        wanted: dict[ShardId, list[Fragment]] = {}
        meant: dict[ShardId, list[Expand]] = {}
        for expand in self._expansions(ways):
            for shard, keys in self._shared_out(expand).items():
                part = structs.replace(expand, keys=keys)
                wanted.setdefault(shard, []).append(part)
                meant.setdefault(shard, []).append(expand)
        if not wanted:
            return
        found = await self._visits.read_all(wanted, keep=True)
        for shard, answers in found.items():
            for expand, parts in zip(meant[shard], answers, strict=True):
                self._take(expand, parts)

    def _expansions(self, ways: Sequence[Along]) -> list[Expand]:
        """Say what is to be expanded along all ways; both directions at once."""
        fresh = {along: self._new_keys(along) for along in ways}
        found: list[Expand] = []
        for along, keys in fresh.items():
            other = structs.replace(along, outgoing=not along.outgoing)
            both = along.pair[0] == along.pair[1] and fresh.get(other) == keys
            if keys and not (both and not along.outgoing):
                expand = Expand(
                    along.table,
                    along.pair,
                    keys,
                    along.outgoing,
                    () if self._bare else along.columns,
                    ends=self._bare,
                    both=both,
                )
                found.append(expand)
        return found

    def _new_keys(self, along: Along) -> tuple[Cell, ...]:
        """List the keys that were not yet expanded along a way."""
        near = along.pair[0] if along.outgoing else along.pair[1]
        done = self._expanded.setdefault(along, set())
        fresh = tuple(key for key in self._seen.get(near, {}) if key not in done)
        done.update(fresh)
        return fresh

    def _shared_out(self, expand: Expand) -> dict[ShardId, tuple[Cell, ...]]:
        """Tell which keys each shard is asked for.

        A relationship stands with its source: against its direction all are asked.
        """
        if expand.both or not expand.outgoing:
            return dict.fromkeys(self._shards.shards(), expand.keys)
        table = node_table(self._graph, expand.pair[0])
        return by_shard(self._shards, self._graph, table, expand.keys)

    def _take(self, expand: Expand, parts: Parts) -> None:
        """Keep the relationships that are new, and see their far ends."""
        kept = self._parts.setdefault((expand.table, expand.pair), [])
        ends = [(1, "tv_to"), (0, "tv_from")]
        if not expand.both or expand.ends:
            ends = [ends[0 if expand.both or expand.outgoing else 1]]
        for part in parts:
            table = pa.ipc.open_stream(part).read_all()
            for far, name in ends:
                keys = cells(self._graph, expand.pair[far], table[name])
                self._see(expand.pair[far], keys)
                if expand.ends:
                    self._far.update(keys)
            if not expand.ends:
                kept.append(part)


def _rows(part: bytes) -> int:
    """Count the rows of an Arrow stream."""
    rows: int = pa.ipc.open_stream(part).read_all().num_rows
    return rows


async def fetch(
    shards: Shards,
    graph: Graph,
    visits: Visits,
    wanted: Sequence[tuple[str, Iterable[Cell], tuple[str, ...] | None]],
) -> tuple[Gathered, ...]:
    """Fetch nodes by their keys, at the shards where they live.

    Args:
        shards: tells where.
        graph: the schema.
        visits: reads.
        wanted: tables, keys, and the columns that are needed.
    """
    asked: dict[ShardId, list[Fragment]] = {}
    meant: dict[ShardId, list[str]] = {}
    for name, keys, columns in wanted:
        table = node_table(graph, name)
        for shard, here in by_shard(shards, graph, table, keys).items():
            asked.setdefault(shard, []).append(Fetch(name, here, columns))
            meant.setdefault(shard, []).append(name)
    found = await visits.read_all(asked)
    parts: dict[str, list[bytes]] = {name: [] for name, _, _ in wanted}
    for shard, answers in found.items():
        for name, answer in zip(meant[shard], answers, strict=True):
            parts[name].extend(answer)
    return tuple(Gathered(name, None, tuple(each)) for name, each in parts.items())


def cells(graph: Graph, table: str, keys: pa.ChunkedArray) -> list[Cell]:
    """Return keys in Arrow as cells.

    Args:
        graph: the schema.
        table: whose keys they are.
        keys: as an engine gives them.
    """
    node = node_table(graph, table)
    kind = column(node, node.primary_key).type.kind
    if kind in _INTEGERS:
        keys = keys.cast(_INTEGERS[kind])
    found: list[Cell] = keys.to_pylist()
    return [int(str(key)) for key in found] if kind is Kind.INT128 else found
