"""Statements that are run while slots move from a shard to another."""

from random import Random

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.graph.fakes import FakePool, FakeSchemas, FakeShards, FakeWrites
from torua.core.cypher.plan import Plan, Strategy
from torua.core.graph.fragments import Scan
from torua.core.graph.statement import Answered, Statement
from torua.core.kv import Call
from torua.errors import MovedError, StaleRouteError, ToruaError, UnavailableError
from torua.node.graph.budget import Budget
from torua.node.graph.plans import Plans
from torua.node.graph.promises import Promises
from torua.node.graph.queries import Queries

PLAN = Plan(Strategy.GATHER, ("all",), "the text", gather=(Scan("Person"),))
STATEMENT = Statement("MATCH (n) RETURN n", graph="g")


class SlotsTests(SynchronousTestCase):
    """All shards that a statement reads are chosen by one slot table."""

    def setUp(self) -> None:
        """Make everything fake but the queries."""
        self.clock = Clock()
        self.shards = FakeShards({1: (2,), 2: (), 3: (), 4: (), 5: ()})
        self.queries = Queries(
            self.clock,
            self.shards,
            FakeSchemas(),
            FakePool(),
            FakeWrites(),
            plans=Plans(lambda *_: PLAN),
            promises=Promises(self.shards),
            budget=Budget(),
            random=Random(1),
            registry=CollectorRegistry(),
        )

    def start(self) -> "Deferred[Answered]":
        """Begin a statement."""
        return Deferred.fromCoroutine(self.queries.run(STATEMENT, Call("r")))

    def test_slots_that_move_mean_reading_anew_by_the_new_table(self) -> None:
        """What had come of other shards is void, and let go of."""
        self.shards.failures = [MovedError("the slots have changed")]
        doing = self.start()
        self.clock.pump([0.5] * 20)
        self.successResultOf(doing)
        self.assertEqual(len(self.shards.calls), 8)
        self.assertFalse(self.shards.open)

    def test_a_rest_that_is_refused_means_reading_anew(self) -> None:
        """It is of a transaction that was begun by another slot table."""
        self.shards.in_pieces = True
        self.shards.later = [StaleRouteError("its slots have changed")]
        doing = self.start()
        self.clock.pump([0.5] * 20)
        self.successResultOf(doing)
        self.assertEqual(len(self.shards.calls), 8)

    def test_slots_that_move_forever_are_told(self) -> None:
        """The statement is not run for ever."""
        failures: list[ToruaError] = [MovedError("again") for _ in range(99)]
        self.shards.failures = failures
        doing = self.start()
        self.clock.pump([0.5] * 20)
        self.failureResultOf(doing, UnavailableError)
