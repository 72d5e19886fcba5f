"""Snapshots of copies, from the node of the primary to a node that needs one.

The primary's node takes a snapshot into a file, then pushes it in checked pieces, each
a request that is answered with how much has arrived; so what a broken connection cut
off goes on where it was, within the session that the copy opened.  The other node
keeps the pieces beside the copy, checks the whole row by row, and tells the copy.

    begin(facts) -> 0   chunk(0) -> 1 MiB   chunk(1 MiB) -> 2 MiB  …  end -> checked
"""

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from google_crc32c import value as crc32c
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.codec.apart import set_apart
from torua.codec.frames import Lane
from torua.codec.plain import plain, shape
from torua.core.configuration import Allocation
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.replication.messages import NeedSnapshot, SnapshotReady
from torua.errors import (
    ConflictError,
    CorruptionError,
    OverloadedError,
    ToruaError,
    UnavailableError,
)
from torua.net.handlers import Handler, Inbound
from torua.node.threads import Worker
from torua.storage.map import Map
from torua.storage.rows import digest_of
from torua.storage.shelf import Incoming, Shelf, SnapshotFacts

KIND = "snapshot"

CHUNK_BYTES = 1 << 20
"""A piece is read, sent and written in milliseconds."""

PIECE_TIMEOUT_S = 10.0
"""How long one piece may take; the check of the whole takes longer."""

CHECK_TIMEOUT_S = 600.0
"""How long the other node may check a whole snapshot, some 200,000 keys a second."""

ATTEMPTS = 30
ATTEMPT_AFTER_S = 1.0
"""How often a piece is tried, and the pause in between: half a minute in all."""

IDLE_S = 60.0
"""A session of which nothing comes for so long is over."""

log = Logger()


class Begin(Struct, frozen=True, tag="begin"):
    """A snapshot comes, in the session ``nonce`` of the copy.

    Attributes:
        shard: of which shard.
        alloc_id: for which copy.
        term: of the primary, and of the session.
        nonce: of the session.
        facts: what it is.
    """

    shard: ShardId
    alloc_id: AllocId
    term: int
    nonce: int
    facts: SnapshotFacts


class Chunk(Struct, frozen=True, tag="chunk"):
    """A piece of it, from ``offset``; ``crc`` is the CRC-32C of ``data``."""

    alloc_id: AllocId
    nonce: int
    offset: int
    crc: int
    data: bytes


class End(Struct, frozen=True, tag="end"):
    """That was all."""

    alloc_id: AllocId
    nonce: int


Piece = Begin | Chunk | End


class Peers(Protocol):
    """The connections to the other nodes."""

    def handle(self, kind: str, handler: Handler) -> None:
        """Have all messages of one kind handled from now on.

        Args:
            kind: of messages.
            handler: takes each.
        """

    def request(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane, timeout_s: float
    ) -> Coroutine[Any, Any, object]:
        """Ask, and wait for the answer.

        Args:
            node_id: whom.
            kind: of message.
            body: plain values.
            lane: how urgent it is.
            timeout_s: how long to wait.
        """


class Throttle:
    """Lets so many bytes pass a second, over all who ask.

    Invariants: what passed by a time is at most the rate times the time since the
    first, and one piece.

    Attributes:
        rate: in bytes a second; it may change.
    """

    def __init__(self, clock: IReactorTime, rate: int) -> None:
        """Begin with nothing passed.

        Args:
            clock: the reactor.
            rate: in bytes a second.
        """
        self._clock = clock
        self.rate = rate
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes may pass."""
        now = self._clock.seconds()
        begin = max(now, self._free_at)
        self._free_at = begin + size / self.rate
        if begin > now:
            await deferLater(self._clock, begin - now)


class Turns:
    """Lets so many go at a time, and the others in the order in which they came.

    Invariants: nobody waits while fewer than ``most`` are under way.
    """

    def __init__(self, most: int) -> None:
        """Begin with nobody.

        Args:
            most: how many go at a time.
        """
        self.under_way = 0
        self._most = most
        self._waiting: deque[Deferred[None]] = deque()

    def bound(self, most: int) -> None:
        """Let so many go at a time from now on; who is under way goes on."""
        self._most = most
        self._next()

    async def take(self) -> None:
        """Wait for a turn; it must be given back."""
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        self._next()
        await turn

    def give_back(self) -> None:
        """Let the next go."""
        self.under_way -= 1
        self._next()

    def _next(self) -> None:
        """Let go whoever may."""
        while self._waiting and self.under_way < self._most:
            self.under_way += 1
            self._waiting.popleft().callback(None)


class _Meters:
    """What is measured of snapshots.

    Invariants: declared once a registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the metrics."""
        self.bytes = Counter(
            "torua_snapshots_bytes",
            "Bytes of snapshots that went to, or came from, other nodes",
            ["way"],
            registry=registry,
        )
        self.ended = Counter(
            "torua_snapshots_ended",
            "Snapshots that were sent or received, by what became of them",
            ["way", "outcome"],
            registry=registry,
        )
        self.sessions = Gauge(
            "torua_snapshots_sessions",
            "Snapshots on their way now",
            ["way"],
            registry=registry,
        )


class _Session:
    """A snapshot that is being received.

    Invariants: at most one piece of it is being written; ``timer`` ends it where
    nothing comes.
    """

    def __init__(self, begin: Begin, incoming: Incoming) -> None:
        """Begin with nothing of it."""
        self.begin = begin
        self.incoming = incoming
        self.busy = False
        self.timer: IDelayedCall | None = None


Ready = Callable[[ShardId, AllocId, SnapshotReady], None]
Wanted = Callable[[Begin], bool]


class Transfers:
    """Sends and receives the snapshots of this node's copies.

    Invariants: so many begin to go out and to come in as are configured; a copy has one
    coming in at most; no file of a session outlives it, but for what `Shelf.finish`
    made.

    Threading: the reactor's thread; files are touched on the worker's.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        shelf: Shelf,
        peers: Peers,
        *,
        worker: Worker,
        registry: CollectorRegistry,
        allowed: Allocation = Allocation(),  # noqa: B008 it is frozen
    ) -> None:
        """Take snapshots from peers from now on.

        Args:
            clock: the reactor.
            shelf: where the copies stand.
            peers: connections to the others.
            worker: where maps are checkpointed.
            registry: of the node's metrics.
            allowed: how many at once, and how many bytes a second.
        """
        self.on_ready: Ready = lambda shard, alloc, ready: None
        self.wanted: Wanted = lambda begin: False
        self._clock = clock
        self._shelf = shelf
        self._peers = peers
        self._worker = worker
        self._meters = _Meters(registry)
        self._throttle = Throttle(clock, allowed.recovery_bytes_per_s)
        self._out = Turns(allowed.recoveries_per_node)
        self._in_max = allowed.recoveries_per_node
        self._names = count(1)
        self._in: dict[AllocId, _Session] = {}
        self._stopped = False
        peers.handle(KIND, self._on_piece)
        self._meters.sessions.labels("in").set_function(lambda: len(self._in))
        self._meters.sessions.labels("out").set_function(lambda: self._out.under_way)

    def use(self, allowed: Allocation) -> None:
        """Send and receive as much at once, and as fast, as is configured."""
        self._throttle.rate = allowed.recovery_bytes_per_s
        self._in_max = allowed.recoveries_per_node
        self._out.bound(self._in_max)

    def stop(self) -> None:
        """Send and receive no more."""
        self._stopped = True
        for alloc in list(self._in):
            self._end(alloc, "cut")

    async def send(
        self, need: NeedSnapshot, shard: ShardId, alloc: AllocId, view: Map
    ) -> None:
        """Take a snapshot of a map, and have it arrive.

        Args:
            need: which copy needs it, in which session.
            shard: of which shard.
            alloc: the primary's copy.
            view: its map.

        Raises:
            ToruaError: it could not be taken, or did not arrive.
        """
        await self._out.take()
        outcome = "failed"
        try:
            path = self._shelf.outgoing(shard, alloc, str(next(self._names)))
            try:
                await self._send(need, shard, view, path)
            finally:
                await self._worker.run(lambda: self._shelf.discard(path))
            outcome = "ok"
        finally:
            self._meters.ended.labels("out", outcome).inc()
            self._out.give_back()

    async def _send(
        self, need: NeedSnapshot, shard: ShardId, view: Map, path: Path
    ) -> None:
        """Take it into a file, and push that."""
        view.flush()
        held = await self._worker.run(lambda: view.snapshot(path))
        size = path.stat().st_size
        facts = SnapshotFacts(
            held.applied_seq, held.term, held.time_ns, size, digest_of(held)
        )
        alloc, nonce = need.alloc_id, need.nonce
        log.info(
            "shard {shard}: a snapshot of {size} bytes goes to node {node}",
            shard=shard,
            size=size,
            node=need.node,
        )
        begin = Begin(shard, alloc, need.term, nonce, facts)
        offset = await self._ask(need.node, begin)
        while offset < size:
            data = await self._worker.run(partial(_read, path, offset))
            await self._throttle.take(len(data))
            chunk = Chunk(alloc, nonce, offset, crc32c(data), data)
            arrived = await self._ask(need.node, chunk)
            self._meters.bytes.labels("out").inc(max(0, arrived - offset))
            offset = arrived
        await self._ask(need.node, End(alloc, nonce), CHECK_TIMEOUT_S)

    async def _ask(
        self, node: NodeId, piece: Piece, timeout_s: float = PIECE_TIMEOUT_S
    ) -> int:
        """Have a piece arrive, and return how much there is then."""
        body = set_apart(plain(piece))
        for attempt in count(1):
            try:
                if self._stopped:
                    raise UnavailableError("this node is stopping")
                answer = await self._peers.request(
                    node, KIND, body, lane=Lane.RECOVERY, timeout_s=timeout_s
                )
                return shape(answer, int)
            except (CorruptionError, ConflictError):
                raise
            except ToruaError:
                if attempt >= ATTEMPTS or self._stopped:
                    raise
            await deferLater(self._clock, ATTEMPT_AFTER_S)
        raise AssertionError

    async def _on_piece(self, inbound: Inbound) -> object:
        """Take a piece, and say how much there is."""
        piece: Piece = shape(inbound.body, Piece)
        if isinstance(piece, Begin):
            return await self._on_begin(piece)
        session = self._in.get(piece.alloc_id)
        if session is None or session.begin.nonce != piece.nonce:
            raise ConflictError("there is no such session")
        if session.busy:
            raise OverloadedError("a piece is being written")
        session.busy = True
        try:
            if isinstance(piece, Chunk):
                return await self._on_chunk(session, piece)
            return await self._on_end(session)
        finally:
            session.busy = False
            self._rearm(session)

    async def _on_begin(self, begin: Begin) -> int:
        """Open a session, or go on with it."""
        shard, alloc = begin.shard, begin.alloc_id
        session = self._in.get(alloc)
        if session is not None and session.begin == begin:
            return session.incoming.received
        if self._stopped or not self.wanted(begin):
            raise ConflictError("this node has no such copy that needs it")
        if session is not None and session.busy:
            raise OverloadedError("a piece of another is being written")
        if session is not None:
            self._end(alloc, "cut")
        if len(self._in) >= self._in_max:
            raise OverloadedError("enough snapshots are on their way to this node")
        incoming = self._shelf.receive(shard, alloc, begin.facts)
        session = self._in[alloc] = _Session(begin, incoming)
        self._rearm(session)
        return 0

    async def _on_chunk(self, session: _Session, chunk: Chunk) -> int:
        """Write a piece, where it is the next."""
        incoming = session.incoming
        if crc32c(chunk.data) != chunk.crc:
            raise OverloadedError("a piece of a snapshot is not what was sent")
        if chunk.offset == incoming.received:
            await self._worker.run(lambda: incoming.write(chunk.data))
            self._meters.bytes.labels("in").inc(len(chunk.data))
        return incoming.received

    async def _on_end(self, session: _Session) -> int:
        """Check the whole, and tell the copy."""
        begin, incoming = session.begin, session.incoming
        if incoming.received != begin.facts.size:
            raise ConflictError("a part of it is missing")
        shard, alloc, facts = begin.shard, begin.alloc_id, begin.facts
        try:
            await self._worker.run(lambda: self._shelf.finish(shard, alloc, incoming))
        except ToruaError:
            if self._in.get(alloc) is session:
                self._end(alloc, "failed")
            raise
        if self._in.get(alloc) is not session:
            raise ConflictError("the session is over")
        self._end(alloc, "ok")
        ready = SnapshotReady(
            begin.term, begin.nonce, facts.seq, facts.term, facts.time_ns
        )
        self.on_ready(shard, alloc, ready)
        return facts.size

    def _rearm(self, session: _Session) -> None:
        """Give a session some more time."""
        alloc = session.begin.alloc_id
        if self._in.get(alloc) is not session:
            return
        if session.timer is not None:
            session.timer.cancel()
        session.timer = self._clock.callLater(IDLE_S, self._idle, alloc)

    def _idle(self, alloc: AllocId) -> None:
        """End a session of which nothing comes."""
        session = self._in[alloc]
        session.timer = None
        if session.busy:
            self._rearm(session)
        else:
            self._end(alloc, "cut")

    def _end(self, alloc: AllocId, outcome: str) -> None:
        """Close a session, and let go of what it did not finish."""
        session = self._in.pop(alloc)
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        self._meters.ended.labels("in", outcome).inc()
        if outcome != "ok":
            done = self._worker.run(lambda: self._let_go(session))
            done.addErrback(_unremoved)

    def _let_go(self, session: _Session) -> None:
        """Remove what came, on the worker."""
        session.incoming.close()
        self._shelf.discard(session.incoming.place)


def _read(path: Path, offset: int) -> bytes:
    """Read the next piece of a file."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)


def _unremoved(failure: Failure) -> None:
    """Note that something stays on the disk until the next start."""
    log.warn("a snapshot stays: {detail}", detail=failure.getErrorMessage())
