"""Shards, schemas, workers and a writer that stand for the real ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from torua.core.cypher.plan import FastWrites
from torua.core.graph.changes import Change, Changed
from torua.core.graph.fragments import Expand, Fetch, Fragment, Piece, Scan, Text
from torua.core.graph.jobs import Finished, Job
from torua.core.graph.keys import node_key
from torua.core.graph.schema import (
    Column,
    Graph,
    NodeTable,
    Placement,
    RelTable,
)
from torua.core.graph.types import Kind, Type
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call, Group, Operation, Outcome
from torua.core.reading import Position, Token
from torua.core.routing import even_slots, shard_of
from torua.errors import NotFoundError, ToruaError, UnprocessableError
from torua.node.errands import (
    Measure,
    Measured,
    Queried,
    Query,
    QueryMore,
    QueryRelease,
)
from torua.node.outcomes import outcomes_of
from torua.node.parcels import Asked, Visited

INT = Type(Kind.INT64)
PERSON = NodeTable(16, "Person", (Column(0, "id", INT), Column(1, "age", INT)), "id")
KNOWS = RelTable(17, "Knows", ((16, 16),))
GRAPH = Graph(3, "g", version=4, nodes=(PERSON,), rels=(KNOWS,))
SINGLE = Graph(5, "s", Placement.SINGLE, version=1, nodes=(PERSON,), rels=(KNOWS,))
SHARDS = 4


def stream(**columns: list[Any]) -> bytes:
    """Spell columns as an Arrow IPC stream."""
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    spelled: bytes = sink.getvalue().to_pybytes()
    return spelled


class FakeShards:
    """Shards that hold a few people who know each other.

    Invariants: a session that is open is in ``open``; what is asked is noted.
    """

    def __init__(self, knows: Mapping[int, Sequence[int]]) -> None:
        """Begin.

        Args:
            knows: for each person, whom they know.
        """
        self.knows = knows
        self.asked: list[tuple[ShardId, tuple[Fragment, ...]]] = []
        self.calls: list[Call] = []
        self.slots_version = 1
        self.open: dict[str, ShardId] = {}
        self.released: list[str] = []
        self.waiting: dict[str, bytes] = {}
        self.failures: list[ToruaError] = []
        self.later: list[ToruaError] = []
        self.promises: dict[str, bytes] = {}
        self.graves = False
        self.gone: set[int] = set()
        self.in_pieces = False
        self.sizes = {"Person": (10, 1000), "Knows": (10, 1000)}

    def shards(self) -> tuple[ShardId, ...]:
        """List them."""
        return tuple(map(ShardId, range(SHARDS)))

    def shard_of_key(self, key: bytes) -> ShardId:
        """Tell where a key lives."""
        return shard_of(even_slots(SHARDS), key)

    def shards_of_keys(self, keys: Iterable[bytes]) -> Iterator[ShardId]:
        """Tell where keys live."""
        return map(self.shard_of_key, keys)

    def home(self, person: int) -> ShardId:
        """Tell where a person lives."""
        return self.shard_of_key(node_key(GRAPH, PERSON, person))

    async def query_all(
        self, asked: Sequence[Asked], call: Call
    ) -> list[Visited | ToruaError]:
        """Answer at new instants, and at those that were read at before.

        Args:
            asked: what.
            call: who asks.
        """
        return await outcomes_of(self._visit(each.errand, call) for each in asked)

    async def _visit(self, errand: Query, call: Call) -> Visited:
        """Answer at one shard."""
        if errand.session:
            self._still_there(errand)
            return self._answer(errand, errand.session), NodeId("n")
        assert errand.slots_version == self.slots_version
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)
        session = f"s{len(self.asked)}"
        self.open[session] = errand.shard
        return self._answer(errand, session), NodeId("n")

    def _still_there(self, errand: Query | QueryMore) -> None:
        """Fail where a transaction shall be gone."""
        assert self.open[errand.session] == errand.shard
        if self.later:
            raise self.later.pop(0)

    async def continue_query(
        self, node: NodeId, errand: QueryMore, call: Call
    ) -> Queried:
        """Answer the rest.

        Args:
            node: where.
            errand: what is asked.
            call: who asks.
        """
        self._still_there(errand)
        rest = self.waiting.pop(errand.session)
        del self.open[errand.session]
        return self._queried(Piece(7, "", False, ((0, rest),)))

    async def release(self, node: NodeId, errand: QueryRelease, call: Call) -> None:
        """End a session.

        Args:
            node: where.
            errand: which.
            call: who asks.
        """
        for _, session in errand.sessions:
            del self.open[session]
            self.released.append(session)

    async def measure(self, errand: Measure, call: Call) -> Measured:
        """Tell the sizes, the same for each shard.

        Args:
            errand: of what.
            call: who asks.
        """
        return Measured(dict(self.sizes), None)

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Remember which request a key stands for.

        Args:
            shard: not looked at.
            operations: one group, of nothing.
            call: has the key.
        """
        assert operations == (Group((), ()),)
        promise = call.idempotency
        assert promise is not None
        known = self.promises.setdefault(promise.key, promise.fingerprint)
        if known != promise.fingerprint:
            raise UnprocessableError("the key was used for another request")
        return (Outcome(),), None

    def _answer(self, errand: Query, session: str) -> Queried:
        """Answer all fragments."""
        self.asked.append((errand.shard, errand.fragments))
        results = tuple(
            (number, self._rows(errand.shard, fragment))
            for number, fragment in enumerate(errand.fragments)
        )
        more = self.in_pieces
        if more:
            self.waiting[session] = results[0][1]
        if not more and not errand.keep:
            del self.open[session]
            session = ""
        return self._queried(Piece(7, session, self.graves, results, more))

    def _queried(self, piece: Piece) -> Queried:
        """Say where it was read."""
        return Queried(piece, AllocId("a"), Position("h", piece.seq))

    def _rows(self, shard: ShardId, fragment: Fragment) -> bytes:
        """Answer one fragment."""
        match fragment:
            case Text(text=text):
                return stream(text=[text])
            case Fetch(keys=keys):
                assert all(self.home(int(str(key))) == shard for key in keys)
                return stream(id=[key for key in keys if key not in self.gone])
            case Scan():
                people = [each for each in self.knows if self.home(each) == shard]
                return stream(id=people)
            case Expand():
                return self._related(shard, fragment)

    def _related(self, shard: ShardId, expand: Expand) -> bytes:
        """List relationships of a shard."""
        pairs = [
            (near, far)
            for near, others in self.knows.items()
            for far in others
            if self.home(near) == shard
            and any(each in expand.keys for each in _near(expand, near, far))
        ]
        if expand.both and expand.ends:
            ends = {far for near, far in pairs if near in expand.keys}
            ends |= {near for near, far in pairs if far in expand.keys}
            return stream(tv_to=sorted(ends))
        if expand.ends:
            name, place = ("tv_to", 1) if expand.outgoing else ("tv_from", 0)
            return stream(**{name: sorted({pair[place] for pair in pairs})})
        return stream(
            tv_from=pa.array([near for near, _ in pairs], pa.int64()),
            tv_to=pa.array([far for _, far in pairs], pa.int64()),
            tv_id=pa.array([b"i" for _ in pairs], pa.binary()),
            tv_ver=pa.array([5 for _ in pairs], pa.int64()),
            tv_born=pa.array([2 for _ in pairs], pa.int64()),
        )


def _near(expand: Expand, source: int, target: int) -> tuple[int, ...]:
    """List the ends from which a relationship is found."""
    if expand.both:
        return source, target
    return (source if expand.outgoing else target,)


class FakePool:
    """Workers that answer as they are told.

    Invariants: every job is noted.
    """

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.jobs: list[Job] = []
        self.prepared = False
        self.changes: tuple[Change, ...] = ()
        self.truncated = False

    def prepare(self) -> None:
        """Note that a job is to come."""
        self.prepared = True

    async def run(self, job: Job, timeout_s: float) -> Finished:
        """Answer one row.

        Args:
            job: noted.
            timeout_s: above 0.
        """
        assert timeout_s > 0
        self.jobs.append(job)
        body = b"[[1]]"
        return Finished(("n",), ("INT64",), body, 1, self.truncated, self.changes)


class FakeSchemas:
    """Two graphs.

    Invariants: none of its own.
    """

    def __init__(self) -> None:
        """Begin with what there is."""
        self.known = {"g": GRAPH, "s": SINGLE}
        self.defined: list[str] = []
        self.waited: list[int] = []
        self.coming: dict[str, Graph] = {}

    def graph(self, name: str) -> Graph:
        """Return one; what is coming is there when it is asked for again."""
        if name not in self.known:
            if name in self.coming:
                self.known[name] = self.coming.pop(name)
            raise NotFoundError("no such graph")
        return self.known[name]

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Note it.

        Args:
            name: which.
            version: at least.
            timeout_s: how long.
        """
        self.waited.append(version)
        if name in self.coming:
            self.known[name] = self.coming.pop(name)
        return self.known[name]

    async def define(self, name: str, text: str, call: Call) -> Graph:
        """Note it.

        Args:
            name: which.
            text: DDL.
            call: who asks.
        """
        self.defined.append(text)
        return self.known[name]


class FakeWrites:
    """A writer that does what it is told, or fails.

    Invariants: whatever is written is noted.
    """

    def __init__(self) -> None:
        """Begin with nothing written."""
        self.applied: list[tuple[Change, ...]] = []
        self.failures: list[ToruaError] = []

    async def apply(
        self, graph: Graph, changes: Sequence[Change], call: Call
    ) -> Changed:
        """Write.

        Args:
            graph: the schema.
            changes: noted.
            call: who asks.
        """
        if self.failures:
            raise self.failures.pop(0)
        self.applied.append(tuple(changes))
        return Changed(nodes_created=len(changes))

    async def fast(
        self,
        graph: Graph,
        writes: FastWrites,
        parameters: Mapping[str, object],
        call: Call,
    ) -> Changed:
        """Write what needs no gather.

        Args:
            graph: the schema.
            writes: what.
            parameters: of the statement.
            call: who asks.
        """
        if self.failures:
            raise self.failures.pop(0)
        return Changed(nodes_updated=1)
