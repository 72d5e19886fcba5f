"""The state that should follow from what is known now."""

from collections.abc import Collection, Iterable
from random import Random

from torua.core.allocation.balancing import move
from torua.core.allocation.belonging import admit, note_lost, raise_level
from torua.core.allocation.configuring import conform
from torua.core.allocation.cooling import cool
from torua.core.allocation.delays import Delays
from torua.core.allocation.draining import drain
from torua.core.allocation.evening import even_bytes, even_load
from torua.core.allocation.failover import fail_over
from torua.core.allocation.first import assign
from torua.core.allocation.leading import even_leads, hand_over
from torua.core.allocation.outlook import Outlook
from torua.core.allocation.rebuilding import rebuild
from torua.core.allocation.relieving import mark_full, relieve
from torua.core.allocation.site import Site
from torua.core.allocation.spreading import spread
from torua.core.allocation.traffic import Traffic
from torua.core.ids import NodeId
from torua.core.members import Member
from torua.core.splitting.commands import settle_splits
from torua.core.state import ClusterState


def reconcile(  # noqa: PLR0913
    state: ClusterState,
    members: Iterable[Member],
    random: Random,
    *,
    lost: Collection[NodeId] = (),
    delays: Delays | None = None,
    outlook: Outlook | None = None,
    now: float = 0.0,
) -> ClusterState:
    """Return the state that should follow; the same object where it is right.

    Args:
        state: the committed state of a formed cluster.
        members: what membership believes of the nodes of this cluster, in any order.
        random: breaks ties, makes ids.
        lost: whom the coordinator lost: nodes that answer no checks.
        delays: what this coordinator remembers from call to call; new where none.
        outlook: what nodes reported to it; nothing where none.
        now: the coordinator's monotonic clock, in seconds.
    """
    known = sorted(members, key=lambda member: member.node_id)
    state = raise_level(note_lost(admit(state, known), lost))
    site = Site(state, known, delays or Delays(), outlook or Outlook(), now)
    if not state.shards:
        live = sum(each.is_live and each.node_id in state.nodes for each in known)
        return assign(state, site, live, random)
    state = fail_over(mark_full(conform(state), site), site)
    state = settle_splits(state, site.is_up)
    traffic = Traffic(state, site)
    for place in (rebuild, drain, relieve, spread):
        state = place(state, site, traffic, random)
    state = hand_over(state, site)
    if site.seeks_balance:
        return balance(state, site, traffic, random)
    return state


def balance(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Take a step towards an even share of everything for every node.

    What is uneven in number goes first.  What is uneven in bytes or load is looked at
    only where numbers are even, and only now and then: reports come no more often.

    Args:
        state: with the copies that it should have.
        site: who is up.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    before = state
    state = even_leads(move(state, site, traffic, random), site)
    if state is not before or not site.outlook.looks(site.now):
        return state
    state = cool(state, site)
    for even in (even_load, even_bytes):
        if state is before:
            state = even(state, site, traffic, random)
    return state
