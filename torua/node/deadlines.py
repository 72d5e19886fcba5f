"""One timer for many waits, most of which end long before their time."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SPENT_MAX = 256
"""So many that were dropped, and more than wait, are swept out at once."""


class Deadlines:
    """Ends what takes too long.

    Invariants: a timer is armed exactly while something waits, and ends no later than
    the first of it is due.

    Threading: the reactor's thread only.

    Performance: O(log n) a wait; the reactor hears of few.
    """

    def __init__(self, clock: IReactorTime) -> None:
        """Have nothing waiting."""
        self._clock = clock
        self._ends: dict[int, tuple[float, Callable[[], object]]] = {}
        self._heap: list[tuple[float, int]] = []
        self._last = 0
        self._timer: IDelayedCall | None = None
        self._due = 0.0

    def add(self, seconds: float, end: Callable[[], object]) -> int:
        """Have something ended, unless it is dropped before.

        Args:
            seconds: how long it may take; not negative, or it is ended at once.
            end: ends it.

        Returns:
            Its number, for `drop`.
        """
        due = self._clock.seconds() + max(0.0, seconds)
        number = self._last = self._last + 1
        self._ends[number] = due, end
        heappush(self._heap, (due, number))
        if self._timer is None or due < self._due:
            self._arm(due)
        return number

    def drop(self, number: int) -> None:
        """Forget what ended by itself; no error where it was ended."""
        self._ends.pop(number, None)
        if not self._ends:
            self._heap.clear()
            self._disarm()
        elif len(self._heap) > SPENT_MAX + 2 * len(self._ends):
            self._heap = [(due, each) for each, (due, _) in self._ends.items()]
            heapify(self._heap)

    def _disarm(self) -> None:
        """Have no timer."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _arm(self, due: float) -> None:
        """Have the timer end then."""
        self._disarm()
        self._due = due
        delay = max(0.0, due - self._clock.seconds())
        self._timer = self._clock.callLater(delay, self._end)

    def _end(self) -> None:
        """End what is due, and wait for the next."""
        self._timer = None
        now = self._clock.seconds()
        try:
            while self._heap and (
                self._heap[0][0] <= now or self._heap[0][1] not in self._ends
            ):
                found = self._ends.pop(heappop(self._heap)[1], None)
                if found is not None:
                    found[1]()
        finally:
            self._wait()

    def _wait(self) -> None:
        """See to it that the timer ends with the first, whoever was added meanwhile."""
        if self._heap and (self._timer is None or self._heap[0][0] < self._due):
            self._arm(self._heap[0][0])
