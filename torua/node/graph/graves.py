"""Graves swept: what still points to deleted nodes is removed, and then the graves.

A write that found a node there, and makes a relationship to it, may be done after the
node was deleted; but not more than `SETTLE_S` after.  So a grave that has stood for so
long names all that there will ever be: each shard's primary finds it by the engines,
removes it wherever it stands, and then the grave.  Until then readers look themselves
(`Piece.graves`).  A primary that is new begins to count anew.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from torua.core.graph.keys import GraveKey, graves_prefix, node_key, read_key, read_pk
from torua.core.graph.schema import Graph, NodeTable, column, table_by_id
from torua.core.graph.types import Cell
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.splitting.moving import born
from torua.core.state import ClusterState
from torua.errors import ToruaError
from torua.node.graph.bundles import Bundle, RowDelete, Why
from torua.node.graph.lookup import Lookup, Store
from torua.node.graph.removal import Finder, Removal
from torua.node.graph.sending import WRITE_S_MAX, Sender, Sending

SETTLE_S = 3 * WRITE_S_MAX
"""How long a grave stands at least: what was in flight when it was made is over."""

SWEEP_S = 15.0
"""Between two looks at all graves."""

GRAVES_MAX = 500
"""So many graves of a shard and graph are looked at at once; the rest has to wait."""

CALL_S = 30.0

log = Logger()


class States(Protocol):
    """Where the last applied cluster state is found."""

    @property
    def state(self) -> ClusterState:
        """Return it."""


class Grave(Struct, frozen=True):
    """One grave: where it stands, and which life of which node it names."""

    key: bytes
    pk: Cell
    born: int


class Graves:
    """Sweeps the graves on the shards that this node leads.

    Invariants: a grave goes only after a look at all shards, begun once it was settled,
    has found nothing that points to it, or what it found was removed.

    Threading: the reactor's thread.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        me: NodeId,
        states: States,
        *,
        store: Store,
        finder: Finder,
        registry: CollectorRegistry,
    ) -> None:
        """Begin; the first look is some seconds off.

        Args:
            clock: the reactor.
            me: this node.
            states: the applied cluster state.
            store: the shards.
            finder: finds relationships by the nodes that they go to.
            registry: of the node's metrics.
        """
        self._clock = clock
        self._me = me
        self._states = states
        self._store = store
        self._lookup = Lookup(store)
        self._finder = finder
        self._removal = Removal(store, finder)
        self._sender = Sender(store, clock)
        self._since: dict[bytes, float] = {}
        self._standing = Gauge(
            "torua_graph_graves",
            "Graves of deleted nodes on shards that this node leads",
            registry=registry,
        )
        self._swept = Counter(
            "torua_graph_swept",
            "Relationships to deleted nodes that were removed by sweeping",
            registry=registry,
        )
        self._stopped = False
        self._next: IDelayedCall = clock.callLater(SWEEP_S, self._wake)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._next.active():
            self._next.cancel()

    def _wake(self) -> None:
        """Look at all graves, and again after a while."""
        looking = Deferred.fromCoroutine(self.sweep())
        looking.addErrback(lambda failure: log.failure("graves not swept", failure))
        looking.addBoth(self._again)

    def _again(self, _: object) -> None:
        """Arrange the next look."""
        if not self._stopped:
            self._next = self._clock.callLater(SWEEP_S, self._wake)

    async def sweep(self) -> None:
        """Look at all graves here once, and sweep those that are settled."""
        state, seen = self._states.state, dict[bytes, float]()
        for shard in born(state):
            held = state.shards[shard]
            if held.primary is not None and held.primary.node == self._me:
                for graph in state.graphs.values():
                    await self._visit(shard, graph, seen)
        self._since = seen
        self._standing.set(len(seen))

    async def _visit(
        self, shard: ShardId, graph: Graph, seen: dict[bytes, float]
    ) -> None:
        """Look at one graph's graves on one shard."""
        if not graph.rels and not self._since:
            return
        try:
            keys = await self._lookup.listed(
                shard, graves_prefix(graph), GRAVES_MAX, _call()
            )
            now = self._clock.seconds()
            seen |= {key: self._since.get(key, now) for key in keys}
            settled = [key for key in keys if seen[key] <= now - SETTLE_S]
            if settled:
                await self._empty(shard, graph, settled)
        except ToruaError as error:
            log.debug(
                "graves of {graph} on shard {shard} wait: {detail}",
                graph=graph.name,
                shard=shard,
                detail=error.detail,
            )

    async def _empty(self, shard: ShardId, graph: Graph, keys: Sequence[bytes]) -> None:
        """Remove what points to some nodes that are gone, and then their graves."""
        for table, graves in _by_table(graph, keys).values():
            if table is not None and not await self._remove(graph, table, graves):
                continue
            why = Why("a grave is gone")
            writes = tuple(RowDelete(grave.key, (), why) for grave in graves)
            bundle = Bundle(shard, (), writes, {})
            await self._sender.send(Sending(graph, _call()), (bundle,))

    async def _remove(
        self, graph: Graph, table: NodeTable, graves: Sequence[Grave]
    ) -> bool:
        """Remove what points to deleted nodes of a table; False where some is left."""
        lives = {(node_key(graph, table, each.pk), each.born) for each in graves}
        keys = [each.pk for each in graves]
        coming = await self._finder.incoming(graph, table, keys, _call())
        stale = [
            each for each in coming if (each.target_key(graph), each.born) in lives
        ]
        if not stale:
            return True
        bundles = self._removal.detached(graph, stale)
        changed = await self._sender.send(Sending(graph, _call()), bundles)
        self._swept.inc(changed.edges_deleted)
        return not changed.parts


def _by_table(
    graph: Graph, keys: Sequence[bytes]
) -> Mapping[int, tuple[NodeTable | None, list[Grave]]]:
    """Read graves, by table; a table that was dropped took its relationships along."""
    found: dict[int, tuple[NodeTable | None, list[Grave]]] = {}
    for key in keys:
        spot = read_key(key)
        assert isinstance(spot, GraveKey), "a grave"
        table = table_by_id(graph, spot.table_id)
        known = table if isinstance(table, NodeTable) else None
        pk: Cell = None
        if known is not None:
            pk = read_pk(column(known, known.primary_key).type, spot.pk)
        graves = found.setdefault(spot.table_id, (known, []))[1]
        graves.append(Grave(key, pk, spot.born))
    return found


def _call() -> Call:
    """Make the circumstances of one request of the sweeper's own."""
    return Call("sweep", CALL_S)
