"""Moves by hand: what an operator may ask for, by the deciders that balance obeys.

A move adds a copy where it is wanted, and takes away the one that can best be spared:
one that is to go anyway, then a replica on the node with most copies.
"""

from collections.abc import Iterable
from enum import StrEnum

from torua.core.allocation.deciders import PASSING, Objection
from torua.core.allocation.delays import Delays
from torua.core.allocation.loads import wanted
from torua.core.allocation.operating import GiveLead, MoveCopy, is_at_rest
from torua.core.allocation.outlook import Outlook
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic
from torua.core.ids import AllocId, NodeId
from torua.core.members import Member
from torua.core.state import ClusterState, Copy, Shard


class Role(StrEnum):
    """What a node is to be for a shard."""

    PRIMARY = "primary"
    REPLICA = "replica"


class Scene:
    """The cluster as one node sees it, as the allocator would look at it.

    Invariants: nothing in it changes.

    Attributes:
        state: the committed state.
        site: who is up, and who takes copies.
        traffic: what is under way.
    """

    def __init__(
        self,
        state: ClusterState,
        members: Iterable[Member],
        outlook: Outlook | None = None,
    ) -> None:
        """Look around.

        Args:
            state: the committed state; it says who is lost.
            members: what membership believes.
            outlook: what the coordinator knows beside; None where it did not say.
        """
        self.state = state
        self.site = Site(state, members, Delays(), outlook or Outlook(), 0.0)
        self.traffic = Traffic(state, self.site)

    def objection(
        self, shard: Shard, node: NodeId, leaves: AllocId | None = None
    ) -> Objection | None:
        """Return what keeps a node from having one more copy; None where nothing does.

        Args:
            shard: of which shard.
            node: one that belongs.
            leaves: the copy that it is to replace.
        """
        want = wanted(shard, self.site, leaves)
        standing = self.site.objections.get(node)
        return standing or self.traffic.loads.objection(node, want)


def place(
    scene: Scene, shard: Shard, node: NodeId, role: Role, new: AllocId
) -> MoveCopy | GiveLead | Objection:
    """Return what has a node be what it shall be for a shard; or what forbids it.

    Args:
        scene: the cluster.
        shard: which.
        node: one that belongs.
        role: what it shall be.
        new: the id of a new copy.
    """
    if not is_at_rest(shard) or shard.primary is None:
        return Objection(
            "at_rest", f"shard {shard.shard} is being moved, handed over or rebuilt"
        )
    if role is Role.PRIMARY:
        return _lead(scene, shard, node)
    old = _spared(scene, shard, node)
    objection = scene.objection(shard, node, old.alloc_id)
    if objection is not None:
        return objection
    if not scene.traffic.may_give(old.node, shard.primary.node):
        name = scene.state.nodes[old.node].name
        return Objection(
            "throttle",
            f"{name} or the primary's node gives {scene.site.limits.recoveries} copies "
            "away now, and more at once are too many",
        )
    return MoveCopy(shard.shard, shard.shard_version, old.alloc_id, node, new)


def nowhere(scene: Scene, node: NodeId) -> str:
    """Tell why a node can't be emptied; nothing where it can.

    Args:
        scene: the cluster.
        node: one that belongs.
    """
    held = [
        shard
        for shard in scene.state.shards.values()
        if any(copy.node == node for copy in shard.copies)
    ]
    room, entries = 0, scene.state.nodes
    for other in scene.site.takers:
        limit, count = entries[other].max_shards, scene.traffic.loads.counts[other]
        room += 0 if other == node else len(held) if limit is None else limit - count
    if room < len(held):
        return f"it has {len(held)} copies, and the others take {max(0, room)} more"
    for shard in held:
        gone = next(copy.alloc_id for copy in shard.copies if copy.node == node)
        found = {
            entries[other].name: scene.objection(shard, other, gone)
            for other in sorted(entries)
            if other != node
        }
        if all(each and each.decider not in PASSING for each in found.values()):
            why = "; ".join(
                f"{name}: {each.why}" for name, each in found.items() if each
            )
            return f"no other node may have its copy of shard {shard.shard} ({why})"
    return ""


def _lead(scene: Scene, shard: Shard, node: NodeId) -> GiveLead | Objection:
    """Hand the lead to a node's copy."""
    assert shard.primary is not None
    if shard.primary.node == node:
        return Objection("same_node", "it leads this shard")
    held = [copy for copy in shard.copies if copy.node == node]
    if not held:
        return Objection(
            "in_sync",
            "it has no copy of this shard; move one there first, as a replica",
        )
    objection = scene.site.objections.get(node)
    if objection is not None and objection.decider != "max_shards":
        return objection
    return GiveLead(shard.shard, shard.shard_version, held[0].alloc_id)


def _spared(scene: Scene, shard: Shard, node: NodeId) -> Copy:
    """Return the copy that can best be spared where a node gets another."""
    lead = shard.primary.alloc_id if shard.primary else None
    counts = scene.traffic.loads.counts
    return min(
        shard.copies,
        key=lambda copy: (
            scene.objection(shard, node, copy.alloc_id) is not None,
            copy.alloc_id == lead,
            copy.node not in scene.site.draining,
            -counts.get(copy.node, 0),
            copy.node,
        ),
    )
