"""When a reactor stands still, and when to say so."""

from msgspec import Struct

from torua.core.resilience.lines import Lines

STALL_S = 0.050
"""A turn that takes longer is a stall: everybody who asks this node waits for it."""

SAY_EVERY_S = 60.0
"""At most one stall in so long is worth a line: where there is one there are many."""


class Stall(Struct, frozen=True):
    """A reactor that stands still, as first seen.

    Attributes:
        lasts_s: for how long at least.
        aloud: whether a line is due.
        unsaid: of how many there was none since the last one, where one is due.
    """

    lasts_s: float
    aloud: bool
    unsaid: int


class StallJudge:
    """Tells stalls from ordinary turns by a beat that only a turning reactor gives.

    Invariants: a stall is reported once, however long it lasts; lines are
    `SAY_EVERY_S` apart.

    Attributes:
        stall_s: how late a beat must be.
    """

    def __init__(self, stall_s: float = STALL_S) -> None:
        """Begin without a beat.

        Args:
            stall_s: how late a beat must be.
        """
        self.stall_s = stall_s
        self._reported = -1.0
        self._lines = Lines(SAY_EVERY_S)

    def judge(self, due: float, now: float) -> Stall | None:
        """Tell whether a stall began that was not reported.

        Args:
            due: when the next beat was expected, in seconds.
            now: the time.
        """
        late_s = now - due
        if late_s <= self.stall_s or due == self._reported:
            return None
        self._reported = due
        unsaid = self._lines.take(now)
        return Stall(late_s, unsaid is not None, unsaid or 0)
