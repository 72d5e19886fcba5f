"""Clusters of the real coordination machine, played under faults from a seed.

Membership is faked: a node believes of another what it could find out by reaching it,
a second or two late.  Everything else is the product's code.
"""

from collections.abc import Callable

from tests.simulation.coordination_node import Node
from tests.simulation.coordination_rules import Rules, demand
from tests.simulation.world import Network, World
from torua.core.allocation import MarkStarted
from torua.core.configuration import Configuration, Replication
from torua.core.coordination.founding import Founding
from torua.core.coordination.machine import Coordination, Mode
from torua.core.coordination.messages import (
    Event,
    Submit,
    Verdict,
)
from torua.core.coordination.timing import Timing
from torua.core.ids import NodeId
from torua.core.state import Settings

GOSSIP_S = 0.3
JOINING = Founding()
FIXED = Settings(shards=4)
ALONE = Configuration(Replication(replicas=1))
Machine = Callable[..., Coordination]


class Cluster:
    """Nodes, their network, and the rules that hold for them.

    Invariants: a node whose disk was lost comes back under its id only in the gallery.

    Attributes:
        nodes: all that were ever made, by id.
        rough: whether letters go by UDP: lost, doubled and reordered.
        calms: how often a calm majority was one to the end, and how often not.
        mishaps: the chance that a node crashes before it does one thing.
        startles: the chance that a new coordinator crashes, and starts again at once.
        rejects: the chance that a node that lives seems to refuse a connection.
        lost_at: when a disk was lost last.
        keeps_ids: whether a node whose disk was lost keeps its id; it must not.
    """

    def __init__(  # noqa: PLR0913
        self,
        seed: int,
        size: int,
        *,
        tiebreaker: bool = False,
        rough: bool = False,
        expect: int | None = None,
        make: Machine = Coordination,
        settings: Settings = FIXED,
        configuration: Configuration = ALONE,
    ) -> None:
        """Make nodes that expect each other; none is started.

        Args:
            seed: of everything that happens.
            size: how many data nodes.
            tiebreaker: whether there is one more node, which only votes.
            rough: see the attribute.
            expect: how many nodes each of them expects; None for all.
            make: the machine's class, or one that breaks a rule.
            settings: what is fixed for the cluster.
            configuration: what it begins with of what may be changed.
        """
        self.world = World(seed)
        trouble = {"loss": 0.05, "duplication": 0.1, "reordering": 0.1, "ghosts": True}
        self.network = Network(self.world, **(trouble if rough else {}))  # type: ignore[arg-type]
        self.rough = rough
        self.mishaps = self.startles = self.rejects = 0.0
        self.keeps_ids = False
        self.lost_at = 0.0
        self.make = make
        self.rules = Rules()
        self.timing = Timing()
        everybody = expect or size + tiebreaker
        founding = Founding("sim", settings, everybody, configuration)
        self.nodes: dict[NodeId, Node] = {}
        self.gone: set[NodeId] = set()
        self.answers = dict.fromkeys(Verdict, 0)
        self.noticed = dict.fromkeys(Event, 0)
        self.calms = {True: 0, False: 0}
        self._requests = 0
        for _ in range(size):
            self.add(founding=founding)
        if tiebreaker:
            self.add(("voter",), founding)
        self._gossip()

    def add(
        self, roles: tuple[str, ...] = ("data", "voter"), founding: Founding = JOINING
    ) -> Node:
        """Make a node with an empty disk; it is not started.

        Args:
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster; later nodes only join.
        """
        node = self.node_of(f"n{len(self.nodes):02}", roles, founding)
        self.nodes[node.id] = node
        return node

    def node_of(self, name: str, roles: tuple[str, ...], founding: Founding) -> Node:
        """Make what stands for a node here.

        Args:
            name: its id.
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster.
        """
        return Node(self, name, roles, founding)

    def lose(self, node: Node) -> Node:
        """Take a node's disk away; return what stands in its place, not started."""
        if node.machine is not None:
            node.crash()
        self.lost_at = self.world.now
        if self.keeps_ids:
            node.disk.durable = None
            return node
        self.gone.add(node.id)
        return self.add(node.roles)

    def connected(self, one: Node, other: Node) -> bool:
        """Tell whether two nodes run, and reach each other both ways.

        Args:
            one: a node.
            other: a node, or the same.
        """
        runs = all(each.machine and not each.paused for each in (one, other))
        there = self.network.reaches(one.id, other.id)
        return runs and there and self.network.reaches(other.id, one.id)

    def running(self) -> list[Node]:
        """Return the nodes that live, paused ones among them."""
        return [node for node in self.nodes.values() if node.machine is not None]

    def down(self) -> list[Node]:
        """Return the nodes that could be started."""
        nodes = self.nodes.values()
        return [n for n in nodes if n.machine is None and n.id not in self.gone]

    def leader(self) -> Node | None:
        """Return who coordinates in the highest term and committed in it; or None."""
        leading = [
            (node.machine.term, node)
            for node in self.running()
            if node.machine
            and node.machine.mode is Mode.COORDINATOR
            and node.machine.register.committed
        ]
        return max(leading, key=lambda each: each[0])[1] if leading else None

    def voters(self) -> tuple[NodeId, ...]:
        """Return the last committed voters; nobody before the first commit."""
        last = max(self.rules.committed, default=None)
        return () if last is None else self.rules.committed[last].voters

    def submit(self, command: MarkStarted) -> None:
        """Bring a command to whoever coordinates."""
        leader = self.leader()
        if leader is not None:
            self._requests += 1
            leader.receive(Submit(self._requests, command))

    def mend(self) -> None:
        """Heal the network: what TCP held back now tells who could be reached."""
        self.network.heal()
        self.measure()

    def measure(self) -> None:
        """Let all nodes take note of whom they can reach, before that changes."""
        for node in self.running():
            node.reaches_majority()

    def heal(self) -> None:
        """End every fault, and start whoever can be."""
        self.world.note("all heals")
        self.mend()
        for node in self.running():
            if node.paused:
                node.resume()
        for node in self.down():
            node.start()

    def check_settled(self) -> None:
        """Demand that one coordinator leads all, and all applied what it committed.

        It took them all in, and every copy whose disk still exists is open.
        """
        leader = self.leader()
        demand(leader is not None, "C12", "nobody coordinates")
        assert leader is not None and leader.machine is not None
        applied = leader.machine.applied.position
        for node in self.running():
            assert node.machine is not None
            found = (node.machine.coordinator, node.machine.applied.position)
            demand(found == (leader.id, applied), "C12", node.id, found, applied)
            entries = leader.machine.applied.state.nodes
            demand(node.id in entries, "C12", node.id, "is not taken in")
        shards = leader.machine.applied.state.shards.values()
        for shard in shards:
            lost = any(copy.node in self.gone for copy in shard.copies)
            started = bool(shard.in_sync)
            demand(started or lost, "C12", "shard", shard.shard, "is not started")

    def _gossip(self) -> None:
        """Let every node hear of the others now and then."""
        for node in list(self.nodes.values()):
            if not node.paused:
                node.gossip()
        self.world.at(GOSSIP_S * self.world.random.uniform(0.5, 1.5), self._gossip)
