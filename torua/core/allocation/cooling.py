"""Load: a hot shard's primary is handed over to a cooler node, counts staying even.

A node's heat is what the primaries that it has serve, in requests a second (averages
that fade, reported every few seconds).  The hottest node hands a shard to one of its
other copies, on a node that is cooler by a share of the heat, where that makes the
hottest of all that change cooler by enough: by a number of requests, and by half of
what goes.  Where the other node then leads too many, it hands one of its shards on,
the coolest first.

So that nothing moves to and fro: each change makes the greatest heat less by a step,
so that under a steady load changes end; and nodes that took part rest until reports
show what came of it, shards longer.  A shard that is hot by itself alone stays.
"""

from collections.abc import Sequence

from msgspec import Struct

from torua.core.allocation.leading import Leads
from torua.core.allocation.leveling import Hop, swap
from torua.core.allocation.limits import Step
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
    board = _Heated(heat, load, owners, options, step(site))
    for node in sorted(heat, key=lambda each: -heat[each])[:HOTTEST]:
        hops = _relief(node, board)
        if hops:
            for number, target in hops:
                site.outlook.moved(number, owners[number], target, now=site.now)
            return leads.give(hops)
    return state


def step(site: Site) -> Step:
    """Tell what a change for the sake of load must save.

    Args:
        site: what an operator set; one who asked for balance is content with half.
    """
    load = site.limits.load
    return Step(load.share / 2, load.least / 2) if site.outlook.is_hurried else load


def _is_free(node: NodeId, site: Site) -> bool:
    """Tell whether a node's reports show how it is now."""
    return not site.outlook.is_resting(node, site.now)


class _Heated(Struct, frozen=True):
    """The cluster by load.

    Attributes:
        heat: of each node.
        load: of each shard.
        owners: who leads, the coolest shards first.
        options: who could lead, of those shards that may change.
        step: what a change must save.
    """

    heat: Heats
    load: dict[ShardId, float]
    owners: dict[ShardId, NodeId]
    options: dict[ShardId, list[NodeId]]
    step: Step


def _relief(node: NodeId, board: _Heated) -> list[Hop]:
    """Find the hand-overs that leave the least peak; nothing where none is worth it."""
    heat, load = board.heat, board.load
    led = [number for number in reversed(board.owners) if board.owners[number] == node]
    best: list[Hop] = []
    least = heat[node]
    for number in led[:HOTTEST]:
        for target in board.options.get(number, ()):
            if heat[node] - heat.get(target, 0.0) < board.step.of(heat[node]):
                continue
            if load[number] < board.step.least:
                continue
            hops = swap(board.owners, board.options, number, target)
            after = _after(hops, board)
            peak = max(after.values(), default=least)
            gone = heat[node] - after.get(node, 0.0)
            if peak < least and heat[node] - peak >= max(board.step.least, gone / 2):
                best, least = hops, peak
    return best


def _after(hops: Sequence[Hop], board: _Heated) -> Heats:
    """Return the heat of those that take part in hand-overs, after them."""
    after: Heats = {}
    for number, target in hops:
        for each, change in ((board.owners[number], -1), (target, 1)):
            before = after.get(each, board.heat.get(each, 0.0))
            after[each] = before + change * board.load[number]
    return after
