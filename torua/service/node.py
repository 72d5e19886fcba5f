"""One node: what it opens, how its parts meet, and how it stops.

A node that cannot start as it was told says why in one line on standard error, and
exits with a status other than 0.
"""

import atexit
import os
import signal
import time
import uuid
from random import SystemRandom
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger, LogLevel

from torua import __version__
from torua.codec import read, spell
from torua.config import Config, environment, read_config
from torua.core.builds import BUILD, Build, gap
from torua.core.configuration import Configuration
from torua.core.coordination.founding import Founding
from torua.core.coordination.messages import Facts
from torua.core.coordination.timing import TIMINGS
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership.timing import PRESETS
from torua.core.state import ClusterState
from torua.errors import StartupError, ToruaError
from torua.http.site import make_site
from torua.net.listening import listen, listen_twice, number_of, resolve, stopped
from torua.net.peers import Identity, Peers
from torua.net.turns import plain_turns, steady
from torua.node.changes import ChangeFeeds
from torua.node.commit import GroupCommit
from torua.node.coordinator import CoordinatorService
from torua.node.fetching import Fetches
from torua.node.graph.store import GraphStore
from torua.node.live import LiveConfiguration
from torua.node.logs import make_observer
from torua.node.looks import Looks
from torua.node.membership import MembershipService, Settings
from torua.node.overview import Cluster
from torua.node.router import Router
from torua.node.shards import Shards
from torua.node.targets import Targets
from torua.node.threads import WorkerThread
from torua.node.votes import read_facts
from torua.node.watchdog import Watchdog
from torua.node.writing import Writes
from torua.service import memory
from torua.service.configuring import configured, retaining
from torua.service.graphs import GraphParts, Grounds
from torua.service.operating import observed, operated, split_up
from torua.service.options import Options, refuse
from torua.service.scheduling import wait_for_turns
from torua.service.stopping import bounded
from torua.service.whereabouts import node_file, write_node_file
from torua.storage.files import DiskFiles
from torua.storage.identity import begin_life, begin_votes
from torua.storage.lock import DataDirLock
from torua.storage.rescue import open_log
from torua.storage.shelf import Shelf
from torua.storage.stable import StableStore

STATEMENTS_S = 5.0
"""How long a stop waits for statements; they are told so before they are cut off."""

PEERS_FILE = "peers"
"""Addresses of the other members, so that a restart needs no ``--join``."""

THREADS = ("log", "maps", "votes", "values")
"""Threads that wait for the disk, each for its own, so that none waits for another."""

log = Logger()


def makeService(options: Options) -> IService:
    """Build one node, whole, from what ``twist`` was told.

    Only here is the reactor taken from where everybody could; all else is handed it.
    """
    from twisted.internet import reactor  # noqa: PLC0415

    given = {name: value for name, value in options.items() if value is not None}
    try:
        config = read_config(given, environment())
        _log_to(options.parent, config)
        wait_for_turns()
        return Node(config, plain_turns(steady(reactor)))
    except ToruaError as error:
        refuse(error.detail)


def _log_to(twist: Any, config: Config) -> None:
    """Have ``twist`` write our lines to the file that it was told of."""
    twist["logLevel"] = LogLevel.debug
    twist["fileLogObserverFactory"] = lambda out: make_observer(
        config.log_format, config.log_level, config.name, out
    )


class Node(Service):
    """One node of a cluster: it owns what its parts share, and their order.

    Invariants: nothing listens before the data dir is locked and read; what was opened
    is closed in the opposite order; after `_fail` the process ends with status 1.

    Attributes:
        http: where the HTTP API listens, once started.
        cluster: what peers are told, once started.
    """

    def __init__(self, config: Config, reactor: Any, build: Build = BUILD) -> None:
        """Prepare; `startService` opens and listens.

        Args:
            config: what the node was told.
            reactor: the reactor, handed to every part.
            build: what this program speaks and can store.
        """
        self._build = build
        self._config = config
        self._reactor = reactor
        self._registry = CollectorRegistry()
        self._ports: list[IListeningPort] = []
        self._failed = False
        self.http = config.http
        self.cluster = config.cluster

    def startService(self) -> None:
        """Open the data dir, assemble the parts, listen, and look for the others.

        Raises:
            SystemExit: it cannot start as it was told; one line says why.
        """
        super().startService()
        try:
            self._open()
            self._listen()
            self._assemble()
            self._begin()
        except ToruaError as error:
            refuse(error.detail)

    def stopService(self) -> "Deferred[None]":
        """Finish what is in flight, say goodbye, and close everything."""
        super().stopService()
        stopping = bounded(self._reactor, Deferred.fromCoroutine(self._stop()))
        stopping.addErrback(lambda failure: log.failure("not stopped well", failure))
        return stopping

    def _open(self) -> None:
        """Lock the data dir, count this life, and read the log."""
        config, files = self._config, DiskFiles()
        self._files = files
        self._lock = DataDirLock(config.data_dir)
        node_file(config).unlink(missing_ok=True)
        self._identity = begin_life(
            config.data_dir,
            files,
            time.time_ns() // 1_000_000,
            lambda: uuid.uuid4().hex,
            config.name,
        )
        self._remembered = StableStore(config.data_dir / PEERS_FILE, files)
        self._votes = begin_votes(
            config.data_dir,
            files,
            self._identity,
            spell(Facts(self._identity.node_id, 0)),
        )
        self._refuse_gap()
        label = str(self._identity.boot_epoch)
        self._log, trouble = open_log(config.data_dir / "log", files, label)
        if trouble:
            log.critical("the log is damaged: {trouble}", trouble=trouble)
        self._threads = [WorkerThread(self._reactor, name) for name in THREADS]
        self._log_thread, self._maps_thread, self._votes_thread, _ = self._threads

    def _refuse_gap(self) -> None:
        """Refuse to work on what a later, or a much earlier, release has kept."""
        kept = self._identity
        state = read_facts(self._votes, kept.node_id, kept.boot_epoch).accepted.state
        if state.cluster_uuid and (why := gap(self._build, state.feature_level)):
            where = self._config.data_dir
            raise StartupError(f"Torua {__version__} can't go on with {where}: {why}")

    def _listen(self) -> None:
        """Take one number for UDP gossip and TCP peers."""
        config, kept = self._config, self._identity
        self._peers = Peers(
            self._reactor,
            Identity(kept.node_id, kept.name, kept.boot_epoch),
            config.cluster_name,
            secret=config.secret,
            registry=self._registry,
            build=self._build,
        )
        self._udp, number = listen_twice(
            self._reactor, config.cluster, self._peers.factory(), self._ports
        )
        told = config.advertise
        self.cluster = Address(resolve(told.host), told.port or number)

    def _assemble(self) -> None:
        """Make the parts, and let them meet."""
        self._assemble_cluster()
        self._assemble_data()

    def _assemble_cluster(self) -> None:
        """Make what knows the other nodes, and decides with them."""
        config, kept, reactor = self._config, self._identity, self._reactor
        self._membership = MembershipService(
            reactor,
            self._member(),
            self._peers,
            Settings(
                config.cluster_name,
                config.secret,
                PRESETS[config.preset],
                SystemRandom(),
            ),
            self._registry,
        )
        self._membership.remember = self._remember
        self._membership.on_superseded = lambda: self._fail("it lives elsewhere")
        self._coordinator = CoordinatorService(
            reactor,
            (kept.node_id, kept.boot_epoch),
            self._votes,
            self._peers,
            self._membership,
            founding=Founding(
                config.cluster_name,
                config.settings,
                config.bootstrap_expect or 0,
                Configuration(replication=config.replication),
            ),
            timing=TIMINGS[config.preset],
            random=SystemRandom(),
            registry=self._registry,
            on_fatal=self._fail,
            worker=self._votes_thread,
        )
        self._coordinator.subscribe(self._belong)
        self._live = LiveConfiguration(
            self._coordinator, reactor, config.policies, self._registry
        )

    def _assemble_data(self) -> None:
        """Make what keeps and serves keys and values."""
        config, kept, reactor = self._config, self._identity, self._reactor
        commit = GroupCommit(
            reactor,
            self._log,
            self._log_thread,
            self._fail,
            self._registry,
            on_sync=self._membership.stalled,
        )
        self._store = GraphStore(
            reactor,
            config.settings.engine,
            self._registry,
            memory_bytes=config.graph_memory,
        )
        self._shards = Shards(
            reactor,
            (kept.node_id, kept.boot_epoch),
            Shelf(config.data_dir / "shards", self._files),
            commit,
            self._coordinator,
            peers=self._peers,
            worker=self._maps_thread,
            wall_ns=time.time_ns,
            random=SystemRandom(),
            registry=self._registry,
            steps=self._peers.steps,
            writer=self._threads[-1],
            graphs=self._store,
        )
        self._live.subscribe(self._shards.use)
        self._live.subscribe(retaining(self._log))
        looks = Looks(reactor, self._shards, commit)
        grounds = Grounds(
            reactor,
            kept.node_id,
            kept.name,
            config,
            self._coordinator,
            self._membership,
            self._peers,
            self._registry,
            self._live,
        )
        self._graphs = GraphParts(grounds, self._shards, looks, self._store)
        self._assemble_edge(looks)
        self._coordinator.subscribe(self._use_engine)

    def _assemble_edge(self, looks: Looks) -> None:
        """Make what answers clients and other nodes; ``looks`` reads at any copy."""
        config, kept, reactor = self._config, self._identity, self._reactor
        router = self._router(looks)
        grounds, shards = self._graphs.grounds, self._shards
        self._observer = observed(grounds, kept.boot_epoch, shards, self._maps_thread)
        overview = Cluster(
            kept.node_id,
            cluster_name=config.cluster_name,
            membership=self._membership,
            coordination=self._coordinator,
            holdings=shards,
            peers=self._peers,
            clock=reactor,
            sight=self._observer.sight,
        )
        feeds = ChangeFeeds(
            kept.node_id,
            self._coordinator,
            looks,
            self._peers,
            reactor,
            holders=router.holders,
            random=SystemRandom(),
            registry=self._registry,
        )
        worker, observer = self._maps_thread, self._observer
        operations = operated(grounds, shards, self._graphs.tasks, observer)
        self._splits = split_up(grounds, shards, looks, worker, self._graphs.tasks)
        routes = (*self._graphs.routes(router), *configured(grounds, self._is_live))
        self._site = make_site(
            *(router, overview, feeds, operations, self._registry),
            node_name=kept.name,
            reactor=reactor,
            further_routes=routes,
            chatty=lambda: config.log_level == "debug",
        )
        self._live.subscribe(self._site.use)
        self._watchdog = Watchdog(reactor, self._registry)

    def _router(self, looks: Looks) -> Router:
        """Make what finds the shards of each request.

        Args:
            looks: reads at any copy here.
        """
        kept, reactor = self._identity, self._reactor
        targets = Targets(kept.node_id, reactor, self._registry, is_live=self._is_live)
        self._live.subscribe(lambda now: targets.use(now.resilience))
        self._peers.watch(targets.connected, lambda *_: None)
        near, peers = (kept.node_id, self._coordinator), self._peers
        ways = (*near, self._shards, peers, reactor)
        return Router(
            *(*near, (self._shards, looks), peers, reactor),
            is_live=self._is_live,
            random=SystemRandom(),
            targets=targets,
            graphs=self._graphs.reads,
            fetches=Fetches(*ways, targets=targets),
            writes=Writes(*ways, targets=targets),
        )

    def _is_live(self, node_id: NodeId) -> bool:
        """Tell whether membership believes a node alive, or never heard of it yet."""
        member = self._membership.members.get(node_id)
        return member is None or member.is_live

    def _member(self) -> Member:
        """Describe this node in this life, to the others."""
        config, kept = self._config, self._identity
        meta = Meta(
            roles=config.roles,
            zone=config.zone,
            version=__version__,
            max_shards=config.max_shards,
            build=self._build,
        )
        return Member(
            node_id=kept.node_id,
            name=kept.name,
            address=self.cluster,
            boot_epoch=kept.boot_epoch,
            incarnation=0,
            status=Status.ALIVE,
            meta=meta,
        )

    def _begin(self) -> None:
        """Serve HTTP, gossip, and tell scripts where."""
        config, kept = self._config, self._identity
        self._http_port = listen(self._reactor, config.http, self._site)
        shown = config.http.host
        shown = self.cluster.host if shown in ("0.0.0.0", "::") else shown  # noqa: S104
        self.http = Address(shown, number_of(self._http_port))
        gossip = self._reactor.adoptDatagramPort(
            self._udp.fileno(), self._udp.family, self._membership.gossip
        )
        self._ports.append(gossip)
        self._udp.close()
        self._belong(self._coordinator.state)
        self._use_engine(self._coordinator.state)
        self._membership.update_meta(http=str(self.http))
        self._membership.start((*config.join, *self._recall()))
        self._coordinator.start()
        self._observer.start()
        self._reactor.callWhenRunning(self._take_signals)
        self._reactor.callWhenRunning(memory.tune)
        self._reactor.callWhenRunning(self._live.subscribe, self._watchdog.use)
        write_node_file(config, kept, self.http, self.cluster)
        log.info(
            "node {name} serves http://{http}, meets peers at {cluster}; node id "
            "{node_id}, boot epoch {boot_epoch}, Torua {version}",
            name=kept.name,
            http=str(self.http),
            cluster=str(self.cluster),
            node_id=kept.node_id,
            boot_epoch=kept.boot_epoch,
            version=__version__,
        )

    def _belong(self, state: ClusterState) -> None:
        """Tell peers and members to which cluster this node belongs."""
        uuid_now = self._coordinator.cluster_uuid
        self._peers.feature_level = state.feature_level if state.cluster_uuid else 0
        if uuid_now and uuid_now != self._peers.cluster_uuid:
            self._peers.cluster_uuid = uuid_now
            self._membership.update_meta(cluster_uuid=uuid_now)

    def _use_engine(self, state: ClusterState) -> None:
        """Take the graph engine that the cluster was formed with, if it is another."""
        engine = state.settings.engine
        if state.cluster_uuid and engine != self._store.engine:
            try:
                self._graphs.use(engine)
            except ToruaError as error:
                self._fail(f"the cluster's data need it: {error.detail}")

    def _remember(self, peers: tuple[Address, ...]) -> None:
        """Keep where the others are; without it a restart needs ``--join``."""
        try:
            self._remembered.save(spell(peers))
        except ToruaError as error:
            log.warn("addresses of peers not kept: {error}", error=error.detail)

    def _recall(self) -> tuple[Address, ...]:
        """Return where the others were: as last remembered, and as last committed."""
        data = self._remembered.load()
        remembered = read(data, tuple[Address, ...]) if data else ()
        committed = self._coordinator.state.nodes.values()
        known = {*remembered, *(entry.address for entry in committed)}
        return tuple(sorted(known - {self.cluster}))

    def _take_signals(self) -> None:
        """Stop on SIGTERM and Ctrl-C with status 0: a stop as told is no failure."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._end))

    def _end(self) -> None:
        """Stop the reactor, once."""
        if self.running:
            log.info("stopping")
            self.running = 0
            self._reactor.stop()

    def _fail(self, why: str) -> None:
        """Stop the process with status 1; what was acknowledged is on the disk."""
        if not self._failed:
            self._failed = True
            log.critical("this node stops: {why}", why=why)
            atexit.register(os._exit, 1)
            self._reactor.callLater(0, self._end)

    async def _stop(self) -> None:
        """Hand over what is led here, then close all, what takes requests first."""
        await self._shards.leave()
        await stopped(self._http_port)
        late = self._reactor.callLater(STATEMENTS_S, self._graphs.end_statements)
        await self._site.drain()
        if late.active():
            late.cancel()
        self._splits.stop()
        await self._graphs.stop()
        self._observer.stop()
        await self._shards.stop()
        await self._membership.leave()
        await self._coordinator.stop()
        self._membership.stop()
        await gatherResults([stopped(port) for port in self._ports])
        await self._peers.stop()
        self._watchdog.stop()
        for thread in self._threads:
            thread.stop()
        self._log.close()
        node_file(self._config).unlink(missing_ok=True)
        self._lock.release()
