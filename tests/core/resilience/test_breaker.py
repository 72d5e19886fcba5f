"""Tests for `torua.core.resilience.breaker`."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.resilience.breaker import (
    FAILURES_MAX,
    PATIENCE_S,
    REST_S,
    WINDOW,
    Breaker,
    Circuit,
)


def opened() -> Breaker:
    """Make a breaker that opened at 0."""
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        breaker.failed(0.0)
    assert breaker.circuit is Circuit.OPEN
    return breaker


def test_failures_in_a_row_open_it_once() -> None:
    """Those that were under way meanwhile are no further openings."""
    breaker = Breaker()
    found = [breaker.failed(0.0) for _ in range(FAILURES_MAX + 10)]
    assert found.index(True) == FAILURES_MAX - 1
    assert found.count(True) == 1


def test_an_answer_between_failures_keeps_it_closed_for_a_while() -> None:
    """Half of the last ones may fail; one more opens it."""
    breaker = Breaker()
    for at in range(WINDOW // 2):
        assert not breaker.failed(at / 100)
        breaker.answered(at / 100)
    assert not any(breaker.failed(0.5) for _ in range(1))
    assert breaker.failed(0.5)


def test_old_failures_do_not_count() -> None:
    """What failed long ago says nothing of now."""
    breaker = Breaker()
    for at in range(WINDOW):
        breaker.failed(at / 100)
        if at % 3 == 2:
            breaker.answered(at / 100)
        if breaker.circuit is Circuit.OPEN:
            return
    for _ in range(WINDOW // 2):
        breaker.answered(20.0)
    assert not breaker.failed(20.0)


def test_open_it_lets_one_probe_through_a_rest() -> None:
    """Between probes nothing; a probe that fails begins another rest."""
    breaker = opened()
    assert not breaker.take(REST_S * 0.9)
    assert breaker.take(REST_S)
    assert not breaker.take(REST_S)
    breaker.failed(REST_S * 1.5)
    assert not breaker.take(REST_S * 2.4)
    assert breaker.take(REST_S * 2.5)


def test_a_probe_that_nobody_hears_of_is_followed_by_another() -> None:
    """A probe whose caller went away does not keep the node shut out."""
    breaker = opened()
    assert breaker.take(REST_S)
    assert breaker.take(REST_S * 2)


def test_membership_opens_it_and_ends_its_rest() -> None:
    """Its word counts when it changes: a node that answers is not shut out again."""
    breaker = Breaker()
    assert breaker.believe(live=False, now=0.0)
    assert not breaker.take(0.5)
    assert breaker.take(1.0)
    breaker.answered(1.0)
    assert not breaker.believe(live=False, now=1.1)
    assert breaker.take(1.1)
    other = Breaker()
    other.believe(live=False, now=0.0)
    other.believe(live=True, now=0.1)
    assert other.take(0.1)


def test_it_says_for_how_long_waiting_makes_sense() -> None:
    """Until the rest is over, and in all for as long as a takeover takes."""
    breaker = opened()
    assert breaker.waits_s(0.25) == REST_S - 0.25
    assert breaker.patience_s(1.0) == PATIENCE_S - 1.0
    assert breaker.patience_s(PATIENCE_S + 1.0) == 0.0


def test_what_becomes_of_a_probe_is_worth_waiting_for() -> None:
    """However long it was open: the node may be back, and then a moment is enough."""
    breaker = opened()
    assert breaker.take(100.0)
    assert breaker.patience_s(100.0) == REST_S
    assert breaker.waits_s(100.0) < REST_S
    breaker.failed(100.1)
    assert breaker.patience_s(100.1) == 0.0


@given(
    st.lists(st.tuples(st.floats(0.0, 0.7), st.sampled_from("fat+-")), max_size=100),
)
def test_a_node_that_is_back_is_asked_within_one_rest(
    steps: list[tuple[float, str]],
) -> None:
    """Whatever happened before, nobody is kept away from it for longer."""
    breaker, now = Breaker(), 0.0
    for passed_s, what in steps:
        now += passed_s
        match what:
            case "f":
                breaker.failed(now)
            case "a":
                breaker.answered(now)
            case "t":
                breaker.take(now)
            case _:
                breaker.believe(live=what == "+", now=now)
    assert breaker.waits_s(now) <= REST_S + 1e-9
    later = now + REST_S + 1e-9
    assert breaker.take(later)
    breaker.answered(later)
    assert breaker.take(later)


@given(st.lists(st.floats(0.0, 0.3), min_size=50, max_size=200))
def test_a_dead_node_costs_one_opening_and_a_probe_a_rest(gaps: list[float]) -> None:
    """However often it is asked for, few requests are sent to it."""
    breaker, now, sent = Breaker(), 0.0, 0
    for gap in gaps:
        now += gap
        if breaker.take(now):
            sent += 1
            breaker.failed(now)
    assert breaker.openings <= 1
    assert sent <= FAILURES_MAX + now / REST_S + 1
