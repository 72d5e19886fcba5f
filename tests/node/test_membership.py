"""Tests for `torua.node.membership`: real machines and codecs; fake clock and wires."""

from collections.abc import Callable
from random import Random

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from torua.codec.datagrams import Kind, PacketCodec
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership import messages as m
from torua.core.membership.timing import LOCAL
from torua.errors import ToruaError, UnavailableError
from torua.node.membership import MembershipService, Settings


class Wires:
    """All sockets of a small network.

    Invariants: a datagram or an exchange reaches who stands at its address at once.
    """

    def __init__(self) -> None:
        """Have nobody."""
        self.services: dict[Address, MembershipService] = {}
        self.sent: list[bytes] = []


class Transport:
    """The UDP transport of one node.

    Invariants: it sends from one address.
    """

    def __init__(self, wires: Wires, source: Address, clock: Clock) -> None:
        """Stand at an address."""
        self.wires, self.source, self.clock = wires, source, clock

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Carry a datagram, in the next turn of the clock.

        Args:
            data: what.
            address: to whom.
        """
        self.wires.sent.append(data)
        service = self.wires.services.get(Address(*address))
        if service is not None:
            port = service.gossip
            self.clock.callLater(0, port.datagramReceived, data, tuple(self.source))


class Links:
    """The TCP side of one node, as `torua.net.peers` offers it.

    Invariants: `known` holds who is to be connected to, `parted` who left.
    """

    def __init__(self, wires: Wires) -> None:
        """Know nobody."""
        self.wires = wires
        self.on_exchange: Callable[[bytes], bytes | None] = lambda data: None
        self.known: dict[NodeId, tuple[Address, int]] = {}
        self.parted: list[NodeId] = []
        self.error: ToruaError = UnavailableError("nobody there")

    async def exchange(self, address: Address, body: bytes, timeout_s: float) -> bytes:
        """Ask who stands at an address.

        Args:
            address: where.
            body: what.
            timeout_s: how long to wait.
        """
        service = self.wires.services.get(address)
        answer = service and service._exchanges.on_exchange(body)
        if not answer:
            raise self.error
        return answer

    def know(self, node_id: NodeId, address: Address, boot_epoch: int) -> None:
        """Note whom to be connected to.

        Args:
            node_id: whom.
            address: where.
            boot_epoch: in which life.
        """
        self.known[node_id] = (address, boot_epoch)

    def part(self, node_id: NodeId) -> None:
        """Note whom to ask no more."""
        self.parted.append(node_id)

    def forget(self, node_id: NodeId) -> None:
        """Note whom no more."""
        self.known.pop(node_id, None)


class MembershipServiceTests(SynchronousTestCase):
    """What the shell adds: bytes, time, logs, metrics, subscribers."""

    def setUp(self) -> None:
        """Make a network of nobody."""
        self.clock, self.wires = Clock(), Wires()
        self.registries: dict[str, CollectorRegistry] = {}
        self.stopped: list[str] = []
        self.remembered: dict[str, tuple[Address, ...]] = {}

    def node(
        self, name: str, *seeds: str, secret: bytes | None = b"s", epoch: int = 1
    ) -> MembershipService:
        """Start a node.

        Args:
            name: a letter; its id and address follow from it.
            seeds: whom it looks for.
            secret: the cluster's.
            epoch: its life.
        """
        address = self.address(name)
        registry = self.registries[name] = CollectorRegistry()
        node_id = NodeId(f"{ord(name):032x}")
        me = Member(node_id, name, address, epoch, 0, Status.ALIVE, Meta())
        service = MembershipService(
            self.clock,
            me,
            Links(self.wires),
            Settings("torua", secret, LOCAL, Random(ord(name))),
            registry,
        )
        service.remember = lambda peers: self.remembered.update({name: peers})
        service.on_superseded = lambda: self.stopped.append(name)
        transport = Transport(self.wires, address, self.clock)
        service.gossip.transport = transport  # type: ignore[assignment]
        self.wires.services[address] = service
        service.start(tuple(map(self.address, seeds)))
        return service

    def address(self, name: str) -> Address:
        """Tell where a node is."""
        return Address(f"10.0.0.{ord(name)}", 7441)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        for _ in range(round(seconds / 0.005)):
            self.clock.advance(0.005)

    def metric(self, node: str, name: str, **labels: str) -> float | None:
        """Read a metric of a node.

        Args:
            node: its name.
            name: of the sample.
            labels: of the sample.
        """
        return self.registries[node].get_sample_value(name, labels)

    def kill(self, service: MembershipService) -> None:
        """End a node without a word."""
        service.stop()
        del self.wires.services[service.me.address]

    def statuses(self, service: MembershipService) -> str:
        """Spell what a node believes, as the names' letters and statuses."""
        held = sorted(service.members.values(), key=lambda member: member.name)
        return " ".join(f"{each.name}:{each.status.name}" for each in held)

    def test_nodes_find_each_other_and_notice_a_death(self) -> None:
        """From seeds to a member list; from silence to suspect and dead; logged."""
        log = self.capture_logs()
        a, b, c = self.node("a"), self.node("b", "a"), self.node("c", "a")
        self.pass_time(1.0)
        for each in (a, b, c):
            self.assertEqual(self.statuses(each), "a:ALIVE b:ALIVE c:ALIVE")
        peers = (self.address("b"), self.address("c"))
        self.assertEqual(self.remembered["a"], peers)
        heard = a.last_heard(b.me.node_id)
        assert heard is not None
        self.assertLess(heard, 0.5)
        self.assertEqual(a.last_heard(a.me.node_id), 0.0)
        self.assertIsNone(a.last_heard(NodeId("nobody")))
        self.kill(c)
        self.pass_time(1.5)
        self.assertEqual(self.statuses(a), "a:ALIVE b:ALIVE c:DEAD")
        dead = self.metric("a", "torua_membership_members", status="dead")
        self.assertEqual(dead, 1)
        self.assertNotIn(c.me.node_id, a._exchanges.known)  # type: ignore[attr-defined]
        said = [(each["name"], each["what"]) for each in log if "what" in each]
        for what in ("joined", "is suspect", "is dead"):
            self.assertEqual(said.count(("c", what)), 2, what)

    def capture_logs(self) -> list[LogEvent]:
        """Collect the log events from now on."""
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def collect(event: LogEvent) -> None:
            """Keep an event."""
            events.append(event)

        globalLogPublisher.addObserver(collect)
        self.addCleanup(globalLogPublisher.removeObserver, collect)
        return events

    def test_a_node_comes_back_in_a_new_life(self) -> None:
        """The same id with a later epoch is back at once, and said to be."""
        a, b = self.node("a"), self.node("b", "a")
        self.pass_time(0.5)
        self.kill(b)
        log = self.capture_logs()
        self.node("b", "a", epoch=2)
        self.pass_time(0.5)
        self.assertEqual(a.members[b.me.node_id].boot_epoch, 2)
        said = [(each["name"], each["what"]) for each in log if "what" in each]
        self.assertIn(("b", "is back"), said)

    def test_a_node_that_leaves_is_not_called_dead(self) -> None:
        """Its Deferred fires once the others were told; then nothing is left."""
        a, b = self.node("a"), self.node("b", "a")
        self.pass_time(0.5)
        left = b.leave()
        left.addCallback(lambda _: self.kill(b))
        self.pass_time(2.0)
        self.successResultOf(left)
        self.assertEqual(self.statuses(a), "a:ALIVE b:LEFT")
        links = a._exchanges
        assert isinstance(links, Links)
        self.assertEqual(links.parted, [b.me.node_id])
        a.stop()
        a.stop()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_subscribers_hear_of_every_change(self) -> None:
        """Of this node's metadata too; one that fails harms no other."""
        a, heard = self.node("a"), list[Member]()

        def fail(member: Member) -> None:
            """Fail."""
            raise ValueError("mine")

        a.subscribe(fail)
        a.subscribe(heard.append)
        a.update_meta(http="h:1", cluster_uuid="u")
        self.assertEqual([(x.name, x.meta.http) for x in heard], [("a", "h:1")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_subscriber_may_change_metadata_twice(
        self,
    ) -> None:
        """The machine takes both in later; neither loses what was changed before."""
        a = self.node("a")

        def follow(member: Member) -> None:
            """Say two things on hearing the first of them."""
            if not member.meta.zone:
                a.update_meta(zone="z")
                a.update_meta(version="2")

        a.subscribe(follow)
        a.update_meta(http="h:1")
        self.assertEqual(a.me.meta, Meta(http="h:1", zone="z", version="2"))

    def test_garbage_is_counted_by_reason_and_harms_nobody(self) -> None:
        """On both ways in, of every kind."""
        a = self.node("a")
        codec = PacketCodec("other", None)
        stray = m.Packet(NodeId("ff" * 16), 1, a.me.node_id, 1, 1, m.Ping(1))
        foreign = codec.spell(stray, Kind.DATAGRAM)
        for data in (b"", b"garbage" * 9, foreign):
            a.gossip.datagramReceived(data, ("10.9.9.9", 1))
            self.assertIsNone(a._exchanges.on_exchange(data))
        drops = "torua_membership_drops_total"
        self.assertEqual(self.metric("a", drops, reason="malformed"), 4)
        self.assertEqual(self.metric("a", drops, reason="foreign-label"), 2)

    def test_without_the_secret_nobody_joins(self) -> None:
        """Neither side believes anything of the other, and both count it."""
        a, b = self.node("a"), self.node("b", "a", secret=b"wrong")
        c = self.node("c", "a", secret=None)
        self.pass_time(1.0)
        for each, name in ((a, "a"), (b, "b"), (c, "c")):
            self.assertEqual(self.statuses(each), f"{name}:ALIVE")
        drops = "torua_membership_drops_total"
        self.assertGreater(self.metric("a", drops, reason="forged") or 0, 0)
        self.assertGreater(self.metric("a", drops, reason="unsealed") or 0, 0)

    def test_a_recorded_datagram_is_of_no_use(self) -> None:
        """Played again, each is dropped as replayed."""
        a, _ = self.node("a"), self.node("b", "a")
        self.pass_time(0.5)
        before = self.metric("a", "torua_membership_drops_total", reason="replayed")
        caught = list(self.wires.sent)
        for data in caught:
            a.gossip.datagramReceived(data, ("10.9.9.9", 1))
        after = self.metric("a", "torua_membership_drops_total", reason="replayed")
        assert before is not None and after is not None
        self.assertGreaterEqual(after - before, len(caught) // 3)

    def test_a_copied_disk_stops_the_older_life(self) -> None:
        """It says so once, calls for a stop, and leaves no timer of its own."""
        log = self.capture_logs()
        a, b = self.node("a"), self.node("b", "a")
        self.pass_time(0.5)
        copy = self.node("c", "a", epoch=1)
        copy.stop()
        twin = m.Packet(a.me.node_id, 9, a.me.node_id, 1, 1, None)
        data = PacketCodec("torua", b._codec._seal).spell(twin, Kind.DATAGRAM)
        a.gossip.datagramReceived(data, ("10.9.9.9", 1))
        self.assertEqual(self.stopped, ["a"])
        critical = [each for each in log if each["log_level"] is LogLevel.critical]
        self.assertEqual([each["epoch"] for each in critical], [9])
        self.pass_time(0.5)
        self.assertEqual(self.stopped, ["a"])

    def test_a_slow_reactor_shows_in_the_health(self) -> None:
        """A clock that jumps is a reactor that stood still; a slow disk counts too."""
        a = self.node("a")
        self.clock.advance(LOCAL.timeout_s * 1.6)
        lag = self.metric("a", "torua_node_reactor_lag_seconds")
        self.assertAlmostEqual(lag or 0, LOCAL.timeout_s * 0.6)
        self.assertEqual(a.health_score, 1)
        a.stalled(1.0)
        self.assertEqual(a.health_score, 2)
        score = self.metric("a", "torua_membership_health_score")
        self.assertEqual(score, a.health_score)

    def test_what_an_operator_must_look_at_is_said(self) -> None:
        """Blocked UDP, two of one name, a node of another cluster or build."""
        log = self.capture_logs()
        a = self.node("a")
        other = self.node("b", "a").me
        for output in (
            m.TcpOnly(other),
            m.NameClash(other, a.me),
            m.ForeignCluster(other, "theirs"),
            m.Misfit(other, "it knows nothing"),
        ):
            a._perform(output)
        said = [each["log_format"] for each in log if each["log_level"] != "info"]
        self.assertTrue(any("{why}" in str(line) for line in said))
        for words in ("UDP blocked", "two nodes are called", "another cluster"):
            self.assertTrue(any(words in str(line) for line in said), words)
