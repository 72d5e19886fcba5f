"""Nodes, members and states that the tests of allocation begin with."""

from random import Random

from msgspec.structs import replace

from torua.core.allocation import Delays, MarkInSync, MarkStarted, execute, reconcile
from torua.core.configuration import Allocation, Configuration, Replication
from torua.core.ids import Address, AllocId, NodeId, ShardId
from torua.core.members import Member, Meta, Status
from torua.core.state import ClusterState, CopyState, Settings, Shard


def node(number: int) -> NodeId:
    """Name a node; names sort as their numbers do."""
    return NodeId(f"{number:032x}")


def member(
    number: int,
    epoch: int = 1,
    status: Status = Status.ALIVE,
    zone: str = "",
    max_shards: int | None = None,
) -> Member:
    """Describe a node as membership would.

    Args:
        number: which.
        epoch: its life.
        status: how it fares.
        zone: where it is.
        max_shards: how much it takes.
    """
    meta = Meta(http="", zone=zone, max_shards=max_shards)
    where = Address(f"10.0.0.{number}", 1)
    return Member(node(number), f"n{number}", where, epoch, 0, status, meta)


def members(count: int) -> list[Member]:
    """Describe nodes 1 to ``count``, alive in their first lives."""
    return [member(number) for number in range(1, count + 1)]


def blank(
    shards: int,
    replicas: int,
    expect: int,
    min_copies: int | None = None,
    zones: tuple[str, ...] = (),
) -> ClusterState:
    """Return the state of a cluster that has just formed.

    Args:
        shards: how many it shall have.
        replicas: copies of each.
        expect: nodes that must be there first.
        min_copies: how many must hold a write.
        zones: that are forced.
    """
    return ClusterState(
        cluster_uuid="c" * 32,
        settings=Settings(shards, expected_nodes=expect),
        configuration=Configuration(
            Replication(replicas, min_copies), Allocation(forced_zones=zones)
        ),
    )


def formed(shards: int, replicas: int, count: int, seed: int = 1) -> ClusterState:
    """Return the state once all copies of a new cluster are in sync.

    Args:
        shards: how many.
        replicas: copies of each.
        count: nodes.
        seed: of what is left to chance.
    """
    state = blank(shards, replicas, count)
    state = reconcile(state, members(count), Random(seed), delays=Delays())
    return synced(state)


def synced(state: ClusterState) -> ClusterState:
    """Have every copy of every shard caught up at once."""
    for number in state.shards:
        shard = state.shards[number]
        if not shard.in_sync:
            state = execute(state, started(shard))
        for copy in shard.copies:
            state = execute(state, in_sync(state, number, copy.alloc_id))
    return state


def started(shard: Shard) -> MarkStarted:
    """Return what the primary's node says of the first copy."""
    primary = shard.primary
    assert primary is not None
    return MarkStarted(
        shard.shard, primary.alloc_id, primary.boot_epoch, shard.primary_term
    )


def in_sync(state: ClusterState, number: ShardId, alloc_id: AllocId) -> MarkInSync:
    """Return what the primary says of a copy that caught up.

    Args:
        state: the state that it applied.
        number: the shard.
        alloc_id: the copy.
    """
    shard = state.shards[number]
    where = next(copy.node for copy in shard.copies if copy.alloc_id == alloc_id)
    epoch = state.nodes[where].boot_epoch
    return MarkInSync(number, shard.primary_term, alloc_id, epoch, shard.shard_version)


def with_shard(state: ClusterState, number: int = 0, **changes: object) -> ClusterState:
    """Change a shard, as tests may.

    Args:
        state: whose.
        number: which.
        changes: its fields.
    """
    shard = replace(state.shards[ShardId(number)], **changes)
    return replace(state, shards=state.shards | {shard.shard: shard})


def primary_life(shard: Shard) -> tuple[AllocId, int]:
    """Return the copy and the life that lead a shard."""
    assert shard.primary is not None
    return shard.primary.alloc_id, shard.primary.boot_epoch


def is_crowded(state: ClusterState, shard: Shard, target: NodeId) -> bool:
    """Tell whether a new copy gives a forced zone more of a shard than its share.

    Copies that are on their way off, or on lost nodes, are being replaced.

    Args:
        state: the committed state.
        shard: with the new copy.
        target: who has it.
    """
    zones = state.configuration.allocation.forced_zones
    staying = [
        copy
        for copy in shard.copies
        if state.nodes[copy.node].zone == state.nodes[target].zone
        and copy.state is not CopyState.RELOCATING
        and not state.nodes[copy.node].lost
    ]
    return bool(zones) and len(staying) > -(-shard.rf // len(zones))
