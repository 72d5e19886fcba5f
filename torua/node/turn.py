"""The end of a reactor's turn: all that came in one turn is done together, once.

A turn reads all sockets that have something.  What it leads to waits for its end, and
then goes in stages: first writes are given to the machines that order them, then the
log takes what these append, then it is sent.  Alone, nothing waits for anybody: the end
comes as soon as nothing more is there to be read.

While the log is busy with what came before, writes wait for it: what they append could
not be kept any sooner, and so more of them go together, here and on the other copies.
"""

from collections import deque
from collections.abc import Callable
from enum import IntEnum

from twisted.internet.interfaces import IDelayedCall, IReactorTime

HOLD_S = 0.005
"""So long at most writes wait for the log: a slow disk here must not keep the other
copies from theirs."""


class Stage(IntEnum):
    """What is done first, next, and last."""

    DECIDE = 0
    KEEP = 1
    SEND = 2


class Turn:
    """What waits for the end of this turn.

    Invariants: jobs of one stage are done in order, each once, and none while a job of
    an earlier stage waits that is not held; a timer is armed while any waits.  What is
    to be decided is held exactly while ``_late`` is armed.

    Threading: the reactor's thread only.
    """

    def __init__(
        self, clock: IReactorTime, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        """Have nothing to do.

        Args:
            clock: the reactor.
            is_busy: tells whether the log is; `release` says when it no longer is.
        """
        self._clock = clock
        self._is_busy = is_busy
        self._stages: tuple[deque[Callable[[], object]], ...] = tuple(
            deque() for _ in Stage
        )
        self._armed = self._ending = False
        self._late: IDelayedCall | None = None

    def add(self, stage: Stage, job: Callable[[], object]) -> None:
        """Have a job done at the end of this turn, or when the log is free.

        What comes while that end is under way is done with it.

        Args:
            stage: when.
            job: raises nothing.
        """
        self._stages[stage].append(job)
        held = stage is Stage.DECIDE and not (self._ending or self._late)
        if held and self._is_busy():
            self._late = self._clock.callLater(HOLD_S, self._wait_no_longer)
        if self._due:
            self._arm()

    def release(self) -> None:
        """Have what is held done at the end of this turn: the log is free."""
        late, self._late = self._late, None
        if late is not None:
            late.cancel()
            self._arm()

    def _wait_no_longer(self) -> None:
        """Do what was held for long enough."""
        self._late = None
        self._end()

    @property
    def _due(self) -> deque[Callable[[], object]] | None:
        """Return the first stage of which something is to be done now, if any."""
        held = self._late is not None
        return next(filter(None, self._stages[held:]), None)

    def _arm(self) -> None:
        """See to it that the end comes."""
        if not self._armed:
            self._armed = True
            self._clock.callLater(0, self._turned)

    def _turned(self) -> None:
        """Take the end of the turn."""
        self._armed = False
        self._end()

    def _end(self) -> None:
        """Do all jobs that are due, and those that they add."""
        self._ending = True
        try:
            while due := self._due:
                due.popleft()()
        finally:
            self._ending = False
            if self._due:
                self._arm()
