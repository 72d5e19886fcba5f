"""How much of what takes long is taken."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.resilience.stays import (
    BYTES_FIRST,
    BYTES_MAX,
    BYTES_MIN,
    FEW,
    REQUESTS_MIN,
    SIZE_MIN,
    STAY_S,
    Stays,
)

SIZE = 64 << 10


def crowd(stays: Stays, bytes_per_s: float, seconds: float) -> list[float]:
    """Ask without end for requests that wait for each other; return how long each took.

    Args:
        stays: takes them while it has room.
        bytes_per_s: what can be done.
        seconds: how long it goes on.
    """
    now, began, took = 0.0, list[float](), list[float]()
    while now < seconds:
        while stays.has_room(SIZE):
            stays.take(SIZE)
            began.append(now)
        now += SIZE / bytes_per_s
        stayed_s = now - began.pop(0)
        took.append(stayed_s)
        stays.give_back(SIZE, stayed_s, now)
    return took


def test_it_finds_how_much_makes_nobody_wait_for_long() -> None:
    """Whether a node does little or much in a second, and that much is done."""
    for bytes_per_s in (2e6, 20e6, 200e6):
        took = crowd(Stays(), bytes_per_s, 60.0)[-200:]
        assert max(took) < 2 * STAY_S
        assert min(took) > STAY_S / 4


def test_a_few_that_stay_long_for_a_reason_of_their_own_change_nothing() -> None:
    """Others beside them are done as soon as ever."""
    stays = Stays()
    for number in range(100):
        stays.has_room(SIZE)
        stays.take(SIZE)
        stays.give_back(SIZE, 0.05 if number % 2 else 5.0, 10.0 + number)
    assert stays.limit == BYTES_FIRST


def test_what_was_taken_before_a_change_does_not_count_against_it() -> None:
    """All that had waited for each other would have it change over and over."""
    stays = Stays()
    for _ in range(10 * FEW):
        stays.take(SIZE)
    for _ in range(10 * FEW):
        stays.give_back(SIZE, 0.5, 10.0)
    assert stays.limit == BYTES_FIRST * STAY_S / 0.5


def test_a_few_are_taken_be_they_ever_so_large() -> None:
    """Whatever was found out before; and then no more."""
    stays = Stays()
    stays.limit = float(BYTES_MIN)
    for _ in range(REQUESTS_MIN):
        assert stays.has_room(32 << 20)
        stays.take(32 << 20)
    assert not stays.has_room(1)


@given(st.lists(st.tuples(st.integers(0, 1 << 22), st.floats(0, 20)), max_size=80))
def test_bounds_hold_and_all_that_is_held_is_given_back(
    steps: list[tuple[int, float]],
) -> None:
    """Whatever the sizes and the stays."""
    stays, now = Stays(), 0.0
    taken = [size for size, _ in steps if stays.has_room(size) or size % 2]
    for size in taken:
        stays.take(size)
    assert stays.held == sum(max(size, SIZE_MIN) for size in taken)
    for size, (_, stayed_s) in zip(taken, steps, strict=False):
        now += 0.1
        stays.give_back(size, stayed_s, now)
        assert BYTES_MIN <= stays.limit <= BYTES_MAX
    assert stays.held == 0
