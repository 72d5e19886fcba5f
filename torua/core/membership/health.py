"""How well this node itself does (Lifeguard's local health multiplier).

A node that misses answers may be the slow one.  The higher its score, the longer it
waits before it accuses others.
"""

SCORE_MAX = 8
"""At the worst, periods and timeouts are nine times as long."""


class LocalHealth:
    """The score of this node, 0 healthy to `SCORE_MAX`.

    Invariants: ``0 <= score <= SCORE_MAX``.
    """

    def __init__(self) -> None:
        """Start healthy."""
        self.score = 0

    def worsen(self, by: int = 1) -> None:
        """Note that something went wrong which may well be our own fault."""
        self.score = min(SCORE_MAX, self.score + by)

    def improve(self) -> None:
        """Note that something went as it should."""
        self.score = max(0, self.score - 1)

    def stretch(self, seconds: float) -> float:
        """Lengthen a time by how badly we do."""
        return seconds * (self.score + 1)
