"""Tests for `torua.core.membership.timing`: the formulas, by their numbers."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.membership.timing import (
    LAN,
    LOCAL,
    PRESETS,
    retransmit_limit,
    suspicion_bounds,
    suspicion_timeout,
    sync_interval,
)


def test_a_suspicion_among_few_lasts_the_least_time() -> None:
    """Where fewer than k + 2 live there is nobody to confirm it."""
    assert suspicion_bounds(LAN, 3) == (2.0, 2.0, 0)
    assert suspicion_timeout(2.0, 2.0, 0, 0) == 2.0


def test_a_suspicion_among_many_shrinks_as_the_formula_says() -> None:
    """From six times the least, along a logarithm, to the least."""
    least, most, wanted = suspicion_bounds(LAN, 100)
    assert (least, most, wanted) == (4.0, 24.0, 2)
    one = 24.0 - 20.0 * log(2) / log(3)
    times = [suspicion_timeout(least, most, wanted, c) for c in range(4)]
    assert times == pytest.approx([24.0, one, 4.0, 4.0])


@given(st.integers(1, 10_000), st.integers(0, 9))
def test_more_confirmations_never_lengthen_a_suspicion(live: int, count: int) -> None:
    """The timeout falls with each, and stays within its bounds."""
    least, most, wanted = suspicion_bounds(LOCAL, live)
    now = suspicion_timeout(least, most, wanted, count)
    then = suspicion_timeout(least, most, wanted, count + 1)
    assert least <= then <= now <= most


def test_rumours_are_sent_more_often_among_more() -> None:
    """Four times the logarithm of the members."""
    assert [retransmit_limit(LAN, n) for n in (1, 9, 10, 99, 500)] == [4, 4, 8, 8, 12]


def test_push_pull_is_rarer_in_large_clusters() -> None:
    """Every 15 s for up to 32, then by their logarithm."""
    assert [sync_interval(LAN, n) for n in (1, 32, 33, 65, 500)] == [15, 15, 30, 45, 75]


def test_presets_leave_room_for_the_indirect_probe() -> None:
    """In each the helpers' word arrives within the period."""
    for timing in PRESETS.values():
        assert 1.8 * timing.timeout_s < timing.period_s
