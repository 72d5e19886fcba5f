"""What every node knows of every node.  The words of membership; no behaviour."""

from enum import IntEnum

from msgspec import Struct

from torua.core.builds import BUILD, Build
from torua.core.ids import Address, NodeId


class Status(IntEnum):
    """How a member fares.  The worse is the greater, and so wins a tie."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Meta(Struct, frozen=True):
    """What a member says of itself.

    Attributes:
        http: where its HTTP API listens, as ``host:port``.
        roles: among ``data`` and ``voter``.
        zone: its failure domain for allocation; empty where none was given.
        version: its release of Torua.
        build: what its program speaks and can store.
        health_score: its local health (Lifeguard), 0 healthy to 8 very slow.
        max_shards: how many shard copies it takes; None without a limit.
        cluster_uuid: the cluster it belongs to; empty before it belongs to one.
    """

    http: str = ""
    roles: tuple[str, ...] = ("data", "voter")
    zone: str = ""
    version: str = ""
    build: Build = BUILD
    health_score: int = 0
    max_shards: int | None = None
    cluster_uuid: str = ""


class Member(Struct, frozen=True):
    """One node as membership believes it to be now.

    Attributes:
        node_id: who it is, for as long as its disk lives.
        name: what people call it.
        address: its gossip and peer sockets.
        boot_epoch: which life of it this is about; a later life has a greater one.
        incarnation: how many doubts it refuted in this life.
        status: what is believed of it.
        meta: what it says of itself.
    """

    node_id: NodeId
    name: str
    address: Address
    boot_epoch: int
    incarnation: int
    status: Status
    meta: Meta

    @property
    def is_live(self) -> bool:
        """Tell whether it takes part: alive, or suspect and not yet given up."""
        return self.status <= Status.SUSPECT
