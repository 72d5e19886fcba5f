"""The nodes as a decision sees them: who is up, who may take copies, who is given up.

A node is *up* where it belongs, is not lost, has not left, and no other life of it than
the one in the state is known.  It is a *taker* where no decider objects to it as such.
It is *given up* where it was lost for the time that is configured: only then are its
copies rebuilt elsewhere.
"""

from collections.abc import Iterable

from torua.core.allocation.deciders import (
    Disk,
    Objection,
    Standing,
    is_gone,
    is_other_life,
    standing_objection,
)
from torua.core.allocation.delays import Delays
from torua.core.allocation.domains import Domains
from torua.core.allocation.limits import limits_of
from torua.core.allocation.outlook import Outlook
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.state import ClusterState, Duty, Shard


class Site:
    """What is believed of the nodes at one moment.

    Invariants: takers are up; who is given up is not up.

    Performance: O(nodes) to make; every question O(1).

    Attributes:
        nodes: all that belong.
        draining: who is to give away all copies, and every lead.
        objections: to those that may not be given copies, whatever the shard.
        takers: who may be given copies, in order of their ids.
        limits: what an operator set.
        outlook: what is known of disks, loads and failures.
        domains: the zones and hosts of the takers.
        now: the coordinator's clock.
    """

    def __init__(
        self,
        state: ClusterState,
        members: Iterable[Member],
        delays: Delays,
        outlook: Outlook,
        now: float,
    ) -> None:
        """Look around.

        Args:
            state: says who belongs, the lives, and who is lost.
            members: what membership believes.
            delays: since when; this call is noted there.
            outlook: what nodes reported.
            now: the coordinator's clock.
        """
        self.nodes = state.nodes
        known = {member.node_id: member for member in members}
        away = {
            node
            for node, entry in state.nodes.items()
            if entry.lost or is_gone(entry, known.get(node))
        }
        delays.note(state.nodes, away, now)
        patience = state.configuration.allocation.rebuild_after_s
        self._up = {
            node
            for node, entry in state.nodes.items()
            if node not in away and not is_other_life(entry, known.get(node))
        }
        self._joining = {node for node in self._up if delays.is_joining(node, now)}
        self._settled = {node for node in self._up if delays.is_settled(node, now)}
        self._given_up = {
            node for node in away if delays.lost_for(node, now) >= patience
        }
        self._away = away
        found = {
            node: standing_objection(
                Standing(entry, known.get(node), state.feature_level)
            )
            for node, entry in sorted(state.nodes.items())
        }
        self.objections: dict[NodeId, Objection] = {
            node: objection for node, objection in found.items() if objection
        }
        self.takers = [node for node in found if node not in self.objections]
        self.draining = {
            node for node, entry in state.nodes.items() if entry.duty is not Duty.FULL
        }
        self.limits = limits_of(state)
        self.outlook = outlook
        self.domains = Domains(state.nodes, self.takers, self.limits)
        self.now = now

    def is_up(self, node: NodeId) -> bool:
        """Tell whether a node can be reckoned with now."""
        return node in self._up

    @property
    def seeks_balance(self) -> bool:
        """Whether copies and primaries move for the sake of balance."""
        return self.limits.balance or self.outlook.is_hurried

    def is_joining(self, node: NodeId) -> bool:
        """Tell whether a node joined only now, so that others may be about to."""
        return node in self._joining

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

    def disk(self, node: NodeId) -> Disk:
        """Return a node's disk as it told last."""
        report = self.outlook.reports.get(node)
        if report is None:
            return Disk()
        return Disk(report.disk_used, report.disk_total)

    def has_source(self, shard: Shard) -> bool:
        """Tell whether a new copy can be filled: by the primary, or with nothing."""
        if not shard.in_sync:
            return True
        return shard.primary is not None and self.is_up(shard.primary.node)
