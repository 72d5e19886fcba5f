"""Long requests are taken apart."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.resilience.portions import BYTES_MAX, OPERATIONS_MAX, portions

SIZES = st.lists(st.integers(0, 2 * BYTES_MAX), max_size=3 * OPERATIONS_MAX)


@given(SIZES)
def test_portions_hold_all_in_order_within_bounds(sizes: list[int]) -> None:
    """Only what is too large by itself exceeds them, and is alone then."""
    made = list(portions(sizes))
    assert [place for places in made for place in places] == list(range(len(sizes)))
    for places in made:
        assert 1 <= len(places) <= OPERATIONS_MAX
        assert len(places) == 1 or sum(sizes[place] for place in places) <= BYTES_MAX


def test_no_portion_is_smaller_than_it_must_be() -> None:
    """Few ways to a disk and to another node for many small operations."""
    assert len(list(portions([100] * 10 * OPERATIONS_MAX))) == 10
