"""The cluster state: the one small document that the coordinator commits.

It says which nodes belong, which shard owns which slots, where each shard's copies are,
which of them are in sync and which is primary in which term (PacificA's configuration,
Elasticsearch's cluster state).  Data writes never touch it.  It is a value: whoever
changes it makes another one.
"""

from enum import StrEnum

from msgspec import Struct, field

from torua.core.builds import BUILD, Build
from torua.core.configuration import Configuration
from torua.core.graph.schema import MAIN, MAIN_GRAPH, Graph
from torua.core.ids import Address, AllocId, NodeId, ShardId

SLOTS = 4096
"""Into how many slots keys are hashed; fixed for ever, a shard owns ranges of them."""


Spans = tuple[tuple[int, int], ...]
"""Ranges of slots, each by its first and last, both included."""


class CopyState(StrEnum):
    """What a shard copy is doing, as the coordinator knows.

    INIT catches up and is to be made in-sync; STARTED is in sync; RELOCATING is on its
    way off its node, and is not to be caught up where it is out of sync.
    """

    INIT = "init"
    STARTED = "started"
    RELOCATING = "relocating"


class Copy(Struct, frozen=True):
    """One copy of a shard on one node."""

    alloc_id: AllocId
    node: NodeId
    state: CopyState


class Primary(Struct, frozen=True):
    """The copy that orders a shard's writes in the current term, in one life."""

    alloc_id: AllocId
    node: NodeId
    boot_epoch: int


class Shard(Struct, frozen=True):
    """One shard's configuration.

    Attributes:
        shard: which one.
        shard_version: rises with every change of this struct; what CAS compares.
        primary_term: rises with every new primary or new life of one.
        primary: who orders writes; it stays named while its node is lost and no other
            in-sync copy lives, and is None where its copy was lost.
        in_sync: the copies that hold every acknowledged write; never empty once set.
        copies: all copies, in sync or not.
        history_uuid: changes when data loss was accepted; positions of different
            histories do not compare.
        rf: how many copies there should be.
        min_copies: how many must hold a write before it is acknowledged.
        damaged: the life in which the node of the last in-sync copy found it damaged,
            so that nobody can lead; 0 where it did not.
        successor: the in-sync copy that the primary shall hand over to; None: it stays.
        base: where the log begins, behind which an empty copy is; see `Split`.
        begins: from this record on a copy shows the slots that the shard owns; before,
            it lacks some that were moved here, or has some that were moved away.
        born: the record with which it got its first slots; 0 where no split made it.
        leaving: slots that it does nothing about, for they move away, or did.
    """

    shard: ShardId
    shard_version: int
    primary_term: int
    primary: Primary | None
    in_sync: tuple[AllocId, ...]
    copies: tuple[Copy, ...]
    history_uuid: str
    rf: int
    min_copies: int
    successor: AllocId | None = None
    damaged: int = 0
    base: int = 0
    begins: int = 0
    born: int = 0
    leaving: Spans = ()

    @property
    def is_parted(self) -> bool:
        """Whether it is of a split, as the old or as the new shard."""
        return self.begins > 0 or bool(self.leaving)

    @property
    def is_unborn(self) -> bool:
        """Whether it is being filled by a split, and has no slots yet."""
        return self.base > 0 and self.born == 0

    @property
    def is_damaged(self) -> bool:
        """Whether the only copy that could lead is no good in this life."""
        led = self.primary
        return led is not None and self.damaged == led.boot_epoch


class Duty(StrEnum):
    """What an operator wants of a node; it stays so over the node's lives.

    FULL takes its share of copies.  MAINTENANCE and EVACUATING get none, and give away
    those that they have; they serve meanwhile.  A node in MAINTENANCE is to come back,
    and so belongs though it stopped; one that is EVACUATING goes for good.
    """

    FULL = "full"
    MAINTENANCE = "maintenance"
    EVACUATING = "evacuating"


class NodeEntry(Struct, frozen=True):
    """A node that belongs to the cluster, as its last known life said of itself.

    ``leaving`` is true from when that life said that it is about to end, ``lost`` while
    the coordinator gets no answers: a primary need not wait for such a node's copies.
    ``duty_version`` rises with every change of ``duty``; it is what CAS compares.
    ``disk_full`` is true while its disk is flooded: its shards take no writes.
    ``build`` is what its program speaks and can store.
    """

    node_id: NodeId
    name: str
    boot_epoch: int
    address: Address
    http: str
    roles: tuple[str, ...] = ("data", "voter")
    zone: str = ""
    version: str = ""
    max_shards: int | None = None
    leaving: bool = False
    lost: bool = False
    duty: Duty = Duty.FULL
    duty_version: int = 0
    disk_full: bool = False
    build: Build = BUILD


class SlotRange(Struct, frozen=True):
    """Slots ``first`` to ``last``, both included, and the shard that owns them."""

    first: int
    last: int
    shard: ShardId


class Phase(StrEnum):
    """How far a split is: see `torua.core.splitting`."""

    COPYING = "copying"
    CLOSING = "closing"
    TRIMMING = "trimming"


class Split(Struct, frozen=True):
    """A shard that is split: some of its slots move to a new one.

    Attributes:
        parent: the shard that is split.
        child: the new one.
        spans: the slots that move.
        parent_history: the history that the child is filled from.
        child_history: the child's; it tells this split from any other.
        phase: how far it is.
        round: how often it was closing.
    """

    parent: ShardId
    child: ShardId
    spans: Spans
    parent_history: str
    child_history: str
    phase: Phase = Phase.COPYING
    round: int = 0


class Settings(Struct, frozen=True):
    """What was fixed for the whole cluster when it was formed.

    ``expected_nodes`` must be there before shards are shared out for the first time.
    """

    shards: int = 4
    engine: str = "ladybug"
    expected_nodes: int = 1


class ClusterState(Struct, frozen=True):
    """The document.  Empty (no ``cluster_uuid``) before the first commit.

    Attributes:
        cluster_uuid: given once, at bootstrap.
        cluster_name: the label that all its nodes were started with.
        settings: what was fixed at bootstrap.
        configuration: what operators may change.
        nodes: who belongs.
        shards: every shard; empty until the first assignment.
        slots: the slot table, in order and without a gap; empty until then.
        routing_version: rises with every change of ``slots`` or of a primary, and where
            a split lets go on what it held up.
        slots_version: rises with every change of ``slots``.
        splits: the shards that are being split, by the new one's id.
        graphs: every graph's schema by name; `MAIN` is always there.
        next_graph: the id of the next graph; ids are never used twice.
        feature_level: what all its nodes know; see `torua.core.builds`.
    """

    cluster_uuid: str = ""
    cluster_name: str = ""
    settings: Settings = Settings()
    configuration: Configuration = Configuration()
    nodes: dict[NodeId, NodeEntry] = {}
    shards: dict[ShardId, Shard] = {}
    slots: tuple[SlotRange, ...] = ()
    routing_version: int = 0
    slots_version: int = 0
    splits: dict[ShardId, Split] = {}
    graphs: dict[str, Graph] = field(default_factory=lambda: {MAIN: MAIN_GRAPH})
    next_graph: int = 1
    feature_level: int = BUILD.features[0]
