"""Tests for `torua.core.builds`: releases that may be in one cluster, and its level."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.test_allocation import formed, member
from torua.core.allocation import reconcile
from torua.core.builds import Build, Range, gap, mismatch, next_level
from torua.core.members import Member, Status

RANGES = st.tuples(st.integers(1, 5), st.integers(0, 3)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


def built(number: int, features: Range, epoch: int = 1) -> Member:
    """Make a live member of a build.

    Args:
        number: which.
        features: the levels that it knows.
        epoch: its life.
    """
    return replace(member(number, build=Build(features=features)), boot_epoch=epoch)


def levels(history: Sequence[list[Member]]) -> list[int]:
    """Return the feature level after each of these views of the members."""
    state, found = formed(history[0], 1), []
    for members in history:
        state = reconcile(state, members, Random(1))
        found.append(state.feature_level)
    return found


@pytest.mark.parametrize(
    ("mine", "theirs", "why"),
    [
        (Build(), Build(), ""),
        (Build((1, 2)), Build((2, 5)), ""),
        (Build((1, 1)), Build((2, 5)), "it knows peer protocols 2 to 5, this node 1"),
        (Build((1, 1), (3, 3)), Build((1, 1), (1, 2)), "feature levels 1 to 2"),
    ],
)
def test_two_builds_go_together_where_both_ranges_overlap(
    mine: Build, theirs: Build, why: str
) -> None:
    """Otherwise the line says what the one knows and what the other."""
    assert why in mismatch(mine, theirs)
    assert bool(mismatch(mine, theirs)) is bool(mismatch(theirs, mine)) is bool(why)


def test_a_build_works_at_a_level_that_it_knows() -> None:
    """Neither below its least nor above its greatest; where none is known, anywhere."""
    build = Build(features=(2, 3))
    assert [bool(gap(build, level)) for level in range(6)] == [
        *(False, True, False, False, True, True)
    ]


def test_the_level_stays_where_nobody_belongs() -> None:
    """It never falls, whoever left."""
    assert next_level(3, []) == 3
    assert next_level(3, [Build(features=(1, 2))]) == 3


def test_the_level_rises_once_the_last_node_knows_it() -> None:
    """A rolling upgrade of two nodes: the first one alone changes nothing."""
    old = [built(0, (1, 1)), built(1, (1, 1))]
    half = [built(0, (1, 2), 2), built(1, (1, 1))]
    done = [built(0, (1, 2), 2), built(1, (1, 2), 2)]
    assert levels([old, half, done]) == [1, 1, 2]


def test_a_lost_node_keeps_the_level_down() -> None:
    """It belongs, and would come back to data that it can't read."""
    old = [built(0, (1, 2)), built(1, (1, 1))]
    gone = [old[0], replace(old[1], status=Status.DEAD)]
    state = reconcile(formed(old, 1), gone, Random(1), lost={old[1].node_id})
    assert (len(state.nodes), state.feature_level) == (2, 1)


def test_an_older_build_is_not_taken_in_after_the_level_rose() -> None:
    """Neither a new node nor a later life of one that belongs."""
    state = formed([built(0, (1, 2)), built(1, (1, 2))], 1)
    state = reconcile(state, [built(0, (1, 2)), built(1, (1, 2))], Random(1))
    assert state.feature_level == 2
    seen = [built(0, (1, 2)), built(1, (1, 1), 2), built(2, (1, 1))]
    after = reconcile(state, seen, Random(1), lost={seen[1].node_id})
    assert sorted(after.nodes) == ["n000", "n001"]
    assert after.nodes[seen[1].node_id].boot_epoch == 1
    assert after.feature_level == 2


@given(st.lists(st.lists(RANGES, min_size=3, max_size=3), min_size=1, max_size=6))
def test_the_level_never_falls_and_every_node_that_belongs_knows_it(
    lives: list[list[Range]],
) -> None:
    """Whatever builds the nodes are started with, life after life."""
    state, before = formed([], 1), 0
    for epoch, ranges in enumerate(lives, 1):
        members = [built(number, each, epoch) for number, each in enumerate(ranges)]
        lost = {each.node_id for each in members if each.node_id in state.nodes}
        state = reconcile(state, members, Random(1), lost=lost)
        assert state.feature_level >= before
        before = state.feature_level
        assert not [
            each for each in state.nodes.values() if each.build.features[1] < before
        ]
