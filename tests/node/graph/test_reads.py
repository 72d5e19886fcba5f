"""Tests for graphs read through two routers, a wire of real CBOR, and engines."""

from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, Holdings, States, Wire, alloc, state_of, targets
from tests.node.graph.fakes import GRAPH
from torua.core.graph.fragments import (
    CopyRead,
    Expand,
    Fetch,
    Fragment,
    Piece,
    Scan,
    Text,
)
from torua.core.graph.schema import Graph
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Call, Entry
from torua.core.reading import Level, Position, Reading, Token
from torua.errors import (
    NotFoundError,
    StaleSchemaError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)
from torua.net.peers import Lane
from torua.node.errands import Measure, Query, QueryMore, QueryRelease
from torua.node.graph.reads import Reads
from torua.node.parcels import PARCEL_MAX, Asked, Visited
from torua.node.router import Router

T = TypeVar("T")
CALL = Call("r1", timeout_s=5.0)
FRAGMENTS: tuple[Fragment, ...] = (
    Text("MATCH (n) RETURN n", {"a": None, "b": b"\0", "c": [1.5, {"d": "e"}]}),
    Fetch("Person", (1, -(2**63)), ("id",)),
    Scan("Knows", ("Person", "Person"), where="r.x = $y", parameters={"y": 2**64}),
    Expand("Knows", ("Person", "Person"), ("é",), outgoing=False),
)


class Stores(Holdings):
    """Shards whose copies can be read as graphs.

    Invariants: what is asked of the engine is noted.
    """

    def __init__(self, *held: int) -> None:
        """Hold some shards."""
        super().__init__(*held)
        self.asked: list[tuple[Any, ...]] = []
        self.batches: list[int] = []
        self.refusals: list[ToruaError] = []
        self.unproven: set[ShardId] = set()

    def hold(self, *shards: int) -> None:
        """Hold more shards."""
        self.held |= {ShardId(shard): {} for shard in shards}

    async def get(self, shard: ShardId, key: bytes, call: Call) -> Entry | None:
        """Confirm that a primary is one, or that it is none any more.

        Args:
            shard: whose.
            key: which.
            call: who asks.
        """
        if shard in self.unproven:
            raise UnavailableError("not confirmed")
        return await super().get(shard, key, call)

    def copy_of(self, shard: ShardId) -> AllocId:
        """Name the copy."""
        return alloc(shard)

    async def read_all(
        self, graph: Graph, reads: Sequence[CopyRead], timeout_s: float
    ) -> list[Piece | ToruaError]:
        """Answer with bytes, or refuse what it was told to.

        Args:
            graph: noted.
            reads: noted.
            timeout_s: above 0.
        """
        assert timeout_s > 0
        self.batches.append(len(reads))
        return [self._piece(graph, read) for read in reads]

    def _piece(self, graph: Graph, read: CopyRead) -> Piece | ToruaError:
        """Answer one read."""
        noted = (read.at_least, read.fragments, read.keep, read.session)
        self.asked.append((read.alloc, graph, *noted))
        if self.refusals:
            return self.refusals.pop(0)
        session = "s1" if read.keep else ""
        return Piece(9, session, False, ((0, b"\xff"),), more=read.keep)

    async def more(self, alloc: AllocId, session: str) -> Piece:
        """Answer the rest.

        Args:
            alloc: noted.
            session: noted.
        """
        self.asked.append((alloc, session))
        return Piece(9, "", False, ((0, b"\xfe"),))

    def release(self, sessions: Sequence[tuple[AllocId, str]]) -> None:
        """Note it."""
        self.asked += [(*each, "released") for each in sessions]

    async def rows(self, alloc: AllocId, graph: Graph) -> dict[str, tuple[int, int]]:
        """Count.

        Args:
            alloc: noted.
            graph: noted.
        """
        return {"Person": (3, 100)}


class OneSchema:
    """A schema that this node has applied.

    Invariants: none of its own.
    """

    def __init__(self) -> None:
        """Begin with the newest."""
        self.known = GRAPH

    def graph(self, name: str) -> Graph:
        """Return it."""
        return self.known

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return it, or refuse to wait.

        Args:
            name: which.
            version: at least.
            timeout_s: how long.
        """
        if name != self.known.name:
            raise NotFoundError("no such graph")
        if self.known.version < version:
            raise UnavailableError("not yet")
        return self.known


class ReadsTests(SynchronousTestCase):
    """Shard 0 is on node one, shard 1 on node two; node one is asked."""

    def setUp(self) -> None:
        """Make two nodes."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.states = States(state_of({0: ONE, 1: TWO}))
        self.stores = {ONE: Stores(0), TWO: Stores(1)}
        self.schemas = OneSchema()
        self.routers = {node: self.router(node) for node in (ONE, TWO)}
        self.router_ = self.routers[ONE]

    def router(self, node: Any) -> Router:
        """Make a node's router."""
        store = self.stores[node]
        return Router(
            node,
            self.states,
            (store, store),
            self.wire.end(node),
            self.clock,
            is_live=lambda _: True,
            random=Random(1),
            targets=targets(node, self.clock),
            graphs=Reads(store, self.schemas, store),
        )

    def value(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def query(self, shard: int, **given: Any) -> Query:
        """Make a query."""
        return Query(ShardId(shard), 0, "g", GRAPH.version, FRAGMENTS, **given)

    def read(
        self, errand: Query, call: Call = CALL, at: NodeId | None = None
    ) -> Visited:
        """Return what one shard answers at once, or raise why it does not.

        Args:
            errand: what is asked.
            call: who asks.
            at: where its transaction is open.
        """
        (answer,) = self.value(self.router_.query_all([Asked(errand, at)], call))
        if isinstance(answer, ToruaError):
            raise answer
        return answer

    def test_fragments_and_bytes_survive_the_wire(self) -> None:
        """Whatever cells there are, at the own node and at another."""
        for shard, node in ((0, ONE), (1, TWO)):
            queried, who = self.read(self.query(shard))
            self.assertEqual(who, node)
            self.assertEqual(queried.piece.results, ((0, b"\xff"),))
            self.assertEqual(queried.at, Position("h", 9))
            ((at, graph, _, fragments, keep, session),) = self.stores[node].asked
            self.assertEqual((at, graph), (alloc(shard), GRAPH))
            self.assertEqual(fragments, FRAGMENTS)
            self.assertEqual((keep, session), (False, ""))
        self.assertEqual(self.wire.asked, [(TWO, "kv", Lane.READS)])

    def test_what_the_primary_has_applied_must_be_shown(self) -> None:
        """As of before it was confirmed."""
        self.stores[TWO].applied[1] = 42
        self.read(self.query(1))
        self.assertEqual(self.stores[TWO].asked[0][2], 42)
        self.assertEqual(len(self.stores[TWO].calls), 1)

    def test_a_session_is_shown_what_it_saw_without_the_primarys_word(self) -> None:
        """A copy that has applied it is good enough; one that lags is not."""
        seen = Reading(Level.SESSION, (Token(ShardId(1), Position("h", 5)),))
        call = structs.replace(CALL, reading=seen)
        self.stores[TWO].applied[1] = 6
        self.read(self.query(1), call)
        self.assertEqual(self.stores[TWO].asked[0][2], 6)
        self.assertEqual(self.stores[TWO].calls, [])
        self.stores[TWO].applied[1] = 4
        (late,) = self.read_all([Asked(self.query(1))], call)
        self.assertIsInstance(late, UnavailableError)

    def test_a_transaction_is_read_on_where_it_is(self) -> None:
        """Its next piece, further fragments, and its end."""
        first, node = self.read(self.query(1, keep=True))
        more = QueryMore(ShardId(1), 0, first.alloc, first.piece.session)
        rest = self.value(self.router_.continue_query(node, more, CALL))
        self.assertEqual(rest.piece.results, ((0, b"\xfe"),))
        again = self.query(1, keep=True, alloc=first.alloc, session="s1")
        self.read(again, at=node)
        self.assertEqual(self.stores[TWO].asked[-1][2:], (0, *self.tail("s1")))
        release = QueryRelease(ShardId(1), 0, ((first.alloc, "s1"),))
        self.value(self.router_.release(node, release, CALL))
        self.assertEqual(self.stores[TWO].asked[-1][2], "released")
        confirmed = self.stores[TWO].calls
        self.assertEqual(len(confirmed), 1)

    def tail(self, session: str) -> tuple[Any, ...]:
        """Return what is noted of a query behind its position."""
        return (self.stores[TWO].asked[-1][3], True, session)

    def test_a_copy_that_was_replaced_ends_its_transactions(self) -> None:
        """What was read of the old one is void."""
        again = self.query(1, alloc=AllocId("f" * 32), session="s1")
        with self.assertRaises(UnavailableError):
            self.read(again, at=TWO)

    def read_all(self, asked: list[Asked], call: Call = CALL) -> list[Any]:
        """Return what several shards answer within a minute.

        Args:
            asked: what.
            call: who asks.
        """
        waiting = Deferred.fromCoroutine(self.router_.query_all(asked, call))
        self.clock.pump([0.5] * 60)
        found: list[Any] = self.successResultOf(waiting)
        return found

    def spread(self, count: int) -> list[Asked]:
        """Put shards on node two, and make a query for each."""
        shards = range(1, count + 1)
        self.states.apply(state_of({0: ONE} | dict.fromkeys(shards, TWO)))
        self.stores[TWO].hold(*shards)
        return [Asked(self.query(shard, keep=True)) for shard in shards]

    def test_what_one_node_has_travels_together(self) -> None:
        """In one message, and by one barrier each; so do the ends."""
        asked = self.spread(PARCEL_MAX)
        answers = self.read_all(asked)
        self.assertEqual(self.wire.asked, [(TWO, "kv", Lane.READS)])
        self.assertEqual(self.stores[TWO].batches, [PARCEL_MAX])
        allocs = [answer[0].alloc for answer in answers]
        self.assertEqual(allocs, [alloc(shard) for shard in range(1, PARCEL_MAX + 1)])

    def test_more_than_fits_goes_in_several_messages(self) -> None:
        """None of them larger than a message may be."""
        self.value(self.router_.query_all(self.spread(PARCEL_MAX + 1), CALL))
        self.assertEqual(sorted(self.stores[TWO].batches), [1, PARCEL_MAX])

    def test_each_of_a_parcel_is_refused_by_itself(self) -> None:
        """What may help is tried again, the rest stays as it is."""
        asked = self.spread(3)
        self.stores[TWO].refusals = [
            UnavailableError("behind"),
            UnprocessableError("no such thing"),
        ]
        again, refused, well = self.read_all(asked)
        self.assertEqual(again[1], TWO)
        self.assertIsInstance(refused, UnprocessableError)
        self.assertEqual(well[1], TWO)
        self.assertEqual(self.stores[TWO].batches, [3, 1])

    def test_what_a_new_primary_makes_vain_is_asked_of_it_at_once(self) -> None:
        """Though the old one's node still seems to think about it."""
        asked = self.spread(2)
        self.wire.silent = {TWO}
        waiting = Deferred.fromCoroutine(self.router_.query_all(asked, CALL))
        self.assertNoResult(waiting)
        self.stores[ONE].hold(1, 2)
        self.states.apply(state_of(dict.fromkeys(range(3), ONE)))
        self.clock.pump([0.1] * 5)
        found: list[Any] = self.successResultOf(waiting)
        self.assertEqual([answer[1] for answer in found], [ONE, ONE])

    def test_a_parcel_and_what_is_tried_after_it_share_one_time(self) -> None:
        """Whoever asked waits no longer than he said."""
        asked = self.spread(2)
        self.wire.silent = {TWO}
        waiting = Deferred.fromCoroutine(self.router_.query_all(asked, CALL))
        self.clock.pump([0.5] * 11)
        for answer in self.successResultOf(waiting):
            self.assertIsInstance(answer, UnavailableError)

    def test_what_no_primary_vouches_for_is_thrown_away(self) -> None:
        """And its transaction is ended."""
        asked = self.spread(2)
        self.stores[TWO].unproven = {ShardId(1)}
        lost, well = self.read_all(asked)
        self.assertIsInstance(lost, UnavailableError)
        self.assertEqual(well[1], TWO)
        self.assertIn((alloc(1), "s1", "released"), self.stores[TWO].asked)
        self.assertNotIn((alloc(2), "s1", "released"), self.stores[TWO].asked)

    def test_a_newer_schema_is_told(self) -> None:
        """At once: nothing helps but to plan anew."""
        self.schemas.known = structs.replace(GRAPH, version=9)
        with self.assertRaises(StaleSchemaError) as caught:
            self.read(self.query(1))
        self.assertEqual(caught.exception.members["version"], 9)

    def test_rows_are_counted(self) -> None:
        """At the primary, by the engine there."""
        measure = Measure(ShardId(1), 0, "g", GRAPH.version)
        measured = self.value(self.router_.measure(measure, CALL))
        self.assertEqual(measured.rows, {"Person": (3, 100)})
