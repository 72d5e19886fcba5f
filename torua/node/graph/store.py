"""The graph engines of this node's copies, in a process of their own.

    STOPPED --first read--> RUNNING --it dies--> STOPPED, and whoever waited is told

The storage worker is started when a graph is first read, and again when it died.  A
node that serves keys and values only has none, and its maps keep no journal.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec import views
from torua.core.graph.fragments import CopyRead, Piece, wants_keys
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, ShardId
from torua.errors import StartupError, ToruaError, UnavailableError
from torua.node.graph.storemeters import StoreMeters
from torua.node.graph.storeprocess import StoreProcess
from torua.storage.kuzu import Limits, missing
from torua.storage.worker import Settings

GRACE_S = 10.0
"""So long behind its time an answer is waited for; then the worker is killed."""

MORE_TIMEOUT_S = 10.0
"""A piece that is ready is handed on at once."""

RESTART_S = 1.0
"""A worker that died is started again at the earliest so long after its start."""

CLOSE_TIMEOUT_S = 5.0
"""So long a copy may take to close; then the worker is killed, and no harm done."""

MEMORY_BYTES = 4 << 30
"""What the pools of all databases may take that are open and not read."""

POOLS = 4
"""So many databases may fill their pools whole at once; most need little of it."""

POOL_BYTES = 256 << 20
"""The least for each: it needs six times the text of 131,072 rows to write it down."""

SCRUB_PERIOD_S = 600.0
"""One graph of the node is compared with its map so often, as one map is read."""

_UNANSWERED = UnavailableError("it was not read")

log = Logger()


class MapView(Protocol):
    """A copy's map: see `torua.storage.map.Map`."""

    @property
    def path(self) -> Path:
        """Where it is."""

    def keep_journal(self, keys: bool) -> None:
        """Note from now on what changes; users' keys too if ``keys``."""

    def trim_journal(self, seq: int) -> None:
        """Forget what changed up to a record."""


class Reactor(IReactorProcess, IReactorTime):
    """Starts processes, and has timers.

    Invariants: it is Twisted's.
    """


class _Copy:
    """One open copy.

    Invariants: `applied` has a position for each of its graphs that is followed.
    """

    def __init__(self, view: MapView) -> None:
        """Begin with no graph."""
        self.view = view
        self.applied: dict[int, int] = {}
        self.graphs: dict[int, Graph] = {}


class GraphStore:
    """The engines of all copies that are open here.

    Invariants: at most one worker lives; it knows of every copy that is open, and of
    no other.

    Threading: the reactor's thread.

    Attributes:
        engine: the package that the next worker takes.
    """

    def __init__(
        self,
        reactor: Reactor,
        engine: str,
        registry: CollectorRegistry,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Begin without a worker.

        Args:
            reactor: starts it.
            engine: the package of the graph engine.
            registry: of the node's metrics.
            memory_bytes: for the pools of all databases that are open.

        Raises:
            StartupError: the engine is not installed.
        """
        if lack := missing(engine):
            raise StartupError(lack)
        self._reactor = reactor
        self.engine = engine
        pool_bytes = max(POOL_BYTES, memory_bytes // POOLS)
        self._limits = Limits(pool_bytes)
        self._memory_bytes = memory_bytes
        self._meters = StoreMeters(registry)
        self._copies: dict[AllocId, _Copy] = {}
        self._process: StoreProcess | None = None
        self._last_start = float("-inf")
        self._life = 0
        self._stopped: Deferred[None] | None = None
        self._turn = 0
        self._scrubbing = LoopingCall(self._scrub)
        self._scrubbing.clock = reactor

    @property
    def running(self) -> bool:
        """Whether there is a worker."""
        return self._process is not None

    def opened(self, shard: ShardId, alloc: AllocId, view: MapView) -> None:
        """Take note that a copy's map can be read.

        Args:
            shard: of which shard.
            alloc: which copy.
            view: its map, with the place for its graphs beside it.
        """
        del shard
        self._copies[alloc] = _Copy(view)
        if self._process is not None:
            self._introduce(self._process, alloc)

    async def closed(self, alloc: AllocId) -> None:
        """Return once nothing of a copy is open in the worker; no error if it is not.

        Args:
            alloc: which copy.
        """
        copy = self._copies.pop(alloc, None)
        if copy is None or self._process is None:
            return
        self._meters.forget(alloc, copy.applied)
        try:
            await self._ask(views.CloseCopy(alloc), CLOSE_TIMEOUT_S)
        except UnavailableError:
            return

    async def read_all(
        self, graph: Graph, reads: Sequence[CopyRead], timeout_s: float
    ) -> list[Piece | ToruaError]:
        """Read at some copies at once, at each in one transaction.

        Args:
            graph: the schema that the fragments were made with.
            reads: what to read at which copy.
            timeout_s: how long it may take.

        Returns:
            For each, in order, the first piece of its answer, or why there is none:
            `UnavailableError` where the copy is not open, is behind, or the worker
            died; `StaleSchemaError` where it has a newer schema; `UnprocessableError`
            where the engine refused a fragment; `QueryTimeoutError`.
        """
        found: list[Piece | ToruaError] = []
        asked: list[CopyRead] = []
        places: list[int] = []
        for place, read in enumerate(reads):
            try:
                asked.append(self._prepared(graph, read))
                places.append(place)
                found.append(_UNANSWERED)
            except UnavailableError as error:
                found.append(error)
        for place, piece in zip(
            places, await self._pieces(graph, asked, timeout_s), strict=True
        ):
            found[place] = piece
        return found

    async def more(self, alloc: AllocId, session: str) -> Piece:
        """Return the next piece of an answer.

        Args:
            alloc: of which copy.
            session: what the last piece was named by.

        Raises:
            UnavailableError: it is gone.
        """
        graph_id = _graph_of(session)
        ask = views.More(alloc, graph_id, self._session(session, graph_id))
        (part,) = _parts(await self._ask(ask, MORE_TIMEOUT_S))
        if isinstance(part, views.Failed):
            raise part.error()
        return self._named(part, graph_id)

    def release(self, sessions: Sequence[tuple[AllocId, str]]) -> None:
        """End transactions, and answers that are not wanted; no error if one is gone.

        Args:
            sessions: copies, and what their pieces were named by.
        """
        by_graph: dict[int, list[tuple[AllocId, str]]] = {}
        for alloc, session in sessions:
            with suppress(UnavailableError):
                graph_id = _graph_of(session)
                name = self._session(session, graph_id)
                by_graph.setdefault(graph_id, []).append((alloc, name))
        for graph_id, ended in by_graph.items():
            assert self._process is not None, "a transaction is open in it"
            self._process.tell(views.Release(graph_id, tuple(ended)))

    async def rows(
        self, alloc: AllocId, graph: Graph, timeout_s: float = MORE_TIMEOUT_S
    ) -> dict[str, tuple[int, int]]:
        """Count rows and estimated bytes by table.

        Args:
            alloc: of which copy.
            graph: which.
            timeout_s: how long it may take.

        Raises:
            UnavailableError: the copy is not open, is behind, or the worker died.
        """
        self._journal(alloc, graph, False)
        ask = views.Measure(alloc, graph, timeout_s)
        reply = await self._ask(ask, timeout_s + GRACE_S)
        assert isinstance(reply, views.Measured), "rows are counted"
        return reply.rows

    async def digest(
        self, alloc: AllocId, graph: Graph, timeout_s: float = 60.0
    ) -> views.Verified:
        """Compare a graph with its map; it is built anew where it differs.

        Args:
            alloc: of which copy.
            graph: which.
            timeout_s: how long it may take to follow the map.

        Returns:
            A digest that is equal on equal copies, and what came of it.

        Raises:
            UnavailableError: the copy is not open, is behind, or the worker died.
        """
        self._journal(alloc, graph, False)
        reply = await self._ask(
            views.Verify(alloc, graph, timeout_s), 4 * timeout_s + GRACE_S
        )
        assert isinstance(reply, views.Verified), "content is compared"
        if reply.same is False:
            log.error(
                "graph {graph} of copy {alloc} differs from its map: built anew",
                graph=graph.name,
                alloc=alloc,
            )
        return reply

    async def stop(self) -> None:
        """End the worker.  Safe to call twice."""
        process = self._process
        if process is not None:
            if self._stopped is None:
                self._stopped = Deferred()
                process.transport.closeStdin()
            await self._stopped

    def reported(self, report: views.Report) -> None:
        """Take what a view did: the journal is needed no more for it."""
        copy = self._copies.get(report.alloc)
        if copy is None:
            return
        self._meters.take(report)
        copy.applied[report.graph_id] = report.applied
        copy.view.trim_journal(min(copy.applied.values()))

    def ended(self, process: StoreProcess, reason: Failure) -> None:
        """Take note that a worker died.

        Args:
            process: which life.
            reason: how it ended.
        """
        if process is self._process:
            self._process = None
            self._scrubbing.stop()
        for alloc, copy in self._copies.items():
            self._meters.forget(alloc, copy.applied)
            copy.applied.clear()
        if self._stopped is not None:
            self._stopped.callback(None)
            return
        self._meters.restarts.inc()
        detail = reason.getErrorMessage()
        log.error("the storage worker died: {detail}", detail=detail)

    def _scrub(self) -> None:
        """Compare one graph with its map; the next one next time."""
        followed = [
            (alloc, graph)
            for alloc, copy in self._copies.items()
            for graph in copy.graphs.values()
        ]
        if followed:
            self._turn += 1
            compared = self.digest(*followed[self._turn % len(followed)])
            Deferred.fromCoroutine(compared).addErrback(_not_now)

    def _prepared(self, graph: Graph, read: CopyRead) -> CopyRead:
        """Have a copy's map keep a journal; name its session as the worker does."""
        self._journal(read.alloc, graph, wants_keys(read.fragments))
        if not read.session:
            return read
        name = self._session(read.session, graph.graph_id)
        return msgspec.structs.replace(read, session=name)

    async def _pieces(
        self, graph: Graph, reads: Sequence[CopyRead], timeout_s: float
    ) -> list[Piece | ToruaError]:
        """Have the worker read, if there is anything to be read."""
        if not reads:
            return []
        ask = views.Read(graph.graph_id, tuple(reads), timeout_s)
        try:
            (self._process or self._start()).know(graph)
            reply = await self._ask(ask, timeout_s + GRACE_S)
        except UnavailableError as error:
            return [error] * len(reads)
        return [
            part.error()
            if isinstance(part, views.Failed)
            else self._named(part, graph.graph_id)
            for part in _parts(reply)
        ]

    def _journal(self, alloc: AllocId, graph: Graph, keys: bool) -> None:
        """Have the copy's map keep a journal."""
        copy = self._copies.get(alloc)
        if copy is None:
            raise UnavailableError("the copy is not open")
        copy.graphs[graph.graph_id] = graph
        copy.view.keep_journal(keys)

    async def _ask(self, ask: views.Ask, timeout_s: float) -> views.Reply:
        """Ask the worker, started if need be; raise what it raised."""
        process = self._process or self._start()
        answer = process.send(ask)
        late = self._reactor.callLater(timeout_s, process.kill, "no answer in time")
        try:
            reply = await answer
        finally:
            if late.active():
                late.cancel()
        if isinstance(reply, views.Failed):
            raise reply.error()
        return reply

    def _start(self) -> StoreProcess:
        """Start a worker, and tell it of all copies."""
        now = self._reactor.seconds()
        if self._stopped is not None or now < self._last_start + RESTART_S:
            raise UnavailableError("the storage worker is starting", retry_after=1)
        self._last_start = now
        process = StoreProcess(self)
        settings = Settings(self.engine, os.getpid(), self._limits, self._memory_bytes)
        argument = msgspec.json.encode(settings).decode()
        command = (sys.executable, "-m", "torua.storage.worker", argument)
        self._reactor.spawnProcess(process, sys.executable, command, env=None)
        self._process = process
        self._life += 1
        self._scrubbing.start(SCRUB_PERIOD_S, now=False)
        for alloc in self._copies:
            self._introduce(process, alloc)
        return process

    def _introduce(self, process: StoreProcess, alloc: AllocId) -> None:
        """Tell a worker of a copy."""
        path = self._copies[alloc].view.path
        process.tell(views.OpenCopy(alloc, str(path), str(path.parent)))

    def _named(self, piece: Piece, graph_id: int) -> Piece:
        """Give a session a name that no other life of the worker uses."""
        if not piece.session:
            return piece
        name = f"{self._life}.{graph_id}.{piece.session}"
        return msgspec.structs.replace(piece, session=name)

    def _session(self, name: str, graph_id: int) -> str:
        """Return the worker's own name of a session; UnavailableError if it is gone."""
        start = f"{self._life}.{graph_id}."
        if self._process is None or not name.startswith(start):
            raise UnavailableError("that transaction is over")
        return name.removeprefix(start)


def _parts(reply: views.Reply) -> Sequence[Piece | views.Failed]:
    """Return what copies answered."""
    assert isinstance(reply, views.Pieces), "fragments are answered with pieces"
    return reply.parts


def _not_now(failure: Failure) -> None:
    """Leave a comparison to the next turn."""
    failure.trap(ToruaError)


def _graph_of(session: str) -> int:
    """Tell which graph a session reads."""
    match session.split("."):
        case [_, graph_id, _] if graph_id.isdecimal():
            return int(graph_id)
    raise UnavailableError("that is no transaction")
