"""What is on its way between nodes, so that no node has too much of it at once."""

from collections import Counter
from random import Random

from torua.core.allocation.editing import replacing
from torua.core.allocation.loads import Loads, Want, new_alloc_id
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
        self._site = site
        self.loads = Loads(site, site.takers)
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
            if recovers:
                self.loads.coming[copy.node] += self._left(shard, copy)
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

    def _left(self, shard: Shard, copy: Copy) -> int:
        """Tell how many bytes a copy lacks, as far as its node said."""
        known = self._site.outlook.copy(shard.shard, copy.node)
        has = known.bytes if known and known.alloc_id == copy.alloc_id else 0
        return max(0, self._site.outlook.size(shard) - has)

    def gets(self, node: NodeId, want: Want) -> None:
        """Count a copy that a node is to recover.

        Args:
            node: which.
            want: the copy.
        """
        self.loads.inward[node] += 1
        self.loads.coming[node] += want.size
        self.loads.add(node)

    @property
    def is_busy(self) -> bool:
        """Whether any copy is on its way."""
        return any(self.outward.values()) or any(self.loads.inward.values())

    def begin(
        self, shard: Shard, copy: Copy, want: Want, target: NodeId, random: Random
    ) -> Shard:
        """Begin a move, count it, and return the shard as it is then.

        Args:
            shard: one with a primary.
            copy: of its, which goes once the new one is in sync.
            want: the new one.
            target: where it is to be.
            random: makes its id.
        """
        assert shard.primary is not None
        self.gets(target, want)
        self.loads.add(copy.node, -1)
        self.gives(copy.node, shard.primary.node)
        new = Copy(new_alloc_id(random), target, CopyState.INIT)
        return replacing(shard, copy.alloc_id, new)

    def may_give(self, *nodes: NodeId) -> bool:
        """Tell whether nodes may take part in one more move each, as givers."""
        most = self._site.limits.recoveries
        return all(self.outward[node] < most for node in nodes)


def is_moving(shard: Shard, copy: Copy) -> bool:
    """Tell whether a copy serves until the one that replaces it is in sync.

    Args:
        shard: whose copy.
        copy: one that is on its way off its node, or not.
    """
    return copy.state is CopyState.RELOCATING and copy.alloc_id in shard.in_sync
