"""The first assignment: every shard gets its copies, once all expected nodes are there.

Each shard takes the nodes that have fewest copies, which keeps all counts within one of
each other; zones and hosts decide among equals.  All copies are INIT and nothing is in
sync; the primary's node says `MarkStarted` once its copy is open, and the others then
catch up:

    INIT, in_sync=()  --MarkStarted-->  STARTED, in_sync=(primary,)
    INIT  --MarkInSync-->  STARTED, in_sync=(primary, copy)

Where there are fewer nodes than copies, there are as many copies as nodes for now.
"""

from random import Random

from msgspec.structs import replace

from torua.core.allocation.leveling import level
from torua.core.allocation.loads import Loads, Want, new_alloc_id
from torua.core.allocation.site import Site
from torua.core.configuration import min_copies
from torua.core.ids import NodeId, ShardId
from torua.core.routing import even_slots
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    Primary,
    Shard,
)


def assign(state: ClusterState, site: Site, live: int, random: Random) -> ClusterState:
    """Make every shard's copies, or nothing where it is too early or too tight.

    Args:
        state: one that has no shards.
        site: who takes copies.
        live: how many nodes that belong are alive, whether or not they take any.
        random: breaks ties, makes ids.
    """
    if live < state.settings.expected_nodes or not site.takers:
        return state
    holders = _share(state, site, random)
    if not all(holders):
        return state
    options = {ShardId(number): nodes for number, nodes in enumerate(holders)}
    owners = {shard: nodes[0] for shard, nodes in options.items()}
    owners |= level(owners, options)
    shards = {
        shard: _first(state, shard, owners[shard], nodes, random)
        for shard, nodes in options.items()
    }
    return replace(
        state,
        shards=shards,
        slots=even_slots(len(shards)),
        routing_version=state.routing_version + 1,
        slots_version=state.slots_version + 1,
    )


def _share(state: ClusterState, site: Site, random: Random) -> list[list[NodeId]]:
    """Choose the nodes of each shard; some may get none where room is scarce."""
    shards, rf = state.settings.shards, state.configuration.replication.replicas
    order = list(site.takers)
    random.shuffle(order)
    loads = Loads(site, order)
    spare = loads.room() - shards
    leads = dict.fromkeys(order, 0)
    holders = []
    for number in range(shards):
        nodes: list[NodeId] = []
        while len(nodes) < rf and (not nodes or spare > 0):
            node = loads.least(Want(ShardId(number), rf, nodes, nodes))
            if node is None:
                break
            spare -= bool(nodes)
            loads.share(node, nodes)
            nodes.append(node)
        nodes.sort(key=lambda node: leads[node])
        if nodes:
            leads[nodes[0]] += 1
        holders.append(nodes)
    return holders


def _first(
    state: ClusterState,
    shard: ShardId,
    owner: NodeId,
    nodes: list[NodeId],
    random: Random,
) -> Shard:
    """Describe a shard whose copies are empty and not yet open."""
    copies = tuple(Copy(new_alloc_id(random), node, CopyState.INIT) for node in nodes)
    lead = next(copy for copy in copies if copy.node == owner)
    return Shard(
        shard=shard,
        shard_version=1,
        primary_term=1,
        primary=Primary(lead.alloc_id, owner, state.nodes[owner].boot_epoch),
        in_sync=(),
        copies=copies,
        history_uuid=f"{random.getrandbits(128):032x}",
        rf=state.configuration.replication.replicas,
        min_copies=min_copies(state.configuration.replication),
    )
