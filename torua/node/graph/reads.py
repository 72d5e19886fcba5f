"""Graphs read at the copies of this node: errands meet the engine.

What is asked names the schema that it was made with.  Where this node has not applied
that yet it waits; where it has a newer one, the asker is to look again.
"""

from collections.abc import Sequence
from typing import Protocol

from torua.core.graph.fragments import CopyRead, Piece
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Call
from torua.core.reading import Position
from torua.errors import StaleSchemaError, ToruaError, UnavailableError
from torua.node.errands import (
    Measure,
    Measured,
    Queried,
    Query,
    QueryMore,
    QueryRelease,
    Released,
)

SCHEMA_WAIT_S = 2.0
"""How long a schema is waited for that another node has applied already."""


class Store(Protocol):
    """The engines of the copies here: see `torua.node.graph.store`."""

    async def read_all(
        self, graph: Graph, reads: Sequence[CopyRead], timeout_s: float
    ) -> list[Piece | ToruaError]:
        """Read at some copies at once, at each in one transaction.

        Args:
            graph: the schema that the fragments were made with.
            reads: what to read at which copy.
            timeout_s: how long it may take.
        """

    async def more(self, alloc: AllocId, session: str) -> Piece:
        """Return the next piece.

        Args:
            alloc: of which copy.
            session: of which answer.
        """

    def release(self, sessions: Sequence[tuple[AllocId, str]]) -> None:
        """End transactions.

        Args:
            sessions: copies, and what they name them.
        """

    async def rows(self, alloc: AllocId, graph: Graph) -> dict[str, tuple[int, int]]:
        """Count rows and estimated bytes by table.

        Args:
            alloc: of which copy.
            graph: which.
        """


class Schemas(Protocol):
    """The schemas that this node has applied."""

    def graph(self, name: str) -> Graph:
        """Return one by name; NotFoundError where there is none."""

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return a schema once it is applied here, of a version at least.

        Args:
            name: which.
            version: at least.
            timeout_s: how long to wait.
        """


class Copies(Protocol):
    """The copies of this node."""

    def copy_of(self, shard: ShardId) -> AllocId:
        """Tell which copy of a shard is here."""

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied."""


class Reads:
    """Answers the errands of graphs, with the engines here.

    Invariants: what is read is of the schema that was asked for.

    Threading: the reactor's thread.
    """

    def __init__(self, store: Store, schemas: Schemas, copies: Copies) -> None:
        """Read from ``store``.

        Args:
            store: the engines.
            schemas: what this node has applied.
            copies: of this node.
        """
        self._store = store
        self._schemas = schemas
        self._copies = copies

    async def query_all(
        self, asked: Sequence[tuple[Query, Position | None]], call: Call
    ) -> list[Queried | ToruaError]:
        """See `torua.node.serving.GraphReads.query_all`.

        Args:
            asked: what to read of one graph, and what is to be shown at least; None in
                a session that is open.
            call: who asks, and how long it waits.
        """
        if not asked:
            return []
        graph = await self._graph(asked[0][0], call)
        wanted: list[CopyRead | UnavailableError] = []
        for errand, at in asked:
            assert errand.schema_version == graph.version, "they are of one statement"
            try:
                wanted.append(self._read(errand, at))
            except UnavailableError as error:
                wanted.append(error)
        reads = [each for each in wanted if isinstance(each, CopyRead)]
        pieces = iter(await self._store.read_all(graph, reads, call.timeout_s))
        return [
            self._queried(errand.shard, each, next(pieces))
            if isinstance(each, CopyRead)
            else each
            for (errand, _), each in zip(asked, wanted, strict=True)
        ]

    async def more(self, errand: QueryMore, call: Call) -> Queried:
        """See `torua.node.serving.GraphReads.more`.

        Args:
            errand: of which answer.
            call: who asks, and how long it waits.
        """
        piece = await self._store.more(errand.alloc, errand.session)
        return Queried(piece, errand.alloc, self._at(errand.shard, piece.seq))

    def release(self, errand: QueryRelease) -> Released:
        """See `torua.node.serving.GraphReads.release`."""
        self._store.release(errand.sessions)
        return Released()

    async def measure(self, errand: Measure, at: Position, call: Call) -> Measured:
        """See `torua.node.serving.GraphReads.measure`.

        Args:
            errand: of which graph.
            at: what is to be counted at least.
            call: who asks, and how long it waits.
        """
        graph = await self._graph(errand, call)
        alloc = self._copies.copy_of(errand.shard)
        return Measured(await self._store.rows(alloc, graph), at)

    def _read(self, errand: Query, at: Position | None) -> CopyRead:
        """Say what to read at the copy here; UnavailableError where it is gone."""
        alloc = self._copies.copy_of(errand.shard)
        if errand.session and alloc != errand.alloc:
            raise UnavailableError("that copy is here no more", shard=errand.shard)
        seq = at.seq if at else 0
        return CopyRead(alloc, seq, errand.fragments, errand.keep, errand.session)

    def _queried(
        self, shard: ShardId, read: CopyRead, piece: Piece | ToruaError
    ) -> Queried | ToruaError:
        """Say which copy answered, and of when."""
        if isinstance(piece, ToruaError):
            return piece
        return Queried(piece, read.alloc, self._at(shard, piece.seq))

    async def _graph(self, errand: Query | Measure, call: Call) -> Graph:
        """Return the schema that was asked for."""
        name, version = errand.graph, errand.schema_version
        wait_s = min(SCHEMA_WAIT_S, call.timeout_s)
        graph = await self._schemas.wait(name, version, wait_s)
        if graph.version != version:
            detail = f"the schema of graph {name} is at version {graph.version}"
            raise StaleSchemaError(detail, version=graph.version)
        return graph

    def _at(self, shard: ShardId, seq: int) -> Position | None:
        """Tell where in the shard's history something was read."""
        at = self._copies.position(shard)
        return Position(at.history, seq) if at else None
