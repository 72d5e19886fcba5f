"""Tests for `torua.http.metrics`."""

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from torua.http import metrics
from torua.http.metrics import Meter

LABELS = ("route", "method", "status")
DURATIONS = st.one_of(st.sampled_from(metrics._BUCKETS_S), st.floats(0.0, 100.0))
ANSWERED = st.tuples(
    st.sampled_from(["/kv/{key}", "none"]), st.sampled_from([2, 4]), DURATIONS
)


def lines(registry: CollectorRegistry) -> list[str]:
    """List what a registry shows of the site's requests, without moments and sums."""
    text = generate_latest(registry).decode()
    wanted = "torua_http_(request_duration|received|sent)"
    every = [line for line in text.split("\n") if re.search(wanted, line)]
    return sorted(line for line in every if not re.search("_created|_sum", line))


@given(answered=st.lists(ANSWERED, max_size=20), sent=st.integers(0, 9))
def test_what_is_gathered_is_what_the_client_library_shows(
    answered: list[tuple[str, int, float]], sent: int
) -> None:
    """The same names, labels, buckets and counts; sums but for how they are rounded."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    meter = Meter(ours)
    histogram = Histogram(
        "torua_http_request_duration_seconds",
        "From the end of a request to its answer.",
        LABELS,
        buckets=metrics._BUCKETS_S,
        registry=theirs,
    )
    Counter("torua_http_received_bytes", "Request bodies.", registry=theirs)
    bytes_sent = Counter("torua_http_sent_bytes", "Answer bodies.", registry=theirs)
    for route, hundreds, took_s in answered:
        meter.answered(route, b"GET", hundreds, took_s)
        histogram.labels(route, "GET", f"{hundreds}xx").observe(took_s)
    meter.sent += sent
    bytes_sent.inc(sent)
    assert lines(ours) == lines(theirs)
    for route, hundreds, _ in answered:
        facts = dict(zip(LABELS, (route, "GET", f"{hundreds}xx"), strict=True))
        sums = [
            registry.get_sample_value("torua_http_request_duration_seconds_sum", facts)
            for registry in (ours, theirs)
        ]
        assert sums[0] == sums[1]
