"""Disks that are too full: copies move off, and at last writes are refused.

    low    no copies are added (`deciders.disk`)
    high   copies move off, the largest first, until the disk is below it
    flood  the node is marked, and the primaries of its shards refuse writes

A node that is marked stays so until its disk is below the high watermark, so that
writes do not come and go by the minute; and while it does not report.
"""

from random import Random

from msgspec.structs import replace

from torua.core.allocation.editing import with_shards
from torua.core.allocation.loads import wanted
from torua.core.allocation.rebuilding import is_whole
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic, is_moving
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, Shard


def mark_full(state: ClusterState, site: Site) -> ClusterState:
    """Mark the nodes whose disks are flooded, and no others.

    Args:
        state: the committed state.
        site: what nodes reported.
    """
    changed = {}
    for node, entry in state.nodes.items():
        disk = site.disk(node)
        if not disk.total:
            continue
        mark = site.limits.high if entry.disk_full else site.limits.flood
        is_full = mark.is_reached(disk.used, disk.total)
        if is_full != entry.disk_full:
            changed[node] = replace(entry, disk_full=is_full)
    return replace(state, nodes=state.nodes | changed) if changed else state


def flooded(state: ClusterState) -> dict[ShardId, str]:
    """Name, of each shard that takes no writes, a node whose disk is flooded.

    Args:
        state: the committed state.
    """
    full = {node: entry for node, entry in state.nodes.items() if entry.disk_full}
    if not full:
        return {}
    return {
        number: full[copy.node].name
        for number, shard in state.shards.items()
        for copy in shard.copies
        if copy.node in full
    }


def is_relieved(site: Site, node: NodeId) -> bool:
    """Tell whether a node's disk is so full that copies are to move off it.

    Args:
        site: what nodes reported.
        node: which.
    """
    disk = site.disk(node)
    return site.limits.high.is_reached(disk.used, disk.total)


def relieve(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin moves off disks above the high watermark, as many as they need.

    Args:
        state: with the copies that it should have.
        site: who is up, and how full the disks are.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    full = [node for node in sorted(state.nodes) if is_relieved(site, node)]
    if not any(traffic.loads.is_open(node) for node in site.takers):
        return state
    begun: dict[ShardId, Shard] = {}
    for node in full:
        disk = site.disk(node)
        over = site.limits.high.over(disk.used, disk.total) - _going(state, site, node)
        for size, shard, copy in _held(state, site, node):
            if over < 0 or shard.primary is None:
                break
            if shard.shard in begun:
                continue
            if not traffic.may_give(node, shard.primary.node):
                continue
            want = wanted(shard, site, copy.alloc_id)
            target = traffic.loads.least(want)
            if target is not None:
                moved = traffic.begin(shard, copy, want, target, random)
                begun[shard.shard] = moved
                over -= size
    return with_shards(state, begun.values())


def _going(state: ClusterState, site: Site, node: NodeId) -> int:
    """Tell how many bytes are on their way off a node, or gone since it reported."""
    staying = {
        copy.alloc_id
        for shard in state.shards.values()
        for copy in shard.copies
        if copy.node == node and not is_moving(shard, copy)
    }
    report = site.outlook.reports[node]
    return sum(copy.bytes for copy in report.copies if copy.alloc_id not in staying)


def _held(
    state: ClusterState, site: Site, node: NodeId
) -> list[tuple[int, Shard, Copy]]:
    """Return what a node could give away, replicas first, the largest first."""
    found = [
        (site.outlook.size(shard), shard, copy)
        for shard in state.shards.values()
        for copy in shard.copies
        if copy.node == node and shard.successor is None and is_whole(shard, site)
    ]
    found.sort(
        key=lambda each: (
            each[1].primary is not None
            and each[1].primary.alloc_id == each[2].alloc_id,
            -each[0],
            each[1].shard,
        )
    )
    return [each for each in found if each[0]]
