"""Tests for `torua.node.operations`."""

from itertools import count

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, States, alloc, state_of
from torua.core.allocation import Command, ForceAllocate, execute
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.errors import ConflictError, NotFoundError, OutcomeUnknownError
from torua.node.operations import Operations

CALL = Call("r1", 5.0)
SHARD = ShardId(1)


class Coordinator(States):
    """Executes commands, and commits at once while ``commits``.

    Invariants: whoever subscribed has seen ``state``.
    """

    commits = True

    async def submit(self, command: Command, timeout_s: float) -> None:
        """Execute a command.

        Args:
            command: what to change.
            timeout_s: ignored.
        """
        after = execute(self.state, command)
        if self.commits:
            self.apply(after)


class ForceAllocateTests(SynchronousTestCase):
    """Shard 1 is on node two only, and node two is dead."""

    def setUp(self) -> None:
        """Make the state."""
        self.clock = Clock()
        self.coordinator = Coordinator(state_of({0: ONE, 1: TWO}))
        self.dead: set[NodeId] = {TWO}
        ids = count(1)
        self.operations = Operations(
            self.coordinator,
            self.clock,
            is_live=lambda node: node not in self.dead,
            fresh_id=lambda: f"{next(ids):032d}",
        )

    def force(self, node: str = "n1", accept: bool = True) -> "Deferred[None]":
        """Ask for it.

        Args:
            node: whose copy.
            accept: whether data loss is accepted.
        """
        return Deferred.fromCoroutine(
            self.operations.force_allocate(SHARD, node, accept, CALL)
        )

    def test_a_red_shard_goes_on_elsewhere_under_another_history(self) -> None:
        """The node that was named leads it, and nobody takes the old for the new."""
        before = self.coordinator.state.shards[SHARD]
        self.successResultOf(self.force())
        after = self.coordinator.state.shards[SHARD]
        assert after.primary is not None
        self.assertEqual(after.primary.node, ONE)
        self.assertNotEqual(after.history_uuid, before.history_uuid)
        self.assertNotIn(alloc(1), after.in_sync)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_refused_names_the_rule_and_changes_nothing(self) -> None:
        """Unknown nodes, dead ones, loss not accepted, shards that are not red."""
        before = self.coordinator.state
        self.failureResultOf(self.force("n9"), NotFoundError)
        refused = self.failureResultOf(self.force("n2"), ConflictError).value
        self.assertIn("n2 does not live", str(refused))
        refused = self.failureResultOf(self.force(accept=False), ConflictError).value
        self.assertIn("accept_data_loss", str(refused))
        self.dead.clear()
        refused = self.failureResultOf(self.force(), ConflictError).value
        self.assertIn("not red: in sync and up on n2", str(refused))
        self.assertIs(self.coordinator.state, before)

    def test_a_shard_that_there_is_not_is_not_found(self) -> None:
        """A number is not a shard."""
        asked = self.operations.force_allocate(ShardId(9), "n1", True, CALL)
        self.failureResultOf(Deferred.fromCoroutine(asked), NotFoundError)

    def test_a_shard_that_changed_meanwhile_is_a_conflict(self) -> None:
        """The coordinator compared; the operator looks again."""
        self.coordinator.commits = False
        asked = self.force()
        state = self.coordinator.state
        shard = state.shards[SHARD]
        newer = structs.replace(shard, shard_version=shard.shard_version + 1)
        shards = state.shards | {SHARD: newer}
        self.coordinator.apply(structs.replace(state, shards=shards))
        self.clock.advance(CALL.timeout_s)
        self.failureResultOf(asked, ConflictError)

    def test_what_is_not_seen_to_be_done_is_unknown(self) -> None:
        """It may be done yet."""
        self.coordinator.commits = False
        asked = self.force()
        self.clock.advance(CALL.timeout_s)
        self.failureResultOf(asked, OutcomeUnknownError)

    def test_a_stale_copy_on_the_node_is_gone_on_with(self) -> None:
        """Better what it has than nothing."""
        state = self.coordinator.state
        shard = state.shards[SHARD]
        stale = structs.replace(shard.copies[0], node=ONE, alloc_id=alloc(7))
        more = structs.replace(shard, copies=(*shard.copies, stale))
        self.coordinator.apply(
            structs.replace(state, shards=state.shards | {SHARD: more})
        )
        self.successResultOf(self.force())
        self.assertEqual(self.coordinator.state.shards[SHARD].in_sync, (alloc(7),))

    def test_the_command_says_that_loss_was_accepted(self) -> None:
        """Nothing is executed without."""
        asked: list[Command] = []

        async def submit(command: Command, timeout_s: float) -> None:
            """Note it.

            Args:
                command: what to change.
                timeout_s: ignored.
            """
            asked.append(command)

        self.coordinator.submit = submit  # type: ignore[method-assign]
        forcing = self.force()
        forcing.cancel()
        self.failureResultOf(forcing, CancelledError)
        (command,) = asked
        assert isinstance(command, ForceAllocate)
        self.assertTrue(command.accept_data_loss)
