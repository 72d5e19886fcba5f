"""Nodes of other clusters, or of builds that do not fit: refused, and named once."""

from torua.core.builds import mismatch
from torua.core.ids import NodeId
from torua.core.members import Member, Meta
from torua.core.membership.messages import ForeignCluster, Misfit

FOREIGN_MAX = 1024
"""So many nodes of other clusters are remembered, to refuse their packets at once."""

SAID_MAX = 64
"""So many other clusters, or nodes of other builds, are told of, each once."""


class Foreign:
    """Whom this node refuses: it belongs to another cluster, or its build can't join.

    Invariants: at most `FOREIGN_MAX` nodes and `SAID_MAX` reasons are held.
    """

    def __init__(self) -> None:
        """Refuse nobody."""
        self._nodes: dict[NodeId, int] = {}
        self._said: set[tuple[str, str]] = set()

    def __contains__(self, life: tuple[NodeId, int]) -> bool:
        """Tell whether a node was refused in this or a later life."""
        node_id, epoch = life
        return self._nodes.get(node_id, -1) >= epoch

    def judge(
        self, ours: Meta, member: Member
    ) -> tuple[bool, list[ForeignCluster | Misfit]]:
        """Tell whether a member is refused from now on, and what is to be said of it.

        Args:
            ours: what this node says of itself.
            member: in one of its lives.
        """
        theirs = member.meta
        why = mismatch(ours.build, theirs.build)
        line: ForeignCluster | Misfit = Misfit(member, why)
        about: tuple[str, str] = (member.node_id, why)
        if is_foreign(ours, theirs):
            line = ForeignCluster(member, theirs.cluster_uuid)
            about = ("", theirs.cluster_uuid)
        elif not why:
            return False, []
        self._nodes[member.node_id] = member.boot_epoch
        if len(self._nodes) > FOREIGN_MAX:
            del self._nodes[next(iter(self._nodes))]
        if about in self._said or len(self._said) >= SAID_MAX:
            return True, []
        self._said.add(about)
        return True, [line]


def is_foreign(ours: Meta, theirs: Meta) -> bool:
    """Tell whether two belong to different clusters; who has none yet may join any.

    Args:
        ours: what one says of itself.
        theirs: what the other does.
    """
    both = ours.cluster_uuid and theirs.cluster_uuid
    return bool(both) and ours.cluster_uuid != theirs.cluster_uuid
