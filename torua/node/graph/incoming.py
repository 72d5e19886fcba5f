"""Relationships found by the nodes that they go to, wherever they stand.

A relationship stands with its source, so every shard is asked.  It is shown whether or
not its far end is there: who removes nodes has to see what is left of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from twisted.internet.interfaces import IReactorTime

from torua.core.graph.fragments import Expand, Fragment
from torua.core.graph.schema import Graph, NodeTable, RelTable, node_table_by_id
from torua.core.graph.types import Cell
from torua.core.kv import Call
from torua.node.graph.anchors import homes
from torua.node.graph.budget import Budget
from torua.node.graph.deadline import Deadline
from torua.node.graph.frontier import cells
from torua.node.graph.removal import Incoming
from torua.node.graph.visits import Shards, Visits


class IncomingFinder:
    """Asks all shards for relationships that come to some nodes.

    Invariants: it changes nothing; every answer is linearizable.

    Threading: the reactor's thread.
    """

    def __init__(self, clock: IReactorTime, shards: Shards, budget: Budget) -> None:
        """Ask ``shards``.

        Args:
            clock: the reactor.
            shards: the way to them.
            budget: the bytes that the queries of this node hold.
        """
        self._clock = clock
        self._shards = shards
        self._budget = budget

    async def incoming(
        self, graph: Graph, table: NodeTable, keys: Sequence[Cell], call: Call
    ) -> Sequence[Incoming]:
        """Find the relationships that come to some nodes, there or not.

        Args:
            graph: the schema.
            table: of the nodes.
            keys: their primary keys.
            call: who asks, and how long it waits.

        Raises:
            QueryTooLargeError: they are too many.
            ToruaError: shards can't be read.
        """
        ways = [
            (rel, node_table_by_id(graph, source))
            for rel in graph.rels
            for source, target in rel.pairs
            if target == table.table_id
        ]
        if not ways or not keys:
            return ()
        fragments: list[Fragment] = [
            Expand(rel.name, (source.name, table.name), tuple(keys), False, ())
            for rel, source in ways
        ]
        deadline = Deadline(self._clock, call)
        deadline.linearizable()
        visits = Visits(self._shards, graph, deadline.call, self._budget.claim())
        try:
            wanted = dict.fromkeys(homes(self._shards, graph), fragments)
            found = await visits.read_all(wanted)
        finally:
            visits.end()
        return [
            each
            for answers in found.values()
            for way, parts in zip(ways, answers, strict=True)
            for part in parts
            for each in _read(graph, way, table, part)
        ]


def _read(
    graph: Graph, way: tuple[RelTable, NodeTable], target: NodeTable, part: bytes
) -> list[Incoming]:
    """Read relationships as an engine gives them."""
    rel, source = way
    table = pa.ipc.open_stream(part).read_all()
    plain: Mapping[str, list[Any]] = {
        name: table[name].to_pylist() for name in ("tv_id", "tv_ver", "tv_born")
    }
    rows = zip(
        cells(graph, source.name, table["tv_from"]),
        cells(graph, target.name, table["tv_to"]),
        plain["tv_id"],
        plain["tv_ver"],
        plain["tv_born"],
        strict=True,
    )
    return [
        Incoming(rel, (source, near), (target, far), bytes(edge_id), version, born)
        for near, far, edge_id, version, born in rows
    ]
