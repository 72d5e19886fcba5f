"""The primary of a shard that was split: it removes what is another's now.

    pages of keys --> records that remove those that moved --> EndSplit

What is removed is no change of a key: its owner has it.  The first record notes since
which slot table that is so, for copies whose nodes know only an earlier one.
"""

from collections.abc import Iterator

from torua.core.ids import ShardId
from torua.core.records import Moved
from torua.core.splitting.commands import EndSplit
from torua.core.splitting.messages import (
    Follow,
    Input,
    Keep,
    Kept,
    List,
    Listed,
    Output,
    Propose,
)
from torua.core.splitting.moving import VERSION_MAX
from torua.core.splitting.notes import Trimmed, spell_note
from torua.core.splitting.splitter import ANSWER_S, ASK_AGAIN_S, FAILED_S
from torua.core.state import ClusterState, Phase, Split

PACE_S = 0.02
"""Between two records: nothing is in a hurry, and clients' requests are."""


class Trimmer:
    """Removes what moved away, in one term of the shard's primary.

    Invariants: one question is open at a time; nothing is removed but under a state in
    which it is another shard's.
    """

    def __init__(self, parent: ShardId, term: int) -> None:
        """Begin with the first key.

        Args:
            parent: the shard; its primary is here, and serves.
            term: that primary's.
        """
        self._parent = parent
        self._term = term
        self._state = ClusterState()
        self._number = 0
        self._open: Output | None = None
        self._due: float | None = None
        self._after: bytes | None = b""
        self._coming: bytes | None = b""
        self._seq = 0

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.
        """
        if isinstance(message, Follow):
            self._state = message.state
            return list(self._go_on(now))
        if self._open is None or message.number != self._number:
            return []
        self._open = None
        return list(self._answered(message, now))

    def wake(self, now: float) -> list[Output]:
        """Ask, or ask again, where it is time."""
        if self._due is None or now < self._due:
            return []
        self._due = None
        if not isinstance(self._open, Keep):
            self._open = None
        return list(self._go_on(now))

    def next_deadline(self) -> float | None:
        """Tell when `wake` has work to do; None while only inputs matter."""
        return self._due

    @property
    def _split(self) -> Split | None:
        """Return the split of which there is something to remove."""
        for split in self._state.splits.values():
            if split.parent == self._parent and split.phase is Phase.TRIMMING:
                return split
        return None

    def _answered(self, message: Input, now: float) -> Iterator[Output]:
        """Take an answer to the question that was open."""
        match message:
            case Listed(keys=keys, last=last) if keys or (
                last is None and not self._seq
            ):
                self._coming = last
                removed = tuple((key, VERSION_MAX) for key in keys)
                note = spell_note(Trimmed(self._state.slots_version))
                moved = Moved(removed, note=note)
                yield from self._ask(Keep(self._number + 1, self._term, moved), now)
                return
            case Listed():
                self._after = message.last
            case Kept():
                self._after, self._seq = self._coming, message.seq
                self._due = now + PACE_S
                return
            case _:
                self._due = now + FAILED_S
                return
        self._due = None
        yield from self._go_on(now)

    def _go_on(self, now: float) -> Iterator[Output]:
        """Ask for the next keys; or say that there are no more."""
        split = self._split
        waits = self._due is not None and now < self._due
        if split is None or self._open is not None or waits:
            return
        if self._after is not None:
            listing = List(self._number + 1, split.spans, self._after)
            yield from self._ask(listing, now)
        else:
            self._due = now + ASK_AGAIN_S
            yield Propose(EndSplit(split.child, split.child_history, self._seq))

    def _ask(self, question: List | Keep, now: float) -> Iterator[Output]:
        """Ask, and be ready to ask anew."""
        self._number = question.number
        self._open = question
        self._due = now + ANSWER_S
        yield question
