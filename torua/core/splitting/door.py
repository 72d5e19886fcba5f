"""What is refused because the slots that it concerns move, or have moved (R17).

It is asked in the very turn in which a request is admitted, or a value read, with the
state that this node has applied then.  So a primary that said, under a state in which a
split is CLOSING, where its log ends does nothing to the slots that move afterwards.
"""

from collections.abc import Iterable

from torua.core.ids import ShardId
from torua.core.replication.primary import Primary
from torua.core.routing import holds, slot_of
from torua.core.splitting.messages import AskEnd
from torua.core.state import ClusterState, Phase, Spans


def is_stale(state: ClusterState, slots_version: int | None) -> bool:
    """Tell whether a request was routed by another slot table.

    Args:
        state: the cluster state that is applied.
        slots_version: of the table by which it was routed; None for this one.
    """
    return slots_version is not None and slots_version != state.slots_version


def is_moving(
    state: ClusterState, shard: ShardId, keys: Iterable[bytes] | None
) -> bool:
    """Tell whether some of the keys that a primary is asked for belong to nobody now.

    Args:
        state: the cluster state that is applied.
        shard: whose primary is asked, by a slot table that is not older.
        keys: which; None for the shard as a whole.
    """
    spans = closing(state, shard)
    if spans is None:
        return False
    return keys is None or any(holds(spans, slot_of(key)) for key in keys)


def closing(state: ClusterState, shard: ShardId) -> Spans | None:
    """Return the slots of a shard that belong to nobody now; None where all are its.

    Args:
        state: the cluster state that is applied.
        shard: which.
    """
    for split in state.splits.values():
        if split.parent == shard and split.phase is Phase.CLOSING:
            return split.spans
    return None


def end_of_log(
    state: ClusterState, asked: AskEnd, primary: Primary | None
) -> int | None:
    """Tell where a parent's log ends for the slots that move; None: it cannot be said.

    What the primary takes from now on is of no such slot, by the very state that is
    looked at; and so it is with any later primary.

    Args:
        state: the cluster state that is applied.
        asked: which split, of which history and round.
        primary: the parent's, as far as it leads here.

    Returns:
        The record behind which there is nothing; the child waits until it is applied.
    """
    split = state.splits.get(asked.child)
    if (
        split is None
        or split.phase is not Phase.CLOSING
        or (split.child_history, split.round) != (asked.history, asked.round)
        or primary is None
        or not primary.group.shard.leaving
    ):
        return None
    return primary.tip


def trimming(state: ClusterState, shard: ShardId) -> Spans | None:
    """Return the slots of which a shard still has what is another's; None for none.

    Args:
        state: the cluster state that is applied.
        shard: which.
    """
    for split in state.splits.values():
        if split.parent == shard and split.phase is Phase.TRIMMING:
            return split.spans
    return None
