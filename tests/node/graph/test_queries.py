"""Tests for `torua.node.graph.queries` and what it gathers with."""

import gc
from collections.abc import Coroutine, Mapping
from random import Random
from typing import Any, TypeVar

import pyarrow as pa
from msgspec import structs
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.graph.fakes import GRAPH, FakePool, FakeSchemas, FakeShards, FakeWrites
from torua.core.cypher.plan import (
    Along,
    Anchor,
    CreateNode,
    FastWrites,
    Frontier,
    Literal,
    Merge,
    MergedColumn,
    Merging,
    Parameter,
    Plan,
    Route,
    Scatter,
    SetNode,
    Strategy,
)
from torua.core.graph.changes import NodeChange
from torua.core.graph.fragments import Expand, Fetch, Scan, Text
from torua.core.graph.schema import Graph
from torua.core.graph.statement import Answered, Statement
from torua.core.kv import Call, IdempotencyKey
from torua.core.reading import Level, Reading, read_tokens
from torua.errors import (
    ConflictError,
    DuplicateError,
    MalformedError,
    MovedError,
    NotFoundError,
    QueryTimeoutError,
    QueryTooLargeError,
    StaleSchemaError,
    TooLargeError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.graph import queries
from torua.node.graph.budget import Budget
from torua.node.graph.plans import Plans
from torua.node.graph.promises import Promises
from torua.node.graph.queries import ATTEMPTS_MAX, Queries

T = TypeVar("T")

CALL = Call("r1", timeout_s=30.0)
KNOWN = {1: (2, 3), 2: (3,), 3: (4,), 4: (1,), 5: ()}
PAIR = ("Person", "Person")
SCANS = (Scan("Person"), Scan("Knows", PAIR))
WHOLE = Plan(Strategy.GATHER, ("all",), "the text", gather=SCANS)
MERGE = Merge((MergedColumn("n", Merging.COUNT, 0),), grouped=True)
CHANGE = NodeChange("Person", 9, {"id": 9})


class QueriesTests(SynchronousTestCase):
    """A statement goes to the shards that its plan says, and to a worker."""

    def setUp(self) -> None:
        """Make everything fake but the queries."""
        self.clock = Clock()
        self.shards = FakeShards(KNOWN)
        self.schemas = FakeSchemas()
        self.pool = FakePool()
        self.writes = FakeWrites()
        self.budget = Budget(query_max=100_000, node_max=200_000)
        self.registry = CollectorRegistry()
        self.plan = WHOLE
        self.refusal: ToruaError | None = None
        self.planned = 0
        self.queries = Queries(
            self.clock,
            self.shards,
            self.schemas,
            self.pool,
            self.writes,
            plans=Plans(self.planner),
            promises=Promises(self.shards),
            budget=self.budget,
            random=Random(1),
            registry=self.registry,
        )

    def planner(self, text: str, given: Mapping[str, object], graph: Graph) -> Plan:
        """Plan as the test wants it.

        Args:
            text: not looked at.
            given: not looked at.
            graph: not looked at.
        """
        self.planned += 1
        if self.refusal is not None:
            raise self.refusal
        return self.plan

    def start(self, call: Call = CALL, **given: Any) -> "Deferred[Answered]":
        """Begin a statement.

        Args:
            call: who asks.
            given: fields of the statement.
        """
        statement = Statement(**{"text": "MATCH (n) RETURN n", "graph": "g", **given})
        return Deferred.fromCoroutine(self.queries.run(statement, call))

    def run_now(self, call: Call = CALL, **given: Any) -> Answered:
        """Run a statement that waits for nothing but pauses.

        Args:
            call: who asks.
            given: fields of the statement.
        """
        answered = self.start(call, **given)
        self.clock.pump([0.5] * 20)
        return self.successResultOf(answered)

    def refused(self, kind: type[ToruaError], **given: Any) -> ToruaError:
        """Run a statement that fails; return how.

        Args:
            kind: of the error.
            given: fields of the statement.
        """
        answered = self.start(**given)
        self.clock.pump([0.5] * 20)
        error = self.failureResultOf(answered, kind).value
        assert isinstance(error, ToruaError)
        return error

    def metered(self, name: str, **labels: str) -> float:
        """Read a metric.

        Args:
            name: its.
            labels: its.
        """
        return self.registry.get_sample_value(name, labels) or 0.0

    def people(self, number: int = 0) -> list[int]:
        """List the people that the last job was given.

        Args:
            number: of the table among those gathered.
        """
        parts = self.pool.jobs[-1].tables[number].parts
        found = [pa.ipc.open_stream(part).read_all()["id"] for part in parts]
        return sorted(key for column in found for key in column.to_pylist())

    def test_all_shards_are_gathered_once_each(self) -> None:
        """Every table of every shard reaches the worker; the answer names them."""
        answered = self.run_now()
        self.assertEqual([shard for shard, _ in self.shards.asked], [0, 1, 2, 3])
        self.assertEqual(self.people(), [1, 2, 3, 4, 5])
        self.assertEqual(answered.body, b"[[1]]")
        self.assertEqual(answered.stats["strategy"], "gather")
        self.assertEqual(answered.stats["shards"], [0, 1, 2, 3])
        tokens = read_tokens(answered.tokens)
        self.assertEqual([token.position.seq for token in tokens], [7] * 4)

    def test_what_was_gathered_is_let_go_of(self) -> None:
        """Nothing is held, nothing open, whether a statement succeeds or fails."""
        self.run_now()
        self.pool.truncated = True
        self.refused(TooLargeError)
        self.assertEqual(self.budget.held, 0)
        self.assertEqual(self.shards.open, {})
        self.assertEqual(self.metered("torua_queries_running"), 0)

    def test_large_answers_come_in_pieces(self) -> None:
        """Every piece reaches the worker, and is counted."""
        self.shards.in_pieces = True
        self.run_now()
        self.assertEqual(self.people(), sorted([1, 2, 3, 4, 5] * 2))

    def test_a_single_graph_is_gathered_from_its_shard(self) -> None:
        """Others have nothing of it."""
        self.run_now(graph="s")
        self.assertEqual(len(self.shards.asked), 1)

    def test_a_key_is_asked_of_its_shard(self) -> None:
        """The fragment runs there, with the statement's parameters."""
        anchors = (Anchor("Person", (Parameter("id"),)),)
        text = Text("MATCH (n:Person {id: $id}) RETURN n.age AS n")
        route = Route(anchors, text)
        self.plan = structs.replace(WHOLE, strategy=Strategy.ROUTE, route=route)
        self.run_now(parameters={"id": 3, "other": 1})
        ((shard, (fragment,)),) = self.shards.asked
        self.assertEqual(shard, self.shards.home(3))
        self.assertEqual(fragment, Text(text.text, {"id": 3}))
        (job,) = self.pool.jobs
        assert job.merge is not None
        self.assertEqual([each.name for each in job.merge.columns], ["text"])

    def test_keys_of_several_shards_are_fetched(self) -> None:
        """Each at its own; NULL names nothing, a key given twice one node."""
        keys = Anchor("Person", (Literal([1, 2, 2, None, 3, 4]),), many=True)
        self.plan = structs.replace(
            WHOLE, strategy=Strategy.ROUTE, route=Route((keys,))
        )
        self.run_now()
        self.assertEqual(self.people(), [1, 2, 3, 4])
        for _, fragments in self.shards.asked:
            self.assertIsInstance(fragments[0], Fetch)

    def test_a_key_of_another_type_means_a_gather(self) -> None:
        """The engine may convert it; whoever doubts gathers everything."""
        anchors = (Anchor("Person", (Literal("x"),)),)
        self.plan = structs.replace(
            WHOLE, strategy=Strategy.ROUTE, route=Route(anchors)
        )
        answered = self.run_now()
        self.assertEqual(answered.stats["strategy"], "gather")
        self.assertIn("route:", str(answered.stats["instead"]))
        self.assertEqual(self.people(), [1, 2, 3, 4, 5])

    def test_partial_answers_are_merged(self) -> None:
        """Every shard's is, by the plan's merge."""
        scatter = Scatter(Text("MATCH (n) RETURN count(n)"), MERGE)
        self.plan = structs.replace(WHOLE, strategy=Strategy.SCATTER, scatter=scatter)
        self.run_now()
        (job,) = self.pool.jobs
        self.assertEqual(len(job.partials), 4)
        self.assertEqual((job.merge, job.tables), (MERGE, ()))

    def test_graves_turn_a_hop_into_a_gather(self) -> None:
        """What a dead node left may not be counted; without hops it does not matter."""
        scatter = Scatter(Text("MATCH (n) RETURN count(n)"), MERGE, hop=True)
        self.plan = structs.replace(WHOLE, strategy=Strategy.SCATTER, scatter=scatter)
        self.shards.graves = True
        self.assertEqual(self.run_now().stats["strategy"], "gather")
        self.plan = structs.replace(
            self.plan, scatter=structs.replace(scatter, hop=False)
        )
        again = self.run_now(text="MATCH (n) RETURN count(n)")
        self.assertEqual(again.stats["strategy"], "scatter")

    def around(self, *rounds: tuple[Along, ...]) -> None:
        """Plan a frontier from person 1."""
        anchors = (Anchor("Person", (Literal(1),)),)
        frontier = Frontier(anchors, rounds, (("Person", None),))
        self.plan = structs.replace(
            WHOLE, strategy=Strategy.FRONTIER, frontier=frontier
        )

    def test_a_frontier_finds_what_is_around(self) -> None:
        """Along the stored direction one hop, then two; each shard at one instant."""
        out = (Along("Knows", PAIR, outgoing=True),)
        self.around(out)
        self.run_now()
        self.assertEqual(self.people(), [1, 2, 3])
        self.around(out, out)
        self.run_now(text="MATCH two hops")
        self.assertEqual(self.people(), [1, 2, 3, 4])
        self.assertEqual(self.shards.open, {})
        self.shards.asked.clear()
        self.around(out, out, out)
        self.run_now(text="MATCH three hops")
        expanded = [
            key
            for _, fragments in self.shards.asked
            for fragment in fragments
            if isinstance(fragment, Expand)
            for key in fragment.keys
        ]
        self.assertEqual(sorted(map(str, expanded)), ["1", "2", "3", "4"])

    def test_a_frontier_goes_against_the_direction_too(self) -> None:
        """All shards are asked who knows person 1."""
        self.around((Along("Knows", PAIR, outgoing=False),))
        self.run_now()
        self.assertEqual(self.people(), [1, 4])

    def test_a_round_that_expands_nothing_ends_nothing(self) -> None:
        """A later one may follow another way from nodes that were seen before."""
        self.around((), (Along("Knows", PAIR, outgoing=True),))
        self.run_now()
        self.assertEqual(self.people(), [1, 2, 3])

    def test_a_frontier_that_is_no_small_one_means_a_gather(self) -> None:
        """Whole tables are cheaper."""
        out = (Along("Knows", PAIR, outgoing=True),)
        self.around(*([out] * 41))
        self.assertEqual(self.run_now().stats["strategy"], "gather")

    def test_a_refused_fragment_means_a_gather(self) -> None:
        """What is wrong then is told as the one engine tells it."""
        scatter = Scatter(Text("MATCH (n) RETURN sum(n)"), MERGE)
        self.plan = structs.replace(WHOLE, strategy=Strategy.SCATTER, scatter=scatter)
        self.shards.failures = [UnprocessableError("no")]
        self.assertEqual(self.run_now().stats["strategy"], "gather")

    def test_what_was_measured_as_too_large_is_not_gathered(self) -> None:
        """The error has the estimate; a filter's result nobody knows before."""
        self.shards.sizes = {"Person": (9, 1000), "Knows": (9, 50_000)}
        error = self.refused(QueryTooLargeError)
        self.assertEqual(error.members["estimate"], 4 * 51_000)
        self.assertEqual(self.shards.asked, [])
        few = (Scan("Person"), Scan("Knows", PAIR, where="r.x = 1"))
        self.plan = structs.replace(WHOLE, gather=few)
        self.run_now(text="filtered")

    def test_what_failed_statements_gathered_is_looked_for(self) -> None:
        """Not each time; what an error holds in cycles would stay for long else."""
        looked: list[int] = []
        self.patch(gc, "collect", lambda: looked.append(1))
        self.budget.query_max = 1000
        self.shards.sizes = {}
        each = queries.PIECE_BYTES * len(self.shards.shards())
        self.patch(queries, "LEFT_MAX", 3 * each)
        for _ in range(2):
            self.refused(QueryTooLargeError)
        self.assertEqual(looked, [])
        for _ in range(2):
            self.refused(QueryTooLargeError)
        self.assertEqual(looked, [1])

    def test_what_turns_out_too_large_is_refused(self) -> None:
        """Bytes are counted as they come."""
        self.budget.query_max = 500
        self.shards.sizes = {}
        self.refused(QueryTooLargeError)
        self.assertEqual(self.budget.held, 0)

    def test_a_shard_that_goes_away_is_read_anew(self) -> None:
        """The whole query begins again, at other instants."""
        self.shards.in_pieces = True
        self.shards.later = [UnavailableError("gone")]
        self.run_now()
        self.assertEqual(self.people(), sorted([1, 2, 3, 4, 5] * 2))
        again = "torua_queries_begun_again_total"
        self.assertEqual(self.metered(again, reason="lost-visit"), 1)
        self.shards.later = [*[UnavailableError("gone")] * 4 * ATTEMPTS_MAX]
        self.refused(UnavailableError)

    def test_a_schema_that_was_changed_is_planned_again(self) -> None:
        """The newer one is waited for; so it is done with a newer slot table."""
        stale, moved = StaleSchemaError("newer", version=5), MovedError("moved")
        self.shards.failures = [stale, moved]
        self.run_now()
        self.assertEqual(self.schemas.waited, [5])

    def test_what_no_schema_mends_is_refused_at_once(self) -> None:
        """Others wait a moment."""
        self.refusal = UnprocessableError("refused")
        self.failureResultOf(self.start(text="RETURN $y"), UnprocessableError)
        self.refused(UnprocessableError)
        self.assertEqual(len(self.schemas.waited), 1)

    def test_a_write_is_made_of_what_was_read_at_primaries(self) -> None:
        """Whatever the caller said of freshness."""
        self.plan = structs.replace(WHOLE, write=True)
        self.pool.changes = (CHANGE,)
        answered = self.run_now(Call("r", reading=Reading(Level.ANY)))
        self.assertEqual(self.writes.applied, [(CHANGE,)])
        self.assertEqual(answered.stats["nodes_created"], 1)
        self.assertTrue(answered.stats["atomic"])
        levels = {call.reading.level for call in self.shards.calls}
        self.assertEqual(levels, {Level.LINEARIZABLE})

    def test_a_conflict_has_the_write_run_anew_a_few_times(self) -> None:
        """On what is there then; at last the caller hears of it."""
        self.plan = structs.replace(WHOLE, write=True)
        self.pool.changes = (CHANGE,)
        self.writes.failures = [ConflictError("changed")] * (ATTEMPTS_MAX - 1)
        self.run_now()
        self.assertEqual(len(self.pool.jobs), ATTEMPTS_MAX)
        self.writes.failures = [ConflictError("changed")] * ATTEMPTS_MAX
        self.assertIn("changed", self.refused(ConflictError).detail)

    def test_what_exists_already_is_told_at_once(self) -> None:
        """To run it anew would find it again."""
        self.plan = structs.replace(WHOLE, write=True)
        self.pool.changes = (CHANGE,)
        self.writes.failures = [DuplicateError("Person 9 exists already")]
        self.assertEqual(self.refused(DuplicateError).detail, "Person 9 exists already")
        self.assertEqual(len(self.pool.jobs), 1)

    def test_a_write_that_needs_no_gather_asks_no_shard(self) -> None:
        """It goes to the writer as it is."""
        fast = FastWrites((CreateNode("Person", (("id", Literal(1)),)),))
        self.plan = structs.replace(WHOLE, write=True, writes=fast)
        answered = self.run_now()
        self.assertEqual(answered.stats["strategy"], "fast")
        ended = self.metered("torua_queries_ended_total", strategy="fast", outcome="ok")
        self.assertEqual(ended, 1)
        self.assertEqual(self.shards.asked, [])
        self.assertEqual(answered.body, b"[]")

    def test_what_another_node_has_defined_already_is_waited_for(self) -> None:
        """Who was told there that a table is there may ask for it here."""
        newer = structs.replace(GRAPH, version=5)
        self.shards.failures = [UnprocessableError("no table")]
        self.plan = structs.replace(WHOLE, strategy=Strategy.GATHER)
        self.schemas.coming["g"] = newer
        self.run_now()
        self.assertEqual(self.schemas.waited, [5])
        self.shards.failures = [UnprocessableError("no table")]
        self.assertEqual(self.refused(UnprocessableError, text="x").detail, "no table")
        self.schemas.coming["new"] = structs.replace(GRAPH, name="new")
        self.run_now(graph="new")
        self.refused(NotFoundError, graph="none")

    def test_a_promise_that_can_not_be_kept_is_refused(self) -> None:
        """Before anything is read; a read needs none."""
        promised = Call("r", idempotency=IdempotencyKey("k", b"f"))
        self.run_now(promised)
        self.shards.asked.clear()
        self.plan = structs.replace(WHOLE, write=True)
        refused = self.start(promised, text="CREATE (:Person {id: 1 + 1})")
        self.clock.pump([0.5] * 20)
        self.failureResultOf(refused, UnprocessableError)
        self.assertEqual(self.shards.asked, [])
        defining = self.start(promised, text="DROP TABLE Person")
        self.clock.pump([0.5] * 20)
        self.failureResultOf(defining, UnprocessableError)
        self.assertEqual(self.schemas.defined, [])

    def test_a_key_stands_for_one_request_that_only_creates(self) -> None:
        """Another body under it is refused; so is what might differ a second time."""
        create = CreateNode("Person", (("id", Literal(1)),))
        fast = FastWrites((create,))
        self.plan = structs.replace(WHOLE, write=True, writes=fast)
        for _ in range(2):
            self.run_now(Call("r", idempotency=IdempotencyKey("k", b"f")))
        other = self.start(Call("r", idempotency=IdempotencyKey("k", b"g")))
        self.clock.pump([0.5] * 20)
        self.failureResultOf(other, UnprocessableError)
        changed = SetNode("Person", Literal(1), (("age", Literal(2)),))
        self.plan = structs.replace(self.plan, writes=FastWrites((create, changed)))
        refused = self.start(
            Call("r", idempotency=IdempotencyKey("k2", b"f")), text="SET"
        )
        self.clock.pump([0.5] * 20)
        self.failureResultOf(refused, UnprocessableError)

    def test_a_schema_is_defined_not_queried(self) -> None:
        """DDL goes to the coordinator."""
        text = "CREATE NODE TABLE T (id INT64, PRIMARY KEY (id))"
        answered = self.run_now(text=text)
        self.assertEqual(self.schemas.defined, [text])
        self.assertEqual(answered.stats["strategy"], "ddl")
        self.assertTrue(self.pool.prepared)

    def test_a_parameter_that_is_missing_is_told(self) -> None:
        """It would be NULL otherwise, silently."""
        self.plan = structs.replace(WHOLE, parameters=("x",))
        error = self.refused(MalformedError)
        self.assertIn("$x", error.detail)

    def test_time_that_is_up_is_told(self) -> None:
        """Not as a shard that does not answer, which it is not."""
        self.shards.failures = [UnavailableError("did not answer in time")]
        late = self.start(Call("r", timeout_s=0.0))
        self.failureResultOf(late, QueryTimeoutError)
        code = self.metered(
            "torua_queries_ended_total", strategy="gather", outcome="query-timeout"
        )
        self.assertEqual(code, 1)

    def test_a_plan_is_made_once(self) -> None:
        """For a text, a schema, and the names of parameters."""
        self.run_now()
        self.run_now()
        self.assertEqual(self.planned, 1)
        self.run_now(parameters={"y": 1})
        self.run_now(graph="s")
        self.assertEqual(self.planned, 3)

    def test_it_is_explained_without_asking_anybody(self) -> None:
        """Where it runs, and why."""
        anchors = (Anchor("Person", (Literal(1),)),)
        self.plan = structs.replace(
            WHOLE, strategy=Strategy.ROUTE, route=Route(anchors)
        )
        told = self.value(self.queries.explain(Statement("x", graph="g"), CALL))
        self.assertEqual(told.shards, (self.shards.home(1),))
        self.assertEqual(told.strategy, "route")
        self.assertEqual(self.shards.asked, [])

    def value(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))
