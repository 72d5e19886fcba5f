"""Errands done at this node: at its primaries, or at any copy that is fresh enough.

A read that is not linearizable waits until the copy has applied what the session saw,
and then reads what the copy has committed.
"""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from torua.core.ids import ShardId
from torua.core.kv import Call, Entry, Operation, Outcome, Page
from torua.core.reading import Level, Position, Reading
from torua.core.replication.batch import weight_of
from torua.errors import ToruaError, UnavailableError
from torua.node.errands import (
    Apply,
    Done,
    Errand,
    Fetch,
    Found,
    GraphAnswer,
    GraphErrand,
    Listed,
    Mark,
    Marked,
    Measure,
    Measured,
    Parcel,
    Queried,
    Query,
    QueryMore,
    QueryRelease,
    Refused,
    Released,
    Scan,
    Unpacked,
    needs_primary,
)
from torua.node.outcomes import outcomes_of

Answer = Done | Found | Listed | Marked | GraphAnswer
"""What comes of an errand."""

CATCH_UP_S = 0.5
"""How long a copy that lags is waited for before another one is asked."""

PROBE_KEY = b"-"
"""Read to have the primary confirmed; whether it is there does not matter."""


class Shards(Protocol):
    """The primaries that this node holds.  All raise `ToruaError`s."""

    async def taken_over(self, shard: ShardId, size: int, within_s: float) -> bool:
        """Wait for a primary here that takes over or hands over; False where none does.

        Args:
            shard: whose primary is here.
            size: of what is asked, in bytes.
            within_s: how long its caller waits.
        """

    async def write(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations in order, at the primary; one outcome each.

        Args:
            shard: whose primary is here.
            operations: what to do.
            call: who asks.
        """

    async def get(self, shard: ShardId, key: bytes, call: Call) -> Entry | None:
        """Read one key at the primary, linearizable; None where it is absent.

        Args:
            shard: whose primary is here.
            key: which key.
            call: who asks.
        """

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys in byte order at the primary, linearizable.

        Args:
            shard: whose primary is here.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """


class Looks(Protocol):
    """Any copy that this node holds: see `torua.node.looks`."""

    def position(self, shard: ShardId) -> Position | None:
        """Tell what the copy here has applied; None where none can be read."""

    async def reached(self, shard: ShardId, seq: int, timeout_s: float) -> None:
        """Wait until the copy here has applied a record.

        Args:
            shard: whose copy.
            seq: which record.
            timeout_s: how long to wait at most.

        Raises:
            UnavailableError: it did not in time, or there is no copy to be read.
        """

    def peek(self, shard: ShardId, key: bytes) -> Entry | None:
        """Read one key at the copy here, as of what it has applied.

        Args:
            shard: whose copy.
            key: which key.
        """

    def peek_page(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys at the copy here, as of what it has applied.

        Args:
            shard: whose copy.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """


class GraphReads(Protocol):
    """The graph engines of the copies here: see `torua.node.graph.reads`."""

    async def query_all(
        self, asked: Sequence[tuple[Query, Position | None]], call: Call
    ) -> list[Queried | ToruaError]:
        """Read rows at copies here, at each what is asked of it.

        Args:
            asked: what to read of one graph, and what is to be shown at least; None in
                a session that is open.
            call: who asks, and how long it waits.
        """

    async def more(self, errand: QueryMore, call: Call) -> Queried:
        """Return the next piece of an answer.

        Args:
            errand: of which.
            call: who asks, and how long it waits.
        """

    def release(self, errand: QueryRelease) -> Released:
        """End sessions."""

    async def measure(self, errand: Measure, at: Position, call: Call) -> Measured:
        """Count rows at the copy here.

        Args:
            errand: of which graph.
            at: what is to be counted at least.
            call: who asks, and how long it waits.
        """


class Serving:
    """Does errands with the copies of this node.

    Invariants: what an answer shows was committed, and is up to its ``at`` or before;
    a session's read shows what the session saw.

    Threading: the reactor's thread only.
    """

    def __init__(
        self, shards: Shards, looks: Looks, graphs: GraphReads | None = None
    ) -> None:
        """Serve from the copies here.

        Args:
            shards: as primaries.
            looks: as any copies.
            graphs: as graphs; None where there are only keys and values.
        """
        self._shards = shards
        self._looks = looks
        self._graphs = graphs

    async def do(self, errand: Errand, call: Call) -> Answer:
        """Do an errand here, or raise the `ToruaError` that says why not.

        Args:
            errand: what to do.
            call: who asks, and how long it waits.
        """
        shards, shard = self._shards, errand.shard
        match errand:
            case Apply(operations=operations):
                outcomes = await shards.write(shard, operations, call)
                return Done(outcomes, self._looks.position(shard))
            case Fetch(key=key, reading=reading):
                entry = await self._get(shard, key, reading, call)
                return Found(entry, self._looks.position(shard))
            case Scan():
                page = await self._scan(errand, call)
                return Listed(page, self._looks.position(shard))
            case Mark():
                at = self._looks.position(shard)
                await shards.get(shard, PROBE_KEY, call)
                return Marked(at)
            case _:
                return await self._do_graph(errand, call)

    async def taken_over(self, errand: Errand, within_s: float) -> bool:
        """Wait until what an errand was refused for is over; False where it stays.

        Args:
            errand: was refused, before anything was done.
            within_s: how long its caller waits.
        """
        if not needs_primary(errand):
            return False
        operations = errand.operations if isinstance(errand, Apply) else ()
        size = sum(map(weight_of, operations))
        return await self._shards.taken_over(errand.shard, size, within_s)

    async def _do_graph(self, errand: GraphErrand, call: Call) -> GraphAnswer:
        """Do an errand of a graph, as fresh as it must be."""
        if self._graphs is None:
            raise UnavailableError("no graphs are served here", shard=errand.shard)
        match errand:
            case QueryMore():
                return await self._graphs.more(errand, call)
            case QueryRelease():
                return self._graphs.release(errand)
            case Parcel(errands=errands):
                found = await self._query_all(self._graphs, errands, call)
                return Unpacked(tuple(_spelled(each) for each in found))
            case Query():
                (answer,) = await self._query_all(self._graphs, (errand,), call)
                if isinstance(answer, ToruaError):
                    raise answer
                return answer
            case Measure():
                at = await self._fresh(errand.shard, errand.reading, call)
                return await self._graphs.measure(errand, at, call)

    async def _query_all(
        self, graphs: GraphReads, errands: Sequence[Query], call: Call
    ) -> list[Queried | ToruaError]:
        """Read rows at several copies, each as fresh as it must be.

        Where the primary has to be confirmed, that and the reading go on at once: the
        rows shown are those up to a place that was taken before, or newer ones, all of
        them committed; without the confirmation they are thrown away.
        """
        places = await outcomes_of(self._place(errand, call) for errand in errands)
        proofs = outcomes_of(
            self._proof(errand, place, call)
            for errand, place in zip(errands, places, strict=True)
        )
        proving = Deferred.fromCoroutine(proofs)
        asked = [
            (errand, place)
            for errand, place in zip(errands, places, strict=True)
            if not isinstance(place, ToruaError)
        ]
        answers = iter(await graphs.query_all(asked, call))
        found = [
            place if isinstance(place, ToruaError) else next(answers)
            for place in places
        ]
        for at, proof in enumerate(await proving):
            answer = found[at]
            if isinstance(proof, ToruaError) and isinstance(answer, Queried):
                _let_go(graphs, errands[at].shard, answer)
                found[at] = proof
        return found

    async def _place(self, errand: Query, call: Call) -> Position | None:
        """Return what a copy must show; None in a transaction that is open."""
        if errand.session:
            return None
        if errand.reading.level is not Level.LINEARIZABLE:
            await self._catch_up(errand.shard, errand.reading, call)
        at = self._looks.position(errand.shard)
        if at is None:
            raise _no_copy(errand.shard)
        return at

    async def _proof(
        self, errand: Query, place: Position | ToruaError | None, call: Call
    ) -> None:
        """Have a primary confirmed, where what it shows has to be the newest."""
        linearizable = errand.reading.level is Level.LINEARIZABLE
        if linearizable and isinstance(place, Position):
            await self._shards.get(errand.shard, PROBE_KEY, call)

    async def _fresh(self, shard: ShardId, reading: Reading, call: Call) -> Position:
        """Return what must be shown to be as fresh as is asked.

        What the copy has applied is taken first, and confirmed after: all that was
        acknowledged before this was asked is in it.
        """
        if reading.level is not Level.LINEARIZABLE:
            await self._catch_up(shard, reading, call)
        at = self._looks.position(shard)
        if at is None:
            raise _no_copy(shard)
        if reading.level is Level.LINEARIZABLE:
            await self._shards.get(shard, PROBE_KEY, call)
        return at

    async def _get(
        self, shard: ShardId, key: bytes, reading: Reading, call: Call
    ) -> Entry | None:
        """Read a key as fresh as it must be."""
        if reading.level is Level.LINEARIZABLE:
            return await self._shards.get(shard, key, call)
        await self._catch_up(shard, reading, call)
        return self._looks.peek(shard, key)

    async def _scan(self, errand: Scan, call: Call) -> Page:
        """List keys as fresh as they must be."""
        shard, limit, values = errand.shard, errand.limit, errand.values
        prefix, after = errand.prefix, errand.after
        if errand.reading.level is Level.LINEARIZABLE:
            return await self._shards.scan(shard, prefix, after, limit, values)
        await self._catch_up(shard, errand.reading, call)
        return self._looks.peek_page(shard, prefix, after, limit, values)

    async def _catch_up(self, shard: ShardId, reading: Reading, call: Call) -> None:
        """Wait until the copy here has applied what the session saw."""
        for token in reading.of(shard).seen:
            seen = token.position
            if self._applied(shard, seen) < seen.seq:
                left_s = min(call.timeout_s, CATCH_UP_S)
                await self._looks.reached(shard, seen.seq, left_s)
                self._applied(shard, seen)
        if self._looks.position(shard) is None:
            raise _no_copy(shard)

    def _applied(self, shard: ShardId, seen: Position) -> int:
        """Tell what the copy here has applied, in the history that was seen."""
        at = self._looks.position(shard)
        if at is None or at.history != seen.history:
            raise _no_copy(shard)
        return at.seq


def _let_go(graphs: GraphReads, shard: ShardId, answer: Queried) -> None:
    """End the transaction of an answer that nobody is given."""
    if answer.piece.session:
        sessions = ((answer.alloc, answer.piece.session),)
        graphs.release(QueryRelease(shard, 0, sessions))


def _spelled(answer: Queried | ToruaError) -> Queried | Refused:
    """Spell an answer of a parcel."""
    if isinstance(answer, Queried):
        return answer
    return Refused(answer.code, answer.detail, dict(answer.members))


def _no_copy(shard: ShardId) -> UnavailableError:
    """Make the error of a shard that cannot be read here."""
    detail = f"this node has no copy of shard {shard} that shows it"
    return UnavailableError(detail, shard=shard)
