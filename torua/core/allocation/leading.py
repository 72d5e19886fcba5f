"""Who leads: hand-overs where a primary must go, and where a node leads too many.

A hand-over is asked for by `Shard.successor`.  The primary drains and says `HandOver`.
"""

from collections import Counter
from collections.abc import Iterable

from torua.core.allocation.editing import changed, find, with_shards
from torua.core.allocation.leveling import Hop, level
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import is_moving
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, CopyState, Shard


def hand_over(state: ClusterState, site: Site) -> ClusterState:
    """Ask primaries to hand over where they must go; forget who can't lead now.

    Args:
        state: with the copies that it should have.
        site: who is up.
    """
    counts = Counter(owner(shard) for shard in state.shards.values())
    after = []
    for shard in state.shards.values():
        if shard.successor is None and not _must_go(shard, site):
            continue
        able = welcome(shard, site) or _anybody(shard, site)
        if shard.successor in [copy.alloc_id for copy in able]:
            continue
        chosen = None
        if able and _must_go(shard, site):
            copy = min(able, key=lambda each: (counts[each.node], each.node))
            counts[copy.node] += 1
            chosen = copy.alloc_id
        if chosen != shard.successor:
            after.append(changed(shard, successor=chosen))
    return with_shards(state, after)


def welcome(shard: Shard, site: Site) -> list[Copy]:
    """Return the copies that a primary may hand over to and that may keep the lead.

    Args:
        shard: whose copies.
        site: who is up, and who is to have nothing.
    """
    return [copy for copy in _able(shard, site) if copy.node not in site.draining]


def _anybody(shard: Shard, site: Site) -> list[Copy]:
    """Return the copies to hand over to where none may keep the lead.

    A primary that need only give its lead away keeps it then.
    """
    return _able(shard, site) if _has_to_go(shard, site) else []


def _able(shard: Shard, site: Site) -> list[Copy]:
    """Return the copies that could lead, now that the primary is up."""
    if shard.primary is None or not site.is_up(shard.primary.node):
        return []
    return [
        copy
        for copy in shard.copies
        if copy.alloc_id in shard.in_sync
        and copy.alloc_id != shard.primary.alloc_id
        and copy.state is CopyState.STARTED
        and site.is_up(copy.node)
        and not site.is_leaving(copy.node)
    ]


def _must_go(shard: Shard, site: Site) -> bool:
    """Tell whether the primary is to give its lead away, and may do so now."""
    drains = shard.primary is not None and shard.primary.node in site.draining
    return drains or _has_to_go(shard, site)


def _has_to_go(shard: Shard, site: Site) -> bool:
    """Tell whether the primary's node stops, or its copy was replaced."""
    if shard.primary is None:
        return False
    copy = find(shard, shard.primary.alloc_id)
    if site.is_leaving(shard.primary.node):
        return True
    replaced = len(shard.in_sync) > shard.rf
    return copy is not None and is_moving(shard, copy) and replaced


def owner(shard: Shard) -> NodeId | None:
    """Return who leads a shard, or is about to."""
    if shard.successor is not None:
        copy = find(shard, shard.successor)
        if copy is not None:
            return copy.node
    return shard.primary.node if shard.primary else None


class Leads:
    """Who leads each shard, or is about to, and who else could.

    Invariants: nothing in it changes.

    Attributes:
        owners: who leads.
        options: the copies that could, of those shards that may change.
        pending: from whom to whom a shard is being handed already.
    """

    def __init__(self, state: ClusterState, site: Site) -> None:
        """Look at all shards.

        Args:
            state: with the copies that it should have.
            site: who is up.
        """
        self._state = state
        self.owners: dict[ShardId, NodeId] = {}
        self.options: dict[ShardId, list[Copy]] = {}
        self.pending: list[tuple[NodeId, NodeId]] = []
        for number, shard in state.shards.items():
            lead, primary = owner(shard), shard.primary
            if lead is None or primary is None:
                continue
            self.owners[number] = lead
            if lead != primary.node:
                self.pending.append((primary.node, lead))
            elif is_calm(shard) and site.is_up(lead):
                self.options[number] = welcome(shard, site)

    def nodes(self) -> dict[ShardId, list[NodeId]]:
        """Return the nodes of `options`."""
        return {
            number: [copy.node for copy in able]
            for number, able in self.options.items()
        }

    def give(self, hops: Iterable[Hop]) -> ClusterState:
        """Return the state with the successors named.

        Args:
            hops: which shards change, and who is to lead them.
        """
        after = []
        for number, node in hops:
            able = self.options[number]
            chosen = next(copy.alloc_id for copy in able if copy.node == node)
            after.append(changed(self._state.shards[number], successor=chosen))
        return with_shards(self._state, after)


def even_leads(state: ClusterState, site: Site) -> ClusterState:
    """Name further successors, so that every node leads as many shards.

    Args:
        state: with successors where primaries must go.
        site: who is up.
    """
    leads = Leads(state, site)
    most = site.limits.recoveries
    found = level(leads.owners, leads.nodes(), leads.pending, most)
    return leads.give(found.items())


def is_calm(shard: Shard) -> bool:
    """Tell whether a shard has its copies in sync, and none that moves."""
    return len(shard.copies) == len(shard.in_sync) <= shard.rf
