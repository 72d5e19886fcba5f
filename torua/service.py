"""ASSEMBLES. The one place where the parts of a node are made and meet.

`makeService` is what ``twist torua-node`` calls.  A node that cannot start as it was
told says why in one line on standard error, and exits with a status other than 0.
"""

import atexit
import json
import os
import signal
import socket
import time
import uuid
from pathlib import Path
from random import SystemRandom
from typing import Any, ClassVar, NoReturn

from prometheus_client import CollectorRegistry
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger, LogLevel
from twisted.python import usage
from twisted.python.failure import Failure

from torua import __version__
from torua.codec import read, spell
from torua.config import OPTIONS, Config, environment, read_config
from torua.core.coordination.founding import Founding
from torua.core.coordination.messages import Facts
from torua.core.coordination.timing import TIMINGS
from torua.core.ids import Address
from torua.core.members import Member, Meta, Status
from torua.core.membership.timing import PRESETS
from torua.core.state import ClusterState
from torua.errors import StartupError, ToruaError
from torua.http.site import make_site
from torua.net.peers import Identity, Peers
from torua.node.commit import GroupCommit
from torua.node.coordinator import CoordinatorService
from torua.node.logs import make_observer
from torua.node.membership import MembershipService, Settings
from torua.node.overview import Cluster
from torua.node.router import Router
from torua.node.shards import Shards
from torua.node.threads import WorkerThread
from torua.storage.files import DiskFiles
from torua.storage.identity import KeptIdentity, begin_life, begin_votes
from torua.storage.lock import DataDirLock
from torua.storage.log import Log
from torua.storage.shelf import Shelf
from torua.storage.stable import StableStore

PORT_ATTEMPTS = 20
"""How often a free TCP port is tried whose UDP twin is taken."""

STOP_TIMEOUT_S = 12.0
"""How long a graceful stop takes at most; the contract promises 15 s to the process."""

PEERS_FILE = "peers"
"""Addresses of the other members, so that a restart needs no ``--join``."""

THREADS = ("log", "maps", "votes")
"""Threads that wait for the disk, each for one kind of file, so that none waits for
another."""

log = Logger()


class Options(usage.Options):
    """What ``twist torua-node`` may be told."""

    optParameters: ClassVar = [  # noqa: N815
        *([option.name, None, None, option.help] for option in OPTIONS),
        ["config", None, None, "TOML file with any of these options as keys"],
    ]

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Read the command line, or exit with one line that says what is wrong."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            refuse(f"{error} (see twist torua-node --help)")

    def parseArgs(self) -> None:
        """Take no arguments but options."""

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"Torua {__version__}")
        raise SystemExit(0)


def refuse(why: str) -> NoReturn:
    """Exit with one clear line on standard error, and status 1."""
    raise SystemExit(f"torua-node: {why}".replace("\n", " "))


def makeService(options: Options) -> IService:
    """Build one node, whole, from what ``twist`` was told.

    Only here is the reactor taken from where everybody could; all else is handed it.
    """
    from twisted.internet import reactor  # noqa: PLC0415

    given = {name: value for name, value in options.items() if value is not None}
    try:
        config = read_config(given, environment())
        _log_to(options.parent, config)
        return Node(config, reactor)
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

    def __init__(self, config: Config, reactor: Any) -> None:
        """Prepare; `startService` opens and listens.

        Args:
            config: what the node was told.
            reactor: the reactor, handed to every part.
        """
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
        stopping = Deferred.fromCoroutine(self._stop())
        stopping.addTimeout(STOP_TIMEOUT_S, self._reactor)
        stopping.addErrback(lambda failure: log.failure("not stopped well", failure))
        return stopping

    def _open(self) -> None:
        """Lock the data dir, count this life, and read the log."""
        config, files = self._config, DiskFiles()
        self._files = files
        self._lock = DataDirLock(config.data_dir)
        _file(config).unlink(missing_ok=True)
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
        self._log = Log.open(config.data_dir / "log", files)
        threads = [WorkerThread(self._reactor, name) for name in THREADS]
        self._log_thread, self._maps_thread, self._votes_thread = threads

    def _listen(self) -> None:
        """Take one number for UDP gossip and TCP peers."""
        config, kept = self._config, self._identity
        self._peers = Peers(
            self._reactor,
            Identity(kept.node_id, kept.name, kept.boot_epoch),
            config.cluster_name,
            secret=config.secret,
            registry=self._registry,
        )
        self._udp, number = _listen_twice(
            self._reactor, config.cluster, self._peers.factory(), self._ports
        )
        told = config.advertise
        self.cluster = Address(_resolve(told.host), told.port or number)

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
                config.cluster_name, config.settings, config.bootstrap_expect or 0
            ),
            timing=TIMINGS[config.preset],
            random=SystemRandom(),
            registry=self._registry,
            on_fatal=self._fail,
            worker=self._votes_thread,
        )
        self._coordinator.subscribe(self._belong)

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
        self._shards = Shards(
            reactor,
            (kept.node_id, kept.boot_epoch),
            Shelf(config.data_dir / "shards", self._files),
            commit,
            self._coordinator,
            worker=self._maps_thread,
            wall_ns=time.time_ns,
            registry=self._registry,
        )
        router = Router(
            kept.node_id, self._coordinator, self._shards, self._peers, reactor
        )
        overview = Cluster(
            kept.node_id,
            cluster_name=config.cluster_name,
            membership=self._membership,
            coordination=self._coordinator,
            holdings=self._shards,
            peers=self._peers,
            clock=reactor,
        )
        self._site = make_site(
            router, overview, self._registry, node_name=kept.name, reactor=reactor
        )

    def _member(self) -> Member:
        """Describe this node in this life, to the others."""
        config, kept = self._config, self._identity
        meta = Meta(
            roles=config.roles,
            zone=config.zone,
            version=__version__,
            max_shards=config.max_shards,
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
        self._http_port = _listen(self._reactor, config.http, self._site)
        shown = config.http.host
        shown = self.cluster.host if shown in ("0.0.0.0", "::") else shown  # noqa: S104
        self.http = Address(shown, _number(self._http_port))
        gossip = self._reactor.adoptDatagramPort(
            self._udp.fileno(), self._udp.family, self._membership.gossip
        )
        self._ports.append(gossip)
        self._udp.close()
        self._belong(self._coordinator.state)
        self._membership.update_meta(http=str(self.http))
        self._membership.start((*config.join, *self._recall()))
        self._coordinator.start()
        self._reactor.callWhenRunning(self._take_signals)
        _write_file(config, kept, self.http, self.cluster)
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
        uuid_now = state.cluster_uuid
        if uuid_now and uuid_now != self._peers.cluster_uuid:
            self._peers.cluster_uuid = uuid_now
            self._membership.update_meta(cluster_uuid=uuid_now)

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
        """Close all parts, those first that take requests."""
        await _stopped(self._http_port)
        await self._site.drain()
        await self._shards.stop()
        await self._membership.leave()
        await self._coordinator.stop()
        self._membership.stop()
        await gatherResults([_stopped(port) for port in self._ports])
        await self._peers.stop()
        for thread in (self._log_thread, self._maps_thread, self._votes_thread):
            thread.stop()
        self._log.close()
        _file(self._config).unlink(missing_ok=True)
        self._lock.release()


def _listen(
    reactor: Any, address: Address, factory: IProtocolFactory
) -> IListeningPort:
    """Listen by TCP; StartupError where that cannot be."""
    host = quoteStringArgument(address.host)
    kind = "tcp6" if ":" in address.host else "tcp"
    where = f"{kind}:{address.port}:interface={host}"
    outcome: list[IListeningPort | Failure] = []
    serverFromString(reactor, where).listen(factory).addBoth(outcome.append)
    (port,) = outcome
    if isinstance(port, Failure):
        error = getattr(port.value, "socketError", None)
        why = getattr(error, "strerror", None) or port.getErrorMessage()
        raise StartupError(f"cannot listen on {address} (TCP): {why}")
    return port


def _listen_twice(
    reactor: Any,
    address: Address,
    factory: IProtocolFactory,
    ports: list[IListeningPort],
) -> tuple[socket.socket, int]:
    """Take one number by UDP and TCP; return the UDP socket, and the number.

    For port 0 it looks for a number that is free in both.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    for attempt in range(PORT_ATTEMPTS):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.setblocking(False)
        try:
            udp.bind(address)
            number = int(udp.getsockname()[1])
            ports.append(_listen(reactor, Address(address.host, number), factory))
        except OSError as error:
            udp.close()
            why = error.strerror or error
            raise StartupError(f"cannot listen on {address} (UDP): {why}") from error
        except StartupError:
            udp.close()
            if address.port or attempt + 1 == PORT_ATTEMPTS:
                raise
        else:
            return udp, number
    raise AssertionError


def _number(port: IListeningPort) -> int:
    """Tell which number a port got."""
    bound: Any = port.getHost()
    return int(bound.port)


def _resolve(host: str) -> str:
    """Return the IP address of a host; gossip needs one."""
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError as error:
        raise StartupError(f"--advertise {host!r}: {error.strerror}") from error


def _stopped(port: IListeningPort) -> "Deferred[Any]":
    """Listen no more; the Deferred fires when the port is free."""
    return maybeDeferred(port.stopListening)


def _file(config: Config) -> Path:
    """Name the file that tells scripts where the node listens."""
    return config.data_dir / "node.json"


def _write_file(
    config: Config, kept: KeptIdentity, http: Address, cluster: Address
) -> None:
    """Tell scripts where the node listens, whole or not at all."""
    path = _file(config)
    beside = path.with_suffix(".new")
    told = {
        "node_id": kept.node_id,
        "name": kept.name,
        "http": str(http),
        "cluster": str(cluster),
        "pid": os.getpid(),
    }
    beside.write_text(json.dumps(told) + "\n")
    beside.replace(path)
