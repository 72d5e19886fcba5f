"""Tests for `torua.core.resilience.budget`."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.resilience.budget import (
    SHARE,
    TOKENS_MAX,
    TOKENS_PER_S,
    RetryBudget,
)

STEPS = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.booleans(), st.floats(0.0, 5.0)), max_size=200
)


@given(STEPS)
def test_no_more_is_sent_again_than_the_budget_says(
    steps: list[tuple[float, bool, float]],
) -> None:
    """However requests and retries mix, each moment's sum is bounded."""
    now = 0.0
    budget = RetryBudget(now)
    asked, sent = 0, list[float]()
    for passed_s, is_retry, within_s in steps:
        now += passed_s
        if not is_retry:
            budget.asked(now)
            asked += 1
        elif (wait_s := budget.spend(now, within_s)) is not None:
            assert 0.0 <= wait_s <= within_s
            sent.append(now + wait_s)
        in_time = sum(at <= now for at in sent)
        bound = TOKENS_MAX + SHARE * asked + TOKENS_PER_S * now
        assert in_time <= bound + 1e-6


def test_a_calm_node_lets_a_short_trouble_be_tried_again_at_once() -> None:
    """What was saved up is there; then each waits a little longer, and in turn."""
    budget = RetryBudget(0.0)
    grants = [budget.spend(0.0, 60.0) for _ in range(int(TOKENS_MAX) + 3)]
    assert grants[: int(TOKENS_MAX)] == [0.0] * int(TOKENS_MAX)
    assert grants[int(TOKENS_MAX) :] == [0.2, 0.4, 0.6]


def test_who_cannot_wait_owes_nothing() -> None:
    """A retry that would come too late is denied, and takes nothing from others."""
    budget = RetryBudget(0.0)
    while budget.spend(0.0, 0.0) is not None:
        pass
    assert budget.spend(0.0, 0.1) is None
    assert budget.spend(0.0, 0.3) == 0.2


def test_requests_pay_for_a_tenth_of_retries() -> None:
    """Ten requests let one more be sent again."""
    budget = RetryBudget(0.0)
    while budget.spend(0.0, 0.0) is not None:
        pass
    for _ in range(11):
        budget.asked(0.0)
    assert budget.spend(0.0, 0.0) == 0.0
    assert budget.spend(0.0, 0.0) is None
