"""Tests for `torua.core.state_diff`."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_allocation import formed, member
from torua.codec.plain import read, spell
from torua.core.allocation import reconcile
from torua.core.state import ClusterState
from torua.core.state_diff import StateDiff, diff, patch


def states() -> st.SearchStrategy[ClusterState]:
    """Make states of different nodes and shards."""
    blank = st.just(ClusterState())
    numbers = st.sets(st.integers(0, 9), min_size=1)
    shards = st.integers(1, 9)
    return blank | st.builds(
        lambda nodes, count: formed([member(n) for n in sorted(nodes)], count),
        numbers,
        shards,
    )


@given(states(), states())
def test_a_difference_makes_the_new_of_the_old(
    old: ClusterState, new: ClusterState
) -> None:
    """What was added, changed and removed arrives, over the wire too."""
    change = diff(old, new)
    assert patch(old, change) == new
    assert patch(old, read(spell(change), StateDiff)) == new


def test_a_difference_holds_only_what_differs() -> None:
    """One more node is one entry, not a document."""
    old = formed([member(0)], 4)
    new = reconcile(old, [member(0), member(1)], Random(1))
    change = diff(old, new)
    assert list(change.nodes) == ["n001"]
    assert (change.shards, change.slots, change.routing_version) == ({}, None, None)
    assert diff(old, old) == StateDiff()
