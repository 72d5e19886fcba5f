"""What is on its way between nodes, so that no node has too much of it at once."""

from collections import Counter

from torua.core.allocation.deciders import MOVES_MAX
from torua.core.allocation.loads import Loads
from torua.core.allocation.site import Site
from torua.core.ids import NodeId
from torua.core.state import ClusterState, Copy, CopyState, Shard


class Traffic:
    """The copies that nodes have, get, and give away.

    A copy that moves off its node counts where it goes to, no longer where it is.

    Invariants: counts are of the state as decided so far.

    Performance: O(copies) to make.

    Attributes:
        loads: the copies on nodes that take some.
        outward: how many moves each node gives a copy to, or streams one for.
    """

    def __init__(self, state: ClusterState, site: Site) -> None:
        """Count what is."""
        self.loads = Loads(state, site.takers)
        self.outward: Counter[NodeId] = Counter()
        for shard in state.shards.values():
            for copy in shard.copies:
                self._count(shard, copy)

    def _count(self, shard: Shard, copy: Copy) -> None:
        """Count one copy."""
        if not is_moving(shard, copy):
            self.loads.add(copy.node)
            recovers = copy.alloc_id not in shard.in_sync and bool(shard.in_sync)
            self.loads.inward[copy.node] += recovers
        elif shard.primary is not None:
            self.gives(copy.node, shard.primary.node)

    def gives(self, node: NodeId, streamer: NodeId) -> None:
        """Count a move.

        Args:
            node: off which node.
            streamer: the node of the primary, which fills the new copy.
        """
        for each in {node, streamer}:
            self.outward[each] += 1

    def gets(self, node: NodeId) -> None:
        """Count a copy that a node is to recover."""
        self.loads.inward[node] += 1
        self.loads.add(node)

    def may_give(self, *nodes: NodeId) -> bool:
        """Tell whether nodes may take part in one more move each, as givers."""
        return all(self.outward[node] < MOVES_MAX for node in nodes)


def is_moving(shard: Shard, copy: Copy) -> bool:
    """Tell whether a copy serves until the one that replaces it is in sync.

    Args:
        shard: whose copy.
        copy: one that is on its way off its node, or not.
    """
    return copy.state is CopyState.RELOCATING and copy.alloc_id in shard.in_sync
