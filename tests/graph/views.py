"""Engines that follow the maps, and what a node's executor asks of them."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.graph.maps import Maps
from torua.core.graph.fragments import CopyRead
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.errors import ToruaError
from torua.node.errands import (
    Measure,
    Measured,
    Queried,
    Query,
    QueryMore,
    QueryRelease,
)
from torua.node.outcomes import outcomes_of
from torua.node.parcels import Asked, Visited
from torua.storage import held
from torua.storage.graphview import GraphView, Place
from torua.storage.kuzu import Limits

LIMITS = Limits(64 << 20, 1 << 32, 1)
TIMEOUT_S = 30.0
HERE = NodeId("here")


class Views:
    """What `torua.node.router` offers of graphs, without a network.

    Invariants: each shard has one engine, which follows its map.

    Attributes:
        at_once: how often a shard answered without its engine.
    """

    def __init__(self, maps: Maps, graph: Graph, directory: Path) -> None:
        """Have engines follow maps.

        Args:
            maps: they have the graph's schema.
            graph: the schema.
            directory: for the engines' files.
        """
        # Tests ask too little of each table for it ever to be due.
        held.DUE_S = 0.0
        self.at_once = 0
        self.slots_version = 1
        self._maps = maps
        self._graph = graph
        self._views: dict[ShardId, GraphView] = {}
        for number, shard in maps.shards.items():
            shard.map.keep_journal(keys=True)
            place = Place(shard.path, directory / f"{number}", "ladybug", LIMITS)
            self._views[number] = GraphView(place, graph, lambda: None)

    def shards(self) -> tuple[ShardId, ...]:
        """List all shards."""
        return tuple(self._views)

    def shard_of_key(self, key: bytes) -> ShardId:
        """Return the shard of a key."""
        return self._maps.shard_of_key(key)

    def shards_of_keys(self, keys: Iterable[bytes]) -> Iterator[ShardId]:
        """Go through the shards of keys."""
        return map(self.shard_of_key, keys)

    async def query_all(
        self, asked: Sequence[Asked], call: Call
    ) -> list[Visited | ToruaError]:
        """See `torua.node.graph.visits.Shards`.

        Args:
            asked: what to read.
            call: who asks.
        """
        return await outcomes_of(self._visit(each.errand) for each in asked)

    async def _visit(self, errand: Query) -> Visited:
        """Read at one shard."""
        at = self._maps.shards[errand.shard].at
        view, keep = self._views[errand.shard], errand.keep
        asked, deadline = errand.fragments, _deadline()
        read = CopyRead(_copy(errand.shard), at.seq, asked, keep, errand.session)
        piece = view.read_at_once(self._graph, read)
        if piece is not None:
            self.at_once += 1
        elif errand.session:
            piece = view.read_on(errand.session, asked, deadline, keep)
        else:
            piece = view.read(self._graph, at.seq, asked, deadline, keep)
        return Queried(piece, _copy(errand.shard), at), HERE

    async def continue_query(
        self, node: NodeId, errand: QueryMore, call: Call
    ) -> Queried:
        """See `torua.node.graph.visits.Shards`.

        Args:
            node: the only one.
            errand: what to read.
            call: who asks.
        """
        piece = self._views[errand.shard].more(errand.session)
        at = self._maps.shards[errand.shard].at
        return Queried(piece, _copy(errand.shard), at)

    async def release(self, node: NodeId, errand: QueryRelease, call: Call) -> None:
        """See `torua.node.graph.visits.Shards`.

        Args:
            node: the only one.
            errand: what to end.
            call: who asks.
        """
        for alloc, session in errand.sessions:
            self._views[ShardId(int(alloc))].release(session)

    async def measure(self, errand: Measure, call: Call) -> Measured:
        """See `torua.node.graph.visits.Shards`.

        Args:
            errand: of which shard.
            call: who asks.
        """
        view = self._views[errand.shard]
        return Measured(view.rows(self._graph, _deadline()))

    def verify(self) -> list[ShardId]:
        """List the shards whose engine is not what the map says."""
        wrong = []
        for number, view in self._views.items():
            _, right = view.verify(self._graph, _deadline())
            wrong += [] if right else [number]
        return wrong

    def close(self) -> None:
        """Let go of all engines."""
        for view in self._views.values():
            view.close()


def _copy(shard: ShardId) -> AllocId:
    """Name the only copy of a shard."""
    return AllocId(str(shard))


def _deadline() -> float:
    """Return when a read must have ended."""
    return time.monotonic() + TIMEOUT_S
