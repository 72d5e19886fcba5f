"""Tests for `torua.node.evacuation`."""

from msgspec import structs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, Holdings, States, Wire, member, state_of
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Duty
from torua.core.views import TaskView
from torua.node.evacuation import Evacuation, task_id
from torua.node.tasks import Asked, Tasks


def on_duty(state: ClusterState, duty: Duty, version: int) -> ClusterState:
    """Have node one be on a duty.

    Args:
        state: to begin with.
        duty: which.
        version: of it.
    """
    entry = structs.replace(state.nodes[ONE], duty=duty, duty_version=version)
    return structs.replace(state, nodes=state.nodes | {ONE: entry})


class EvacuationTests(SynchronousTestCase):
    """Node one has three shards, and leads them."""

    def setUp(self) -> None:
        """Make the state."""
        self.members = {node: member(node) for node in (ONE, TWO)}
        self.states = States(state_of({0: ONE, 1: ONE, 2: ONE}))
        clock = Clock()
        self.tasks = Tasks(
            ONE,
            "n1",
            self,
            Wire(clock).end(ONE),
            clock,
            wall_s=lambda: 0.0,
            fresh_id=lambda: "fresh",
        )
        Evacuation(ONE, self.states, Holdings(0, 1, 2), self.tasks)

    def told(self) -> list[TaskView]:
        """Return the tasks of node one."""
        return list(self.tasks._told(Asked()).tasks)

    def left(self, *shards: int) -> ClusterState:
        """Return a state in which node one has these shards, evacuated since once."""
        where: dict[int, NodeId] = {n: ONE if n in shards else TWO for n in range(3)}
        return on_duty(state_of(where), Duty.EVACUATING, 1)

    def test_it_is_followed_to_its_end(self) -> None:
        """Copies are counted, and what is still led and held."""
        self.assertEqual(self.told(), [])
        self.states.apply(self.left(0, 1, 2))
        (task,) = self.told()
        self.assertEqual((task.kind, task.done, task.total), ("evacuate", 0, 3))
        self.assertEqual(task.id, task_id(self.states.state.nodes[ONE]))
        self.states.apply(self.left(0))
        (task,) = self.told()
        self.assertEqual((task.state, task.done), ("running", 2))
        self.assertEqual(task.facts["primaries_left"], 1)
        self.states.apply(self.left())
        (task,) = self.told()
        self.assertEqual((task.state, task.done), ("done", 3))
        self.assertEqual(task.facts, {"primaries_left": 0, "bytes_left": 0})

    def test_one_that_is_called_off_has_failed_and_the_next_is_another(self) -> None:
        """Its version tells them apart."""
        self.states.apply(self.left(0, 1))
        self.states.apply(on_duty(self.left(0, 1), Duty.FULL, 2))
        (task,) = self.told()
        self.assertEqual((task.state, task.errors), ("failed", ("it was called off",)))
        self.states.apply(on_duty(self.left(0, 1), Duty.EVACUATING, 3))
        self.assertEqual([each.state for each in self.told()], ["failed", "running"])

    def test_maintenance_is_no_task(self) -> None:
        """It has no end."""
        self.states.apply(on_duty(self.states.state, Duty.MAINTENANCE, 1))
        self.assertEqual(self.told(), [])
        self.assertEqual(len(self.states.state.shards[ShardId(0)].copies), 1)
