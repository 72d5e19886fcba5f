"""A watch on the reactor: where it stood still, and for how long.

The reactor gives a beat; a thread sees when one is overdue, and then notes what the
reactor's thread is doing at that moment.
"""

import sys
import threading
import time
from collections.abc import Callable
from traceback import format_stack

from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from torua.core.configuration import Configuration
from torua.core.resilience.stalls import StallJudge

_FRAMES_MAX = 12
"""The innermost frames say what is slow; the outer ones are the reactor's own."""

log = Logger()


class Watchdog:
    """Watches the reactor by which it is started.

    Invariants: between `start` and `stop` there is one timer and one thread, else none.

    Threading: `start` and `stop` on the reactor's thread; `look` on the watcher's.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        registry: CollectorRegistry,
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to watch.

        Args:
            reactor: gives the beat.
            registry: for the metrics.
            seconds: a clock that both threads may ask.
        """
        self._reactor = reactor
        self._seconds = seconds
        self._judge = StallJudge()
        self._due = 0.0
        self._watched = 0
        self._timer: IDelayedCall | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._stalls = Counter(
            "torua_node_reactor_stalls",
            "Times when the reactor stood still for too long.",
            registry=registry,
        )
        self._longest = Gauge(
            "torua_node_reactor_stall_longest_seconds",
            "The latest beat of the reactor so far.",
            registry=registry,
        )
        self._longest_s = 0.0

    def use(self, now: Configuration) -> None:
        """Watch the thread that calls this as is configured; or watch no more."""
        if self._judge.stall_s != now.limits.stall_s:
            self.stop()
            self._judge = StallJudge(now.limits.stall_s)
        if not now.resilience.watchdog:
            self.stop()
        elif self._thread is None:
            self.start()

    def start(self) -> None:
        """Watch the thread that calls this, from now on."""
        self._watched = threading.get_ident()
        self._arm()
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._watch, name="watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Watch no more.  Safe to call twice."""
        self._ended.set()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def look(self) -> None:
        """See whether the reactor stands still, and say where."""
        stall = self._judge.judge(self._due, self._seconds())
        if stall is None:
            return
        self._stalls.inc()
        if stall.aloud:
            log.warn(
                "the reactor stands still for {milliseconds} ms so far ({unsaid} more "
                "times since the last such line), in:\n{stack}",
                milliseconds=round(stall.lasts_s * 1000),
                unsaid=stall.unsaid,
                stack=self._stack(),
            )

    def _watch(self) -> None:
        """Look again and again, until the end."""
        while not self._ended.wait(self._judge.stall_s / 2):
            self.look()

    def _stack(self) -> str:
        """Show what the watched thread is doing."""
        frame = sys._current_frames().get(self._watched)
        return "".join(format_stack(frame)[-_FRAMES_MAX:]) if frame else "(ended)"

    def _arm(self) -> None:
        """Have the reactor give its next beat."""
        beat_s = self._judge.stall_s / 2
        self._due = self._seconds() + beat_s
        self._timer = self._reactor.callLater(beat_s, self._beat)

    def _beat(self) -> None:
        """Show that the reactor turns."""
        late_s = self._seconds() - self._due
        if late_s > self._longest_s:
            self._longest_s = late_s
            self._longest.set(late_s)
        self._arm()
