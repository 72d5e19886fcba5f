"""How much of what takes long may be at work, by how long it stays.

Long requests are done in portions, so that turns of the reactor stay short however many
there are; that there are too many shows in how long each is there.  The shortest stay
of the last few tells: where even that is long, all of them wait for each other (CoDel,
Nichols and Jacobson 2012), while one that is long for a reason of its own (another node
is gone) has shorter ones beside it.  After a change only what was taken since tells of
it.  Requests differ by thousands, so bytes count.
"""

STAY_S = 0.4
"""A longer stay of even the shortest is too long: clients wait for more than that, and
who waits for longer than a second may have given up."""

FEW = 4
"""From so many stays something can be learned."""

BYTES_MIN = 128 << 10
"""So much at once is always taken: some hundreds of small operations."""

BYTES_FIRST = 512 << 10
"""Where to begin: on a small machine too much is worse than too little."""

BYTES_MAX = 256 << 20

REQUESTS_MIN = 2
"""So many are always taken, however large: the largest stay for long by right, and one
is worked on while another waits for the disk."""

SIZE_MIN = 4 << 10
"""A request counts for so much at least, be it ever so small."""

DECREASE_MOST = 0.25
"""What is left, at least, of a limit that was too high: each change takes as long to
show as those stay that were taken before it."""

INCREASE = 0.125
"""By which part of itself a limit grows that was reached and not too high."""

PRESSED = 0.5
"""How much of the limit must have been held for it to grow."""


class Stays:
    """What is held by long requests, and how much may be.

    Invariants: `held` is the sizes of all that were taken and not given back, `many`
    their number; the limit stays within its bounds.
    """

    def __init__(self) -> None:
        """Begin with nothing held."""
        self.limit = float(BYTES_FIRST)
        self.held = self.many = 0
        self._most = 0
        self._changed_at = float("-inf")
        self._count = 0
        self._least_s = float("inf")

    def has_room(self, size: int) -> bool:
        """Tell whether a request may be taken.

        Args:
            size: of its body, in bytes.
        """
        wanted = self.held + max(size, SIZE_MIN)
        self._most = max(self._most, wanted)
        return self.many < REQUESTS_MIN or wanted <= self.limit

    def take(self, size: int) -> None:
        """Hold a request of so many bytes."""
        self.held += max(size, SIZE_MIN)
        self.many += 1

    def give_back(self, size: int, stayed_s: float, now: float) -> None:
        """Hear that a request is done, and learn from how long that took.

        Args:
            size: as it was taken.
            stayed_s: for how long it was held.
            now: the time, in seconds.
        """
        self.held -= max(size, SIZE_MIN)
        self.many -= 1
        assert self.held >= 0
        if now - stayed_s < self._changed_at:
            return
        self._count += 1
        self._least_s = min(self._least_s, stayed_s)
        if self._count >= FEW:
            self._judge(now)

    def _judge(self, now: float) -> None:
        """Change the limit by what was learned since the last time."""
        if self._least_s > STAY_S:
            left = max(DECREASE_MOST, STAY_S / self._least_s)
            self.limit = max(float(BYTES_MIN), self.limit * left)
            self._changed_at = now
        elif self._most > self.limit * PRESSED:
            self.limit = min(float(BYTES_MAX), self.limit * (1 + INCREASE))
            self._changed_at = now
        self._count, self._least_s, self._most = 0, float("inf"), self.held
