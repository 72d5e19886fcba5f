"""Ends statements that take too long, from a thread of its own.

The engine's own time limit makes it hand each statement to another thread, and look at
the time there: that costs 0.2 ms, more than most statements do.  An interrupt is lost
where the engine is still planning, so it is repeated until the statement has ended.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK_S = 0.02
"""So much too late a statement may be interrupted."""

IDLE_TICKS = 50
"""After so many in which nothing had to be ended in time, the thread waits for work."""


class Alarm:
    """What runs, and when each of it must have ended.

    Invariants: nothing is interrupted once it has ended.

    Threading: any; what it interrupts must bear that from another thread.
    """

    def __init__(self) -> None:
        """Begin with nothing, and without a thread."""
        self._lock = threading.Condition()
        self._running: dict[int, tuple[float, Callable[[], None]]] = {}
        self._number = 0
        self._idle = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, limit_s: float, interrupt: Callable[[], None]) -> Iterator[None]:
        """Do something that is interrupted if it takes too long.

        Args:
            limit_s: after so long; 0 for never.
            interrupt: is called then, again and again.
        """
        if not limit_s:
            yield
            return
        number = self._begin(time.monotonic() + limit_s, interrupt)
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]

    def _begin(self, deadline: float, interrupt: Callable[[], None]) -> int:
        """Note what begins; have the thread look at it."""
        with self._lock:
            self._number += 1
            self._running[self._number] = (deadline, interrupt)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            elif self._idle >= IDLE_TICKS:
                self._lock.notify()
            self._idle = 0
            return self._number

    def _watch(self) -> None:
        """Look at all that runs, now and then."""
        while True:
            time.sleep(TICK_S)
            with self._lock:
                now = time.monotonic()
                for deadline, interrupt in self._running.values():
                    if now >= deadline:
                        interrupt()
                self._idle = 0 if self._running else self._idle + 1
                if self._idle >= IDLE_TICKS:
                    self._lock.wait()
