"""The shards that one query reads, each at one instant.

A shard is visited by asking a copy of it for fragments; where more will be asked, its
transaction stays open, and whatever follows is read in it.  An answer that is large
comes in pieces, each asked for once the last one came, so that a node never sends more
than is taken.  If the copy goes away in between, all that was read of the shard is
void: the query begins anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from torua.core.graph.fragments import Fragment
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call
from torua.core.reading import Token, spell_tokens
from torua.errors import StaleRouteError, ToruaError, UnavailableError
from torua.node.errands import (
    Measure,
    Measured,
    Queried,
    Query,
    QueryMore,
    QueryRelease,
)
from torua.node.graph.budget import Claim
from torua.node.outcomes import all_of
from torua.node.parcels import Asked, Visited

RELEASE_S = 2.0
"""How long a release may take; a session that nobody releases ends by itself."""

Parts = tuple[bytes, ...]
"""The Arrow IPC streams that one fragment was answered with."""

Answers = tuple[Parts, ...]
"""What came of all fragments of one shard, in order."""

Sizes = Mapping[str, tuple[int, int]]
"""Rows and estimated bytes by table."""


class LostVisitError(UnavailableError):
    """A copy went away while it was read; the query is to begin anew."""

    code = "lost-visit"


class Shards(Protocol):
    """The way to all shards: see `torua.node.router`."""

    async def query_all(
        self, asked: Sequence[Asked], call: Call
    ) -> list[Visited | ToruaError]:
        """Read at some shards at once.

        Args:
            asked: what, and where a transaction is open.
            call: who asks, and how long it waits.
        """

    async def measure(self, errand: Measure, call: Call) -> Measured:
        """Count rows at a shard.

        Args:
            errand: of which graph.
            call: who asks, and how long it waits.
        """

    async def continue_query(
        self, node: NodeId, errand: QueryMore, call: Call
    ) -> Queried:
        """Fetch the next piece of an answer.

        Args:
            node: where it is.
            errand: of which.
            call: who asks, and how long it waits.
        """

    async def release(self, node: NodeId, errand: QueryRelease, call: Call) -> None:
        """End transactions.

        Args:
            node: where they are.
            errand: which.
            call: who asks.
        """

    @property
    def slots_version(self) -> int:
        """The version of the slot table by which shards are chosen now."""

    def shards(self) -> tuple[ShardId, ...]:
        """List all shards."""

    def shard_of_key(self, key: bytes) -> ShardId:
        """Tell where a key lives."""

    def shards_of_keys(self, keys: Iterable[bytes]) -> Iterable[ShardId]:
        """Tell where many keys live, in order."""


class _Open(Struct, frozen=True):
    """A transaction that is open at a copy."""

    node: NodeId
    alloc: AllocId
    session: str


class Visits:
    """What one query read, and where it reads on.

    Invariants: a shard is read in one transaction, and all of them by one slot table;
    what is open is released by `end`, or once its answer comes after that; every byte
    that came before it is claimed.

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
        self._slots_version = shards.slots_version
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
    ) -> dict[ShardId, Answers]:
        """Read fragments at several shards at once.

        Args:
            wanted: by shard; shards of which nothing is wanted are not asked.
            keep: whether more will be asked of them.

        Returns:
            For each shard, and each of its fragments in order, what came of it.
        """
        self.rounds += 1
        shards = [shard for shard, fragments in wanted.items() if fragments]
        asked = [self._asked(shard, tuple(wanted[shard]), keep) for shard in shards]
        answers = await self._shards.query_all(asked, self._call())
        for shard, answer in zip(shards, answers, strict=True):
            if not isinstance(answer, ToruaError):
                self._opened(shard, *answer)
        if self._ended:
            self.end()
            raise LostVisitError("the query is over")
        found = await all_of(
            self._whole(each.errand, answer)
            for each, answer in zip(asked, answers, strict=True)
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
                Measure(
                    shard,
                    0,
                    graph.name,
                    graph.version,
                    slots_version=self._slots_version,
                ),
                self._call(),
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
        self._release()

    def _release(self) -> None:
        """End all transactions that are open, by one message a node."""
        by_node: dict[NodeId, list[tuple[ShardId, _Open]]] = {}
        for shard, opened in self._open.items():
            by_node.setdefault(opened.node, []).append((shard, opened))
        for node, several in by_node.items():
            sessions = tuple((opened.alloc, opened.session) for _, opened in several)
            errand = QueryRelease(several[0][0], 0, sessions)
            releasing = self._shards.release(
                node, errand, Call("", timeout_s=RELEASE_S)
            )
            Deferred.fromCoroutine(releasing).addErrback(_unreleased)
        self._open.clear()

    def _asked(
        self, shard: ShardId, fragments: tuple[Fragment, ...], keep: bool
    ) -> Asked:
        """Ask for fragments, in the transaction that is open or in a new one."""
        graph, opened = self._graph, self._open.get(shard)
        errand = Query(
            shard,
            0,
            graph.name,
            graph.version,
            fragments,
            keep=keep,
            slots_version=self._slots_version,
        )
        if opened is None:
            assert shard not in self._tokens, "a shard is read in one transaction"
            return Asked(errand)
        alloc, session = opened.alloc, opened.session
        return Asked(replace(errand, alloc=alloc, session=session), opened.node)

    async def _whole(self, errand: Query, first: Visited | ToruaError) -> Answers:
        """Take all pieces of one shard's answer, or say why there is none."""
        if isinstance(first, ToruaError):
            raise _lost(first, errand) if errand.session else first
        queried, node = first
        results: list[list[bytes]] = [[] for _ in errand.fragments]
        while True:
            piece = queried.piece
            for number, stream in piece.results:
                self._claim.take(len(stream))
                results[number].append(stream)
            if not piece.more:
                return tuple(tuple(parts) for parts in results)
            more = QueryMore(errand.shard, 0, queried.alloc, piece.session)
            try:
                queried = await self._shards.continue_query(node, more, self._call())
            except (UnavailableError, StaleRouteError) as error:
                raise _lost(error, more) from error
            self._opened(errand.shard, queried, node)
            if self._ended:
                self.end()
                raise LostVisitError("the query is over", shard=errand.shard)

    def _opened(self, shard: ShardId, queried: Queried, node: NodeId) -> None:
        """Remember what was seen, and what is open now."""
        piece = queried.piece
        if piece.session:
            self._open[shard] = _Open(node, queried.alloc, piece.session)
        else:
            self._open.pop(shard, None)
        self.graves = self.graves or piece.graves
        if queried.at is not None:
            self._tokens[shard] = Token(shard, queried.at)


def _lost(error: ToruaError, errand: Query | QueryMore) -> ToruaError:
    """Say that what was read is void, where a transaction is gone."""
    if not isinstance(error, UnavailableError | StaleRouteError):
        return error
    return LostVisitError(error.detail, shard=errand.shard)


def _unreleased(failure: Failure) -> None:
    """Leave a session to its end by itself."""
    failure.trap(ToruaError)
