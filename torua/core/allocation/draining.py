"""Everything off a node that is in maintenance or evacuated, as far as there is room.

Primaries go first: `leading.hand_over` gives the lead to another copy, and only where
there is none to give it to does the primary's copy move.  Then copy after copy moves as
for the balance: one is added elsewhere, the old one is marked and serves until the new
one is in sync, and only then does `rebuilding` remove it (R16).  Where to is chosen for
all of them together (`targeting`), so that the others are even in the end.  What no
other node may have stays, and is served.
"""

from random import Random

from torua.core.allocation.editing import with_shards
from torua.core.allocation.loads import wanted
from torua.core.allocation.rebuilding import is_whole
from torua.core.allocation.site import Site
from torua.core.allocation.targeting import Targets
from torua.core.allocation.traffic import Traffic
from torua.core.state import ClusterState, Copy, Shard


def drain(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin as many moves off such nodes as may be under way at once.

    Args:
        state: with the copies that it should have.
        site: who is up, and who is to have nothing.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    leavers = [
        (shard, copy)
        for shard in state.shards.values()
        if site.draining and (copy := leaver(shard, site)) is not None
        if shard.primary and traffic.may_give(copy.node, shard.primary.node)
    ]
    if not leavers:
        return state
    targets = Targets(state, site, traffic)
    targets.even(free=not site.seeks_balance)
    begun = []
    for shard, copy in leavers:
        if shard.primary and traffic.may_give(copy.node, shard.primary.node):
            want = wanted(shard, site, copy.alloc_id)
            target = traffic.loads.first(targets.targets(shard.shard), want)
            if target is not None:
                begun.append(traffic.begin(shard, copy, want, target, random))
    return with_shards(state, begun)


def leaver(shard: Shard, site: Site) -> Copy | None:
    """Return the copy that a shard is to move off its node next; None where none is.

    Args:
        shard: any; one at a time moves.
        site: who is up, and who is to have nothing.
    """
    if shard.successor is not None or not is_whole(shard, site):
        return None
    going = [copy for copy in shard.copies if copy.node in site.draining]
    lead = shard.primary.alloc_id if shard.primary else None
    going.sort(key=lambda copy: copy.alloc_id == lead)
    if len(going) < len(shard.copies):
        going = [copy for copy in going if copy.alloc_id != lead]
    return going[0] if going else None
