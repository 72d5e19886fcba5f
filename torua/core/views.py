"""What the cluster looks like to an operator: answers of the API, as values.

The names of the fields are the contract's (api.md, section 5), spelled as they stand.
"""

from msgspec import UNSET, Struct, UnsetType

from torua.core.builds import BUILD, Build
from torua.core.configuration import Value
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
    """The answer of ``GET /cluster/info``.

    ``uptime`` is the node's, in seconds; ``feature_level`` is what all nodes know.
    """

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
    feature_level: int = 0


class NodeView(Struct, frozen=True):
    """One line of ``GET /nodes``; ``build`` is what its program knows, in ranges.

    What the node last told the coordinator is None where that does not say: the disk of
    its data dir, in bytes; what its copies keep; and how many requests a second its
    primaries served, on average over half a minute.
    """

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
    build: Build = BUILD
    disk_used: int | None = None
    disk_total: int | None = None
    bytes: int | None = None
    requests_per_s: float | None = None


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
    reads_per_s: float = 0.0
    writes_per_s: float = 0.0
    latency_s: float = 0.0


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
    """One shard in ``GET /shards``; ``state`` is ``green``, ``yellow`` or ``red``.

    What its primary served is an average that fades in half a minute; it and the sizes
    are None where the primary's node is silent.  ``split`` is the phase of the split by
    which it loses slots, or gets them; while that is ``trimming`` the old shard's sizes
    have with them what it has given away, and has still to remove.
    """

    shard: ShardId
    state: str
    primary: str | None
    copies: tuple[ShardCopyView, ...]
    keys: int | None
    bytes: int | None
    reads_per_s: float | None = None
    writes_per_s: float | None = None
    latency_s: float | None = None
    split: str | None = None


class CopyReason(Struct, frozen=True):
    """One copy in ``GET /shards/explain``, and why it is where it is."""

    node: str
    role: str
    state: str
    in_sync: bool
    why: str


class NodeReason(Struct, frozen=True):
    """One node without a copy, and the decider that keeps it from having one."""

    node: str
    decider: str
    why: str


class ShardExplained(Struct, frozen=True):
    """The answer of ``GET /shards/explain``, as the node sees it that answers.

    ``wants`` says what the shard still lacks or is about to do; empty where nothing.
    """

    shard: ShardId
    wants: str
    copies: tuple[CopyReason, ...]
    others: tuple[NodeReason, ...]


class Assigned(Struct, frozen=True):
    """The answer of ``POST /shards/assign``; ``source`` has what ``node`` is to get."""

    shard: ShardId
    node: str
    role: str
    source: str
    dry_run: bool


class Planned(Struct, frozen=True):
    """A move or a hand-over that comes next.

    Attributes:
        shard: of which shard.
        role: ``replica``: a copy moves; ``primary``: the lead is handed over.
        source: the node that gives it; empty where a copy is only added.
        target: the node that gets it.
    """

    shard: ShardId
    role: str
    source: str
    target: str


class Balance(Struct, frozen=True):
    """The answer of ``POST /cluster/rebalance``: what is still to be moved, at least.

    Attributes:
        even: whether nothing is.
        copies_to_move: off nodes that are to have none, or that have too many.
        primaries_to_move: by hand-over, likewise.
        under_way: copies that are being filled, and leads that are being handed over.
        moves: those that come next, for the sake of numbers, bytes or load.
    """

    even: bool
    copies_to_move: int
    primaries_to_move: int
    under_way: int
    moves: tuple[Planned, ...] = ()


class TaskView(Struct, frozen=True):
    """One line of ``GET /tasks``.

    Attributes:
        id: what it is asked for by.
        kind: what sort of work it is.
        detail: what it works on.
        node: the name of the node that does it.
        state: ``running``, ``done`` or ``failed``.
        done: how much is done, in ``unit``.
        total: of how much; None where nobody knows.
        unit: ``bytes``, ``rows``, ``shards`` …
        started: when it began, by that node's clock, in UTC.
        seconds: how long it runs, or ran.
        eta: in how many seconds it may be over; None where nobody knows, or it is.
        facts: what else was counted.
        errors: the first that went wrong.
    """

    id: str
    kind: str
    detail: str
    node: str
    state: str
    done: int
    total: int | None
    unit: str
    started: str
    seconds: float = 0.0
    eta: float | None = None
    facts: dict[str, int] = {}
    errors: tuple[str, ...] = ()


class NodeConfigured(Struct, frozen=True):
    """Which version of the configuration is in effect on a node.

    Attributes:
        name: the node's.
        node_id: its id.
        version: which; None where it does not answer.
        without: the parts that it was started without, and which so are off there.
    """

    name: str
    node_id: NodeId
    version: int | None = None
    without: tuple[str, ...] = ()


class ConfigKey(Struct, frozen=True):
    """What a key of the configuration is for."""

    default: Value
    takes: str
    help: str


class ConfigView(Struct, frozen=True):
    """The answer of ``/cluster/config``.

    Attributes:
        version: of what is committed.
        config: the value of every key.
        changed: the keys whose value is not the default.
        acknowledged: the nodes on which this version is in effect, or a newer one.
        pending: the nodes on which it is not, or that do not answer.
        nodes: what each of them said.
        keys: what the keys are for, where that was asked for.
    """

    version: int
    config: dict[str, Value]
    changed: tuple[str, ...]
    acknowledged: tuple[str, ...]
    pending: tuple[str, ...]
    nodes: tuple[NodeConfigured, ...]
    keys: dict[str, ConfigKey] | UnsetType = UNSET
