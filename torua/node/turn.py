"""The end of a reactor's turn: all that came in one turn is done together, once.

A turn reads all sockets that have something.  What it leads to waits for its end, and
then goes in stages: first writes are given to the machines that order them, then the
log takes what these append, then it is sent.  Alone, nothing waits for anybody: the end
comes as soon as nothing more is there to be read.
"""

from collections import deque
from collections.abc import Callable
from enum import IntEnum

from twisted.internet.interfaces import IReactorTime


class Stage(IntEnum):
    """What is done first, next, and last."""

    DECIDE = 0
    KEEP = 1
    SEND = 2


class Turn:
    """What waits for the end of this turn.

    Invariants: jobs of one stage are done in order, each once, and none while a job of
    an earlier stage waits; a timer is armed while any waits.

    Threading: the reactor's thread only.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """Have nothing to do.

        Args:
            clock: the reactor.
        """
        self._clock = clock
        self._stages: tuple[deque[Callable[[], object]], ...] = tuple(
            deque() for _ in Stage
        )
        self._armed = False

    def add(self, stage: Stage, job: Callable[[], object]) -> None:
        """Have a job done at the end of this turn.

        Args:
            stage: when.
            job: raises nothing.
        """
        self._stages[stage].append(job)
        self._arm()

    def _arm(self) -> None:
        """See to it that the end comes."""
        if not self._armed:
            self._armed = True
            self._clock.callLater(0, self._end)

    def _end(self) -> None:
        """Do all jobs, and those that they add."""
        try:
            while (stage := next(filter(None, self._stages), None)) is not None:
                stage.popleft()()
        finally:
            self._armed = False
            if any(self._stages):
                self._arm()
