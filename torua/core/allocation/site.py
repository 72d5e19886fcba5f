"""The nodes as a decision sees them: who is up, who may take copies, who is given up.

A node is *up* where it belongs, is not lost, has not left, and no other life of it than
the one in the state is known.  It is a *taker* where it is up, believed alive, holds
data and does not leave.  It is *given up* where it was lost for the time in the
settings: only then are its copies rebuilt elsewhere.
"""

from collections.abc import Collection, Iterable

from torua.core.allocation.delays import Delays
from torua.core.ids import NodeId
from torua.core.members import Member, Status
from torua.core.state import ClusterState, NodeEntry, Shard


class Site:
    """What is believed of the nodes at one moment.

    Invariants: takers are up; who is given up is not up.

    Performance: O(nodes) to make; every question O(1).

    Attributes:
        nodes: all that belong.
        takers: who may be given copies, in order of their ids.
    """

    def __init__(
        self,
        state: ClusterState,
        members: Iterable[Member],
        lost: Collection[NodeId],
        delays: Delays,
        now: float,
    ) -> None:
        """Look around.

        Args:
            state: says who belongs, and the lives.
            members: what membership believes.
            lost: whom the coordinator lost.
            delays: since when; this call is noted there.
            now: the coordinator's clock.
        """
        self.nodes = state.nodes
        known = {member.node_id: member for member in members}
        away = {node for node in state.nodes if node in lost}
        away |= {
            node
            for node, member in known.items()
            if member.status is Status.LEFT
            and node in state.nodes
            and member.boot_epoch >= state.nodes[node].boot_epoch
        }
        delays.note(state.nodes, away, now)
        patience = state.settings.rebuild_after_s
        self._up = {
            node
            for node, entry in state.nodes.items()
            if node not in away and _is_same_life(entry, known.get(node))
        }
        self._settled = {node for node in self._up if delays.is_settled(node, now)}
        self._given_up = {
            node for node in away if delays.lost_for(node, now) >= patience
        }
        self._away = away
        self.takers = sorted(
            node
            for node in self._up
            if node in known and known[node].is_live and may_take(state.nodes[node])
        )

    def is_up(self, node: NodeId) -> bool:
        """Tell whether a node can be reckoned with now."""
        return node in self._up

    def is_settled(self, node: NodeId) -> bool:
        """Tell whether a node has been up for a while."""
        return node in self._settled

    def is_given_up(self, node: NodeId, *, urgent: bool) -> bool:
        """Tell whether a node's copies are to be replaced.

        Args:
            node: whose.
            urgent: whether there is no time to wait for it.
        """
        if node not in self.nodes or node in self._given_up:
            return True
        return urgent and node in self._away

    def is_leaving(self, node: NodeId) -> bool:
        """Tell whether a node said that its life is about to end."""
        entry = self.nodes.get(node)
        return entry is None or entry.leaving

    def has_source(self, shard: Shard) -> bool:
        """Tell whether a new copy can be filled: by the primary, or with nothing."""
        if not shard.in_sync:
            return True
        return shard.primary is not None and self.is_up(shard.primary.node)


def may_take(entry: NodeEntry) -> bool:
    """Tell whether a node that is up takes copies at all."""
    return "data" in entry.roles and not entry.leaving and entry.max_shards != 0


def _is_same_life(entry: NodeEntry, member: Member | None) -> bool:
    """Tell whether nobody knows another life than the one in the state."""
    return member is None or member.boot_epoch <= entry.boot_epoch
