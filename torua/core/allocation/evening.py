"""Bytes and load by copies: two copies change places where counts are even already.

What counts cannot tell: one node may have the large shards, or the busy ones.  Where
the fullest (or hottest) node would become so much less full (or hot) that it is worth
the bytes, it gives a copy to the least one and gets a lesser copy back; or gives only,
where it has one copy more.

Neither makes the other worse, as far as is known: so bytes move without leads where
there are several copies, and load by copies only where there is one.

What is saved must be worth a quarter of what is moved.  Such a move begins only when
nothing else is under way, one at a time; each makes the greatest weight of those that
take part less by a step, so that they end.
"""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from torua.core.allocation.balancing import Held, Move, movable
from torua.core.allocation.cooling import heats, step
from torua.core.allocation.editing import with_shards
from torua.core.allocation.leading import Leads
from torua.core.allocation.limits import Step
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.ids import NodeId
from torua.core.state import ClusterState, Copy, Shard

LIGHTEST = 8
"""How many nodes are looked at as those that could take."""

Weights = dict[NodeId, float]


Weigh = Callable[[Shard, Copy], float]


class _Scale(Struct, frozen=True):
    """What is weighed.

    Attributes:
        weights: the nodes.
        weigh: a copy.
        step: the share by which nodes must differ, and how much a change must save.
        other: what else it must not make worse: the nodes, and a copy.
    """

    weights: Weights
    weigh: Weigh
    step: Step
    other: tuple[Weights, Weigh]


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
    heat = _heat(state, site)
    stored = _bytes(state, site)
    if heat is None or stored is None:
        return state
    scale = _Scale(*stored, site.limits.bytes, heat)
    found = _change(movable(state, site), site, traffic, scale)
    return _begin(state, found, traffic, random)


def even_load(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin to move a shard that is hot and has one copy, so that no hand-over helps.

    Args:
        state: with the copies that it should have, even in number.
        site: what nodes reported.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    heat, stored = _heat(state, site), _bytes(state, site)
    alone = [shard for shard in movable(state, site) if shard.rf == 1]
    if heat is None or stored is None or not alone:
        return state
    if any(site.outlook.is_resting(node, site.now) for node in heat[0]):
        return state
    scale = _Scale(*heat, step(site), stored)
    found = _change(alone, site, traffic, scale)
    for (shard, copy, _), taker in found:
        site.outlook.moved(shard.shard, copy.node, taker, now=site.now)
    return _begin(state, found, traffic, random)


def _heat(state: ClusterState, site: Site) -> tuple[Weights, Weigh] | None:
    """Weigh by load: what a copy serves where it leads; None where not all said."""
    found = heats(state, Leads(state, site), site)

    def weigh(shard: Shard, copy: Copy) -> float:
        """Weigh a copy.

        Args:
            shard: whose copy.
            copy: which.
        """
        leads = shard.primary is not None and shard.primary.alloc_id == copy.alloc_id
        return site.outlook.load(shard, site.now) if leads else 0.0

    return (found, weigh) if found else None


def _bytes(state: ClusterState, site: Site) -> tuple[Weights, Weigh] | None:
    """Weigh by bytes; None where not all said."""
    sizes = {number: site.outlook.size(each) for number, each in state.shards.items()}
    weights = dict.fromkeys(site.takers, 0.0)
    if any(node not in site.outlook.reports for node in weights):
        return None
    for shard in state.shards.values():
        for copy in shard.copies:
            if copy.node in weights:
                weights[copy.node] += sizes[shard.shard]
    return weights, lambda shard, copy: sizes[shard.shard]


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
    shards: list[Shard], site: Site, traffic: Traffic, scale: _Scale
) -> list[tuple[Move, NodeId]]:
    """Find the move, or the two, that make the heaviest node's weight least."""
    takers = [node for node in site.takers if node in scale.weights]
    if len(takers) < 2 or traffic.is_busy:
        return []
    order = sorted(takers, key=lambda node: scale.weights[node])
    heavy = order[-1]
    most = scale.weights[heavy]
    if most - scale.weights[order[0]] < scale.step.of(most):
        return []
    held = Held(shards, site)
    best: list[tuple[Move, NodeId]] = []
    least = most
    for light in order[:-1][:LIGHTEST]:
        for moves in _offers(held, heavy, light, traffic):
            peak = _peak(moves, scale.weights, scale.weigh)
            cost = sum(scale.weigh(each[0], each[1]) for each, _ in moves)
            if most - peak < max(scale.step.least, cost / 4):
                continue
            if peak < least and _is_harmless(moves, scale):
                best, least = moves, peak
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


def _is_harmless(moves: list[tuple[Move, NodeId]], scale: _Scale) -> bool:
    """Tell whether moves make nothing else worse, as far as that is known.

    Who leads a shard of several copies once its lead has moved is not known.
    """
    if any(
        shard.rf > 1 and shard.primary and shard.primary.alloc_id == copy.alloc_id
        for (shard, copy, _), _ in moves
    ):
        return False
    weights, weigh = scale.other
    nodes = {node for (_, copy, _), taker in moves for node in (copy.node, taker)}
    before = max(weights.get(node, 0.0) for node in nodes)
    return _peak(moves, weights, weigh) <= before


def _peak(moves: list[tuple[Move, NodeId]], weights: Weights, weigh: Weigh) -> float:
    """Return the greatest weight of those that take part, after moves."""
    after: Weights = {}
    for (shard, copy, _), taker in moves:
        weight = weigh(shard, copy)
        for node, change in ((copy.node, -weight), (taker, weight)):
            after[node] = after.get(node, weights.get(node, 0.0)) + change
    return max(after.values())
