"""What the HTTP room counts of itself.

What is counted at each request is plain numbers, gathered when somebody looks: the
client library takes a lock for each of them.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

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

_BOUNDS = [floatToGoString(bound) for bound in (*_BUCKETS_S, float("inf"))]


class _Durations:
    """How long requests of one kind took.

    Invariants: `counts` has a place for each bucket, and one for what took longer.
    """

    __slots__ = ("counts", "created_s", "total_s")

    def __init__(self) -> None:
        """Begin with none."""
        self.counts = [0] * len(_BOUNDS)
        self.total_s = 0.0
        self.created_s = time.time()


class Meter(Collector):
    """Counts requests, errors, bytes and connections.

    Invariants: labels come from our own tables, never from clients, so that their
    number is bounded.

    Attributes:
        received: bytes of request bodies.
        sent: bytes of answer bodies.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the metrics, those of the process among them, on ``registry``."""
        ProcessCollector(registry=registry)
        self.received = self.sent = 0
        self._created_s = time.time()
        self._durations: dict[tuple[str, bytes, int], _Durations] = {}
        registry.register(self)
        self._errors = Counter(
            "torua_http_errors",
            "Answers that are problems, by error code.",
            ("type",),
            registry=registry,
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

    def answered(self, route: str, method: bytes, hundreds: int, took_s: float) -> None:
        """Count an answer.

        Args:
            route: its template.
            method: of the request.
            hundreds: of the status.
            took_s: since the request was in.
        """
        key = (route, method, hundreds)
        durations = self._durations.get(key)
        if durations is None:
            durations = self._durations[key] = _Durations()
        durations.counts[bisect_left(_BUCKETS_S, took_s)] += 1
        durations.total_s += took_s

    def trouble(self, code: str) -> None:
        """Count an answer that is a problem, by its error code."""
        self._errors.labels(code).inc()

    def collect(
        self,
    ) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Gather what is counted at each request."""
        since = self._created_s
        for name, what, count in (
            ("torua_http_received_bytes", "Request bodies.", self.received),
            ("torua_http_sent_bytes", "Answer bodies.", self.sent),
        ):
            yield CounterMetricFamily(name, what, value=count, created=since)
        yield self._requests()

    def _requests(self) -> HistogramMetricFamily:
        """Gather how long requests took."""
        name, labels = "torua_http_request_duration_seconds", ("route", "method")
        family = HistogramMetricFamily(
            name,
            "From the end of a request to its answer.",
            labels=(*labels, "status"),
        )
        for (route, method, hundreds), each in self._durations.items():
            values = (route, method.decode(), f"{hundreds}xx")
            buckets = list(zip(_BOUNDS, accumulate(each.counts), strict=True))
            family.add_metric(values, buckets, each.total_s)
            facts = dict(zip((*labels, "status"), values, strict=True))
            family.add_sample(f"{name}_created", facts, each.created_s)
        return family
