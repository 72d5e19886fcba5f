"""What a primary asks the coordinator about one copy, until a state answers.

    (nothing) --track--> marking --the state has it--> (nothing)
        ^                   |  '--another change came first--> marking, anew
        |                   '--it stalls--> failing --the state has it not--> dropped
        '---- another change came first, and it went on ----'

Each request names the ``shard_version`` that it must find, so a delayed or doubled one
does nothing; and as both change that version, one of two at most is executed.
"""

from msgspec import Struct

from torua.core.ids import AllocId, ShardId
from torua.core.replication.messages import AskFail, AskInSync

ASK_AGAIN_S = 0.5
"""How often the coordinator is asked again, until a state answers."""


class Asking(Struct):
    """What the coordinator is asked about a copy.

    Invariants: ``marked`` is the highest ``expect`` of any `AskInSync` since the copy
    is tracked; at most one of ``marking`` and ``failing`` is under way.

    Attributes:
        marked: up to which ``shard_version`` the copy may yet be called in sync.
        marking: the ``expect`` of the `AskInSync` under way.
        failing: the ``expect`` of the `AskFail` under way.
        detail: why it fails.
        progressed: whether it made progress since it was failed.
        again: when to ask again.
    """

    marked: int = 0
    marking: int | None = None
    failing: int | None = None
    detail: str = ""
    progressed: bool = False
    again: float | None = None

    def mark(self, version: int) -> None:
        """Ask, from now on, that the copy be called in sync."""
        assert self.failing is None, "marked while it is failed"
        self.marking = version
        self.marked = max(self.marked, version)

    def fail(self, version: int, detail: str) -> None:
        """Ask, from now on, that the copy be failed.

        Args:
            version: the ``shard_version`` that is applied.
            detail: why.
        """
        self.failing, self.marking = version, None
        self.detail, self.progressed = detail, False

    def settled(self) -> None:
        """Ask nothing any more."""
        self.marking = self.failing = self.again = None

    def spell(
        self, shard: ShardId, term: int, alloc_id: AllocId, boot_epoch: int, now: float
    ) -> AskFail | AskInSync:
        """Ask, and be ready to ask again.

        Args:
            shard: of which shard.
            term: the primary's.
            alloc_id: about which copy.
            boot_epoch: the life that it speaks in.
            now: the monotonic clock.
        """
        self.again = now + ASK_AGAIN_S
        if self.failing is not None:
            return AskFail(shard, term, alloc_id, self.failing, self.detail)
        assert self.marking is not None, "nothing to ask"
        return AskInSync(shard, term, alloc_id, boot_epoch, self.marking)
