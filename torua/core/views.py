"""What the cluster looks like to an operator: answers of the API, as values.

The names of the fields are the contract's (api.md, section 5), spelled as they stand.
"""

from msgspec import Struct

from torua.core.ids import AllocId, NodeId, ShardId


class Health(Struct, frozen=True):
    """How the cluster fares, as one node sees it.

    Attributes:
        status: ``green`` all copies there; ``yellow`` every shard has a primary, but a
            copy or redundancy is missing; ``red`` a shard has no primary, or there is
            no coordinator.
        node: the name of the node that answers.
        coordinator: the coordinator's name; None where none is known.
        reasons: why it is not green, a sentence each.
        notes: what an operator should know anyway (a cluster without failover).
    """

    status: str
    node: str
    coordinator: str | None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ClusterInfo(Struct, frozen=True):
    """The answer of ``GET /cluster/info``; ``uptime`` is the node's, in seconds."""

    cluster_id: str
    cluster_name: str
    coordinator: NodeId | None
    coordinator_version: int
    term: int
    state_version: int
    total_nodes: int
    healthy_nodes: int
    total_shards: int
    assigned_shards: int
    cluster_state: str
    uptime: float


class NodeView(Struct, frozen=True):
    """One line of ``GET /nodes``."""

    node_id: NodeId
    name: str
    address: str
    http: str
    status: str
    coordinator: bool
    shard_count: int
    primaries: int
    roles: tuple[str, ...]
    zone: str
    version: str
    health_score: int


class CopyPosition(Struct, frozen=True):
    """One shard copy on the node that answers; ``position`` is its last applied seq.

    ``gcp`` is the newest record that it knows to be committed.
    """

    shard: ShardId
    alloc_id: AllocId
    role: str
    state: str
    position: int
    keys: int
    bytes: int
    in_sync: bool = True
    gcp: int = 0


class NodeDetail(Struct, frozen=True):
    """The answer of ``GET /nodes/{id}/info``.

    ``last_heartbeat`` is how many seconds ago the answering node last heard of it;
    ``available_capacity`` how many more copies it takes, None without a limit.
    """

    node_id: NodeId
    name: str
    address: str
    status: str
    shard_count: int
    last_heartbeat: float | None
    uptime: float | None
    available_capacity: int | None
    copies: tuple[CopyPosition, ...] = ()


class ShardCopyView(Struct, frozen=True):
    """One copy in ``GET /shards``; ``position`` is None where its node is silent."""

    node: str
    role: str
    state: str
    in_sync: bool
    position: int | None


class ShardView(Struct, frozen=True):
    """One shard in ``GET /shards``; ``state`` is ``green``, ``yellow`` or ``red``."""

    shard: ShardId
    state: str
    primary: str | None
    copies: tuple[ShardCopyView, ...]
    keys: int | None
    bytes: int | None
