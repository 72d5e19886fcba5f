"""When to write a line about what happens over and over."""


class Lines:
    """Spaces lines out, and counts what none was written about.

    Invariants: two lines are `every_s` apart at least.
    """

    def __init__(self, every_s: float) -> None:
        """Begin with the next line due.

        Args:
            every_s: how far apart lines are at least.
        """
        self._every_s = every_s
        self._due_at = float("-inf")
        self._unsaid = 0

    def take(self, now: float) -> int | None:
        """Ask for a line.

        Args:
            now: the time, in seconds.

        Returns:
            How often none was written since the last one; None where none is now.
        """
        if now < self._due_at:
            self._unsaid += 1
            return None
        unsaid, self._unsaid = self._unsaid, 0
        self._due_at = now + self._every_s
        return unsaid
