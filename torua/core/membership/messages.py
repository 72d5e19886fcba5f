"""What membership says to other nodes, and what it is told and tells at home.

A `Packet` is what travels: as one datagram, or as one side of a TCP exchange.  Its
message is one of the probe's, or `Sync` for a push/pull; its rumours ride along.
"""

from msgspec import Struct

from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta


class Rumour(Struct, frozen=True):
    """One belief about one member, as gossip carries it.

    Attributes:
        member: what is believed.
        by: who says so; of a suspicion, who suspects.
        age_s: how long ago a dead or departed member became so.
    """

    member: Member
    by: NodeId
    age_s: float = 0.0


class Ping(Struct, frozen=True, tag=True):
    """Asks its target to answer with an `Ack` of the same nonce."""

    nonce: int


class Ack(Struct, frozen=True, tag=True):
    """Answers a `Ping`, or passes on the answer that a helper got."""

    nonce: int


class PingReq(Struct, frozen=True, tag=True):
    """Asks a helper to ping ``target``; it answers `Ack`, or `Nack` if it cannot."""

    nonce: int
    target: NodeId
    target_epoch: int
    address: Address


class Nack(Struct, frozen=True, tag=True):
    """A helper is well, but got no answer from the target (yet)."""

    nonce: int


class Sync(Struct, frozen=True, tag=True):
    """All that the sender believes follows as rumours; over TCP only."""


Message = Ping | Ack | PingReq | Nack | Sync


class Packet(Struct, frozen=True):
    """What one node sends another.

    Attributes:
        sender: who sends it, in which life.
        sender_epoch: the sender's life.
        target: for whom it is; empty where only an address is known.
        target_epoch: the life of the target that is meant.
        seq: rises with each packet of the sender's life; an answer to a TCP exchange
            bears that of its question.
        message: None where there are only rumours.
        rumours: what the sender passes on.
    """

    sender: NodeId
    sender_epoch: int
    target: NodeId
    target_epoch: int
    seq: int
    message: Message | None = None
    rumours: tuple[Rumour, ...] = ()


class Start(Struct, frozen=True, tag=True):
    """Begin: look for others at these addresses, for ever."""

    seeds: tuple[Address, ...]


class Received(Struct, frozen=True, tag=True):
    """A datagram came."""

    packet: Packet
    source: Address


class Asked(Struct, frozen=True, tag=True):
    """Somebody opened a TCP exchange; one `Answer` with ``ref`` follows."""

    ref: int
    packet: Packet


class Answered(Struct, frozen=True, tag=True):
    """The exchange that `Ask` began is over; None where no answer came."""

    ref: int
    packet: Packet | None


class UpdateMeta(Struct, frozen=True, tag=True):
    """This node says other things of itself from now on."""

    meta: Meta


class Stalled(Struct, frozen=True, tag=True):
    """The reactor or the disk of this node stood still for so long."""

    seconds: float


class Leave(Struct, frozen=True, tag=True):
    """This node goes on purpose; `LeaveDone` follows."""


Input = Start | Received | Asked | Answered | UpdateMeta | Stalled | Leave


class Send(Struct, frozen=True, tag=True):
    """Send one datagram."""

    address: Address
    packet: Packet


class Ask(Struct, frozen=True, tag=True):
    """Open a TCP exchange; `Answered` with ``ref`` is to follow in any case."""

    ref: int
    address: Address
    packet: Packet
    timeout_s: float


class Answer(Struct, frozen=True, tag=True):
    """What to answer to an exchange; None closes it without a word."""

    ref: int
    packet: Packet | None


class MemberChanged(Struct, frozen=True, tag=True):
    """Something is believed that was not before; ``previous`` None of a new member."""

    member: Member
    previous: Member | None


class MemberForgotten(Struct, frozen=True, tag=True):
    """A member is no longer known: long dead, or found to be of another cluster."""

    member: Member


class HealthChanged(Struct, frozen=True, tag=True):
    """The local health score of this node is another."""

    score: int


class TcpOnly(Struct, frozen=True, tag=True):
    """A member answers over TCP but not over UDP: something blocks datagrams."""

    member: Member


class NameClash(Struct, frozen=True, tag=True):
    """Two live nodes, of different ids and addresses, bear one name."""

    member: Member
    other: Member


class ForeignCluster(Struct, frozen=True, tag=True):
    """A node of another cluster was met and refused; said once a cluster."""

    member: Member
    cluster_uuid: str


class Misfit(Struct, frozen=True, tag=True):
    """A node was met whose build can't be in one cluster with ours; it is refused."""

    member: Member
    why: str


class Superseded(Struct, frozen=True, tag=True):
    """This life is over, for a later one of the same node_id is about; stop now."""

    epoch: int


class Remember(Struct, frozen=True, tag=True):
    """Keep these addresses over a restart; they are seeds then."""

    peers: tuple[Address, ...]


class Dropped(Struct, frozen=True, tag=True):
    """A packet was not for us, or not from whom it should be; count it."""

    reason: str


class LeaveDone(Struct, frozen=True, tag=True):
    """The word of our leaving was spread as far as we could."""


Output = (
    Send
    | Ask
    | Answer
    | MemberChanged
    | MemberForgotten
    | HealthChanged
    | TcpOnly
    | NameClash
    | ForeignCluster
    | Misfit
    | Superseded
    | Remember
    | Dropped
    | LeaveDone
)
