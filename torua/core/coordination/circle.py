"""Whom this node listens to: members of its cluster, in their latest lives."""

from collections.abc import Iterable

from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.state import ClusterState


class Circle:
    """What membership said, less foreigners and earlier lives.

    Invariants: no member is of a cluster that is known not to be this one; the life
    known of a node never goes back.

    Attributes:
        members: all that are known, in order of their ids.
    """

    def __init__(self, state: ClusterState) -> None:
        """Know the lives that the last accepted state names."""
        self.members: dict[NodeId, Member] = {}
        self._epochs = {node: each.boot_epoch for node, each in state.nodes.items()}
        self._reported: set[tuple[NodeId, str]] = set()

    def meet(
        self, members: Iterable[Member], cluster_uuid: str
    ) -> list[tuple[NodeId, str]]:
        """Take over what membership believes now.

        Args:
            members: all of them.
            cluster_uuid: this node's cluster; empty before it belongs to one.

        Returns:
            Members of another cluster that were not reported before, and its uuid.
        """
        self.members = {}
        foreign = []
        for member in sorted(members, key=lambda each: each.node_id):
            if is_foreign(cluster_uuid, member.meta.cluster_uuid):
                foreign.append((member.node_id, member.meta.cluster_uuid))
                continue
            self.members[member.node_id] = member
            self.admits(member.node_id, member.boot_epoch)
        return self.news(foreign)

    def news(self, foreign: list[tuple[NodeId, str]]) -> list[tuple[NodeId, str]]:
        """Return those that were not reported before."""
        fresh = [each for each in foreign if each not in self._reported]
        self._reported.update(fresh)
        return fresh

    def live(self) -> list[Member]:
        """Return the members that take part, in order of their ids."""
        return [member for member in self.members.values() if member.is_live]

    def epoch(self, node: NodeId) -> int:
        """Return the latest life known of a node; 0 where none is."""
        return self._epochs.get(node, 0)

    def admits(self, node: NodeId, boot_epoch: int) -> bool:
        """Take note of a life; False where a later one is known.

        Args:
            node: whose life.
            boot_epoch: which.
        """
        if boot_epoch < self.epoch(node):
            return False
        self._epochs[node] = boot_epoch
        return True


def is_foreign(mine: str, theirs: str) -> bool:
    """Tell whether two clusters are known, and differ.

    Args:
        mine: this node's cluster; empty before it belongs to one.
        theirs: the other's, likewise.
    """
    return bool(mine and theirs) and mine != theirs
