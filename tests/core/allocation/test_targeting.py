"""Joins and drains while copies are under way: not one more moves than must."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.allocation.pacing import Pacing
from tests.core.allocation.parts import node


def least(copies: list[int], nodes: int, joined: int) -> int:
    """Tell how many copies must move once nodes joined, at least.

    Args:
        copies: of each node that was there.
        nodes: how many there are then.
        joined: how many of them have nothing yet.
    """
    share, over = divmod(sum(copies), nodes)
    most = share + bool(over)
    return max(joined * share, sum(max(0, count - most) for count in copies))


def empty(play: Pacing, number: int) -> None:
    """Evacuate a node, and check what moved: its copies, and no others.

    Args:
        play: the cluster.
        number: which node.
    """
    had = sorted(
        shard.shard
        for shard in play.state.shards.values()
        if any(copy.node == node(number) for copy in shard.copies)
    )
    play.moved = []
    play.evacuate(number)
    play.rest()
    assert play.copies()[node(number)] == 0
    assert play.is_even()
    assert sorted(shard for shard, _ in play.moved) == had


@settings(deadline=None, max_examples=25)
@given(
    shards=st.integers(10, 40),
    rf=st.sampled_from([2, 3]),
    apart_s=st.floats(0.0, 12.0),
    seed=st.integers(0, 9999),
)
@example(shards=12, rf=2, apart_s=0.0, seed=1)
@example(shards=12, rf=3, apart_s=2.0, seed=1)
@example(shards=32, rf=2, apart_s=6.0, seed=1)
def test_three_nodes_five_four_and_three_move_nothing_without_need(
    shards: int, rf: int, apart_s: float, seed: int
) -> None:
    """Two join, one a while after the other; each is emptied: even at each rest."""
    play = Pacing(3, shards, rf, seed)
    must = least(list(play.copies().values()), 5, 2)
    play.join()
    play.play(apart_s)
    play.join()
    play.rest()
    assert play.is_even()
    assert len(play.moved) == must
    empty(play, 5)
    empty(play, 4)


@pytest.mark.parametrize("seed", range(5))
def test_a_node_is_emptied_while_another_joins(seed: int) -> None:
    """What was under way is gone on with, and nothing moves but what leaves."""
    play = Pacing(4, 24, 2, seed)
    play.join()
    play.play(7.0)
    before, had = len(play.moved), play.staying(1)
    assert before
    play.evacuate(1)
    play.rest()
    assert play.is_even()
    assert play.copies()[node(1)] == 0
    assert len(play.moved) == before + had
