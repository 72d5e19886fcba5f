"""Tests for `torua.net.meters`: plain numbers become metrics when looked at."""

from prometheus_client import CollectorRegistry

from torua.codec.frames import Lane
from torua.net.meters import Meters


def test_what_was_counted_shows_whenever_it_is_looked_at() -> None:
    """It is added once, however often somebody looks."""
    registry = CollectorRegistry()
    meters = Meters(registry)
    reads = {"direction": "in", "lane": "reads"}
    for total in (3, 6):
        meters.received += 3
        meters.sent += 3
        meters.answered += 3
        meters.frames_in[Lane.READS] += 3
        for _ in range(2):
            found = [
                registry.get_sample_value("torua_net_received_bytes_total"),
                registry.get_sample_value("torua_net_sent_bytes_total"),
                registry.get_sample_value(
                    "torua_net_requests_total", {"outcome": "ok"}
                ),
                registry.get_sample_value("torua_net_frames_total", reads),
            ]
            assert found == [total] * 4
