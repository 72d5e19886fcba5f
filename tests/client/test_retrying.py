"""Which attempts are made again, and whom they go to: decided apart from doing."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.client.endpoints import ASIDE_S, ASIDE_S_MAX, Endpoints
from torua.client.errors import (
    BadRequestError,
    ClientError,
    OutcomeUnknownError,
    OverloadedError,
    Problem,
    UnavailableError,
    UnreachableError,
)
from torua.client.retrying import Course, Retry

KINDS = [UnavailableError, OverloadedError, UnreachableError, OutcomeUnknownError]


def failure(kind: type[ClientError], retry_after: float | None = None) -> ClientError:
    """Make an error.

    Args:
        kind: its class.
        retry_after: what it asks.
    """
    return kind(Problem(retry_after=retry_after))


def course(*, repeatable: bool = True, deadline: float = 10.0, seed: int = 1) -> Course:
    """Begin a request.

    Args:
        repeatable: see `Course`.
        deadline: see `Course`.
        seed: of its pauses.
    """
    return Course(
        Retry(attempts=8, base_s=0.1, cap_s=1.0),
        deadline,
        repeatable=repeatable,
        patient=True,
        random=Random(seed),
    )


@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=12),
    repeatable=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pauses_are_bounded_and_end_before_the_deadline(
    kinds: list[type[ClientError]], repeatable: bool, seed: int
) -> None:
    """What was unknown once is told to be, unless something definite came."""
    attempts = course(repeatable=repeatable, seed=seed)
    now, unknown = 0.0, False
    for number, kind in enumerate(kinds, 1):
        error = failure(kind)
        pause_s = attempts.failed(error, now, others=False)
        unknown = unknown or kind is OutcomeUnknownError
        assert number < 8 or pause_s is None
        assert isinstance(attempts.verdict(error), OutcomeUnknownError) == unknown
        if pause_s is None:
            assert number == 8 or (kind is OutcomeUnknownError and not repeatable)
            return
        assert 0.0 <= pause_s <= min(1.0, 0.1 * 2 ** (number - 1))
        now += pause_s
        assert now < 10.0


def test_full_jitter_draws_from_zero_to_the_bound() -> None:
    """So that those who failed together do not come back together."""
    error = failure(UnavailableError)
    drawn = [
        course(seed=seed).failed(error, 0.0, others=False) or 0.0 for seed in range(200)
    ]
    assert min(drawn) < 0.01
    assert max(drawn) > 0.09


def test_a_definite_answer_is_the_end() -> None:
    """Also after an unknown outcome, which it makes known."""
    attempts = course()
    assert attempts.failed(failure(OutcomeUnknownError), 0.0, others=False) is not None
    error = failure(BadRequestError)
    assert attempts.failed(error, 0.0, others=True) is None
    assert attempts.verdict(error) is error
    assert error.uncertain


def test_there_is_no_attempt_after_the_deadline() -> None:
    """A pause that would end there is not begun."""
    attempts = course(deadline=2.0)
    error = failure(UnavailableError, retry_after=2.0)
    assert attempts.failed(error, 0.5, others=False) is None


def names(endpoints: Endpoints, count: int, now: float = 0.0) -> list[str]:
    """Choose several times.

    Args:
        endpoints: who chooses.
        count: how often.
        now: the time.
    """
    return [endpoints.choose(now, ()) for _ in range(count)]


def test_endpoints_take_turns() -> None:
    """Each as often as the others."""
    endpoints = Endpoints(["a", "b", "c"], Random(1))
    chosen = names(endpoints, 9)
    assert [chosen.count(each) for each in "abc"] == [3, 3, 3]


def test_one_that_broke_is_put_aside_and_tried_by_one_request() -> None:
    """Longer with each failure; an answer makes it as good as new."""
    endpoints = Endpoints(["a", "b"], Random(1))
    endpoints.broke("a", 0.0)
    assert set(names(endpoints, 6)) == {"b"}
    assert names(endpoints, 6, ASIDE_S).count("a") == 1
    for _ in range(9):
        endpoints.broke("a", 10.0)
    assert set(names(endpoints, 6, 10.0 + ASIDE_S_MAX / 2 - 1)) == {"b"}
    assert names(endpoints, 6, 10.0 + ASIDE_S_MAX).count("a") == 1
    endpoints.answered("a")
    assert names(endpoints, 6, 50.0).count("a") == 3


def test_where_all_are_put_aside_one_is_asked_all_the_same() -> None:
    """The one whose time ends first."""
    endpoints = Endpoints(["a", "b"], Random(1))
    endpoints.broke("b", 0.0)
    endpoints.broke("a", 5.0)
    assert endpoints.choose(0.1, ()) == "b"
    assert not endpoints.has_other(0.1, ["b"])


@pytest.mark.parametrize("tried", [["a"], ["a", "b"]])
def test_who_was_tried_by_this_request_comes_last(tried: list[str]) -> None:
    """As long as there is another."""
    endpoints = Endpoints(["a", "b", "c"], Random(1))
    assert endpoints.has_other(0.0, tried)
    for _ in range(5):
        assert endpoints.choose(0.0, tried) not in tried


def test_who_is_put_aside_comes_after_who_was_tried() -> None:
    """A node that refused is likelier to answer than one that is gone."""
    endpoints = Endpoints(["a", "b"], Random(1))
    endpoints.broke("a", 0.0)
    assert [endpoints.choose(0.1, ["b"]) for _ in range(4)] == ["b"] * 4
