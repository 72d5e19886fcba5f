"""Which nodes belong, and which of them holds which shard copy.

`reconcile` compares the cluster state with the members that live and returns the state
that should be; `execute` does what a node asks for.  Both return the same object where
nothing changes, and whoever commits calls them again until it does not.

The first copy of a shard is made INIT, as primary and with nothing in sync; its node
says `MarkStarted` once it is open, and from then on it holds every acknowledged write:

    INIT, in_sync=()  --MarkStarted-->  STARTED, in_sync=(alloc,)

A copy whose node died stays assigned to it, for that disk alone has the data; when the
node is back in a later life, its primaries go on in a new term.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.members import Member, Status
from torua.core.routing import even_slots
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    NodeEntry,
    Primary,
    Settings,
    Shard,
)


class MarkStarted(Struct, frozen=True, tag="mark_started"):
    """The first copy of a shard is open; it and its life are as the state said.

    Attributes:
        shard: whose copy.
        alloc_id: which copy.
        boot_epoch: the life of its node that opened it.
        term: the primary term that its node read in the state.
    """

    shard: ShardId
    alloc_id: AllocId
    boot_epoch: int
    term: int


Command = MarkStarted
"""What nodes may ask the coordinator to change."""


def execute(state: ClusterState, command: Command) -> ClusterState:
    """Do what a node asked for, if it is still meant; else return ``state``.

    Args:
        state: the committed state.
        command: a copy of another life or term, a delayed or a doubled one, does
            nothing.
    """
    shard = state.shards.get(command.shard)
    if shard is None or shard.primary is None:
        return state
    meant = (command.alloc_id, command.boot_epoch, command.term)
    found = (shard.primary.alloc_id, shard.primary.boot_epoch, shard.primary_term)
    if meant != found or shard.in_sync:
        return state
    copies = tuple(
        replace(copy, state=CopyState.STARTED) if copy.alloc_id == meant[0] else copy
        for copy in shard.copies
    )
    return _with_shards(state, [_next(shard, copies=copies, in_sync=(meant[0],))])


def reconcile(
    state: ClusterState, members: Iterable[Member], random: Random
) -> ClusterState:
    """Return the state that should follow; the same object where it is right.

    Args:
        state: the committed state of a formed cluster.
        members: what membership believes of the nodes of this cluster, in any order.
        random: breaks ties, makes ids.
    """
    known = sorted(members, key=lambda member: member.node_id)
    state = _admit(state, known)
    state = _renew(state)
    if not state.shards:
        state = _assign(state, [each.node_id for each in known if each.is_live], random)
    return state


def min_copies(settings: Settings) -> int:
    """Tell how many copies must hold a write: as set, 1 of 2, or a majority."""
    if settings.min_copies is not None:
        return settings.min_copies
    return 1 if settings.replicas <= 2 else settings.replicas // 2 + 1


def _admit(state: ClusterState, members: list[Member]) -> ClusterState:
    """Take in the live as they now are; let go of those that left and hold nothing."""
    nodes = dict(state.nodes)
    holders = {copy.node for shard in state.shards.values() for copy in shard.copies}
    for member in members:
        held = nodes.get(member.node_id)
        if held is not None and held.boot_epoch > member.boot_epoch:
            continue
        if member.is_live:
            nodes[member.node_id] = _entry(member)
        elif member.status is Status.LEFT and member.node_id not in holders:
            nodes.pop(member.node_id, None)
    return state if nodes == state.nodes else replace(state, nodes=nodes)


def _entry(member: Member) -> NodeEntry:
    """Describe a member as the cluster state does."""
    return NodeEntry(
        node_id=member.node_id,
        name=member.name,
        boot_epoch=member.boot_epoch,
        address=member.address,
        http=member.meta.http,
        roles=member.meta.roles,
        zone=member.meta.zone,
        version=member.meta.version,
        max_shards=member.meta.max_shards,
    )


def _renew(state: ClusterState) -> ClusterState:
    """Give each primary whose node was started anew a new term in its new life."""
    renewed = []
    for shard in state.shards.values():
        primary = shard.primary
        entry = state.nodes.get(primary.node) if primary else None
        if primary and entry and entry.boot_epoch > primary.boot_epoch:
            alive = replace(primary, boot_epoch=entry.boot_epoch)
            term = shard.primary_term + 1
            renewed.append(_next(shard, primary=alive, primary_term=term))
    if not renewed:
        return state
    version = state.routing_version + 1
    return replace(_with_shards(state, renewed), routing_version=version)


def _assign(state: ClusterState, live: list[NodeId], random: Random) -> ClusterState:
    """Make every shard's first copy, once all expected nodes are there to share."""
    entries = [state.nodes[node] for node in live if node in state.nodes]
    if len(entries) < state.settings.expected_nodes:
        return state
    owners = _share(state.settings.shards, entries, random)
    if owners is None:
        return state
    shards = {
        ShardId(number): _first(ShardId(number), owner, state.settings, random)
        for number, owner in enumerate(owners)
    }
    return replace(
        state,
        shards=shards,
        slots=even_slots(len(shards)),
        routing_version=state.routing_version + 1,
    )


def _share(
    shards: int, entries: list[NodeEntry], random: Random
) -> list[NodeEntry] | None:
    """Choose an owner for each shard: always one that has fewest and has room.

    Returns:
        The owners in the order of the shards; None where there is not room for all.
    """
    takers = [entry for entry in entries if "data" in entry.roles]
    random.shuffle(takers)
    counts = [(0, order) for order, entry in enumerate(takers) if entry.max_shards != 0]
    heapify(counts)
    owners: list[NodeEntry] = []
    while counts and len(owners) < shards:
        count, order = counts[0]
        limit = takers[order].max_shards
        if limit is not None and count >= limit:
            heappop(counts)
            continue
        owners.append(takers[order])
        heapreplace(counts, (count + 1, order))
    return owners if len(owners) == shards else None


def _first(
    shard: ShardId, owner: NodeEntry, settings: Settings, random: Random
) -> Shard:
    """Describe a shard that has one copy, which is empty and not yet open."""
    alloc_id = AllocId(f"{random.getrandbits(128):032x}")
    return Shard(
        shard=shard,
        shard_version=1,
        primary_term=1,
        primary=Primary(alloc_id, owner.node_id, owner.boot_epoch),
        in_sync=(),
        copies=(Copy(alloc_id, owner.node_id, CopyState.INIT),),
        history_uuid=f"{random.getrandbits(128):032x}",
        rf=settings.replicas,
        min_copies=min_copies(settings),
    )


def _next(shard: Shard, **changes: object) -> Shard:
    """Change a shard, and count that."""
    return replace(shard, shard_version=shard.shard_version + 1, **changes)


def _with_shards(state: ClusterState, changed: list[Shard]) -> ClusterState:
    """Put changed shards in the place of what they were."""
    return replace(
        state, shards=state.shards | {shard.shard: shard for shard in changed}
    )
