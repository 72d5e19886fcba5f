"""Which slot a key hashes to, and which shard owns the slot.

A key routes by its whole text, or by what stands in its first ``{...}`` where that is
not empty (as in Redis Cluster), so that keys with one tag share a shard.  The keys of
graphs' rows route by the node that they are of (`torua.core.graph.keys`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import mmh3

from torua.core.graph.keys import is_graph_key, routing_part, user_key
from torua.core.ids import NodeId, ShardId
from torua.core.state import SLOTS, ClusterState, SlotRange, Spans


def routing_key(key: bytes) -> bytes:
    """Return the part of ``key`` that decides where it lives."""
    if is_graph_key(key):
        of = user_key(key)
        if of is None:
            return routing_part(key)
        key = of
    start = key.find(b"{")
    if start < 0:
        return key
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if end > start + 1 else key


def slot_of(key: bytes) -> int:
    """Return the slot of ``key``, from 0 to `SLOTS` less one."""
    return mmh3.hash(routing_key(key), signed=False) % SLOTS


def holds(spans: Spans, slot: int) -> bool:
    """Tell whether a slot is in one of some ranges.

    Args:
        spans: in order.
        slot: which.
    """
    place = bisect_right(spans, slot, key=lambda span: span[0]) - 1
    return place >= 0 and slot <= spans[place][1]


def shard_of(slots: tuple[SlotRange, ...], key: bytes) -> ShardId:
    """Return the shard that owns the slot of ``key``.

    Args:
        slots: the slot table of a cluster state, not empty.
        key: the key, as bytes.
    """
    index = bisect_right(slots, slot_of(key), key=lambda each: each.first) - 1
    return slots[index].shard


def shards_of(slots: tuple[SlotRange, ...], keys: Iterable[bytes]) -> Iterator[ShardId]:
    """Go through the shards that own the slots of many keys.

    Args:
        slots: the slot table of a cluster state, not empty.
        keys: as bytes.
    """
    firsts = [each.first for each in slots]
    shards = [each.shard for each in slots]
    for key in keys:
        yield shards[bisect_right(firsts, slot_of(key)) - 1]


def primary_node(state: ClusterState, shard: ShardId) -> NodeId | None:
    """Return the node of a shard's primary; None where there is none.

    Args:
        state: a cluster state.
        shard: which.
    """
    held = state.shards.get(shard)
    return None if held is None or held.primary is None else held.primary.node


def even_slots(shards: int) -> tuple[SlotRange, ...]:
    """Share all slots out over ``shards`` shards, evenly within one slot."""
    edges = [SLOTS * shard // shards for shard in range(shards + 1)]
    return tuple(
        SlotRange(edges[shard], edges[shard + 1] - 1, ShardId(shard))
        for shard in range(shards)
    )
