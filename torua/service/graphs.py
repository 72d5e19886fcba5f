"""What graphs need of a node: schemas, engines, workers, and what runs statements.

It is made in two steps, since the router answers other nodes' errands with the engines
here, and everything that reads or writes rows goes by the router.
"""

import os
import time
import uuid
from random import SystemRandom
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred

from torua.config import Config
from torua.core.cypher.planner import plan
from torua.core.ids import NodeId
from torua.errors import StartupError
from torua.http import cypher, graph, graphs, imports, tasks, walks
from torua.http.routes import Route
from torua.net.peers import Peers
from torua.node.coordinator import CoordinatorService
from torua.node.graph.budget import Budget
from torua.node.graph.catalog import Catalog
from torua.node.graph.entries import Entries
from torua.node.graph.graves import Graves
from torua.node.graph.imports import Imports
from torua.node.graph.incoming import IncomingFinder
from torua.node.graph.keeper import Keeper
from torua.node.graph.plans import Plans
from torua.node.graph.pool import PoolLimits, QueryPool
from torua.node.graph.promises import Promises
from torua.node.graph.queries import Queries
from torua.node.graph.reads import Reads
from torua.node.graph.schemas import Schemas
from torua.node.graph.store import GraphStore
from torua.node.graph.writes import Writes
from torua.node.live import LiveConfiguration
from torua.node.looks import Looks
from torua.node.membership import MembershipService
from torua.node.router import Router
from torua.node.shards import Shards
from torua.node.tasks import Tasks
from torua.node.threads import WorkerThread
from torua.storage.kuzu import missing


class Grounds(Struct, frozen=True):
    """What a node has before it has graphs.

    Attributes:
        reactor: the reactor.
        me: this node.
        name: as people call it.
        config: what it was told.
        coordinator: the cluster state, and the way to change it.
        membership: the other nodes.
        peers: the way to them.
        registry: of its metrics.
        live: the configuration in effect.
    """

    reactor: Any
    me: NodeId
    name: str
    config: Config
    coordinator: CoordinatorService
    membership: MembershipService
    peers: Peers
    registry: CollectorRegistry
    live: LiveConfiguration


class GraphParts:
    """The parts that graphs need, and the order in which they stop.

    Invariants: no process is started before somebody asks for a graph; nothing is
    left running once `stop` is over.

    Attributes:
        grounds: what the node has.
        reads: answers the errands of other nodes.
        tasks: the long work of all nodes.
    """

    def __init__(
        self, grounds: Grounds, shards: Shards, looks: Looks, store: GraphStore
    ) -> None:
        """Make what the router needs.

        Args:
            grounds: what the node has.
            shards: the copies that this node leads.
            looks: all copies of this node.
            store: their engines.
        """
        self.grounds = grounds
        self._store = store
        reactor, coordinator = grounds.reactor, grounds.coordinator
        self._schemas = Schemas(reactor, coordinator)
        self._keeper = Keeper(reactor, grounds.me, coordinator, shards)
        self.reads = Reads(store, self._schemas, looks)
        self._budget = Budget(grounds.config.query_budget)
        limits = PoolLimits(
            memory_bytes=grounds.config.query_memory,
            waiting_bytes_max=self._budget.node_max,
        )
        self._pool = QueryPool(reactor, store.engine, grounds.registry, limits)
        self._thread = WorkerThread(reactor, "imports")
        self._graves: Graves | None = None
        self.tasks = Tasks(
            grounds.me,
            grounds.name,
            grounds.membership,
            grounds.peers,
            reactor,
            wall_s=time.time,
            fresh_id=fresh_id,
        )

    def use(self, engine: str) -> None:
        """Have workers take the engine that the cluster was formed with.

        Args:
            engine: its package.

        Raises:
            StartupError: it is not installed.
        """
        if lack := missing(engine):
            raise StartupError(lack)
        self._store.engine = self._pool.engine = engine

    def routes(self, router: Router) -> tuple[Route, ...]:
        """Make what runs statements, and list what serves it.

        Args:
            router: the way to all shards.
        """
        catalog = Catalog(self.grounds.reactor, self._schemas, router)
        return (
            *self._statements(router),
            *graphs.routes(catalog),
            *self._imports(router),
        )

    def _statements(self, router: Router) -> tuple[Route, ...]:
        """Make what reads and writes rows."""
        grounds = self.grounds
        reactor, registry, live = grounds.reactor, grounds.registry, grounds.live
        finder = IncomingFinder(reactor, router, self._budget)
        writes = Writes(router, finder, reactor, os.urandom)
        self._graves = Graves(
            reactor,
            grounds.me,
            grounds.coordinator,
            store=router,
            finder=finder,
            registry=registry,
        )
        entries = Entries(router, self._schemas, writes, grounds.name)
        queries = Queries(
            reactor,
            router,
            self._schemas,
            self._pool,
            writes,
            plans=Plans(plan),
            promises=Promises(router),
            budget=self._budget,
            random=SystemRandom(),
            registry=registry,
        )
        return (
            *cypher.routes(queries, grounds.name, lambda: live.current.limits),
            *graph.routes(entries),
            *walks.routes(entries, queries, grounds.name),
        )

    def _imports(self, router: Router) -> tuple[Route, ...]:
        """Make what takes whole files."""
        grounds = self.grounds
        imported = Imports(
            self._schemas,
            grounds.coordinator,
            router,
            self.tasks,
            grounds.reactor,
            worker=self._thread,
            spools=grounds.config.data_dir / "spools",
            random=SystemRandom(),
            fresh_id=fresh_id,
            registry=grounds.registry,
        )
        return (*imports.routes(imported), *tasks.routes(self.tasks))

    def end_statements(self) -> None:
        """Run no more statements; those that run are told that the node stops."""
        Deferred.fromCoroutine(self._pool.stop())

    async def stop(self) -> None:
        """End all workers; whoever waits for one is told so."""
        self._keeper.stop()
        if self._graves is not None:
            self._graves.stop()
        await self._pool.stop()
        await self._store.stop()
        self._thread.stop()


def fresh_id() -> str:
    """Make an id that is used once."""
    return uuid.uuid4().hex
