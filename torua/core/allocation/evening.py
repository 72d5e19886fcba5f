"""Bytes and load by copies: two copies change places where counts are even already.

What counts cannot tell: one node may have the large shards, or the busy ones.  Where
the fullest (or hottest) node would become so much less full (or hot) that it is worth
the bytes, it gives a copy to the least one and gets a lesser copy back; or gives only,
where it has one copy more.  Load moves so only where no hand-over does (`cooling`).

Such a move begins only when nothing else is under way, one at a time; each makes the
greatest weight of those that take part less by a step, so that they end.
"""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from torua.core.allocation.balancing import Held, Move, movable
from torua.core.allocation.cooling import heats, step
from torua.core.allocation.editing import with_shards
from torua.core.allocation.leading import Leads
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.ids import NodeId
from torua.core.state import ClusterState, Copy, Shard

LIGHTEST = 8
"""How many nodes are looked at as those that could take."""

Weights = dict[NodeId, float]


class _Scale(Struct, frozen=True):
    """What is weighed: the nodes, and a copy; and how much less a change must save."""

    weights: Weights
    weigh: Callable[[Shard, Copy], float]
    step: float


def even_bytes(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin to even out how much the nodes keep, where that is worth the moves.

    Args:
        state: with the copies that it should have, even in number.
        site: what nodes reported.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    sizes = {number: site.outlook.size(each) for number, each in state.shards.items()}
    weights = dict.fromkeys(site.takers, 0.0)
    if any(node not in site.outlook.reports for node in weights):
        return state
    for shard in state.shards.values():
        for copy in shard.copies:
            if copy.node in weights:
                weights[copy.node] += sizes[shard.shard]
    heaviest = max(weights.values(), default=0.0)
    least = site.limits.bytes.of(heaviest)
    scale = _Scale(weights, lambda shard, copy: sizes[shard.shard], least)
    return _begin(state, _change(state, site, traffic, scale), traffic, random)


def even_load(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin to move a copy that leads and is hot, where no hand-over would help.

    Args:
        state: with the copies that it should have, even in number.
        site: what nodes reported.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    heat = heats(state, Leads(state, site), site)
    if not heat or any(site.outlook.is_resting(node, site.now) for node in heat):
        return state

    def weigh(shard: Shard, copy: Copy) -> float:
        """Weigh a copy: what it serves where it leads, else nothing."""
        leads = shard.primary is not None and shard.primary.alloc_id == copy.alloc_id
        return site.outlook.load(shard, site.now) if leads else 0.0

    scale = _Scale(heat, weigh, step(max(heat.values()), site))
    found = _change(state, site, traffic, scale)
    for (shard, copy, _), taker in found:
        site.outlook.moved(shard.shard, copy.node, taker, now=site.now)
    return _begin(state, found, traffic, random)


def _begin(
    state: ClusterState,
    found: list[tuple[Move, NodeId]],
    traffic: Traffic,
    random: Random,
) -> ClusterState:
    """Begin what was found."""
    return with_shards(
        state,
        [
            traffic.begin(shard, copy, want, taker, random)
            for (shard, copy, want), taker in found
        ],
    )


def _change(
    state: ClusterState, site: Site, traffic: Traffic, scale: _Scale
) -> list[tuple[Move, NodeId]]:
    """Find the move, or the two, that make the heaviest node's weight least."""
    takers = [node for node in site.takers if node in scale.weights]
    if len(takers) < 2 or traffic.is_busy:
        return []
    order = sorted(takers, key=lambda node: scale.weights[node])
    heavy = order[-1]
    if scale.weights[heavy] - scale.weights[order[0]] < scale.step:
        return []
    held = Held(movable(state, site), site)
    best: list[tuple[Move, NodeId]] = []
    most = scale.weights[heavy] - scale.step
    for light in order[:-1][:LIGHTEST]:
        for moves in _offers(held, heavy, light, traffic):
            peak = _peak(moves, scale)
            if peak <= most:
                best, most = moves, peak - 1e-6
    return best


def _offers(
    held: Held, heavy: NodeId, light: NodeId, traffic: Traffic
) -> list[list[tuple[Move, NodeId]]]:
    """List what one node could give another, alone or for something else."""
    loads = traffic.loads
    given = [
        each for each in held.moves(heavy, light) if not loads.objection(light, each[2])
    ]
    if loads.counts[heavy] > loads.counts[light]:
        return [[(each, light)] for each in given]
    back = [
        each for each in held.moves(light, heavy) if not loads.objection(heavy, each[2])
    ]
    return [
        [(each, light), (other, heavy)]
        for each in given
        for other in back
        if each[0] is not other[0]
    ]


def _peak(moves: list[tuple[Move, NodeId]], scale: _Scale) -> float:
    """Return the greatest weight of those that take part, after moves."""
    after: Weights = {}
    for (shard, copy, _), taker in moves:
        weight = scale.weigh(shard, copy)
        for node, change in ((copy.node, -weight), (taker, weight)):
            after[node] = after.get(node, scale.weights[node]) + change
    return max(after.values())
