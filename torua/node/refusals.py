"""What an errand comes to that is not done: which error its caller is told."""

from collections.abc import Callable

from torua.core.ids import NodeId, ShardId
from torua.core.kv import Page
from torua.core.splitting.door import is_moving, trimming
from torua.core.splitting.moving import moves
from torua.core.state import ClusterState
from torua.errors import (
    DiskFullError,
    OutcomeUnknownError,
    StaleRouteError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.errands import (
    Errand,
    GraphErrand,
    Listed,
    Parcel,
    QueryRelease,
    is_write,
    keys_asked,
    needs_primary,
)

RETRY_AFTER_S = 1
"""What a client is told to wait where a shard has no primary: about a failover."""


def is_held_up(state: ClusterState, errand: Errand) -> bool:
    """Tell whether an errand must wait for the next step of a split.

    What is read at any copy was committed when it was its shard's; but rows of graphs
    are read as they stand, so they must be away from where they moved from.
    """
    if isinstance(errand, Parcel):
        return any(is_held_up(state, each) for each in errand.errands)
    shard = errand.shard
    if isinstance(errand, GraphErrand) and trimming(state, shard) is not None:
        return not isinstance(errand, QueryRelease)
    return needs_primary(errand) and is_moving(state, shard, keys_asked(errand))


def owned(state: ClusterState, shard: ShardId, listed: Listed) -> Listed:
    """Leave out what a shard lists of slots that it gave away, and still has.

    Args:
        state: by which it was asked.
        shard: which.
        listed: what it lists.
    """
    spans = trimming(state, shard)
    if spans is None:
        return listed
    items = tuple(each for each in listed.page.items if not moves(spans, each.key))
    return Listed(Page(items, listed.page.next), listed.at)


def is_red(
    state: ClusterState, shard: ShardId, is_live: Callable[[NodeId], bool]
) -> bool:
    """Tell whether only an operator, or a lost node's return, can help a shard.

    Args:
        state: the applied one.
        shard: which.
        is_live: tells whether membership believes a node alive.
    """
    held = state.shards.get(shard)
    if held is None or not held.in_sync:
        return False
    return held.is_damaged or not any(
        is_live(copy.node) for copy in held.copies if copy.alloc_id in held.in_sync
    )


def explained(error: ToruaError, shard: ShardId, *, red: bool) -> ToruaError:
    """Say which shard could not be served, and why, where that is not said.

    Args:
        error: why not.
        shard: which.
        red: whether no good copy in sync is on a live node.
    """
    if not isinstance(error, UnavailableError | StaleRouteError):
        return error
    if red:
        return unavailable(shard, "is red: no good copy in sync is on a live node")
    if "shard" in error.members:
        return error
    return unavailable(shard, f"is not served: {error.detail}")


def final(error: ToruaError, unknown: ToruaError | None) -> ToruaError:
    """Choose what the caller is told, where an outcome was unknown on the way.

    Args:
        error: how the last attempt ended.
        unknown: that of an earlier one, if nobody knew.
    """
    if unknown is None or isinstance(error, UnprocessableError):
        return error
    return unknown


def no_answer(errand: Errand, why: str = "no answer in time") -> ToruaError:
    """Make the error of an errand whose answer did not come.

    Args:
        errand: which.
        why: what became of it instead.
    """
    if not is_write(errand):
        return unavailable(errand.shard, "did not answer in time")
    detail = f"shard {errand.shard}: {why}; the write may or may not be done"
    return OutcomeUnknownError(detail, shard=errand.shard)


def flood(shard: ShardId, node: object) -> DiskFullError:
    """Make the error of a shard that takes no writes.

    Args:
        shard: which.
        node: the one with a copy of it, and too full a disk.
    """
    why = f"the disk of {node} is above the flood watermark"
    return DiskFullError(f"shard {shard} takes no writes: {why}", shard=shard)


def unavailable(shard: ShardId, why: str) -> UnavailableError:
    """Make the error of a shard that nobody can serve now.

    Args:
        shard: which.
        why: what it lacks.
    """
    return UnavailableError(
        f"shard {shard} {why}", shard=shard, retry_after=RETRY_AFTER_S
    )
