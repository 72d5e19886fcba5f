"""How a shard's configuration is changed: always counted, never in place."""

from collections.abc import Iterable

from msgspec.structs import replace

from torua.core.ids import AllocId, NodeId
from torua.core.state import ClusterState, Copy, CopyState, Primary, Shard


def changed(shard: Shard, **changes: object) -> Shard:
    """Change a shard, and count that."""
    return replace(shard, shard_version=shard.shard_version + 1, **changes)


def with_shards(state: ClusterState, shards: Iterable[Shard]) -> ClusterState:
    """Put changed shards in the place of what they were.

    Args:
        state: where they are put.
        shards: the changed ones; where there are none, ``state`` itself comes back.
    """
    new = {shard.shard: shard for shard in shards}
    if not new:
        return state
    moved = any(
        state.shards[number].primary != shard.primary for number, shard in new.items()
    )
    version = state.routing_version + moved
    return replace(state, shards=state.shards | new, routing_version=version)


def find(shard: Shard, alloc_id: AllocId) -> Copy | None:
    """Return a copy by its id; None where the shard has no such copy.

    Args:
        shard: whose.
        alloc_id: which.
    """
    return next((copy for copy in shard.copies if copy.alloc_id == alloc_id), None)


def marked(shard: Shard, alloc_id: AllocId, state: CopyState) -> tuple[Copy, ...]:
    """Return the shard's copies, one of them in another state.

    Args:
        shard: whose.
        alloc_id: which copy.
        state: what it is from now on.
    """
    return tuple(
        replace(copy, state=state) if copy.alloc_id == alloc_id else copy
        for copy in shard.copies
    )


def replacing(shard: Shard, old: AllocId, new: Copy) -> Shard:
    """Begin a move: add a copy, and mark the one that it replaces.

    Args:
        shard: whose copies.
        old: the copy that goes once the new one is in sync.
        new: where it goes to.
    """
    copies = marked(shard, old, CopyState.RELOCATING)
    return changed(shard, copies=(*copies, new))


def without(ids: tuple[AllocId, ...], alloc_id: AllocId) -> tuple[AllocId, ...]:
    """Return ids less one of them.

    Args:
        ids: all.
        alloc_id: the one that is left out, if it is there.
    """
    return tuple(each for each in ids if each != alloc_id)


def promoted(state: ClusterState, shard: Shard, copy: Copy) -> Shard:
    """Make a copy primary, in a new term, in the life that the state knows.

    Args:
        state: says which life that is.
        shard: whose copy.
        copy: of a node that belongs.
    """
    return changed(
        shard,
        primary=Primary(copy.alloc_id, copy.node, life(state, copy.node)),
        primary_term=shard.primary_term + 1,
        successor=None,
    )


def life(state: ClusterState, node: NodeId) -> int:
    """Return the boot epoch that the state knows of a node; 0 where it knows none.

    Args:
        state: the state.
        node: whose life.
    """
    entry = state.nodes.get(node)
    return entry.boot_epoch if entry else 0
