"""Clusters of the real membership machines in a simulated world."""

from collections.abc import Callable
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from tests.simulation.world import Channel, Network, Timer, World
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership import messages as m
from torua.core.membership.machine import Membership
from torua.core.membership.outbox import Sizes
from torua.core.membership.timing import LOCAL, Timing

SIZES = Sizes(room=1200, rumour=lambda rumour: 110 + len(rumour.member.name))
Machine = Callable[[Member, Timing, Sizes, Random], Membership]


class Question(Struct, frozen=True):
    """One half of a TCP exchange under way."""

    ref: int
    packet: m.Packet


class Reply(Struct, frozen=True):
    """The other half."""

    ref: int
    packet: m.Packet | None


class Node:
    """One life of one node.

    Invariants: its machine is entered only while it runs and is not paused; what comes
    while it is paused waits, as in a socket.
    """

    def __init__(self, cluster: "Cluster", me: Member) -> None:
        """Make a node that does not run yet; `Cluster.add` makes these."""
        self.cluster = cluster
        self.world = cluster.world
        self.host = me.address.host
        rng = Random(self.world.random.getrandbits(64))
        self.machine = cluster.machine(me, cluster.timing, SIZES, rng)
        self.seen: list[tuple[float, m.Output]] = []
        self.running = True
        self.paused_until = 0.0
        self.slow = 0.0
        self._timer: Timer | None = None
        self._waiting: dict[int, Timer] = {}
        self._refs = 0

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Take a message, once the node is not busy with other things.

        Args:
            source: from whom.
            message: a packet, or half of an exchange.
            channel: by which way; the message says it as well.
        """
        self.world.at(self._busy_for(), self._take, source, message)

    def cut(self, peer: str) -> None:
        """No connection outlives its exchange here."""

    def tell(self, message: m.Input) -> None:
        """Give the machine one input and do what it says."""
        if self.running:
            self._perform(self.machine.receive(message, self.world.now))
            self._rearm()

    def stop(self) -> None:
        """End this life without a word."""
        self.running = False
        if self.cluster.nodes.get(self.host) is self:
            self.cluster.network.detach(self.host)

    def pause(self, seconds: float) -> None:
        """Stand still, as under SIGSTOP."""
        self.paused_until = self.world.now + seconds

    def status(self, other: "Node") -> Status | None:
        """Tell what this node believes of another."""
        held = self.machine.members.get(other.machine.me.node_id)
        return None if held is None else held.status

    def live(self) -> int:
        """Count whom this node believes to live, itself included."""
        return sum(member.is_live for member in self.machine.members.values())

    def when(self, kind: type[m.Output], start: float = 0.0) -> list[float]:
        """Tell when the machine gave an output of a kind.

        Args:
            kind: which.
            start: what was before does not count.
        """
        return [at for at, out in self.seen if type(out) is kind and at >= start]

    def _busy_for(self) -> float:
        """Tell for how long the node does not get round to anything."""
        slow = self.world.random.uniform(0, self.slow)
        return max(0.0, self.paused_until - self.world.now) + slow

    def _take(self, source: str, message: object) -> None:
        """Take in one message."""
        if self._busy_for() > self.slow:
            self.deliver(source, message, "udp")
        elif isinstance(message, m.Packet):
            self.tell(m.Received(message, Address(source, 1)))
        elif isinstance(message, Question):
            self.tell(m.Asked(self._await(source, message.ref), message.packet))
        elif isinstance(message, Reply) and message.ref in self._waiting:
            self._waiting.pop(message.ref).cancel()
            self.tell(m.Answered(message.ref, message.packet))

    def _await(self, source: str, ref: int) -> int:
        """Note where an answer is to go."""
        self._refs += 1
        self._answers = {self._refs: (source, ref)}
        return self._refs

    def _perform(self, outputs: list[m.Output]) -> None:
        """Do what the machine says, and note what it tells."""
        for output in outputs:
            match output:
                case m.Send(address, packet):
                    self.cluster.count(self, packet)
                    self._post(address, packet, "udp")
                case m.Ask(ref, address, packet, timeout_s):
                    self.cluster.count(self, packet)
                    gone = self.world.at(timeout_s, self._give_up, ref)
                    self._waiting[ref] = gone
                    self._post(address, Question(ref, packet), "tcp")
                case m.Answer(ref, packet):
                    source, theirs = self._answers[ref]
                    if packet is not None:
                        self.cluster.count(self, packet)
                    self._post(Address(source, 1), Reply(theirs, packet), "tcp")
                case _:
                    self.seen.append((self.world.now, output))

    def _post(self, address: Address, message: object, channel: Channel) -> None:
        """Let a message go."""
        self.cluster.network.send(self.host, address.host, message, channel)

    def _give_up(self, ref: int) -> None:
        """Let an exchange end without an answer."""
        if self._waiting.pop(ref, None) is not None:
            self.tell(m.Answered(ref, None))

    def _rearm(self) -> None:
        """Set the one timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.machine.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self.world.now)
            self._timer = self.world.at(delay, self._wake)

    def _wake(self) -> None:
        """Let the machine act on the time, once the node is not busy."""
        busy = self._busy_for()
        if busy > self.slow:
            self._timer = self.world.at(busy, self._wake)
        elif self.running:
            outputs = self.machine.wake(self.world.now)
            deadline = self.machine.next_deadline()
            assert deadline is None or deadline > self.world.now
            self._perform(outputs)
            self._rearm()


class Cluster:
    """Nodes in a world, and rules that hold throughout.

    Invariants: `nodes` holds the last life that was started at each address.
    """

    def __init__(
        self, seed: int, timing: Timing = LOCAL, machine: Machine = Membership
    ) -> None:
        """Begin without nodes.

        Args:
            seed: decides all that chance decides.
            timing: the preset.
            machine: makes the machine of a node; the bug gallery has others.
        """
        self.world = World(seed)
        self.network = Network(self.world, (0.0002, 0.002))
        self.timing = timing
        self.machine = machine
        self.nodes: dict[str, Node] = {}
        self.bytes_sent = 0
        self.packets_sent = 0
        self.measure: Callable[[m.Packet], int] | None = None

    def count(self, node: Node, packet: m.Packet) -> None:
        """Count what a node sends.

        Args:
            node: which.
            packet: what.
        """
        self.packets_sent += 1
        if self.measure is not None:
            self.bytes_sent += self.measure(packet)

    def make(
        self, host: str, *, epoch: int = 1, node_id: str = "", name: str = ""
    ) -> Node:
        """Put a node at an address, not yet told to start.

        Args:
            host: its address.
            epoch: which life.
            node_id: who it is; by default made of the address.
            name: what it is called; by default as its address.
        """
        me = Member(
            NodeId(node_id or host.encode().hex().zfill(32)),
            name or host,
            Address(host, 1),
            epoch,
            0,
            Status.ALIVE,
            Meta(),
        )
        node = Node(self, me)
        self.nodes[host] = node
        self.network.attach(host, node)
        return node

    def add(
        self, host: str, seed: str = "n0", *, epoch: int = 1, node_id: str = ""
    ) -> Node:
        """Start a node.

        Args:
            host: its address, and its name.
            seed: whom it looks for.
            epoch: which life.
            node_id: who it is; by default made of the address.
        """
        node = self.make(host, epoch=epoch, node_id=node_id)
        node.tell(m.Start((Address(seed, 1),)))
        return node

    def form(self, count: int, settle: float = 3.0) -> list[Node]:
        """Start nodes and let them find each other.

        Args:
            count: how many.
            settle: for how long, in seconds.
        """
        nodes = [self.add(f"n{index}") for index in range(count)]
        self.run(settle)
        return nodes

    def prime(self, count: int) -> list[Node]:
        """Start nodes that know each other already.

        Args:
            count: how many.
        """
        nodes = [self.make(f"n{index}") for index in range(count)]
        everybody = tuple(
            m.Rumour(node.machine.me, node.machine.me.node_id) for node in nodes
        )
        for index, node in enumerate(nodes):
            other = nodes[index - 1].machine.me
            reply = m.Packet(other.node_id, 1, node.machine.me.node_id, 1, 1, m.Sync())
            node.tell(m.Answered(-1, replace(reply, rumours=everybody)))
            node.tell(m.Start(()))
        return nodes

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now + seconds)

    def run_until(self, condition: Callable[[], bool], limit: float) -> float:
        """Let time pass until something holds; return how long that took.

        Args:
            condition: what to wait for.
            limit: after so many seconds it is given up, and an error.
        """
        start = self.world.now
        while not condition():
            assert self.world.now - start < limit, "it did not come to pass"
            self.run(0.01)
        return self.world.now - start
