"""Tests for `torua.node.operations`."""

from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, TWO, States, alloc, member, state_of, with_replica
from torua.core.allocation import Command, ForceAllocate, execute
from torua.core.allocation.placing import Role
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.members import Member, Status
from torua.core.reporting import Sight
from torua.core.splitting.commands import GAP
from torua.core.state import Duty
from torua.errors import ConflictError, NotFoundError, OutcomeUnknownError
from torua.node.operations import Operations

T = TypeVar("T")
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


async def nothing(call: Call) -> Sight:
    """See nothing but the state.

    Args:
        call: ignored.
    """
    return Sight()


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
            self,
            self.clock,
            sight=nothing,
            fresh_id=lambda: f"{next(ids):032d}",
            wall_us=lambda: 10**15,
        )

    @property
    def members(self) -> dict[NodeId, Member]:
        """Return who lives and who is dead."""
        return {
            node: member(node, Status.DEAD if node in self.dead else Status.ALIVE)
            for node in (ONE, TWO)
        }

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

    def test_a_split_of_a_split_gives_higher_versions_whatever_the_clock_says(
        self,
    ) -> None:
        """The new log begins far behind the old one, though the clock went back."""
        self.dead = set()
        state = self.coordinator.state
        shard = structs.replace(state.shards[SHARD], base=10**15 + 5)
        shards = state.shards | {SHARD: shard}
        self.coordinator.apply(structs.replace(state, shards=shards))
        splitting = self.operations.split(SHARD, None, CALL)
        child, _ = self.successResultOf(Deferred.fromCoroutine(splitting))
        began = self.coordinator.state.shards[child].base
        self.assertEqual(began, 10**15 + 5 + GAP)
        self.assertLess(began, 1 << 53)

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


class NodesTests(SynchronousTestCase):
    """Shard 0 is on both nodes, shard 1 on the first."""

    def setUp(self) -> None:
        """Make the state."""
        self.clock = Clock()
        state = with_replica(state_of({0: ONE, 1: ONE}), 0, TWO)
        self.coordinator = Coordinator(state)
        self.members = {node: member(node) for node in (ONE, TWO)}
        ids = count(1)
        self.operations = Operations(
            self.coordinator,
            self,
            self.clock,
            sight=nothing,
            fresh_id=lambda: f"{next(ids):032d}",
            wall_us=lambda: 10**15,
        )

    def now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns that has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def refused(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> str:
        """Return the rule that forbids what a coroutine wants."""
        asked = Deferred.fromCoroutine(coroutine)
        return str(self.failureResultOf(asked, ConflictError).value)

    def duty(self, node: NodeId) -> Duty:
        """Return what a node is to do."""
        return self.coordinator.state.nodes[node].duty

    def kill(self, node: NodeId) -> None:
        """Let a node be dead, and lost to the coordinator."""
        self.members[node] = member(node, Status.DEAD)
        state = self.coordinator.state
        lost = structs.replace(state.nodes[node], lost=True)
        nodes = state.nodes | {node: lost}
        self.coordinator.apply(structs.replace(state, nodes=nodes))

    def test_maintenance_goes_on_and_off_by_name_or_id(self) -> None:
        """What is so already is not asked for again."""
        on = self.operations.maintenance(["n1", TWO], True, CALL)
        self.assertEqual(self.now(on), {"n1": "maintenance", "n2": "maintenance"})
        before = self.coordinator.state
        self.now(self.operations.maintenance(["n1"], True, CALL))
        self.assertIs(self.coordinator.state, before)
        off = self.operations.maintenance(["n2"], False, CALL)
        self.assertEqual(self.now(off), {"n2": "full"})
        self.assertEqual(self.duty(ONE), Duty.MAINTENANCE)

    def test_one_unknown_node_of_many_keeps_all_as_they_are(self) -> None:
        """Nothing is done by halves."""
        before = self.coordinator.state
        asked = self.operations.maintenance(["n1", "n9"], True, CALL)
        self.failureResultOf(Deferred.fromCoroutine(asked), NotFoundError)
        self.assertIs(self.coordinator.state, before)

    def test_a_node_is_evacuated_unless_its_copies_have_nowhere_to_go(self) -> None:
        """The second may not have another copy of shard 0, the first may of nothing."""
        why = self.refused(self.operations.evacuate("n1", CALL))
        self.assertIn("no other node may have its copy of shard 0", why)
        self.assertIn("n2: it has a copy of this shard", why)
        self.coordinator.apply(state_of({0: ONE, 1: ONE}))
        name, task = self.now(self.operations.evacuate("n1", CALL))
        self.assertEqual(self.duty(ONE), Duty.EVACUATING)
        self.assertEqual((name, task), ("n1", f"evacuate-{ONE[:12]}-1"))
        self.assertEqual(self.now(self.operations.evacuate("n1", CALL)), (name, task))
        self.now(self.operations.maintenance(["n1"], True, CALL))
        self.assertEqual(self.duty(ONE), Duty.EVACUATING)
        self.now(self.operations.maintenance(["n1"], False, CALL))
        self.assertEqual(self.duty(ONE), Duty.FULL)

    def test_capacity_keeps_a_node_from_being_emptied(self) -> None:
        """All shards could go there, but not all at once."""
        state = state_of({0: ONE, 1: ONE})
        small = structs.replace(state.nodes[TWO], max_shards=1)
        nodes = state.nodes | {TWO: small}
        self.coordinator.apply(structs.replace(state, nodes=nodes))
        why = self.refused(self.operations.evacuate("n1", CALL))
        self.assertIn("it has 2 copies, and the others take 1 more", why)

    def test_a_dead_node_is_removed_and_not_evacuated(self) -> None:
        """A live one is not removed, and neither is one that is needed."""
        self.assertIn("lives", self.refused(self.operations.remove("n2", CALL)))
        self.kill(TWO)
        for status in (Status.DEAD, Status.SUSPECT):
            self.members[TWO] = member(TWO, status)
            why = self.refused(self.operations.evacuate("n2", CALL))
            self.assertIn("n2 does not answer", why)
        self.assertIn("lives", self.refused(self.operations.remove("n2", CALL)))
        self.members[TWO] = member(TWO, Status.DEAD)
        self.assertEqual(self.now(self.operations.remove("n2", CALL)), "n2")
        self.assertNotIn(TWO, self.coordinator.state.nodes)
        self.kill(ONE)
        self.assertIn("primary", self.refused(self.operations.remove("n1", CALL)))

    def test_what_others_changed_meanwhile_is_a_conflict_at_once(self) -> None:
        """Nobody waits for what can't be any more."""
        self.coordinator.commits = False
        on = self.operations.maintenance(["n2"], True, CALL)
        asked = Deferred.fromCoroutine(on)
        self.assertNoResult(asked)
        state = self.coordinator.state
        other = structs.replace(state.nodes[TWO], duty_version=1)
        nodes = state.nodes | {TWO: other}
        self.coordinator.apply(structs.replace(state, nodes=nodes))
        self.failureResultOf(asked, ConflictError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_move_by_hand_is_tried_and_then_begun(self) -> None:
        """A dry run changes nothing."""
        before = self.coordinator.state
        shard, role = ShardId(1), Role.REPLICA
        tried = self.now(self.operations.assign(shard, "n2", role, True, CALL))
        self.assertEqual((tried.source, tried.dry_run), ("n1", True))
        self.assertIs(self.coordinator.state, before)
        self.now(self.operations.assign(shard, "n2", role, False, CALL))
        copies = self.coordinator.state.shards[shard].copies
        self.assertEqual([copy.node for copy in copies], [ONE, TWO])
        why = self.refused(self.operations.assign(ShardId(0), "n2", role, True, CALL))
        self.assertIn("it has a copy of this shard (same_node)", why)

    def test_a_lead_by_hand_is_begun(self) -> None:
        """The primary is asked to hand over."""
        done = self.operations.assign(ShardId(0), "n2", Role.PRIMARY, False, CALL)
        self.assertEqual(self.now(done).source, "n1")
        shard = self.coordinator.state.shards[ShardId(0)]
        self.assertEqual(shard.successor, shard.copies[1].alloc_id)

    def test_a_shard_is_explained_by_what_this_node_sees(self) -> None:
        """Unknown ones are not found."""
        self.now(self.operations.maintenance(["n2"], True, CALL))
        (other,) = self.now(self.operations.explain(ShardId(1), CALL)).others
        self.assertEqual((other.node, other.decider), ("n2", "maintenance"))
        asked = Deferred.fromCoroutine(self.operations.explain(ShardId(7), CALL))
        self.failureResultOf(asked, NotFoundError)

    def test_balance_counts_what_must_move(self) -> None:
        """Two copies against one are even, two leads against none are not."""
        told = self.now(self.operations.rebalance(True, CALL))
        self.assertEqual((told.copies_to_move, told.primaries_to_move), (0, 1))
        self.assertFalse(told.even)
        self.now(self.operations.maintenance(["n1"], True, CALL))
        told = self.now(self.operations.rebalance(False, CALL))
        self.assertEqual(told.copies_to_move, 2)
