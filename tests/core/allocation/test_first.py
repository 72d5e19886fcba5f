"""Tests for `torua.core.allocation.first`: who gets what in a new cluster."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.allocation.parts import blank, member, members
from torua.core.allocation import reconcile
from torua.core.state import ClusterState


def copies(state: ClusterState) -> Counter[str]:
    """Count the copies of each node."""
    return Counter(
        copy.node for shard in state.shards.values() for copy in shard.copies
    )


def primaries(state: ClusterState) -> Counter[str]:
    """Count the shards that each node leads."""
    return Counter(s.primary.node for s in state.shards.values() if s.primary)


def spread(counts: Counter[str], state: ClusterState) -> int:
    """Return by how much the fullest node exceeds the emptiest.

    Args:
        counts: of each node that has any.
        state: names them all.
    """
    values = [counts[each] for each in state.nodes]
    return max(values) - min(values)


@settings(deadline=None, max_examples=150)
@given(
    count=st.integers(1, 20),
    shards=st.integers(1, 64),
    replicas=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_copies_and_primaries_are_even_and_apart(
    count: int, shards: int, replicas: int, seed: int
) -> None:
    """Within one of each other, and never two of a shard on one node."""
    state = reconcile(blank(shards, replicas, count), members(count), Random(seed))
    assert len(state.shards) == shards
    assert spread(copies(state), state) <= 1
    assert spread(primaries(state), state) <= 1
    for shard in state.shards.values():
        nodes = [copy.node for copy in shard.copies]
        assert len(set(nodes)) == len(nodes) == min(replicas, count)
        assert shard.primary is not None
        assert shard.primary.node in nodes


def test_nothing_is_assigned_before_all_expected_nodes_are_there() -> None:
    """Whoever registers first does not get everything."""
    state = reconcile(blank(4, 2, 3), members(2), Random(1))
    assert not state.shards
    assert len(state.nodes) == 2


def test_zones_are_kept_apart_where_that_is_even() -> None:
    """Two zones of two nodes: every shard has a copy in each."""
    known = [member(n, zone="ab"[n % 2]) for n in (1, 2, 3, 4)]
    state = reconcile(blank(8, 2, 4), known, Random(3))
    zones = {m.node_id: m.meta.zone for m in known}
    apart = [len({zones[c.node] for c in s.copies}) for s in state.shards.values()]
    assert apart == [2] * 8


@pytest.mark.parametrize("seed", range(8))
def test_no_node_gets_more_than_it_takes_and_every_shard_gets_one(seed: int) -> None:
    """Where room is scarce, first copies go before others."""
    known = [member(1, max_shards=2), member(2, max_shards=3), member(3, max_shards=0)]
    state = reconcile(blank(4, 2, 3), known, Random(seed))
    assert sorted(copies(state).values()) == [2, 3]
    assert all(shard.copies for shard in state.shards.values())
    too_many = reconcile(blank(6, 1, 3), known, Random(seed))
    assert not too_many.shards
