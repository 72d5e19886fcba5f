"""Statements that crash the engine are not run a third time.

A statement is known by its text, whatever its parameters: what crashes an engine is the
way it is written.  Time and memory do not count: they depend on the data, and on what
was allowed.
"""

from collections import OrderedDict

from torua.errors import UnprocessableError

CRASHES_MAX = 2
QUARANTINE_S = 3600.0

SUSPECTS_MAX = 1000
"""Statements that are remembered; the oldest crash is forgotten first."""


class Quarantine:
    """Remembers which statements crashed workers.

    Invariants: a statement is refused from its last crash on for `QUARANTINE_S`, if it
    crashed `CRASHES_MAX` times with no longer between two of them.
    """

    def __init__(self) -> None:
        """Suspect nothing."""
        self._crashes: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, text: str, now: float) -> None:
        """Let a statement pass, or refuse it.

        Args:
            text: the statement.
            now: in seconds, of a clock that does not jump.

        Raises:
            UnprocessableError: it crashed workers.
        """
        if self._count(text, now) >= CRASHES_MAX:
            raise self.error()

    def crashed(self, text: str, now: float) -> bool:
        """Note a crash; return whether the statement is now refused.

        Args:
            text: the statement.
            now: as for `check`.
        """
        count = self._count(text, now) + 1
        self._crashes[text] = (count, now)
        self._crashes.move_to_end(text)
        if len(self._crashes) > SUSPECTS_MAX:
            self._crashes.popitem(last=False)
        return count >= CRASHES_MAX

    def error(self) -> UnprocessableError:
        """Make the error of a statement that is refused."""
        return UnprocessableError(
            "this statement crashes the graph engine, and is refused for an hour; "
            "write it in another way"
        )

    def _count(self, text: str, now: float) -> int:
        """Return how often a statement crashed a worker lately."""
        count, last = self._crashes.get(text, (0, now))
        return count if now - last < QUARANTINE_S else 0
