"""What the HTTP room counts of itself."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
)

_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
)


class Meter:
    """Counts requests, errors, bytes and connections.

    Invariants: labels come from our own tables, never from clients, so that their
    number is bounded.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the metrics, those of the process among them, on ``registry``."""
        ProcessCollector(registry=registry)
        self._requests = Histogram(
            "torua_http_request_duration_seconds",
            "From the end of a request to its answer.",
            ("route", "method", "status"),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._errors = Counter(
            "torua_http_errors",
            "Answers that are problems, by error code.",
            ("type",),
            registry=registry,
        )
        self.received = Counter(
            "torua_http_received_bytes", "Request bodies.", registry=registry
        )
        self.sent = Counter(
            "torua_http_sent_bytes", "Answer bodies.", registry=registry
        )
        self.in_flight = Gauge(
            "torua_http_requests_in_flight",
            "Requests being worked on.",
            registry=registry,
        )
        self.connections = Gauge(
            "torua_http_connections", "Open connections.", registry=registry
        )
        self.refused = Counter(
            "torua_http_refused_connections",
            "Connections closed at once because there were too many.",
            registry=registry,
        )
        self.held = Gauge(
            "torua_http_held_bytes", "Request bodies held in memory.", registry=registry
        )
        self.unread = Gauge(
            "torua_http_unread_bytes",
            "Large answers that wait for their clients to take them.",
            registry=registry,
        )
        self._timers: dict[tuple[str, str, int], Histogram] = {}
        self._troubles: dict[str, Counter] = {}

    def answered(self, route: str, method: str, hundreds: int, took_s: float) -> None:
        """Count an answer.

        Args:
            route: its template.
            method: of the request.
            hundreds: of the status.
            took_s: since the request was in.
        """
        key = (route, method, hundreds)
        timer = self._timers.get(key)
        if timer is None:
            timer = self._requests.labels(route, method, f"{hundreds}xx")
            self._timers[key] = timer
        timer.observe(took_s)

    def trouble(self, code: str) -> None:
        """Count an answer that is a problem, by its error code."""
        counter = self._troubles.get(code)
        if counter is None:
            counter = self._troubles[code] = self._errors.labels(code)
        counter.inc()
