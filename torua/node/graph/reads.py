"""Graphs read at the copies of this node: errands meet the engine.

What is asked names the schema that it was made with.  Where this node has not applied
that yet it waits; where it has a newer one, the asker is to look again.
"""

from typing import Protocol

from torua.core.graph.fragments import Fragment, Piece
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Call
from torua.core.reading import Position
from torua.errors import StaleSchemaError, UnavailableError
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

    async def read(  # noqa: PLR0913, PLR0917
        self,
        alloc: AllocId,
        graph: Graph,
        at_least: int,
        fragments: tuple[Fragment, ...],
        timeout_s: float,
        keep: bool = False,
        session: str = "",
    ) -> Piece:
        """Read fragments in one transaction.

        Args:
            alloc: at which copy.
            graph: the schema that they were made with.
            at_least: the record that must be shown.
            fragments: what to read.
            timeout_s: how long it may take.
            keep: whether the transaction stays open.
            session: the transaction to read in; empty for a new one.
        """

    async def more(self, alloc: AllocId, session: str) -> Piece:
        """Return the next piece.

        Args:
            alloc: of which copy.
            session: of which answer.
        """

    async def release(self, alloc: AllocId, session: str) -> None:
        """End a transaction.

        Args:
            alloc: of which copy.
            session: which.
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

    async def query(self, errand: Query, at: Position | None, call: Call) -> Queried:
        """See `torua.node.serving.GraphReads.query`.

        Args:
            errand: what to read.
            at: what is to be shown at least; None in a session that is open.
            call: who asks, and how long it waits.
        """
        graph = await self._graph(errand, call)
        alloc = self._copies.copy_of(errand.shard)
        if errand.session and alloc != errand.alloc:
            raise UnavailableError("that copy is here no more", shard=errand.shard)
        piece = await self._store.read(
            alloc,
            graph,
            at.seq if at else 0,
            errand.fragments,
            call.timeout_s,
            errand.keep,
            errand.session,
        )
        return Queried(piece, alloc, self._at(errand.shard, piece.seq))

    async def more(self, errand: QueryMore, call: Call) -> Queried:
        """See `torua.node.serving.GraphReads.more`.

        Args:
            errand: of which answer.
            call: who asks, and how long it waits.
        """
        piece = await self._store.more(errand.alloc, errand.session)
        return Queried(piece, errand.alloc, self._at(errand.shard, piece.seq))

    async def release(self, errand: QueryRelease) -> Released:
        """See `torua.node.serving.GraphReads.release`."""
        await self._store.release(errand.alloc, errand.session)
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
