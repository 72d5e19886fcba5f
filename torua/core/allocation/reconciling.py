"""The state that should follow from what is known now."""

from collections.abc import Collection, Iterable
from random import Random

from torua.core.allocation.balancing import hand_over, move
from torua.core.allocation.belonging import admit, note_lost, raise_level
from torua.core.allocation.configuring import conform
from torua.core.allocation.delays import Delays
from torua.core.allocation.draining import drain
from torua.core.allocation.failover import fail_over
from torua.core.allocation.first import assign
from torua.core.allocation.rebuilding import rebuild
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.state import ClusterState


def reconcile(  # noqa: PLR0913
    state: ClusterState,
    members: Iterable[Member],
    random: Random,
    *,
    lost: Collection[NodeId] = (),
    delays: Delays | None = None,
    now: float = 0.0,
) -> ClusterState:
    """Return the state that should follow; the same object where it is right.

    Args:
        state: the committed state of a formed cluster.
        members: what membership believes of the nodes of this cluster, in any order.
        random: breaks ties, makes ids.
        lost: whom the coordinator lost: nodes that answer no checks.
        delays: what this coordinator remembers from call to call; new where none.
        now: the coordinator's monotonic clock, in seconds.
    """
    known = sorted(members, key=lambda member: member.node_id)
    state = raise_level(note_lost(admit(state, known), lost))
    site = Site(state, known, delays or Delays(), now)
    if not state.shards:
        live = sum(each.is_live and each.node_id in state.nodes for each in known)
        return assign(state, site, live, random)
    state = fail_over(conform(state), site)
    traffic = Traffic(state, site)
    state = rebuild(state, site, traffic, random)
    state = drain(state, site, traffic, random)
    if state.configuration.allocation.rebalance:
        state = move(state, site, traffic, random)
    return hand_over(state, site)
