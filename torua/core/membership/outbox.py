"""What membership has to say outside, packed with the rumours that ride along."""

from collections.abc import Callable

from msgspec import Struct

from torua.core.ids import Address, NodeId
from torua.core.members import Status
from torua.core.membership.dissemination import Dissemination
from torua.core.membership.messages import Ask, Message, Output, Packet, Rumour, Send
from torua.core.membership.table import Table
from torua.core.membership.timing import Timing, retransmit_limit


class Sizes(Struct, frozen=True):
    """What the core needs to know of bytes without knowing how they are spelled.

    Attributes:
        room: how many bytes of rumours fit into a datagram beside any message.
        rumour: how many bytes a rumour takes.
    """

    room: int
    rumour: Callable[[Rumour], int]


class To(Struct, frozen=True):
    """For whom a packet is; an empty ``node_id`` where only the address is known."""

    address: Address
    node_id: NodeId = NodeId("")
    epoch: int = 0


class Outbox:
    """The outputs of one machine, in order, until it hands them over.

    Invariants: ``seq`` rises with every packet that this node begins.
    """

    def __init__(self, table: Table, timing: Timing, sizes: Sizes) -> None:
        """Start empty.

        Args:
            table: who this node is, and what it believes.
            timing: the preset.
            sizes: what fits into a datagram.
        """
        self._table = table
        self._timing = timing
        self._sizes = sizes
        self._outputs: list[Output] = []
        self._seq = 0
        self._ref = 0
        self.rumours = Dissemination(sizes.room, sizes.rumour)

    @property
    def limit(self) -> int:
        """Tell how often a rumour is sent now."""
        return retransmit_limit(self._timing, self._table.live)

    def emit(self, output: Output) -> None:
        """Have one thing done."""
        self._outputs.append(output)

    def drain(self) -> list[Output]:
        """Hand over what is to be done, in order."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def to(self, node_id: NodeId) -> To:
        """Address a member."""
        member = self._table.members[node_id]
        return To(member.address, node_id, member.boot_epoch)

    def post(self, to: To, message: Message | None, now: float) -> None:
        """Send a datagram, with what news fits beside its message.

        What the receiver should know of itself, that it is suspect or dead, goes first;
        so does that this node leaves.

        Args:
            to: the receiver.
            message: None to pass on rumours only.
            now: the time.
        """
        told = self.accusation(to.node_id, now)
        if self._table.me.status is Status.LEFT:
            told += (self._about(self._table.me.node_id, now),)
        left = self._sizes.room - sum(map(self._sizes.rumour, told))
        news = self.rumours.take(left, self.limit)
        more = tuple(rumour for rumour in news if rumour not in told)
        self.emit(Send(to.address, self._packet(to, message, told + more)))

    def tell(self, to: To, node_id: NodeId, now: float) -> None:
        """Send one datagram with what is believed of one member.

        Args:
            to: the receiver.
            node_id: the member.
            now: the time.
        """
        about = self._about(node_id, now)
        self.emit(Send(to.address, self._packet(to, None, (about,))))

    def ask(
        self, to: To, message: Message, timeout_s: float, rumours: tuple[Rumour, ...]
    ) -> int:
        """Open a TCP exchange.

        Args:
            to: the receiver.
            message: the question.
            timeout_s: how long to wait for the answer.
            rumours: what goes with the question.

        Returns:
            The number by which its end will be known.
        """
        self._ref += 1
        packet = self._packet(to, message, rumours)
        self.emit(Ask(self._ref, to.address, packet, timeout_s))
        return self._ref

    def answer_to(
        self, question: Packet, message: Message, rumours: tuple[Rumour, ...]
    ) -> Packet:
        """Make the other half of a TCP exchange.

        Args:
            question: what was asked.
            message: the answer.
            rumours: what goes with the answer.
        """
        me = self._table.me
        return Packet(
            me.node_id,
            me.boot_epoch,
            question.sender,
            question.sender_epoch,
            question.seq,
            message,
            rumours,
        )

    def accusation(self, node_id: NodeId, now: float) -> tuple[Rumour, ...]:
        """Tell what a node should hear about itself: that it is doubted, if it is.

        Args:
            node_id: the node.
            now: the time.
        """
        held = self._table.other(node_id)
        if held is None or held.status not in (Status.SUSPECT, Status.DEAD):
            return ()
        return (self._about(node_id, now),)

    def _about(self, node_id: NodeId, now: float) -> Rumour:
        """Say what is believed of one member."""
        member = self._table.members[node_id]
        return Rumour(member, self._table.me.node_id, self._table.age(node_id, now))

    def _packet(
        self, to: To, message: Message | None, rumours: tuple[Rumour, ...]
    ) -> Packet:
        """Make the next packet of this life."""
        self._seq += 1
        me = self._table.me
        return Packet(
            me.node_id,
            me.boot_epoch,
            to.node_id,
            to.epoch,
            self._seq,
            message,
            rumours,
        )
