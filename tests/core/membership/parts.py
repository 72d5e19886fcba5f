"""What the tests of membership are made of: members, packets, a machine alone."""

from random import Random
from typing import TypeVar

from msgspec.structs import replace

from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership import messages as m
from torua.core.membership.machine import Membership
from torua.core.membership.outbox import Sizes
from torua.core.membership.timing import LOCAL, Timing

SIZES = Sizes(room=1000, rumour=lambda rumour: 100)
Output = TypeVar("Output", bound=m.Output)


def member(
    name: str,
    *,
    epoch: int = 1,
    incarnation: int = 0,
    status: Status = Status.ALIVE,
    uuid: str = "",
) -> Member:
    """Make a member whose id and address follow from its name.

    Args:
        name: of one letter or a few.
        epoch: its life.
        incarnation: its refutations.
        status: how it fares.
        uuid: of its cluster.
    """
    node_id = NodeId(name.encode().hex().zfill(32))
    address = Address(name, 7000)
    meta = Meta(cluster_uuid=uuid)
    return Member(node_id, name, address, epoch, incarnation, status, meta)


def rumour(about: Member, by: str = "") -> m.Rumour:
    """Make a rumour.

    Args:
        about: what is believed.
        by: who says so; by default the member itself.
    """
    return m.Rumour(about, member(by).node_id if by else about.node_id)


class Lone:
    """One machine, and a clock that the test holds.

    Invariants: `now` never goes back.
    """

    def __init__(self, timing: Timing = LOCAL, *, uuid: str = "", seed: int = 0):
        """Make the machine of node ``me`` in its life 5, and start it."""
        me = member("me", epoch=5, uuid=uuid)
        self.machine = Membership(me, timing, SIZES, Random(seed))
        self.now = 100.0
        self.seq = 0
        self.tell(m.Start(()))

    def tell(self, message: m.Input) -> list[m.Output]:
        """Give it an input."""
        return self.machine.receive(message, self.now)

    def hear(
        self, sender: Member, *rumours: m.Rumour, **more: object
    ) -> list[m.Output]:
        """Give it a datagram.

        Args:
            sender: from whom.
            rumours: that it carries.
            more: what else is special in it.
        """
        return self.tell(m.Received(self.packet(sender, *rumours, **more), ADDRESS))

    def packet(self, sender: Member, *rumours: m.Rumour, **more: object) -> m.Packet:
        """Make a packet for this node's life.

        Args:
            sender: from whom.
            rumours: that it carries.
            more: what else is special in it.
        """
        self.seq += 1
        me = self.machine.me
        packet = m.Packet(
            sender.node_id,
            sender.boot_epoch,
            me.node_id,
            me.boot_epoch,
            self.seq,
            None,
            rumours,
        )
        return replace(packet, **more)

    def know(self, *names: str) -> list[Member]:
        """Let it hear of members that live."""
        members = [member(name) for name in names]
        for each in members:
            self.hear(each, rumour(each))
        return members

    def pass_time(self, seconds: float) -> list[m.Output]:
        """Wake it whenever it wants to be, for so long."""
        end, outputs = self.now + seconds, list[m.Output]()
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            outputs += self.machine.wake(self.now)
            due = self.machine.next_deadline()
            assert due is None or due > self.now
        self.now = end
        return outputs

    def status(self, who: Member) -> Status | None:
        """Tell what it believes of a member."""
        held = self.machine.members.get(who.node_id)
        return None if held is None else held.status


ADDRESS = Address("source", 9)


def only(kind: type[Output], outputs: list[m.Output]) -> list[Output]:
    """Pick the outputs of one kind.

    Args:
        kind: which.
        outputs: all there are.
    """
    return [output for output in outputs if isinstance(output, kind)]


def sent(kind: type[m.Message], outputs: list[m.Output]) -> list[m.Send]:
    """Pick the datagrams with one kind of message.

    Args:
        kind: which.
        outputs: all there are.
    """
    return [s for s in only(m.Send, outputs) if isinstance(s.packet.message, kind)]


def ask(lone: Lone, packet: m.Packet) -> m.Packet | None:
    """Open a TCP exchange with the machine; return its answer.

    Args:
        lone: the machine.
        packet: the question.
    """
    (answer,) = only(m.Answer, lone.tell(m.Asked(7, packet)))
    assert answer.ref == 7
    return answer.packet


def as_(who: Member, status: Status, **more: object) -> Member:
    """Say something else of how a member fares.

    Args:
        who: the member.
        status: how it fares.
        more: what else is different.
    """
    return replace(who, status=status, **more)
