"""Why each copy of a shard is where it is, and why no other node has one, in words.

What keeps a node from having a copy is asked of the deciders that the allocator asks.
Where they have no objection, the shard itself wants no more copies, or balance has
another node come first.
"""

from torua.core.allocation.deciders import Objection
from torua.core.allocation.draining import leaver
from torua.core.allocation.loads import wanted
from torua.core.allocation.placing import Scene
from torua.core.allocation.relieving import is_relieved
from torua.core.ids import AllocId, NodeId
from torua.core.state import Copy, CopyState, Shard
from torua.core.views import CopyReason, NodeReason, ShardExplained


def explain(scene: Scene, shard: Shard) -> ShardExplained:
    """Explain where a shard's copies are.

    Args:
        scene: the cluster, as the node sees it that explains.
        shard: which.
    """
    holders = {copy.node for copy in shard.copies}
    others = sorted(
        (entry.name, node)
        for node, entry in scene.state.nodes.items()
        if node not in holders
    )
    return ShardExplained(
        shard=shard.shard,
        wants=_wants(scene, shard),
        copies=tuple(_copy(scene, shard, copy) for copy in shard.copies),
        others=tuple(_node(scene, shard, node) for _, node in others),
    )


def _wants(scene: Scene, shard: Shard) -> str:
    """Say what a shard lacks, or is about to do."""
    if shard.primary is None or not scene.site.is_up(shard.primary.node):
        return "a primary: nothing is added before one leads"
    if len(shard.copies) < shard.rf:
        return f"{shard.rf - len(shard.copies)} more of its {shard.rf} copies"
    if shard.successor is not None:
        return "another primary: it is being handed over"
    if leaver(shard, scene.site) is not None:
        return "a copy elsewhere, for one that is to go"
    if len(shard.in_sync) < len(shard.copies):
        return "its copies to be in sync"
    return ""


def _copy(scene: Scene, shard: Shard, copy: Copy) -> CopyReason:
    """Explain one copy."""
    leads = shard.primary is not None and shard.primary.alloc_id == copy.alloc_id
    return CopyReason(
        node=_name(scene, copy.node),
        role="primary" if leads else "replica",
        state=copy.state.value,
        in_sync=copy.alloc_id in shard.in_sync,
        why=_why_there(scene, shard, copy),
    )


def _why_there(scene: Scene, shard: Shard, copy: Copy) -> str:
    """Say why a copy is where it is."""
    in_sync = copy.alloc_id in shard.in_sync
    if not scene.site.is_up(copy.node):
        objection = scene.site.objections.get(copy.node)
        why = objection.why if objection else "it does not belong any more"
        wait = scene.state.configuration.allocation.rebuild_after_s
        return f"{why}; {wait:g} s after a node was lost its copies are made elsewhere"
    if copy.state is CopyState.RELOCATING and in_sync:
        return "it moves away, and serves until another copy is in sync"
    if copy.node in scene.site.draining:
        return _why_still(scene, shard, copy)
    if not in_sync:
        return "it is being filled from the primary"
    if is_relieved(scene.site, copy.node):
        used, total = _disk(scene, copy.node)
        return (
            f"the node's disk is {used / total:.1%} full: above the high watermark of "
            f"{scene.site.limits.high.share:.0%} copies move off, the largest first"
        )
    return f"it is one of the {shard.rf} copies; {_share(scene, copy.node)}"


def _disk(scene: Scene, node: NodeId) -> tuple[int, int]:
    """Tell how many bytes a node's disk has in use, and in all."""
    disk = scene.site.disk(node)
    return disk.used, disk.total


def _why_still(scene: Scene, shard: Shard, copy: Copy) -> str:
    """Say why a copy is still on a node that is to have none."""
    why = scene.site.objections[copy.node].why
    if shard.successor is not None:
        return f"{why}; its lead is handed over first"
    want = wanted(shard, scene.site, copy.alloc_id)
    able = [
        node
        for node in scene.site.takers
        if scene.traffic.loads.objection(node, want) is None
    ]
    waits = "it moves when its turn comes" if able else "no other node may have it now"
    return f"{why}; {waits}"


def _node(scene: Scene, shard: Shard, node: NodeId) -> NodeReason:
    """Explain why a node has no copy."""
    going = leaver(shard, scene.site)
    leaves = going.alloc_id if going else None
    objection = scene.objection(shard, node, leaves)
    objection = objection or _crowds(scene, shard, node, leaves)
    objection = objection or _preference(scene, shard, node)
    return NodeReason(_name(scene, node), objection.decider, objection.why)


def _crowds(
    scene: Scene, shard: Shard, node: NodeId, leaves: AllocId | None
) -> Objection | None:
    """Say that a node's zone, or host, has its share of a shard already."""
    domains = scene.site.domains
    want = wanted(shard, scene.site, leaves)
    crowd = domains.crowd(node, want.staying, shard.rf)
    if crowd.zone_over and domains.zone(node):
        apart = ", ".join(domains.zones)
        return Objection(
            "zone",
            f"its zone {domains.zone(node)} has {crowd.zone} of this shard's copies, "
            f"its share: they are kept apart over {apart}, as far as nodes are there",
        )
    if crowd.host_over:
        return Objection(
            "host",
            f"its host {domains.host(node)} has {crowd.host} of this shard's copies, "
            "its share: they are kept apart over hosts, as far as these are there",
        )
    return None


def _preference(scene: Scene, shard: Shard, node: NodeId) -> Objection:
    """Say why a node has no copy to which nothing objects."""
    share = _share(scene, node)
    missing = len(shard.copies) < shard.rf or leaver(shard, scene.site) is not None
    if missing:
        going = leaver(shard, scene.site)
        want = wanted(shard, scene.site, going.alloc_id if going else None)
        first = scene.traffic.loads.least(want)
        if first is None or first == node:
            return Objection("balance", f"it gets the next copy; {share}")
        return Objection("balance", f"{_name(scene, first)} comes first; {share}")
    held = len(shard.copies)
    most = max(
        (scene.traffic.loads.counts.get(copy.node, 0) for copy in shard.copies),
        default=0,
    )
    counts = scene.traffic.loads.counts
    if most - counts[node] >= 2:
        return Objection(
            "balance",
            f"the shard has its {held} copies; {share}, a node with this shard {most}: "
            "copies move here one after the other, until they are even within one",
        )
    return Objection("copies", f"the shard has its {held} copies; {share}")


def _share(scene: Scene, node: NodeId) -> str:
    """Say how many copies a node has, and how many the others."""
    counts = scene.traffic.loads.counts
    if node not in counts:
        return "the node takes no more"
    others = [count for each, count in counts.items() if each != node]
    if not others:
        return f"the node has {counts[node]} copies"
    least, most = min(others), max(others)
    between = f"{least}" if least == most else f"{least} to {most}"
    return f"the node has {counts[node]} copies, the others {between}"


def _name(scene: Scene, node: NodeId) -> str:
    """Name a node as people do."""
    entry = scene.state.nodes.get(node)
    return entry.name if entry else node
