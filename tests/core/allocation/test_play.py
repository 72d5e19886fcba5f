"""Allocation with data and faults: the rules hold, and calm brings balance."""

import pytest

from tests.core.allocation.play import Play, counts

SEEDS = 150


def is_even(play: Play) -> bool:
    """Tell whether copies and primaries are even within one, and all there."""
    copies, primaries = counts(play.state)
    want = min(play.state.configuration.replication.replicas, len(play.state.nodes))
    return (
        max(copies.values()) - min(copies.values()) <= 1
        and max(primaries.values()) - min(primaries.values()) <= 1
        and all(
            len(shard.copies) == len(shard.in_sync) == want
            for shard in play.state.shards.values()
        )
    )


@pytest.mark.parametrize("rf", [1, 2, 3])
def test_nothing_acknowledged_is_lost_and_calm_brings_balance(rf: int) -> None:
    """Many seeds of 300 steps each, with every rule asserted at every change."""
    written = 0
    for seed in range(SEEDS):
        play = Play(seed, 1 + seed % 5, 1 + seed % 7, rf)
        for _ in range(300):
            play.step()
        play.calm()
        assert is_even(play), (seed, counts(play.state))
        written += sum(len(acked) for acked in play.acked.values())
    assert written > 50 * SEEDS
