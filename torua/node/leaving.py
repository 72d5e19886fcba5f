"""What a node that stops leaves to others."""

from collections.abc import Collection

from torua.core.allocation import Leave
from torua.core.ids import AllocId, NodeId
from torua.core.state import ClusterState
from torua.node.copies import Life


def announcement(
    state: ClusterState, life: Life, lost: Collection[NodeId]
) -> Leave | None:
    """Say that a node goes; None where the state knows, or nobody is left.

    Args:
        state: that is applied.
        life: which node, in which life.
        lost: nodes that cannot be reached.
    """
    entry = state.nodes.get(life.node)
    others = [node for node in state.nodes if node not in (life.node, *lost)]
    if entry is None or entry.leaving or not others:
        return None
    return Leave(life.node, life.boot_epoch)


def hands_over(
    state: ClusterState,
    node: NodeId,
    lost: Collection[NodeId],
    failed: Collection[AllocId],
) -> bool:
    """Tell whether a node leads a shard that another copy could lead, now or soon.

    A copy that is not in sync may be in a moment, and until then this one is the only
    one that has everything.  A copy that failed cannot hand over: the sooner its node
    is gone the better.

    Args:
        state: that is applied.
        node: which.
        lost: nodes that cannot be reached.
        failed: its copies that do not serve.
    """
    away = {node, *lost}
    away |= {entry.node_id for entry in state.nodes.values() if entry.leaving}
    return any(
        shard.primary is not None
        and shard.primary.node == node
        and shard.primary.alloc_id not in failed
        and any(copy.node not in away for copy in shard.copies)
        for shard in state.shards.values()
    )
