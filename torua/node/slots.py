"""One copy that this node is or was assigned, as its worker sees it."""

from enum import Enum

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torua.core.ids import AllocId, ShardId
from torua.core.state import Copy, CopyState
from torua.core.views import CopyPosition
from torua.errors import CorruptionError
from torua.node.copy import OpenCopy, State


class Is(Enum):
    """What a slot has of its copy."""

    NOTHING = "nothing"
    OPEN = "open"
    FAILED = "failed"


class Slot:
    """One copy that this node is or was assigned, and the worker that sees to it.

    Invariants: ``copy`` is there exactly in OPEN; ``failure`` says why in FAILED; at
    most one worker runs.
    """

    def __init__(self, shard: ShardId, alloc_id: AllocId) -> None:
        """Begin with nothing open.

        Args:
            shard: of which shard.
            alloc_id: which copy.
        """
        self.shard = shard
        self.alloc_id = alloc_id
        self.phase = Is.NOTHING
        self.copy: OpenCopy | None = None
        self.failure = ""
        self.work: Deferred[None] | None = None
        self.report: Deferred[None] | None = None
        self.timer: IDelayedCall | None = None


def check_presence(state: CopyState, here: bool, logged: int) -> None:
    """Raise where a copy is not here that must be: it is never made anew.

    Args:
        state: what the cluster state says of it.
        here: whether its map is on the disk.
        logged: the newest record of it in the log; 0 for none.
    """
    if not here and (logged or state is not CopyState.INIT):
        raise CorruptionError("its map is missing from the data dir")
    if not logged and state is not CopyState.INIT:
        raise CorruptionError("the log of this node holds nothing of it")


def position_of(slot: Slot, wanted: Copy) -> CopyPosition:
    """Tell how far a copy is.

    Args:
        slot: of it.
        wanted: it, as the cluster state has it.
    """
    copy = slot.copy
    return CopyPosition(
        shard=slot.shard,
        alloc_id=slot.alloc_id,
        role="primary" if copy and copy.state is State.LEADING else "replica",
        state="failed" if slot.failure else str(wanted.state),
        position=copy.position if copy else 0,
        keys=copy.keys if copy else 0,
        bytes=copy.size_bytes if copy else 0,
    )


def disarm(slot: Slot) -> None:
    """Do not open a failed copy again."""
    if slot.timer is not None:
        slot.timer.cancel()
        slot.timer = None
