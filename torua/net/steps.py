"""What takes long, one step a turn of the reactor.

A reactor does in one turn all that is due by then, however much that is, and whoever
asks meanwhile waits for all of it.  Steps of some ten milliseconds each have a turn to
themselves here, and what is quick comes in between.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

LARGE_BYTES = 1 << 20
"""To copy so much, to spell or to read it takes milliseconds, several times a turn."""


class Steps:
    """The steps that wait.

    Invariants: each is done once, in the order in which they came, one a turn; a timer
    is armed exactly while one waits.

    Threading: the reactor's thread only.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """Have none.

        Args:
            clock: the reactor.
        """
        self._clock = clock
        self._waiting: deque[Callable[[], object]] = deque()

    def add(self, step: Callable[[], object]) -> None:
        """Have a step done in a later turn; what was added before goes first.

        Args:
            step: raises nothing.
        """
        self._waiting.append(step)
        if len(self._waiting) == 1:
            self._clock.callLater(0, self._next)

    def _next(self) -> None:
        """Do the first."""
        step = self._waiting[0]
        try:
            step()
        finally:
            self._waiting.popleft()
            if self._waiting:
                self._clock.callLater(0, self._next)
