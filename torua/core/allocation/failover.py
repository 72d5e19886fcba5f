"""Who leads a shard whose primary's node is lost, or began another life.

Only an in-sync copy is promoted (R7), in a new term (R2), in the life that the state
knows.  The old primary's copy stays in sync until the new primary fails it, for only
the new primary knows that no MarkInSync is under way.  Where no in-sync copy is up, the
shard is red and waits as it is: it names the primary that it waits for, which may only
have been out of reach, and whoever of the in-sync copies comes back first will lead.
"""

from collections import Counter

from torua.core.allocation.editing import life, promoted, with_shards
from torua.core.allocation.site import Site
from torua.core.ids import NodeId
from torua.core.state import ClusterState, Copy, CopyState, Shard


def fail_over(state: ClusterState, site: Site) -> ClusterState:
    """Promote a copy of every shard that has no primary in a present life.

    Args:
        state: with the present lives of its nodes.
        site: who is up.
    """
    counts = Counter(
        shard.primary.node for shard in state.shards.values() if shard.primary
    )
    after = []
    for shard in state.shards.values():
        if _is_led(state, shard, site):
            continue
        copy = _choose(shard, site, counts)
        if copy is not None:
            if shard.primary is not None:
                counts[shard.primary.node] -= 1
            counts[copy.node] += 1
            after.append(promoted(state, shard, copy))
    return with_shards(state, after)


def candidates(shard: Shard, site: Site) -> list[Copy]:
    """Return the copies that may lead: in sync and up.

    While nothing was ever in sync, nothing was acknowledged, and any copy may begin.

    Args:
        shard: whose copies.
        site: who is up.
    """
    return [
        copy
        for copy in shard.copies
        if site.is_up(copy.node)
        and (copy.alloc_id in shard.in_sync or not shard.in_sync)
    ]


def _is_led(state: ClusterState, shard: Shard, site: Site) -> bool:
    """Tell whether the primary is up, in the life that was meant."""
    primary = shard.primary
    if primary is None or not site.is_up(primary.node):
        return False
    return life(state, primary.node) == primary.boot_epoch


def _choose(shard: Shard, site: Site, counts: Counter[NodeId]) -> Copy | None:
    """Choose who can lead soonest, and of those who leads fewest shards.

    A node that has been up for a while has its copies open; one that was just started
    has not, and of such the copy that led before is as good as any.
    """
    mine = shard.primary.alloc_id if shard.primary else None

    def burden(copy: Copy) -> tuple[bool, bool, bool, int, NodeId]:
        """Tell what speaks against a copy."""
        going = site.is_leaving(copy.node) or copy.state is CopyState.RELOCATING
        going = going or copy.node in site.draining
        settled = site.is_settled(copy.node)
        moved = not settled and copy.alloc_id != mine
        return going, not settled, moved, counts[copy.node], copy.node

    return min(candidates(shard, site), key=burden, default=None)
