"""Tests for `torua.core.membership.order`."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from torua.core.ids import NodeId
from torua.core.membership.order import ProbeOrder


def ids(count: int) -> list[NodeId]:
    """Make some ids."""
    return [NodeId(str(index)) for index in range(count)]


@given(st.integers(1, 9), st.integers())
def test_each_is_probed_once_a_round(count: int, seed: int) -> None:
    """So the time to first detection has a bound."""
    order = ProbeOrder(Random(seed))
    for node_id in ids(count):
        order.add(node_id)
    for _ in range(3):
        assert sorted(str(order.next()) for _ in range(count)) == sorted(ids(count))


@given(st.integers(), st.integers(0, 5), st.integers(0, 5))
def test_changes_within_a_round_repeat_and_forget_nobody(
    seed: int, probed: int, gone: int
) -> None:
    """Who stays is probed exactly once a round, whoever else comes and goes."""
    order = ProbeOrder(Random(seed))
    for node_id in ids(6):
        order.add(node_id)
    first = [order.next() for _ in range(probed)]
    order.discard(ids(6)[gone])
    order.add(NodeId("new"))
    rest = [order.next() for _ in range(6)]
    stay = [node_id for node_id in ids(6) if node_id != ids(6)[gone]]
    round_ = [*first, *rest]
    for node_id in stay:
        assert node_id in round_[:7]


def test_an_empty_order_has_nobody() -> None:
    """A lone node probes nobody."""
    order = ProbeOrder(Random(0))
    assert order.next() is None and order.sample(3) == []


@given(st.integers(), st.integers(0, 9), st.integers(0, 9))
def test_a_sample_is_as_large_as_can_be(seed: int, count: int, size: int) -> None:
    """Different members, without those who are excluded."""
    order = ProbeOrder(Random(seed))
    for node_id in ids(size):
        order.add(node_id)
    drawn = order.sample(count, without=ids(2))
    assert len(drawn) == len(set(drawn)) == min(count, max(0, size - 2))
    assert not set(drawn) & set(ids(2))
