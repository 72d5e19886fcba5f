"""One shard of two and three copies under all that a bad night brings."""

import pytest

from tests.core.replication.table import Table

SEEDS = 120
STEPS = 1500


@pytest.mark.parametrize("copies", [2, 3])
def test_nothing_that_was_acknowledged_is_lost(copies: int) -> None:
    """R1, R3 to R8, R11, R12, R22, and all copies come to rest in sync."""
    for seed in range(SEEDS):
        Table(seed, copies).run(STEPS)
