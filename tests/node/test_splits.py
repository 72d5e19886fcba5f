"""Tests for `torua.node.splits`: what people see of a split."""

from typing import Any

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, States, Wire, state_of
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Phase, Split
from torua.node.splits import Splits, task_id
from torua.node.tasks import Asked, Tasks

CHILD = ShardId(1)
SPLIT = Split(
    parent=ShardId(0),
    child=CHILD,
    spans=((8, 15),),
    parent_history="h",
    child_history="h",
    phase=Phase.TRIMMING,
)


class Unserved:
    """The copies of a node of which none serves yet.

    Invariants: none is found.
    """

    def leader(self, shard: ShardId) -> None:
        """Find none."""

    def readable(self, shard: ShardId) -> None:
        """Find none."""


class TaskTests(SynchronousTestCase):
    """The task of a split whose child changes its primary."""

    def setUp(self) -> None:
        """Start what runs splits, on two nodes."""
        self.states = States(state_of({0: ONE, 1: ONE}))
        clock = Clock()
        wire = Wire(clock)
        states: Any = self.states
        unused: Any = None
        self.tasks = {}
        self.heard = self.states._callbacks
        for node in (ONE, TWO):
            end = wire.end(node)
            tasks = Tasks(
                node,
                node,
                self,  # type: ignore[arg-type]
                end,
                clock,
                wall_s=lambda: 0.0,
                fresh_id=lambda: "fresh",
            )
            self.tasks[node] = tasks
            self.splits = Splits(
                node,
                clock,
                states,
                Unserved(),
                unused,
                peers=end,
                worker=unused,
                tasks=tasks,
            )
            self.addCleanup(self.splits.stop)

    def states_of(self) -> list[tuple[NodeId, str]]:
        """List which nodes tell of the split, and in which state it is."""
        return [
            (node, task.state)
            for node, tasks in self.tasks.items()
            for task in tasks._told(Asked(task_id(CHILD, "h"))).tasks
        ]

    def during(self, primary: NodeId) -> ClusterState:
        """Return a state in which the split goes on, and a node leads the child."""
        return replace(state_of({0: ONE, 1: primary}), splits={CHILD: SPLIT})

    def test_it_moves_with_the_lead_and_ends_where_that_is(self) -> None:
        """Though the split ends before the new primary serves."""
        self.assertEqual(self.states_of(), [])
        self.states.apply(self.during(ONE))
        self.assertEqual(self.states_of(), [(ONE, "running")])
        self.states.apply(self.during(TWO))
        self.assertEqual(self.states_of(), [(TWO, "running")])
        self.states.apply(state_of({0: ONE, 1: TWO}))
        self.assertEqual(self.states_of(), [(TWO, "done")])

    def test_it_is_told_of_by_a_node_that_missed_how_it_came_to_lead(self) -> None:
        """A state that comes whole may be some states later."""
        first, second = self.heard
        self.states.apply(self.during(ONE))
        first(self.during(TWO))
        self.assertEqual(self.states_of(), [])
        over = state_of({0: ONE, 1: TWO})
        first(over)
        second(over)
        self.assertEqual(self.states_of(), [(TWO, "done")])

    def test_it_stays_while_nobody_leads(self) -> None:
        """Its former primary tells of it until there is another."""
        self.states.apply(self.during(ONE))
        state = self.during(ONE)
        orphan = replace(state.shards[CHILD], primary=None)
        self.states.apply(replace(state, shards=state.shards | {CHILD: orphan}))
        self.assertEqual(self.states_of(), [(ONE, "running")])
        self.states.apply(self.during(TWO))
        self.assertEqual(self.states_of(), [(TWO, "running")])

    def test_one_that_is_called_off_has_failed(self) -> None:
        """The child is gone with it."""
        self.states.apply(self.during(ONE))
        self.states.apply(state_of({0: ONE}))
        self.assertEqual(self.states_of(), [(ONE, "failed")])

    def test_a_node_that_stops_begins_none(self) -> None:
        """Node two was started last, and is stopped."""
        self.splits.stop()
        self.states.apply(self.during(TWO))
        self.assertEqual(self.states_of(), [])
