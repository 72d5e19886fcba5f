"""The primary against a plain dict, under random clients and crashes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.replication.oracle import Trial


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_shard_behaves_as_a_dict_that_forgets_nothing(seed: int) -> None:
    """R8, R11, R14, R19, whatever is asked, synced and lost, in any order."""
    Trial(seed).run(60)
