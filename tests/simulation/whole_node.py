"""A simulated node with the real membership machine beside all the others.

Elsewhere membership is played, by who could be reached; here it finds out by its own
datagrams over the same bad network, and coordination believes what it says.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from tests.simulation import membership_cluster
from tests.simulation.cluster_node import DataNode
from tests.simulation.membership_cluster import Machine, Question, Reply
from tests.simulation.world import Channel, Network, World
from torua.core.ids import Address
from torua.core.members import Member, Meta
from torua.core.membership import messages as m
from torua.core.membership.machine import Membership
from torua.core.membership.timing import PRESETS, Timing

if TYPE_CHECKING:
    pass

BUSY_S = 0.1
"""A paused node is looked at again so often, for what came meanwhile."""


class Site:
    """What a membership machine needs of the cluster that it is played in.

    Invariants: world and network are the cluster's own.
    """

    timing: Timing = PRESETS["lan"]
    machine: Machine = Membership

    def __init__(self, world: World, network: Network) -> None:
        """Play in a world.

        Args:
            world: its time.
            network: its ways.
        """
        self.world = world
        self.network = network
        self.nodes: dict[str, object] = {}

    def count(self, node: object, packet: m.Packet) -> None:
        """Count nothing.

        Args:
            node: who sends.
            packet: what.
        """


class MembershipPart(membership_cluster.Node):
    """The membership of one life of a node.

    Invariants: it says nothing once that life is over, and nothing while it is paused.
    """

    def __init__(self, owner: "WholeNode", me: Member) -> None:
        """Begin a life that knows of nobody.

        Args:
            owner: whose.
            me: what it says of itself.
        """
        self._owner = owner
        network = owner.cluster.network
        super().__init__(Site(owner.world, network), me)  # type: ignore[arg-type]

    def _busy_for(self) -> float:
        """Tell when to look again whether the node goes on."""
        return BUSY_S if self._owner.paused else 0.0

    def _perform(self, outputs: list[m.Output]) -> None:
        """Do what the machine says; coordination hears what is believed now."""
        super()._perform(outputs)
        if any(isinstance(each, m.MemberChanged) for each in outputs):
            self._owner.believe()


class WholeNode(DataNode):
    """A node all of whose machines are the product's.

    Invariants: `membership` is of this life, or stopped.
    """

    membership: MembershipPart | None = None

    def start(self) -> None:
        """Begin a life that looks for all other nodes."""
        super().start()
        assert self.machine is not None
        self.membership = MembershipPart(self, self.member)
        seeds = [Address(each, 1) for each in self.cluster.nodes if each != self.id]
        self.membership.tell(m.Start(tuple(sorted(seeds))))

    def crash(self) -> None:
        """End the life now, without a word."""
        if self.membership is not None:
            self.membership.running = False
        super().crash()

    @property
    def member(self) -> Member:
        """Return what this node would say of itself."""
        return replace(super().member, address=Address(self.id, 1))

    def deliver(self, source: str, message: object, channel: Channel) -> None:
        """Take what the network brings.

        Args:
            source: who sent it.
            message: what.
            channel: by which way.
        """
        if not isinstance(message, m.Packet | Question | Reply):
            super().deliver(source, message, channel)
        elif self.membership is not None:
            self.membership.deliver(source, message, channel)

    def gossip(self) -> None:
        """Say of this node what changed; the rest goes by datagrams."""
        super().gossip()
        if self.membership is not None and self.machine is not None:
            meta: Meta = self.member.meta
            if meta != self.membership.machine.me.meta:
                self.membership.tell(m.UpdateMeta(meta))

    def tell_members(self, members: tuple[Member, ...]) -> None:
        """Tell what membership believes, and nothing that was played."""
        if self.membership is not None and self.membership.running:
            known = self.membership.machine.members
            super().tell_members(tuple(known[node] for node in sorted(known)))

    def believe(self) -> None:
        """Let coordination know what membership believes now."""
        if self.machine is not None:
            self.tell_members(())
