"""Latencies in buckets."""

import random

from torua.cli.histogram import Histogram, summed_up


def of(*seconds: float) -> Histogram:
    """Make a histogram of some latencies."""
    made = Histogram()
    for each in seconds:
        made.add(each)
    return made


def test_percentiles_are_the_nearest_rank_to_a_64th() -> None:
    """From microseconds to minutes, and never more than the longest."""
    dice = random.Random(5)
    values = sorted(10 ** dice.uniform(-5, 2) for _ in range(5000))
    histogram = of(*values)
    for fraction in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = values[-int(-fraction * len(values) // 1) - 1]
        assert exact <= histogram.percentile(fraction) <= exact * 65 / 64 + 2e-6
    assert histogram.percentile(1) == histogram.longest_s == values[-1]


def test_what_processes_counted_adds_up() -> None:
    """As if one had counted all."""
    one, other = of(0.001, 0.2), of(0.003)
    one.merge(other)
    assert summed_up(one) == summed_up(of(0.001, 0.2, 0.003))


def test_latencies_above_a_bound_are_counted() -> None:
    """Those above by more than the width of a bucket, and those only."""
    assert of(0.05, 0.099, 0.11, 3.0).above(0.1) == 2


def test_a_summary_is_in_milliseconds() -> None:
    """With the mean, which is exact."""
    told = summed_up(of(0.001, 0.003))
    assert (told.count, told.mean_ms, told.max_ms) == (2, 2.0, 3.0)
    assert 1 <= told.p50_ms < 1.02
