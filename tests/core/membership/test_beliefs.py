"""Tests for `torua.core.membership.beliefs`."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.membership.parts import member
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.core.membership.beliefs import merge, overrides

members = st.builds(
    Member,
    node_id=st.sampled_from([NodeId("a"), NodeId("b")]),
    name=st.sampled_from(["x", "y"]),
    address=st.builds(Address, st.sampled_from(["h", "i"]), st.integers(1, 2)),
    boot_epoch=st.integers(0, 2),
    incarnation=st.integers(0, 2),
    status=st.sampled_from(Status),
    meta=st.builds(Meta, zone=st.sampled_from(["", "z"])),
)
several = st.lists(members, max_size=5)


@given(several, several)
def test_merging_is_commutative(one: list[Member], other: list[Member]) -> None:
    """Who tells whom does not matter."""
    assert merge(one, other) == merge(other, one)


@given(several, several, several)
def test_merging_is_associative(
    one: list[Member], two: list[Member], three: list[Member]
) -> None:
    """In which groups news arrives does not matter."""
    left = merge(merge(one, two).values(), three)
    assert left == merge(one, merge(two, three).values())


@given(several)
def test_merging_is_idempotent(some: list[Member]) -> None:
    """How often news arrives does not matter."""
    once = merge(some, ())
    assert merge(once.values(), once.values()) == once


def test_an_earlier_life_says_nothing_about_a_later_one() -> None:
    """Neither death nor departure of the last life touches this one."""
    now = member("a", epoch=2)
    for status in Status:
        old = member("a", epoch=1, incarnation=9, status=status)
        assert not overrides(old, now) and overrides(now, old)


def test_left_is_final_for_its_life() -> None:
    """No incarnation of the same life brings back who left."""
    left = member("a", status=Status.LEFT)
    for status in (Status.ALIVE, Status.SUSPECT, Status.DEAD):
        assert not overrides(member("a", incarnation=9, status=status), left)


def test_a_later_incarnation_refutes_a_death() -> None:
    """Alive again, one incarnation on, goes before dead."""
    dead = member("a", incarnation=3, status=Status.DEAD)
    assert overrides(member("a", incarnation=4), dead)
    assert not overrides(member("a", incarnation=3), dead)
