"""Far nodes alone: what is asked of shards, and what a worker is to run."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.node.graph.fakes import GRAPH, FakeShards
from torua.core.cypher.plan import (
    Along,
    Anchor,
    Frontier,
    Literal,
    Plan,
    Reached,
    Strategy,
)
from torua.core.kv import Call
from torua.node.graph.budget import Budget
from torua.node.graph.inputs import Inputs, Inquiry
from torua.node.graph.visits import Sizes, Visits

KNOWN = {1: (2, 3), 2: (3,), 3: (4,), 4: (1,), 5: ()}
PAIR = ("Person", "Person")
OUT = (Along("Knows", PAIR, outgoing=True),)
CALL = Call("r1", timeout_s=30.0)


class ReachedTests(SynchronousTestCase):
    """Relationships are only looked at where nodes alone do not tell."""

    def setUp(self) -> None:
        """Hold a few people."""
        self.shards = FakeShards(KNOWN)

    async def sized(self) -> Sizes:
        """Not needed: no table is gathered whole."""
        raise AssertionError("a frontier was planned")

    def found(self, steps: int, start: int = 1) -> Inputs:
        """Gather by a frontier.

        Args:
            steps: how many it takes.
            start: from which person.
        """
        reached = Reached("Person", "together", "apart")
        frontier = Frontier(
            (Anchor("Person", (Literal(start),)),),
            (OUT,) * steps,
            (("Person", None),),
            reached,
        )
        plan = Plan(Strategy.FRONTIER, ("near",), "the text", frontier=frontier)
        budget = Budget(query_max=100_000, node_max=200_000)
        inquiry = Inquiry(
            plan,
            GRAPH,
            {},
            self.shards,
            lambda: Visits(self.shards, GRAPH, lambda: CALL, budget.claim()),
        )
        gathering = Deferred.fromCoroutine(inquiry.gather(self.sized))
        inputs: Inputs = self.successResultOf(gathering)
        inquiry.end()
        self.assertEqual(self.shards.open, {})
        return inputs

    def test_the_nodes_come_without_relationships(self) -> None:
        """Whether the anchor is one of them decides what is run on them."""
        apart, together = self.found(2), self.found(3)
        self.assertEqual((apart.text, together.text), ("apart", "together"))
        for inputs in (apart, together):
            self.assertEqual([each.table for each in inputs.tables], ["Person"])
            self.assertEqual(inputs.named, ("Person",))

    def test_where_nothing_is_reached_the_anchor_is_left_out(self) -> None:
        """It is there, and no far node."""
        self.assertEqual(self.found(2, start=5).text, "apart")

    def test_graves_take_the_relationships(self) -> None:
        """What a dead node left leads nowhere."""
        self.shards.graves = True
        inputs = self.found(2)
        self.assertEqual((inputs.text, inputs.named), ("", ()))
        self.assertEqual([each.table for each in inputs.tables], ["Person", "Knows"])

    def test_a_far_end_that_is_not_there_takes_them(self) -> None:
        """What lies behind it may not be reached at all."""
        self.shards.gone = {3}
        self.assertEqual(self.found(2).text, "")
