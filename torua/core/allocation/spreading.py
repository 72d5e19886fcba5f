"""Copies apart: over the zones, and over the hosts, as far as nodes are there.

Rebuilding and balance choose nodes so that no zone and no host has more of a shard than
its share.  What stands otherwise is moved: copies that were made while a zone was away,
or before an operator named zones.
"""

from random import Random

from torua.core.allocation.domains import Domains
from torua.core.allocation.editing import with_shards
from torua.core.allocation.loads import wanted
from torua.core.allocation.rebuilding import is_whole
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, Shard


def spread(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin as many moves to other zones and hosts as may be under way at once.

    Args:
        state: with the copies that it should have.
        site: who is up, and who takes copies.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    domains = site.domains
    if len(domains.zones) <= 1 and len(domains.hosts) <= 1:
        return state
    if not any(traffic.loads.is_open(node) for node in site.takers):
        return state
    crowding = _crowding(state, site)
    begun: dict[ShardId, Shard] = {}
    while crowding:
        shard, copy = min(crowding, key=lambda each: _order(each[0], each[1], traffic))
        target = _better(shard, copy, site, traffic)
        if target is not None:
            want = wanted(shard, site, copy.alloc_id)
            begun[shard.shard] = traffic.begin(shard, copy, want, target, random)
        crowding = [
            each
            for each in crowding
            if each[1] is not copy and each[0].shard not in begun
        ]
    return with_shards(state, begun.values())


def _crowding(state: ClusterState, site: Site) -> list[tuple[Shard, Copy]]:
    """List the copies in zones or on hosts that have more than their share."""
    domains = site.domains
    return [
        (shard, copy)
        for shard in state.shards.values()
        if _is_crowded(shard, domains)
        and shard.successor is None
        and is_whole(shard, site)
        for copy in shard.copies
        if any(_here(shard, copy, site))
    ]


def _here(shard: Shard, copy: Copy, site: Site) -> tuple[int, int]:
    """Tell by how much a copy's zone and host have more than their share."""
    want = wanted(shard, site, copy.alloc_id)
    return site.domains.crowd(copy.node, want.staying, shard.rf).over


def _order(shard: Shard, copy: Copy, traffic: Traffic) -> tuple[int, bool, ShardId]:
    """Tell which copy goes first: of the fullest node, and rather no lead."""
    leads = shard.primary is not None and shard.primary.alloc_id == copy.alloc_id
    return -traffic.loads.counts.get(copy.node, 0), leads, shard.shard


def _better(shard: Shard, copy: Copy, site: Site, traffic: Traffic) -> NodeId | None:
    """Choose where a copy crowds less, and may go now; None where there is nowhere."""
    if shard.primary is None or not traffic.may_give(copy.node, shard.primary.node):
        return None
    want = wanted(shard, site, copy.alloc_id)
    target = traffic.loads.least(want)
    if target is None:
        return None
    there = site.domains.crowd(target, want.staying, shard.rf).over
    return target if there < _here(shard, copy, site) else None


def _is_crowded(shard: Shard, domains: Domains) -> bool:
    """Tell whether a zone or a host has more of a shard than its share."""
    zones = [domains.zone(copy.node) for copy in shard.copies]
    hosts = [domains.host(copy.node) for copy in shard.copies]
    most_zone = max(map(zones.count, zones), default=0)
    most_host = max(map(hosts.count, hosts), default=0)
    most = domains.zone_share(shard.rf), domains.host_share(shard.rf)
    return most_zone > most[0] or most_host > most[1]
