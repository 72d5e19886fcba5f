"""Tests for `torua.node.overview`."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec import structs
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import (
    ONE,
    TWO,
    Holdings,
    States,
    Wire,
    alloc,
    member,
    replica,
    state_of,
    with_replica,
)
from torua.core.ids import NodeId, ShardId
from torua.core.kv import Call
from torua.core.members import Member, Status
from torua.core.reporting import CopyReport, NodeReport, Sight
from torua.core.state import ClusterState, CopyState, Phase, Split
from torua.errors import NotFoundError
from torua.node.overview import Cluster

T = TypeVar("T")
CALL = Call("r1")


class Members:
    """Membership that a test sets.

    Invariants: everybody but the dead was heard of half a second ago.
    """

    def __init__(self) -> None:
        """Begin with two healthy nodes."""
        self.members: dict[NodeId, Member] = {n: member(n) for n in (ONE, TWO)}

    def last_heard(self, node_id: NodeId) -> float | None:
        """Tell when."""
        return 0.5


class TwoNodes(SynchronousTestCase):
    """Two nodes; shards 0 and 1 on one, shard 2 on two."""

    def setUp(self) -> None:
        """Make the overviews of both."""
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.states = States(state_of({0: ONE, 1: ONE, 2: TWO}))
        self.members = Members()
        self.held = {ONE: Holdings(0, 1), TWO: Holdings(2)}
        self.one, self.two = (
            Cluster(
                node,
                cluster_name="torua",
                membership=self.members,
                coordination=self.states,
                holdings=self.held[node],
                peers=self.wire.end(node),
                clock=self.clock,
                sight=self.told,
            )
            for node in (ONE, TWO)
        )
        self.clock.advance(3.0)

    async def told(self, call: Call) -> Sight:
        """Tell what node two said.

        Args:
            call: ignored.
        """
        report = NodeReport(
            1, 30, 100, (CopyReport(ShardId(2), alloc(2), 7, 1.0, 2.0),)
        )
        return Sight({TWO: report})

    def run_now(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return what a coroutine returns that has nothing to wait for."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def kill(self, node: NodeId) -> None:
        """Let a node be dead, for membership and on the wire."""
        self.members.members[node] = member(node, Status.DEAD)
        del self.wire.ends[node]


class OverviewTests(TwoNodes):
    """Each shard has one copy."""

    def test_a_whole_cluster_is_green(self) -> None:
        """With all copies there and a coordinator, nothing is amiss."""
        health = self.one.health()
        self.assertEqual((health.status, health.reasons), ("green", ()))
        self.assertEqual((health.node, health.coordinator), ("n1", "n1"))
        self.assertIsNone(self.one.unready())

    def test_two_voters_are_said_to_be_no_failover(self) -> None:
        """The smallest cluster that cannot fail over says so."""
        self.assertIn("two voters", self.one.health().notes[0])

    def test_a_lost_primary_is_red_and_named(self) -> None:
        """The shard that waits for its only copy is red, with the node it waits for."""
        self.kill(TWO)
        health = self.one.health()
        self.assertEqual(health.status, "red")
        self.assertEqual(health.reasons, ("shard 2 waits for its only copy, on n2",))

    def test_no_coordinator_is_red_and_not_ready(self) -> None:
        """Without a coordinator nothing could be repaired; probes hear of it."""
        self.states.coordinator = None
        self.assertEqual(self.one.health().status, "red")
        self.assertEqual(self.one.unready(), "no coordinator is known")

    def test_a_failed_copy_is_red_with_its_reason_and_the_node_stays_ready(
        self,
    ) -> None:
        """One damaged copy does not take its node out of service."""
        self.held[ONE].broken[ShardId(1)] = "shard 1: map.db is damaged"
        del self.held[ONE].held[1]
        self.assertEqual(self.one.health().reasons, ("shard 1: map.db is damaged",))
        self.assertIsNone(self.one.unready())
        shards = self.run_now(self.two.shards(CALL))
        self.assertEqual([each.state for each in shards], ["green", "red", "green"])
        self.assertEqual(shards[1].copies[0].state, "failed")

    def test_a_copy_that_is_still_opening_keeps_its_node_from_being_ready(self) -> None:
        """Ready means that all copies assigned here serve, or have failed."""
        del self.held[ONE].held[1]
        self.assertEqual(self.one.unready(), "shard copies not open yet: [1]")

    def test_a_primary_that_does_not_serve_yet_keeps_its_node_from_being_ready(
        self,
    ) -> None:
        """After a restart the state says started long before the copy leads again."""
        self.held[ONE].resting.add(ShardId(1))
        self.assertEqual(self.one.unready(), "shard copies not open yet: [1]")
        self.assertIsNone(self.two.unready())

    def test_a_copy_that_no_state_calls_started_keeps_its_node_from_being_ready(
        self,
    ) -> None:
        """An open copy serves for good only once that is committed."""
        state = self.states.state
        shard = state.shards[ShardId(0)]
        copies = (structs.replace(shard.copies[0], state=CopyState.INIT),)
        begun = structs.replace(shard, copies=copies, in_sync=())
        shards = state.shards | {ShardId(0): begun}
        self.states.apply(structs.replace(state, shards=shards))
        self.assertEqual(self.one.unready(), "shard copies not open yet: [0]")
        self.assertEqual(self.one.health().status, "yellow")

    def test_a_node_outside_the_cluster_says_what_it_lacks(self) -> None:
        """Each step of joining has its own reason."""
        self.states.apply(ClusterState())
        self.assertIn("not joined", self.one.unready() or "")
        state = state_of({0: TWO})
        outside = {TWO: state.nodes[TWO]}
        self.states.apply(structs.replace(state, nodes=outside))
        self.assertIn("not taken this node in", self.one.unready() or "")

    def test_nodes_are_listed_with_what_they_hold(self) -> None:
        """Counts come from the cluster state, the status from membership."""
        self.members.members[TWO] = member(TWO, Status.SUSPECT)
        one, two = self.one.nodes()
        self.assertEqual((one.name, one.shard_count, one.primaries), ("n1", 2, 2))
        self.assertEqual((one.coordinator, one.status), (True, "healthy"))
        self.assertEqual((two.coordinator, two.status), (False, "suspect"))

    def test_nodes_show_what_they_reported(self) -> None:
        """The disk, the bytes and the requests of what they lead; else nothing."""
        one, two = self.run_now(self.one.listing(CALL))
        self.assertIsNone(one.disk_used)
        self.assertEqual((two.disk_used, two.disk_total, two.bytes), (30, 100, 7))
        self.assertEqual(two.requests_per_s, 3.0)

    def test_a_node_that_membership_forgot_is_listed_as_dead(self) -> None:
        """Whoever belongs to the cluster is never missing from the list."""
        del self.members.members[TWO]
        self.assertEqual(
            [each.status for each in self.one.nodes()], ["healthy", "dead"]
        )

    def test_info_counts(self) -> None:
        """The numbers of the cluster add up."""
        self.kill(TWO)
        info = self.one.info()
        self.assertEqual((info.total_nodes, info.healthy_nodes), (2, 1))
        self.assertEqual((info.total_shards, info.assigned_shards), (3, 3))
        self.assertEqual((info.cluster_state, info.uptime), ("red", 3.0))

    def test_shards_have_the_positions_that_their_holders_tell(self) -> None:
        """A silent node's positions are absent, not guessed."""
        shards = self.run_now(self.one.shards(CALL))
        self.assertEqual([each.copies[0].position for each in shards], [7, 7, 7])
        self.assertEqual([each.primary for each in shards], ["n1", "n1", "n2"])
        self.kill(TWO)
        shards = self.run_now(self.one.shards(CALL))
        self.assertEqual([each.copies[0].position for each in shards], [7, 7, None])
        self.assertEqual(shards[2].state, "red")

    def test_shards_that_are_split_say_how_far_that_is(self) -> None:
        """For until it is done, the old one counts what it gave away."""
        split = Split(ShardId(0), ShardId(1), ((0, 1),), "h", "i", Phase.TRIMMING)
        state = self.states.state
        self.states.apply(replace(state, splits={ShardId(1): split}))
        shards = self.run_now(self.one.shards(CALL))
        phases = [each.split for each in shards]
        self.assertEqual(phases, ["trimming", "trimming", None])

    def test_a_node_is_described_by_itself(self) -> None:
        """By id or by name, its own uptime and positions, also through another."""
        for name in (TWO, "n2"):
            detail = self.run_now(self.one.node(name, CALL))
            self.assertEqual((detail.name, detail.uptime), ("n2", 3.0))
            self.assertEqual([copy.shard for copy in detail.copies], [2])
            self.assertEqual(detail.last_heartbeat, 0.5)
            self.assertEqual(detail.available_capacity, 4)

    def test_a_dead_node_is_described_by_what_is_known(self) -> None:
        """Its status and its shards are known; what only it could say is not."""
        self.kill(TWO)
        detail = self.run_now(self.one.node("n2", CALL))
        self.assertEqual(
            (detail.status, detail.uptime, detail.copies), ("dead", None, ())
        )

    def test_an_unknown_node_is_not_found(self) -> None:
        """Nobody is called that."""
        asked = Deferred.fromCoroutine(self.one.node("nobody", CALL))
        self.failureResultOf(asked, NotFoundError)


class CopiesTests(TwoNodes):
    """Shard 0 has a second copy, on node two."""

    def setUp(self) -> None:
        """Give shard 0 a second copy."""
        super().setUp()
        self.states.apply(with_replica(self.states.state, 0, TWO))
        self.held[TWO].held[0] = {}
        self.held[TWO].allocs[0] = replica(0)

    def test_a_whole_cluster_is_green(self) -> None:
        """All copies in sync on live nodes."""
        self.assertEqual(self.one.health().status, "green")
        shard = self.run_now(self.one.shards(CALL))[0]
        roles = [(copy.role, copy.node, copy.in_sync) for copy in shard.copies]
        self.assertEqual(roles, [("primary", "n1", True), ("replica", "n2", True)])

    def test_a_lost_replica_is_yellow(self) -> None:
        """The shard is served, without redundancy."""
        self.kill(TWO)
        self.assertIn("shard 0 has 1 of 2 copies", self.one.health().reasons)
        self.assertEqual(self.run_now(self.one.shards(CALL))[0].state, "yellow")

    def test_a_lost_primary_with_an_heir_is_red_and_says_who_takes_over(self) -> None:
        """Until that one leads, nobody serves."""
        self.members.members[ONE] = member(ONE, Status.DEAD)
        reason = "shard 0 has lost its primary; n2 is to take over"
        self.assertIn(reason, self.two.health().reasons)

    def test_too_few_copies_take_no_writes_and_it_says_so(self) -> None:
        """Reads go on; the operator hears what writes wait for."""
        state = self.states.state
        shard = structs.replace(state.shards[ShardId(0)], min_copies=2)
        shards = state.shards | {ShardId(0): shard}
        self.states.apply(structs.replace(state, shards=shards))
        self.kill(TWO)
        reasons = self.one.health().reasons
        self.assertIn("shard 0 takes no writes: 1 of the 2", reasons[0])

    def test_a_copy_that_catches_up_is_yellow_and_its_node_ready(self) -> None:
        """It is not counted before it is in sync."""
        state = self.states.state
        shard = state.shards[ShardId(0)]
        shard = structs.replace(shard, in_sync=shard.in_sync[:1])
        shards = state.shards | {ShardId(0): shard}
        self.states.apply(structs.replace(state, shards=shards))
        reason = "shard 0 has 1 of 2 copies; catching up: n2"
        self.assertEqual(self.one.health().reasons, (reason,))
        self.assertIsNone(self.two.unready())

    def test_a_failed_replica_is_yellow(self) -> None:
        """Its primary serves; its node says what is wrong."""
        self.held[TWO].broken[ShardId(0)] = "shard 0: map.db is damaged"
        shard = self.run_now(self.one.shards(CALL))[0]
        self.assertEqual(shard.state, "yellow")
        self.assertEqual([copy.state for copy in shard.copies], ["started", "failed"])
        self.assertEqual(self.two.health().status, "yellow")
