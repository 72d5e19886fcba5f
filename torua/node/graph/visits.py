"""The shards that one query reads, each at one instant.

A shard is visited by asking a copy of it for fragments; where more will be asked, its
transaction stays open, and whatever follows is read in it.  An answer that is large
comes in pieces, each asked for once the last one came, so that a node never sends more
than is taken.  If the copy goes away in between, all that was read of the shard is
void: the query begins anew.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from torua.core.graph.fragments import Fragment
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.core.reading import Token, spell_tokens
from torua.errors import ToruaError, UnavailableError
from torua.node.errands import (
    Measure,
    Measured,
    Queried,
    Query,
    QueryMore,
    QueryRelease,
)
from torua.node.graph.budget import Claim

T = TypeVar("T")

RELEASE_S = 2.0
"""How long a release may take; a session that nobody releases ends by itself."""

Parts = tuple[bytes, ...]
"""The Arrow IPC streams that one fragment was answered with."""


Sizes = Mapping[str, tuple[int, int]]
"""Rows and estimated bytes by table."""


class LostVisitError(UnavailableError):
    """A copy went away while it was read; the query is to begin anew."""

    code = "lost-visit"


class Shards(Protocol):
    """The way to all shards: see `torua.node.router`."""

    async def query(self, errand: Query, call: Call) -> tuple[Queried, NodeId]:
        """Read at a shard.

        Args:
            errand: what.
            call: who asks, and how long it waits.
        """

    async def measure(self, errand: Measure, call: Call) -> Measured:
        """Count rows at a shard.

        Args:
            errand: of which graph.
            call: who asks, and how long it waits.
        """

    async def continue_query(
        self, node: NodeId, errand: Query | QueryMore, call: Call
    ) -> Queried:
        """Read on in an open transaction.

        Args:
            node: where it is.
            errand: what.
            call: who asks, and how long it waits.
        """

    async def release(self, node: NodeId, errand: QueryRelease, call: Call) -> None:
        """End a transaction.

        Args:
            node: where it is.
            errand: which.
            call: who asks.
        """

    def shards(self) -> tuple[ShardId, ...]:
        """List all shards."""

    def shard_of_key(self, key: bytes) -> ShardId:
        """Tell where a key lives."""


class _Open(Struct, frozen=True):
    """A transaction that is open at a copy."""

    node: NodeId
    alloc: AllocId
    session: str


class Visits:
    """What one query read, and where it reads on.

    Invariants: a shard is read in one transaction; what is open is released by `end`,
    or once its answer comes after that; every byte that came before it is claimed.

    Threading: the reactor's thread.

    Attributes:
        graves: whether a shard that was read has graves.
        rounds: how many times shards were asked, one after the other.
    """

    def __init__(
        self, shards: Shards, graph: Graph, call: Callable[[], Call], claim: Claim
    ) -> None:
        """Begin with nothing read.

        Args:
            shards: the way to them.
            graph: the schema that all fragments are made with.
            call: tells who asks, with the time that is left.
            claim: the bytes that it holds; they are given back at the end.
        """
        self._shards = shards
        self._graph = graph
        self._call = call
        self._claim = claim
        self._ended = False
        self._open: dict[ShardId, _Open] = {}
        self._tokens: dict[ShardId, Token] = {}
        self.graves = False
        self.rounds = 0

    @property
    def touched(self) -> tuple[ShardId, ...]:
        """The shards that were read."""
        return tuple(sorted(self._tokens))

    @property
    def bytes(self) -> int:
        """How many bytes came."""
        return self._claim.held

    @property
    def tokens(self) -> str:
        """What was read of each shard, as a session passes it back."""
        return spell_tokens(self._tokens[shard] for shard in self.touched)

    async def read_all(
        self,
        wanted: Mapping[ShardId, Sequence[Fragment]],
        keep: bool = False,
    ) -> dict[ShardId, tuple[Parts, ...]]:
        """Read fragments at several shards at once.

        Args:
            wanted: by shard; shards of which nothing is wanted are not asked.
            keep: whether more will be asked of them.

        Returns:
            For each shard, and each of its fragments in order, what came of it.
        """
        self.rounds += 1
        shards = [shard for shard, fragments in wanted.items() if fragments]
        found = await all_of(
            self._read(shard, tuple(wanted[shard]), keep) for shard in shards
        )
        return dict(zip(shards, found, strict=True))

    def expect(self, count: int) -> None:
        """Raise QueryTooLargeError where so many bytes, by estimate, are too many."""
        self._claim.expect(count)

    async def measure(self, shards: Iterable[ShardId]) -> Sizes:
        """Count rows and estimated bytes of each table, over some shards.

        They are not of the instant at which anything else is read.
        """
        graph = self._graph
        measured = await all_of(
            self._shards.measure(
                Measure(shard, 0, graph.name, graph.version), self._call()
            )
            for shard in shards
        )
        total: dict[str, tuple[int, int]] = {}
        for each in measured:
            for table, (rows, size) in each.rows.items():
                known = total.get(table, (0, 0))
                total[table] = (known[0] + rows, known[1] + size)
        return total

    def end(self) -> None:
        """Release whatever is open or claimed; nothing is waited for."""
        self._ended = True
        self._claim.end()
        for shard, opened in self._open.items():
            errand = QueryRelease(shard, 0, opened.alloc, opened.session)
            releasing = self._shards.release(
                opened.node, errand, Call("", timeout_s=RELEASE_S)
            )
            Deferred.fromCoroutine(releasing).addErrback(_unreleased)
        self._open.clear()

    async def _read(
        self, shard: ShardId, fragments: tuple[Fragment, ...], keep: bool
    ) -> tuple[Parts, ...]:
        """Read fragments at one shard, all pieces of their answers."""
        queried, node = await self._first(shard, fragments, keep)
        results: list[list[bytes]] = [[] for _ in fragments]
        while True:
            piece = queried.piece
            if piece.session:
                self._open[shard] = _Open(node, queried.alloc, piece.session)
            else:
                self._open.pop(shard, None)
            if self._ended:
                self.end()
                raise LostVisitError("the query is over", shard=shard)
            self._note(shard, queried)
            for number, stream in piece.results:
                self._claim.take(len(stream))
                results[number].append(stream)
            if not piece.more:
                return tuple(tuple(parts) for parts in results)
            errand = QueryMore(shard, 0, queried.alloc, piece.session)
            queried = await self._continue(node, errand)

    async def _first(
        self, shard: ShardId, fragments: tuple[Fragment, ...], keep: bool
    ) -> tuple[Queried, NodeId]:
        """Ask for fragments, in the transaction that is open or in a new one."""
        graph, opened = self._graph, self._open.get(shard)
        errand = Query(shard, 0, graph.name, graph.version, fragments, keep=keep)
        if opened is None:
            assert shard not in self._tokens, "a shard is read in one transaction"
            return await self._shards.query(errand, self._call())
        reading = Query(
            shard,
            0,
            graph.name,
            graph.version,
            fragments,
            keep=keep,
            alloc=opened.alloc,
            session=opened.session,
        )
        return await self._continue(opened.node, reading), opened.node

    async def _continue(self, node: NodeId, errand: Query | QueryMore) -> Queried:
        """Read on; what was read is void where that can't be done."""
        try:
            return await self._shards.continue_query(node, errand, self._call())
        except UnavailableError as error:
            raise LostVisitError(error.detail, shard=errand.shard) from error

    def _note(self, shard: ShardId, queried: Queried) -> None:
        """Remember what was seen."""
        self.graves = self.graves or queried.piece.graves
        if queried.at is not None:
            self._tokens[shard] = Token(shard, queried.at)


def _unreleased(failure: Failure) -> None:
    """Leave a session to its end by itself."""
    failure.trap(ToruaError)


async def all_of(parts: Iterable[Coroutine[Deferred[T], object, T]]) -> list[T]:
    """Run coroutines at once, and return what each returned, in order.

    The first that fails is raised; the others run on, for nobody.
    """
    running = [Deferred.fromCoroutine(part) for part in parts]
    try:
        return await gatherResults(running, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
        raise
