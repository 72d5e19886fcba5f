"""How many copies each node has, and which node should get the next."""

from collections import Counter
from collections.abc import Collection, Iterable
from random import Random

from torua.core.allocation.deciders import Fit, Objection, fitting_objection
from torua.core.ids import AllocId, NodeId
from torua.core.state import ClusterState, NodeEntry

UNBOUNDED = 1 << 32
"""As much room as a node has that set no limit."""


class Loads:
    """The copies on nodes that take some, as they are decided upon.

    Invariants: no node gets more than it takes.

    Performance: `least` is O(nodes).

    Attributes:
        counts: how many copies each node has, or is about to get.
        inward: how many of them it is recovering.
    """

    def __init__(self, state: ClusterState, nodes: Iterable[NodeId]) -> None:
        """Begin with nodes that have nothing.

        Args:
            state: describes the nodes.
            nodes: who may get copies; among equals the first comes first.
        """
        self._entries = {node: state.nodes[node] for node in nodes}
        self.counts = dict.fromkeys(self._entries, 0)
        self.inward: Counter[NodeId] = Counter()
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
        for other in beside:
            self._shared[node, other] += 1
            self._shared[other, node] += 1

    def objection(
        self, node: NodeId, beside: Collection[NodeId] = ()
    ) -> Objection | None:
        """Return what keeps a node from one more copy; None where nothing does.

        Args:
            node: one of those that take copies.
            beside: which nodes have copies of the shard.
        """
        entry, copies = self._entries[node], self.counts[node]
        return fitting_objection(Fit(entry, node in beside, copies, self.inward[node]))

    def room(self) -> int:
        """Return how many copies all nodes take together."""
        limits = [entry.max_shards for entry in self._entries.values()]
        return sum(UNBOUNDED if limit is None else limit for limit in limits)

    def least(self, beside: Collection[NodeId]) -> NodeId | None:
        """Choose the node for a copy: fewest copies, another zone or host.

        Args:
            beside: which nodes have copies of the shard.

        Returns:
            The node; None where some decider objects to each.
        """
        able = [node for node in self.counts if self.objection(node, beside) is None]
        return min(
            able,
            key=lambda node: (
                self.counts[node],
                *self.crowding(node, beside),
                sum(self._shared[node, other] for other in beside),
            ),
            default=None,
        )

    def crowding(self, node: NodeId, beside: Collection[NodeId]) -> tuple[int, int]:
        """Count copies of a shard in a node's zone, and on its host.

        Args:
            node: the node.
            beside: which nodes have the shard's other copies.
        """
        mine = self._entries[node]
        others = [self._entries[each] for each in beside if each in self._entries]
        return (
            sum(bool(mine.zone) and each.zone == mine.zone for each in others),
            sum(_host(each) == _host(mine) for each in others),
        )


def _host(entry: NodeEntry) -> str:
    """Return which machine a node is on, as far as its address tells."""
    return entry.address.host


def new_alloc_id(random: Random) -> AllocId:
    """Name a new copy."""
    return AllocId(f"{random.getrandbits(128):032x}")
