"""How late the reactor is: a node that is slow must not call others dead."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class ReactorLag:
    """Measures, at a steady pace, by how much the reactor is behind.

    Invariants: while it runs exactly one timer of it is armed, else none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        interval_s: float,
        report: Callable[[float], None],
        registry: CollectorRegistry,
    ) -> None:
        """Prepare to measure.

        Args:
            clock: the reactor.
            interval_s: between two measurements.
            report: told after each by how many seconds it came late.
            registry: for the metric ``torua_node_reactor_lag_seconds``.
        """
        self._clock = clock
        self._interval_s = interval_s
        self._report = report
        self._timer: IDelayedCall | None = None
        self._due = 0.0
        self._gauge = Gauge(
            "torua_node_reactor_lag_seconds",
            "By how much the last timer of a steady pace came late",
            registry=registry,
        )

    def start(self) -> None:
        """Measure from now on."""
        self._due = self._clock.seconds() + self._interval_s
        self._timer = self._clock.callLater(self._interval_s, self._measure)

    def stop(self) -> None:
        """Measure no more.  Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _measure(self) -> None:
        """Take one measurement, and arm for the next."""
        late = max(0.0, self._clock.seconds() - self._due)
        self._gauge.set(late)
        self.start()
        self._report(late)
