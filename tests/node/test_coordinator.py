"""Tests for `torua.node.coordinator`: real machines, fake wires, clock and disk."""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torua.codec.plain import decode, encode, spell
from torua.core.allocation import MarkStarted
from torua.core.coordination.founding import Founding
from torua.core.coordination.messages import Facts
from torua.core.coordination.timing import Timing
from torua.core.ids import Address, AllocId, NodeId, ShardId
from torua.core.members import Member, Meta, Status
from torua.core.state import ClusterState, Settings
from torua.errors import (
    CorruptionError,
    DiskFullError,
    OutcomeUnknownError,
    ProtocolError,
    ToruaError,
    UnavailableError,
)
from torua.net.peer import REFUSED
from torua.net.peers import Inbound, Lane
from torua.node.coordinator import KIND, CoordinatorService
from torua.storage.files import DiskFiles
from torua.storage.stable import StableStore


class Wires:
    """The connections of all nodes: what is sent arrives in the next turn.

    Invariants: bodies pass through CBOR, as they do in life.
    """

    def __init__(self, clock: Clock) -> None:
        """Connect nobody."""
        self.clock = clock
        self.ends: dict[NodeId, End] = {}


class End:
    """One node's `Peers`.

    Invariants: what it sends to who is not there is lost.
    """

    def __init__(self, wires: Wires, me: NodeId) -> None:
        """Stand at ``me``."""
        self.wires, self.me = wires, me
        self.handlers: dict[str, Callable[[Inbound], Awaitable[object]]] = {}
        self.on_down: Callable[[NodeId, str], None] = lambda node, why: None
        wires.ends[me] = self

    def handle(
        self, kind: str, handler: Callable[[Inbound], Awaitable[object]]
    ) -> None:
        """As `Peers.handle`.

        Args:
            kind: as there.
            handler: as there.
        """
        self.handlers[kind] = handler

    def watch(
        self, on_up: Callable[[NodeId], None], on_down: Callable[[NodeId, str], None]
    ) -> None:
        """As `Peers.watch`.

        Args:
            on_up: as there.
            on_down: as there.
        """
        self.on_down = on_down

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """As `Peers.send`.

        Args:
            node_id: as there.
            kind: as there.
            body: as there.
            lane: as there.
        """
        data = encode(body)

        def arrive() -> None:
            """Hand it over, if anybody is there."""
            end = self.wires.ends.get(node_id)
            if end is not None:
                inbound = Inbound(self.me, 1, kind, decode(data), float("inf"))
                Deferred.fromCoroutine(_run(end.handlers[kind](inbound)))

        self.wires.clock.callLater(0.001, arrive)

    async def request(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane, timeout_s: float
    ) -> object:
        """As `Peers.request`.

        Args:
            node_id: as there.
            kind: as there.
            body: as there.
            lane: as there.
            timeout_s: as there.
        """
        deadline = self.wires.clock.seconds() + timeout_s
        end = self.wires.ends[node_id]
        inbound = Inbound(self.me, 1, kind, decode(encode(body)), deadline)
        return await end.handlers[kind](inbound)


async def _run(awaitable: Awaitable[object]) -> None:
    """Wait for a handler."""
    await awaitable


class Members:
    """What membership believes, the same on all nodes.

    Invariants: subscribers hear of each change.
    """

    def __init__(self, names: list[NodeId]) -> None:
        """Believe that all live."""
        self.members = {
            name: Member(
                name, f"node-{name}", Address("h", 1), 1, 0, Status.ALIVE, Meta()
            )
            for name in names
        }
        self.callbacks: list[Callable[[Member], None]] = []

    def subscribe(self, callback: Callable[[Member], None]) -> None:
        """As `MembershipService.subscribe`."""
        self.callbacks.append(callback)


class Here:
    """A worker that works at once.

    Invariants: none of its jobs is ever under way.
    """

    def __init__(self) -> None:
        """Have nothing in the way."""
        self.errors: list[ToruaError] = []

    def run(self, job: Callable[[], Any]) -> "Deferred[Any]":
        """Do it, or fail as a test wants."""
        return fail(self.errors.pop()) if self.errors else succeed(job())

    def stop(self) -> None:
        """Have nothing to end."""


class CoordinatorTests(SynchronousTestCase):
    """Services of a few nodes, on one clock."""

    def setUp(self) -> None:
        """Have no node."""
        self.clock = Clock()
        self.wires = Wires(self.clock)
        self.workers: dict[NodeId, Here] = {}
        self.fatal: list[str] = []
        self.registry = CollectorRegistry()
        self.path = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.path)

    def node(
        self, name: str, members: Members, expect: int = 1, boot_epoch: int = 1
    ) -> CoordinatorService:
        """Make a service.

        Args:
            name: its id.
            members: what it believes.
            expect: how many nodes it expects.
            boot_epoch: which life.
        """
        me = NodeId(name)
        self.workers[me] = Here()
        self.registry = CollectorRegistry()
        return CoordinatorService(
            self.clock,
            (me, boot_epoch),
            StableStore(self.path / name, DiskFiles()),
            End(self.wires, me),
            members,
            founding=Founding("test", Settings(shards=2), expect),
            timing=Timing(),
            random=Random(1),
            registry=self.registry,
            on_fatal=self.fatal.append,
            worker=self.workers[me],
        )

    def three(self) -> list[CoordinatorService]:
        """Return three services that have formed a cluster."""
        names = [NodeId(name) for name in ("a", "b", "c")]
        members = Members(names)
        services = [self.node(name, members, 3) for name in names]
        for service in services:
            service.start()
        self.pass_time(3.0)
        return services

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.001] * int(seconds * 1000))

    def test_nodes_form_a_cluster_and_a_command_finds_the_coordinator(
        self,
    ) -> None:
        """All apply one state; what a follower submits is committed everywhere."""
        services = self.three()
        leader = next(each for each in services if each.is_coordinator)
        self.assertEqual({each.coordinator for each in services}, {leader._me})
        uuid = leader.state.cluster_uuid
        self.assertEqual([each.state.cluster_uuid for each in services], [uuid] * 3)
        self.assertEqual(len(leader.voters), 3)
        follower = next(each for each in services if not each.is_coordinator)
        seen: list[ClusterState] = []
        follower.subscribe(seen.append)
        shard = leader.state.shards[ShardId(0)]
        assert shard.primary is not None
        command = MarkStarted(ShardId(0), shard.primary.alloc_id, 1, 1)
        done = Deferred.fromCoroutine(follower.submit(command, 1.0))
        self.pass_time(0.1)
        self.assertIsNone(self.successResultOf(done))
        for service in services:
            in_sync = service.state.shards[ShardId(0)].in_sync
            self.assertEqual(in_sync, (shard.primary.alloc_id,))
        self.assertEqual(seen, [follower.state])
        self.assertEqual(leader.version, follower.version)

    def test_a_later_life_goes_on_with_what_was_kept(self) -> None:
        """The votes file brings back term and state; a new life coordinates anew."""
        members = Members([NodeId("a")])
        first = self.node("a", members)
        first.start()
        self.pass_time(1.0)
        self.successResultOf(Deferred.fromCoroutine(first.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        second = self.node("a", members, boot_epoch=2)
        self.assertEqual(second.state, first.state)
        self.assertEqual(second.term, first.term)
        second.start()
        self.pass_time(1.0)
        self.assertTrue(second.is_coordinator)
        self.assertGreater(second.term, first.term)

    def test_votes_of_another_node_or_of_a_later_life_are_refused(self) -> None:
        """A copied or restored data dir does not vote."""
        for facts in (Facts(NodeId("x"), 0), Facts(NodeId("a"), 9)):
            StableStore(self.path / "a", DiskFiles()).save(spell(facts))
            self.assertRaises(CorruptionError, self.node, "a", Members([]))
        StableStore(self.path / "a", DiskFiles()).save(b"\x01")
        self.assertRaises(CorruptionError, self.node, "a", Members([]))

    def test_a_full_disk_is_tried_again_and_a_broken_one_is_fatal(self) -> None:
        """Nothing rests on votes that are not kept; where they can't be, it ends."""
        service = self.node("a", Members([NodeId("a")]))
        self.workers[NodeId("a")].errors = [DiskFullError("full")]
        service.start()
        self.pass_time(0.9)
        self.assertFalse(service.is_coordinator)
        self.pass_time(1.5)
        self.assertTrue(service.is_coordinator)
        self.assertEqual(self.fatal, [])
        broken = self.node("b", Members([NodeId("b")]))
        self.workers[NodeId("b")].errors = [CorruptionError("gone")]
        broken.start()
        self.pass_time(2.0)
        self.assertFalse(broken.is_coordinator)
        self.assertEqual(len(self.fatal), 1)
        self.assertEqual(len(self.flushLoggedErrors(CorruptionError)), 1)

    def test_without_a_coordinator_nothing_is_submitted(self) -> None:
        """A command fails at once, and nothing was done."""
        service = self.node("a", Members([NodeId("a")]), expect=3)
        service.start()
        command = MarkStarted(ShardId(0), AllocId("x"), 1, 1)
        done = Deferred.fromCoroutine(service.submit(command, 1.0))
        self.failureResultOf(done, UnavailableError)

    def test_a_node_that_is_deaf_asks_for_nothing(self) -> None:
        """What still arrives of it could have healthy copies dropped."""
        services = self.three()
        follower = next(each for each in services if not each.is_coordinator)
        command = MarkStarted(ShardId(0), AllocId("x"), 1, 1)
        del self.wires.ends[follower._me]
        self.pass_time(1.0)
        self.assertIsNotNone(follower.coordinator)
        asked = Deferred.fromCoroutine(follower.submit(command, 1.0))
        self.failureResultOf(asked, UnavailableError)

    def test_an_answer_that_does_not_come_in_time_is_unknown(self) -> None:
        """Cut off from its followers, the coordinator cannot tell what became of it."""
        leader = next(each for each in self.three() if each.is_coordinator)
        shard = leader.state.shards[ShardId(0)]
        assert shard.primary is not None
        command = MarkStarted(ShardId(0), shard.primary.alloc_id, 1, 1)
        self.wires.ends.clear()
        late = Deferred.fromCoroutine(leader.submit(command, 0.2))
        dropped = Deferred.fromCoroutine(leader.submit(command, 30.0))
        self.pass_time(0.3)
        self.failureResultOf(late, OutcomeUnknownError)
        self.pass_time(4.0)
        self.failureResultOf(dropped, UnavailableError)
        self.assertIsNone(leader.coordinator)

    def followed_within(self, seconds: float, *reasons: str) -> bool:
        """Have the coordinator of three end; tell whether another follows in time.

        Args:
            seconds: how long that may take.
            reasons: why the others have no connection to it, one after the other.
        """
        services = self.three()
        leader = next(each for each in services if each.is_coordinator)
        others = [each for each in services if each is not leader]
        del self.wires.ends[leader._me]
        self.successResultOf(Deferred.fromCoroutine(leader.stop()))
        for each in others:
            for reason in reasons:
                self.wires.ends[each._me].on_down(leader._me, reason)
        self.pass_time(seconds)
        return any(each.is_coordinator for each in others)

    def test_a_broken_connection_speeds_a_failover_up(self) -> None:
        """The followers hear of the coordinator's end, and have another in 1.5 s."""
        self.assertTrue(self.followed_within(1.5, "reset"))

    def test_refused_connections_speed_a_failover_up_further(self) -> None:
        """Nobody waits for a process that is no more: another within 0.6 s."""
        self.assertTrue(self.followed_within(0.6, "reset", REFUSED))

    def test_garbage_is_the_peers_fault(self) -> None:
        """What is no letter raises a protocol error, and changes nothing."""
        service = self.node("a", Members([NodeId("a")]))
        service.start()
        handler = self.wires.ends[NodeId("a")].handlers[KIND]
        inbound = Inbound(NodeId("b"), 1, KIND, {"message": 7}, float("inf"))
        done = Deferred.fromCoroutine(_run(handler(inbound)))
        self.failureResultOf(done, ProtocolError)

    def test_waiting_is_said_once_and_again_only_after_a_while(self) -> None:
        """A node alone says what it waits for, each half a minute at most."""
        service = self.node("a", Members([NodeId("a")]), expect=3)
        with capturedLogs() as captured:
            service.start()
            self.pass_time(35.0)
        lines = [each for each in captured if each["log_level"] is LogLevel.info]
        self.assertEqual([each["detail"] for each in lines], ["1 of 3"] * 2)

    def test_a_node_that_may_only_join_says_that_it_waits(self) -> None:
        """With wrong seeds, label or secret nothing else would tell."""
        service = self.node("a", Members([NodeId("a")]), expect=0)
        with capturedLogs() as captured:
            service.start()
            self.pass_time(35.0)
        said = [each["log_format"].partition(":")[0] for each in captured]
        self.assertEqual(said, ["waiting for a cluster to join"] * 2)

    def test_a_foreign_cluster_is_said_loudly_and_once(self) -> None:
        """A member of another cluster is critical, and stays out."""
        members = Members([NodeId("a")])
        service = self.node("a", members)
        service.start()
        self.pass_time(1.0)
        other = replace(
            members.members[NodeId("a")],
            node_id=NodeId("b"),
            meta=Meta(cluster_uuid="f" * 32),
        )
        members.members[NodeId("b")] = other
        with capturedLogs() as captured:
            for _ in range(2):
                members.callbacks[0](other)
        loud = [each for each in captured if each["log_level"] is LogLevel.critical]
        self.assertEqual([each["detail"] for each in loud], ["f" * 32])
        self.pass_time(2.0)
        self.assertNotIn(NodeId("b"), service.state.nodes)

    def test_elections_and_publications_are_counted(self) -> None:
        """The metrics tell who coordinates, in which term, and what was published."""
        service = self.node("a", Members([NodeId("a")]))
        service.start()
        self.pass_time(1.0)

        def value(name: str, **labels: str) -> float | None:
            """Read a metric."""
            return self.registry.get_sample_value(f"torua_coordination_{name}", labels)

        self.assertEqual(value("is_coordinator"), 1.0)
        self.assertEqual(value("term"), service.term)
        self.assertEqual(value("state_version"), service.version)
        self.assertEqual(value("elections_total", outcome="won"), 1.0)
        for outcome in ("published", "committed"):
            count = value("publications_total", outcome=outcome)
            self.assertEqual(count, service.version)
