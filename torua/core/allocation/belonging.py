"""Which nodes belong, in which life, and which of them are lost."""

from collections.abc import Collection

from msgspec.structs import replace

from torua.core.builds import gap, next_level
from torua.core.ids import NodeId
from torua.core.members import Member, Status
from torua.core.state import ClusterState, Duty, NodeEntry


def admit(state: ClusterState, members: list[Member]) -> ClusterState:
    """Take in the live as they now are; let go of those that left and hold nothing.

    A node in maintenance is kept, for it is to come back with that duty.  One whose
    build does not know the feature level of the cluster is not taken in.

    Args:
        state: the committed state.
        members: what membership believes, in any order.
    """
    nodes = dict(state.nodes)
    holders = {copy.node for shard in state.shards.values() for copy in shard.copies}
    for member in members:
        held = nodes.get(member.node_id)
        if held is not None and held.boot_epoch > member.boot_epoch:
            continue
        if member.is_live and gap(member.meta.build, state.feature_level):
            continue
        if member.is_live:
            nodes[member.node_id] = _entry(member, held)
        elif _is_gone(member, held) and member.node_id not in holders:
            nodes.pop(member.node_id, None)
    return state if nodes == state.nodes else replace(state, nodes=nodes)


def note_lost(state: ClusterState, lost: Collection[NodeId]) -> ClusterState:
    """Say of every node whether it is lost.

    Args:
        state: the state, with the nodes that belong.
        lost: whom the coordinator lost.
    """
    changed = {
        node: replace(entry, lost=node in lost)
        for node, entry in state.nodes.items()
        if entry.lost != (node in lost)
    }
    return replace(state, nodes=state.nodes | changed) if changed else state


def raise_level(state: ClusterState) -> ClusterState:
    """Raise the feature level to what all nodes know that belong, lost or not."""
    builds = [entry.build for entry in state.nodes.values()]
    level = next_level(state.feature_level, builds)
    same = level == state.feature_level
    return state if same else replace(state, feature_level=level)


def _is_gone(member: Member, held: NodeEntry | None) -> bool:
    """Tell whether a node left for good, as far as anybody said."""
    stays = held is not None and held.duty is Duty.MAINTENANCE
    return member.status is Status.LEFT and not stays


def _entry(member: Member, held: NodeEntry | None) -> NodeEntry:
    """Describe a member as the cluster state does.

    What is known of its life stays while that lasts, its duty for ever.
    """
    same = held if held and held.boot_epoch == member.boot_epoch else None
    return NodeEntry(
        node_id=member.node_id,
        name=member.name,
        boot_epoch=member.boot_epoch,
        address=member.address,
        http=member.meta.http,
        roles=member.meta.roles,
        zone=member.meta.zone,
        version=member.meta.version,
        build=member.meta.build,
        max_shards=member.meta.max_shards,
        leaving=same is not None and same.leaving,
        lost=same is not None and same.lost,
        duty=held.duty if held else Duty.FULL,
        duty_version=held.duty_version if held else 0,
        disk_full=held is not None and held.disk_full,
    )
