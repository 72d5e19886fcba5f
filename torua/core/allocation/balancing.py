"""An even share for every node: of copies by moving them, of primaries by hand-over.

A move adds a copy to the node that has fewest, and marks the one it replaces; when the
new one is in sync, `rebuilding` removes the old.  Only a node that has two more copies
than another gives one, so that a balance once reached is kept, and each move makes it
better: nothing moves back.

A hand-over is asked for by `Shard.successor`.  The primary drains and says `HandOver`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

from torua.core.allocation.deciders import MOVES_MAX
from torua.core.allocation.editing import changed, find, replacing, with_shards
from torua.core.allocation.leveling import level
from torua.core.allocation.loads import Loads, new_alloc_id
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic, is_moving
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, CopyState, Shard
from torua.core.views import Balance

Held = dict[NodeId, list[Shard]]


def move(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin as many moves as are needed and may be under way at once.

    Args:
        state: with the copies that it should have.
        site: who is up, and who takes copies.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    counts = traffic.loads.counts
    if not counts or max(counts.values()) - min(counts.values()) < 2:
        return state
    held = _movable(state, site)
    begun: list[Shard] = []
    while (found := _next_move(held, traffic)) is not None:
        shard, giver, taker = found
        assert shard.primary is not None
        traffic.gets(taker)
        traffic.loads.add(giver, -1)
        traffic.gives(giver, shard.primary.node)
        old = next(copy.alloc_id for copy in shard.copies if copy.node == giver)
        new = Copy(new_alloc_id(random), taker, CopyState.INIT)
        begun.append(replacing(shard, old, new))
        for copy in shard.copies:
            held[copy.node].remove(shard)
    return with_shards(state, begun)


def _movable(state: ClusterState, site: Site) -> Held:
    """Return the shards of each node that are whole and at rest.

    One with a copy that is to go anyway is left to `draining`: to move another copy of
    it would only be more to move.
    """
    held: Held = {}
    for shard in state.shards.values():
        at_rest = (
            len(shard.copies) == len(shard.in_sync) == shard.rf
            and shard.successor is None
            and site.has_source(shard)
            and all(copy.state is CopyState.STARTED for copy in shard.copies)
            and not any(copy.node in site.draining for copy in shard.copies)
        )
        if at_rest:
            for copy in shard.copies:
                held.setdefault(copy.node, []).append(shard)
    return held


def _next_move(held: Held, traffic: Traffic) -> tuple[Shard, NodeId, NodeId] | None:
    """Choose a shard, and from where to where it goes."""
    for giver, taker in _pairs(traffic):
        able = [
            shard
            for shard in held.get(giver, ())
            if shard.primary is not None
            and traffic.may_give(shard.primary.node)
            and not traffic.loads.objection(taker, [c.node for c in shard.copies])
        ]
        if able:
            harms = [_harm(shard, giver, taker, traffic.loads) for shard in able]
            return able[harms.index(min(harms))], giver, taker
    return None


def _pairs(traffic: Traffic) -> Iterator[tuple[NodeId, NodeId]]:
    """Yield who may give to whom, the most uneven first.

    Nobody gives of an even share: where the fullest may give no more just now, another
    would only have to get as much back later.
    """
    counts = traffic.loads.counts
    share = sum(counts.values()) // len(counts)
    takers = [
        node
        for node in sorted(counts, key=lambda node: counts[node])
        if traffic.loads.objection(node) is None
    ]
    givers = [
        node
        for node in sorted(counts, key=lambda node: -counts[node])
        if traffic.may_give(node) and counts[node] > share
    ]
    for taker in takers:
        for giver in givers:
            if counts[giver] - counts[taker] < 2:
                break
            yield giver, taker


def _harm(
    shard: Shard, giver: NodeId, taker: NodeId, loads: Loads
) -> tuple[int, int, bool, ShardId]:
    """Tell how bad a move is: zones and hosts crowded, a hand-over needed."""
    beside = [copy.node for copy in shard.copies if copy.node != giver]
    after, before = loads.crowding(taker, beside), loads.crowding(giver, beside)
    leads = shard.primary is not None and shard.primary.node == giver
    return after[0] - before[0], after[1] - before[1], leads, shard.shard


def hand_over(state: ClusterState, site: Site) -> ClusterState:
    """Ask primaries to hand over: where they must go, and where they lead too many.

    Args:
        state: with the copies that it should have.
        site: who is up.
    """
    return _level(_oblige(state, site), site)


def _oblige(state: ClusterState, site: Site) -> ClusterState:
    """Name successors where a primary must go; forget those that can't lead now."""
    counts = Counter(_owner(shard) for shard in state.shards.values())
    after = []
    for shard in state.shards.values():
        if shard.successor is None and not _must_go(shard, site):
            continue
        able = _welcome(shard, site) or _anybody(shard, site)
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


def _welcome(shard: Shard, site: Site) -> list[Copy]:
    """Return the copies that a primary may hand over to and that may keep the lead."""
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


def _owner(shard: Shard) -> NodeId | None:
    """Return who leads a shard, or is about to."""
    if shard.successor is not None:
        copy = find(shard, shard.successor)
        if copy is not None:
            return copy.node
    return shard.primary.node if shard.primary else None


def _level(state: ClusterState, site: Site) -> ClusterState:
    """Name further successors, so that every node leads as many shards."""
    owners, options, pending = {}, {}, []
    for number, shard in state.shards.items():
        owner, primary = _owner(shard), shard.primary
        if owner is None or primary is None:
            continue
        owners[number] = owner
        if owner != primary.node:
            pending.append((primary.node, owner))
        elif _at_rest(shard) and site.is_up(owner):
            options[number] = _welcome(shard, site)
    nodes = {number: [copy.node for copy in able] for number, able in options.items()}
    found = level(owners, nodes, pending, MOVES_MAX)
    after = [
        changed(
            state.shards[number],
            successor=next(c.alloc_id for c in options[number] if c.node == node),
        )
        for number, node in found.items()
    ]
    return with_shards(state, after)


def _at_rest(shard: Shard) -> bool:
    """Tell whether a shard has its copies in sync, and none that moves."""
    return len(shard.copies) == len(shard.in_sync) <= shard.rf


def unevenness(state: ClusterState, site: Site) -> Balance:
    """Tell how much is to be moved, at least, until all nodes have an even share.

    Args:
        state: the committed state.
        site: who takes copies, and who is to have none.
    """
    shards = state.shards.values()
    leads = dict.fromkeys(site.takers, 0)
    loads = Loads(state, site.takers)
    gone = [0, 0]
    for shard in shards:
        for copy in shard.copies:
            loads.add(copy.node, not is_moving(shard, copy))
            gone[0] += copy.node in site.draining and not is_moving(shard, copy)
        owner = _owner(shard)
        if owner in leads:
            leads[owner] += 1
        gone[1] += owner in site.draining
    copies = gone[0] + _surplus(loads.counts.values(), gone[0])
    primaries = gone[1] + _surplus(leads.values(), gone[1])
    under_way = sum(
        len(shard.copies) - len(shard.in_sync) + (shard.successor is not None)
        for shard in shards
    )
    even = not (copies or primaries or under_way)
    return Balance(even, copies, primaries, under_way)


def _surplus(counts: Iterable[int], more: int) -> int:
    """Return how many must move until counts are even within one.

    Args:
        counts: of each node.
        more: what the nodes get besides.
    """
    most = sorted(counts, reverse=True)
    if not most:
        return 0
    share, over = divmod(sum(most) + more, len(most))
    return sum(
        max(0, count - share - (place < over)) for place, count in enumerate(most)
    )
