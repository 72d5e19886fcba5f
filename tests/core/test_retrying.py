"""Tests for `torua.core.retrying`."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.retrying import BASE_S, CAP_S, may_retry, pause_s
from torua.errors import (
    ERRORS,
    MovedError,
    OutcomeUnknownError,
    StaleRouteError,
    UnavailableError,
)

NOT_BEGUN = {UnavailableError.code, StaleRouteError.code, MovedError.code}


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_only_what_is_safe_is_tried_again(code: str) -> None:
    """Refusals before anything began; unknown outcomes where twice is as good."""
    error = ERRORS[code]("")
    assert may_retry(error, repeatable=False) is (code in NOT_BEGUN)
    unknown = code == OutcomeUnknownError.code
    assert may_retry(error, repeatable=True) is (code in NOT_BEGUN or unknown)


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_a_pause_is_drawn_below_a_bound_that_doubles(
    attempt: int, random: Random
) -> None:
    """However often it failed, the next attempt is at most a second away."""
    bound = min(CAP_S, BASE_S * 2 ** min(attempt, 30))
    assert 0 <= pause_s(attempt, random) <= bound


def test_pauses_spread_over_all_of_their_bound() -> None:
    """Full jitter: some are short, some long."""
    drawn = [pause_s(20, Random(seed)) for seed in range(200)]
    assert min(drawn) < 0.1 * CAP_S
    assert max(drawn) > 0.9 * CAP_S
