"""How many copies each node has, and which node should get the next."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from random import Random

from msgspec import Struct

from torua.core.allocation.deciders import Disk, Fit, Objection, fitting_objection
from torua.core.allocation.site import Site
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.state import CopyState, Shard

UNBOUNDED = 1 << 32
"""As much room as a node has that set no limit."""

CALM = (0, 0)
"""No zone and no host has more than its share."""

Rank = tuple[tuple[int, int], int, int, int, int]
"""What speaks against a node: domains over their share, copies, who is near, and how
often it has the same shards as they."""


class Want(Struct, frozen=True):
    """One more copy that is wanted.

    Attributes:
        shard: of which shard.
        rf: how many there should be.
        beside: which nodes have copies of it.
        staying: those whose copies stay.
        size: of the shard, in bytes.
    """

    shard: ShardId
    rf: int
    beside: Collection[NodeId]
    staying: Collection[NodeId]
    size: int = 0


class Loads:
    """The copies on nodes that take some, as they are decided upon.

    Invariants: no node gets more than it takes.

    Performance: `least` is O(nodes).

    Attributes:
        counts: how many copies each node has, or is about to get.
        inward: how many of them it is recovering.
        coming: how many bytes they are.
    """

    def __init__(self, site: Site, nodes: Iterable[NodeId]) -> None:
        """Begin with nodes that have nothing.

        Args:
            site: describes the nodes.
            nodes: who may get copies; among equals the first comes first.
        """
        self._site = site
        self._domains = site.domains
        self._zones = tuple(site.domains.zones) if site.domains.zones_forced else ()
        self.counts = dict.fromkeys(nodes, 0)
        self.inward: Counter[NodeId] = Counter()
        self.coming: Counter[NodeId] = Counter()
        self._shared: Counter[tuple[NodeId, NodeId]] = Counter()

    def add(self, node: NodeId, copies: int = 1) -> None:
        """Count copies on a node; one that takes none is not counted.

        Args:
            node: which.
            copies: how many more, or fewer.
        """
        if node in self.counts:
            self.counts[node] += copies

    def share(self, node: NodeId, beside: Collection[NodeId]) -> None:
        """Give a node a copy, and remember with whom it shares the shard.

        Nodes that share few shards so far go together next: what one of them leaves
        behind when it is lost is then led and rebuilt by many.

        Args:
            node: which.
            beside: which nodes have the shard's other copies.
        """
        self.add(node)
        self.pair(node, beside)

    def pair(self, node: NodeId, beside: Iterable[NodeId], shards: int = 1) -> None:
        """Remember with whom a node shares shards.

        Args:
            node: which.
            beside: which nodes have the other copies.
            shards: how many more, or fewer.
        """
        for other in beside:
            self._shared[node, other] += shards
            self._shared[other, node] += shards

    def shared(self, node: NodeId, others: Iterable[NodeId]) -> int:
        """Tell how often a node has the same shards as others.

        Args:
            node: which.
            others: the others.
        """
        return sum(self._shared[node, other] for other in others)

    def objection(self, node: NodeId, want: Want) -> Objection | None:
        """Return what keeps a node from one more copy; None where nothing does.

        Args:
            node: one of those that take copies.
            want: which copy.
        """
        site, domains = self._site, self._domains
        disk = site.disk(node)
        fit = Fit(
            entry=site.nodes[node],
            limits=site.limits,
            holds=node in want.beside,
            copies=self.counts[node],
            recovering=self.inward[node],
            crowd=domains.crowd(node, want.staying, want.rf),
            zones=self._zones,
            hosts_forced=domains.hosts_forced,
            disk=Disk(disk.used, disk.total, self.coming[node]),
            size=want.size,
            wait=site.outlook.wait(want.shard, node, site.now),
        )
        return fitting_objection(fit)

    def is_open(self, node: NodeId) -> bool:
        """Tell whether a node may get any copy at all now.

        Args:
            node: one of those that take copies.
        """
        return self.objection(node, NOTHING) is None

    def room(self) -> int:
        """Return how many copies all nodes take together."""
        limits = [self._site.nodes[node].max_shards for node in self.counts]
        return sum(UNBOUNDED if limit is None else limit for limit in limits)

    def least(self, want: Want) -> NodeId | None:
        """Choose the node for a copy: zones and hosts apart, then fewest copies.

        Args:
            want: which copy.

        Returns:
            The node; None where some decider objects to each.
        """
        best, found = None, None
        for node, count in self._candidates(want):
            if best is not None and best[0] == CALM and count > best[1]:
                continue
            rank = self.rank(node, want)
            if best is not None and rank >= best:
                continue
            if self.objection(node, want) is None:
                best, found = rank, node
        return found

    def first(self, nodes: Iterable[NodeId], want: Want) -> NodeId | None:
        """Return the first of some nodes to which nothing objects, if there is any.

        Args:
            nodes: of those that take copies.
            want: which copy.
        """
        return next((node for node in nodes if not self.objection(node, want)), None)

    def _candidates(self, want: Want) -> Iterator[tuple[NodeId, int]]:
        """Yield nodes and how many copies they have, less zones that have their share.

        Those object anyway where zones are forced: this saves asking node by node.
        """
        if not self._zones:
            yield from self.counts.items()
            return
        share = self._domains.zone_share(want.rf)
        taken = Counter(self._domains.zone(node) for node in want.staying)
        for node, count in self.counts.items():
            if taken[self._domains.zone(node)] < share:
                yield node, count

    def rank(self, node: NodeId, want: Want) -> Rank:
        """Tell what speaks against a node to which nothing objects.

        Args:
            node: one of those that take copies.
            want: which copy.
        """
        crowd = self._domains.crowd(node, want.staying, want.rf)
        return (
            crowd.over,
            self.counts[node],
            crowd.zone,
            crowd.host,
            self.shared(node, want.staying),
        )


NOTHING = Want(ShardId(-1), 1, (), ())
"""No shard's copy: what objects to that objects to all."""


def wanted(shard: Shard, site: Site, leaves: AllocId | None = None) -> Want:
    """Describe one more copy of a shard.

    Args:
        shard: of which.
        site: who is up.
        leaves: the copy that it is to replace.
    """
    return Want(
        shard=shard.shard,
        rf=shard.rf,
        beside=[copy.node for copy in shard.copies],
        staying=[
            copy.node
            for copy in shard.copies
            if copy.alloc_id != leaves
            and copy.state is not CopyState.RELOCATING
            and not site.is_given_up(copy.node, urgent=False)
        ],
        size=site.outlook.size(shard),
    )


def new_alloc_id(random: Random) -> AllocId:
    """Name a new copy."""
    return AllocId(f"{random.getrandbits(128):032x}")
