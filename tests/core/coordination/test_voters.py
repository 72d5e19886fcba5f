"""Tests for `torua.core.coordination.voters`."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.coordination.voters import (
    agree,
    first_voters,
    has_majority,
    next_voters,
)
from torua.core.ids import NodeId


def ids(text: str) -> tuple[NodeId, ...]:
    """Make one node of each letter."""
    return tuple(NodeId(letter) for letter in text)


nodes = st.sets(st.sampled_from("abcdefghij"), min_size=1).map(
    lambda letters: ids("".join(sorted(letters)))
)
odd = nodes.filter(lambda voters: len(voters) % 2 == 1)


@given(odd, nodes)
def test_a_step_is_odd_and_leaves_a_live_majority_of_both(
    voters: tuple[NodeId, ...], live: tuple[NodeId, ...]
) -> None:
    """From any set, with anybody alive: no step loses the power to decide."""
    chosen = next_voters(voters, live)
    if chosen == voters:
        return
    assert len(chosen) % 2 == 1
    assert abs(len(chosen) - len(voters)) <= 2
    assert len(chosen) >= min(3, len(voters))
    assert has_majority(voters, live) and has_majority(chosen, live)
    common = [voter for voter in voters if voter in chosen and voter in live]
    assert has_majority(voters, common)
    assert len(voters) == 1 or has_majority(chosen, common)


@given(odd, nodes)
def test_steps_end(voters: tuple[NodeId, ...], live: tuple[NodeId, ...]) -> None:
    """Where nothing changes any more, nothing is proposed any more."""
    for _ in range(10):
        voters, before = next_voters(voters, live), voters
    assert voters == before


def test_as_many_vote_as_make_an_odd_number() -> None:
    """Sets grow with the nodes up to seven, and shrink down to three."""
    assert next_voters(ids("a"), ids("ab")) == ids("a")
    assert next_voters(ids("a"), ids("abc")) == ids("abc")
    assert next_voters(ids("abc"), ids("ab")) == ids("abc")
    assert next_voters(ids("abc"), ids("abd")) == ids("abd")
    assert next_voters(ids("abcde"), ids("abc")) == ids("abc")
    assert next_voters(ids("abcde"), ids("abcdefgh")) == ids("abcdefg")
    assert next_voters(ids("abcdefg"), ids("abcdefghij")) == ids("abcdefg")


def test_without_a_live_quorum_nothing_changes() -> None:
    """Those who are left do not appoint themselves."""
    assert next_voters(ids("abc"), ids("adefg")) == ids("abc")


def test_the_first_set_is_the_lowest_ids_and_odd() -> None:
    """Of N nodes as many found as N is odd, or one less."""
    assert first_voters(ids("dcba"), 4) == ids("abc")
    assert first_voters(ids("dcba"), 2) == ids("a")
    assert first_voters(ids("ab"), 3) == ids("a")
    assert first_voters((), 3) == ()


def test_the_first_set_must_be_unanimous() -> None:
    """Before the first commit all must agree, after it majorities of both sets."""
    assert not agree(ids("abc"), (), ids("ab"))
    assert agree(ids("abc"), (), ids("abc"))
    assert not agree((), (), ids("abc"))
    assert agree(ids("abc"), ids("ade"), ids("abd"))
    assert not agree(ids("abc"), ids("ade"), ids("abx"))
