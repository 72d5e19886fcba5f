"""Load: a hot shard's primary is handed over to a cooler node, counts staying even.

A node's heat is what the primaries that it has serve, in requests a second (averages
that fade, reported every few seconds).  The hottest node hands a shard to one of its
other copies where that makes the hottest of all that change cooler by enough: a share
of the heat, and a number of requests.  Where the other node then leads too many, it
hands one of its shards on, the coolest first.

So that nothing moves to and fro: each change makes the greatest heat less by a step,
so that under a steady load changes end; and nodes that took part rest until reports
show what came of it, shards longer.  A shard that is hot by itself alone stays.
"""

from collections.abc import Mapping, Sequence

from torua.core.allocation.leading import Leads
from torua.core.allocation.leveling import Hop, swap
from torua.core.allocation.site import Site
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState

HOTTEST = 3
"""How many nodes, and how many shards of each, are looked at."""

Heats = dict[NodeId, float]


def heats(state: ClusterState, leads: Leads, site: Site) -> Heats | None:
    """Tell how busy each node is that leads; None where not all said.

    Args:
        state: with the copies that it should have.
        leads: who leads.
        site: what nodes reported.
    """
    found = dict.fromkeys(site.takers, 0.0)
    for number, node in leads.owners.items():
        if node not in site.outlook.reports:
            return None
        load = site.outlook.load(state.shards[number], site.now)
        found[node] = found.get(node, 0.0) + load
    return found


def cool(state: ClusterState, site: Site) -> ClusterState:
    """Name successors so that the hottest node is less hot, where that is worth it.

    Args:
        state: in which no primary is to go.
        site: who is up, and what nodes reported.
    """
    leads = Leads(state, site)
    heat = None if leads.pending else heats(state, leads, site)
    if not heat:
        return state
    load = {
        number: site.outlook.load(shard, site.now)
        for number, shard in state.shards.items()
    }
    order = sorted(leads.owners, key=lambda number: load[number])
    owners = {number: leads.owners[number] for number in order}
    options = {
        number: [node for node in nodes if _is_free(node, site)]
        for number, nodes in leads.nodes().items()
        if not site.outlook.stays(number, site.now)
        and _is_free(leads.owners[number], site)
    }
    for node in sorted(heat, key=lambda each: -heat[each])[:HOTTEST]:
        most = heat[node] - step(heat[node], site)
        hops = _relief(node, heat, load, owners, options, most)
        if hops:
            for number, target in hops:
                site.outlook.moved(number, owners[number], target, now=site.now)
            return leads.give(hops)
    return state


def step(heat: float, site: Site) -> float:
    """Tell by how much a node must become cooler for a change to be worth it.

    Args:
        heat: of the node now.
        site: what an operator set.
    """
    found = site.limits.load.of(heat)
    return found / 2 if site.outlook.is_hurried else found


def _is_free(node: NodeId, site: Site) -> bool:
    """Tell whether a node's reports show how it is now."""
    return not site.outlook.is_resting(node, site.now)


def _relief(  # noqa: PLR0913, PLR0917
    node: NodeId,
    heat: Heats,
    load: Mapping[ShardId, float],
    owners: dict[ShardId, NodeId],
    options: Mapping[ShardId, Sequence[NodeId]],
    most: float,
) -> list[Hop]:
    """Find the hand-overs that leave the least peak; nothing where that is too high."""
    led = [number for number in reversed(owners) if owners[number] == node]
    best: list[Hop] = []
    for number in led[:HOTTEST]:
        for target in options.get(number, ()):
            if heat[target] + load[number] - load[led[-1]] >= heat[node]:
                continue
            hops = swap(owners, options, number, target)
            peak = _peak(hops, heat, load, owners)
            if hops and peak <= most:
                best, most = hops, peak - 1e-9
    return best


def _peak(
    hops: Sequence[Hop],
    heat: Heats,
    load: Mapping[ShardId, float],
    owners: Mapping[ShardId, NodeId],
) -> float:
    """Return the greatest heat of those that take part in hand-overs, after them."""
    after: Heats = {}
    for number, target in hops:
        source = owners[number]
        after[source] = after.get(source, heat[source]) - load[number]
        after[target] = after.get(target, heat.get(target, 0.0)) + load[number]
    return max(after.values(), default=0.0)
