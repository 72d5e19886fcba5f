"""Copies apart: over the zones, and over the hosts, as far as nodes are there.

Rebuilding and balance choose nodes so that no zone and no host has more of a shard than
its share.  What stands otherwise is moved: copies that were made while a zone was away,
or before an operator named zones.
"""

from collections import Counter
from random import Random

from torua.core.allocation.domains import Domains
from torua.core.allocation.editing import with_shards
from torua.core.allocation.loads import wanted
from torua.core.allocation.rebuilding import is_whole
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.ids import NodeId
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
    begun = []
    for shard in state.shards.values():
        found = _better(shard, site, traffic)
        if found is not None:
            copy, target = found
            want = wanted(shard, site, copy.alloc_id)
            begun.append(traffic.begin(shard, copy, want, target, random))
    return with_shards(state, begun)


def _better(shard: Shard, site: Site, traffic: Traffic) -> tuple[Copy, NodeId] | None:
    """Choose a copy that crowds, and where it does so less; None where none is."""
    domains = site.domains
    if not _crowds(shard, domains) or shard.successor is not None:
        return None
    if shard.primary is None or not is_whole(shard, site):
        return None
    lead = shard.primary.alloc_id
    for copy in sorted(shard.copies, key=lambda each: each.alloc_id == lead):
        if not traffic.may_give(copy.node, shard.primary.node):
            continue
        want = wanted(shard, site, copy.alloc_id)
        here = domains.crowd(copy.node, want.staying, shard.rf).over
        if not any(here):
            continue
        target = traffic.loads.least(want)
        if target and domains.crowd(target, want.staying, shard.rf).over < here:
            return copy, target
    return None


def _crowds(shard: Shard, domains: Domains) -> bool:
    """Tell whether a zone or a host has more of a shard than its share."""
    zones = Counter(domains.zone(copy.node) for copy in shard.copies)
    hosts = Counter(domains.host(copy.node) for copy in shard.copies)
    return max(zones.values(), default=0) > domains.zone_share(shard.rf) or max(
        hosts.values(), default=0
    ) > domains.host_share(shard.rf)
