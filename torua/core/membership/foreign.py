"""Nodes of other clusters: two clusters that meet stay apart, and say so."""

from torua.core.ids import NodeId
from torua.core.members import Member, Meta

FOREIGN_MAX = 1024
"""So many nodes of other clusters are remembered, to refuse their packets at once."""

CLUSTERS_MAX = 64
"""So many other clusters are told of, each once."""


class Foreign:
    """Whom this node refuses because it belongs to another cluster.

    Invariants: at most `FOREIGN_MAX` nodes and `CLUSTERS_MAX` clusters are held.
    """

    def __init__(self) -> None:
        """Refuse nobody."""
        self._nodes: dict[NodeId, int] = {}
        self._clusters: set[str] = set()

    def __contains__(self, life: tuple[NodeId, int]) -> bool:
        """Tell whether a node was refused in this or a later life."""
        node_id, epoch = life
        return self._nodes.get(node_id, -1) >= epoch

    def add(self, member: Member) -> bool:
        """Refuse a member from now on; tell whether its cluster is a new one."""
        self._nodes[member.node_id] = member.boot_epoch
        if len(self._nodes) > FOREIGN_MAX:
            del self._nodes[next(iter(self._nodes))]
        theirs = member.meta.cluster_uuid
        if theirs in self._clusters or len(self._clusters) >= CLUSTERS_MAX:
            return False
        self._clusters.add(theirs)
        return True


def is_foreign(ours: Meta, theirs: Meta) -> bool:
    """Tell whether two belong to different clusters; who has none yet may join any.

    Args:
        ours: what one says of itself.
        theirs: what the other does.
    """
    both = ours.cluster_uuid and theirs.cluster_uuid
    return bool(both) and ours.cluster_uuid != theirs.cluster_uuid
