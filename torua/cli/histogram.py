"""Latencies in buckets, in little memory however many there are.

The layout is HdrHistogram's (Gil Tene): buckets of equal width within each power of
two, so that a value is told from its neighbour by less than two hundredths of it, and
histograms of several processes are added bucket by bucket.
"""

from collections.abc import Sequence

import msgspec

_FINE_BITS = 6
_FINE = 1 << _FINE_BITS
_BUCKETS = _FINE * 36
"""Up to 2**40 µs, that is twelve days; longer ones count as the longest."""


class Histogram:
    """How often which latency was seen.

    Invariants: `count` is the sum of all buckets; `longest_s` is exact, the others are
    rounded up to the end of their bucket, by at most 1/64.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.total_s = 0.0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        value = int(seconds * 1e6)
        coarse = value.bit_length() - _FINE_BITS - 1
        place = value if coarse <= 0 else (coarse << _FINE_BITS) + (value >> coarse)
        self._buckets[min(place, _BUCKETS - 1)] += 1
        self.count += 1
        self.total_s += seconds
        self.longest_s = max(self.longest_s, seconds)

    def merge(self, other: "Histogram") -> None:
        """Add what another histogram counted."""
        for place, many in enumerate(other._buckets):
            self._buckets[place] += many
        self.count += other.count
        self.total_s += other.total_s
        self.longest_s = max(self.longest_s, other.longest_s)

    def percentile(self, fraction: float) -> float:
        """Return what ``fraction`` of the latencies do not exceed, in seconds.

        Args:
            fraction: 0 to 1; there must be at least one latency.
        """
        assert self.count, "no latencies"
        rank = max(1, -int(-fraction * self.count // 1))
        for place, many in enumerate(self._buckets):
            rank -= many
            if rank <= 0:
                return min(_end_s(place), self.longest_s)
        raise AssertionError("fewer latencies than counted")

    def above(self, seconds: float) -> int:
        """Count the latencies above a bound, to the width of a bucket."""
        return sum(
            many for place, many in enumerate(self._buckets) if _end_s(place) > seconds
        )


def _end_s(place: int) -> float:
    """Return where a bucket ends."""
    coarse = max(0, (place >> _FINE_BITS) - 1)
    fine = place - (coarse << _FINE_BITS)
    return ((fine + 1) << coarse) / 1e6


class Summary(msgspec.Struct, frozen=True):
    """What to tell of a histogram, in milliseconds."""

    count: int
    mean_ms: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


def summed_up(histogram: Histogram) -> Summary:
    """Sum a histogram up that is not empty."""
    p50, p99, p999 = percentiles_ms(histogram, (0.5, 0.99, 0.999))
    mean_ms = round(histogram.total_s / histogram.count * 1000, 3)
    longest_ms = round(histogram.longest_s * 1000, 3)
    return Summary(histogram.count, mean_ms, p50, p99, p999, longest_ms)


def percentiles_ms(
    histogram: Histogram, fractions: Sequence[float]
) -> tuple[float, ...]:
    """Return some percentiles in milliseconds; the histogram is not empty.

    Args:
        histogram: of latencies.
        fractions: each 0 to 1.
    """
    return tuple(round(histogram.percentile(each) * 1000, 3) for each in fractions)
