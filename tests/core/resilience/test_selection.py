"""Tests for `torua.core.resilience.selection`."""

import heapq
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from torua.core.ids import NodeId
from torua.core.resilience.selection import AGAIN_S, Selection

A, B, C = (NodeId(letter) for letter in "abc")
NODES = [A, B, C]
ELSEWHERE = NodeId("x")


def play(
    selection: Selection,
    takes_s: Callable[[NodeId, float], float],
    until_s: float,
    gap_s: float = 0.005,
    since_s: float = 0.0,
) -> list[tuple[float, NodeId]]:
    """Send reads at a steady pace; return when each was sent, and to whom.

    Args:
        selection: chooses.
        takes_s: how long a node takes for a read sent then.
        until_s: the end.
        gap_s: between two reads.
        since_s: the beginning.
    """
    sent = list[tuple[float, NodeId]]()
    ends = list[tuple[float, int, NodeId]]()
    for turn in range(int((until_s - since_s) / gap_s)):
        now = since_s + turn * gap_s
        while ends and ends[0][0] <= now:
            at, number, node = heapq.heappop(ends)
            selection.ended(node, number, at, good=True)
        node = selection.order(NODES, turn, now)[0]
        heapq.heappush(
            ends, (now + takes_s(node, now), selection.began(node, now), node)
        )
        sent.append((now, node))
    return sent


def test_equal_copies_have_their_turn() -> None:
    """With no copy here, each gets as many reads as the others."""
    sent = play(Selection(ELSEWHERE), lambda node, now: 0.002, 3.0)
    counts = Counter(node for _, node in sent)
    assert set(counts) == set(NODES)
    assert max(counts.values()) - min(counts.values()) <= len(sent) // 20


def test_the_copy_here_goes_first_where_it_is_equal() -> None:
    """A message is saved."""
    sent = play(Selection(B), lambda node, now: 0.002, 1.0)
    assert {node for _, node in sent} == {B}


def test_a_copy_that_slows_down_is_avoided_within_a_second() -> None:
    """Slower by 200 ms from the first second on, it gets almost nothing any more."""
    sent = play(
        Selection(ELSEWHERE),
        lambda node, now: 0.202 if node == A and now >= 1.0 else 0.002,
        8.0,
    )
    late = [at for at, node in sent if node == A and at >= 1.0]
    assert sum(at < 2.0 for at in late) <= 4
    assert 1 <= sum(at >= 2.0 for at in late) <= 6.0 / AGAIN_S + 1


def test_the_copy_here_is_avoided_as_well() -> None:
    """It is only before the others while it is as fast."""
    sent = play(Selection(A), lambda node, now: 0.2 if node == A else 0.002, 3.0)
    assert Counter(node for _, node in sent)[A] <= 4


def test_a_copy_that_is_well_again_is_found_out() -> None:
    """One read now and then goes there, and the first good one is believed."""
    sent = play(
        Selection(ELSEWHERE),
        lambda node, now: 0.202 if node == A and 1.0 <= now < 3.0 else 0.002,
        9.0,
    )
    back = [at for at, node in sent if node == A and at >= 3.0 + AGAIN_S + 1.0]
    assert len(back) > 100


def test_a_copy_that_does_not_answer_is_left_alone_before_it_failed() -> None:
    """What is under way for long counts, though nothing was measured."""
    selection = Selection(ELSEWHERE)
    selection.began(A, 0.0)
    assert selection.order(NODES, 0, 0.001)[0] == A
    assert selection.order(NODES, 0, 0.1)[-1] == A


def test_a_quick_failure_makes_nobody_look_fast() -> None:
    """A refusal at once is no good answer."""
    selection = Selection(ELSEWHERE)
    number = selection.began(A, 0.0)
    selection.ended(A, number, 0.2, good=True)
    number = selection.began(A, 0.3)
    selection.ended(A, number, 0.3, good=False)
    assert selection.rank(A, 0.4) == 0.2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NODES), st.floats(0.0, 1.0), st.booleans(), st.booleans()
        ),
        max_size=60,
    )
)
def test_an_order_has_each_node_once(
    steps: list[tuple[NodeId, float, bool, bool]],
) -> None:
    """Whatever was learned, no copy is forgotten, and none is tried twice."""
    selection, now, under_way = Selection(B), 0.0, list[tuple[NodeId, int]]()
    for turn, (node, passed_s, begins, good) in enumerate(steps):
        now += passed_s
        if begins or not under_way:
            under_way.append((node, selection.began(node, now)))
        else:
            other, number = under_way.pop(0)
            selection.ended(other, number, now, good)
        assert sorted(selection.order(NODES, turn, now)) == NODES
