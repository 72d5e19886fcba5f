"""Tests for `torua.core.resilience.admission`."""

from collections import Counter
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.resilience.admission import (
    LANE_MIN,
    LIMIT_FIRST,
    LIMIT_MAX,
    LIMIT_MIN,
    REFUSAL_MAX_S,
    REFUSALS_PER_S,
    SHARE_MIN,
    SHARE_S,
    TURN_S,
    Admission,
    Rank,
)

OTHERS = (Rank.READ, Rank.WRITE, Rank.QUERY, Rank.BULK)


def taken(admission: Admission, rank: Rank) -> bool:
    """Take a request where there is room; tell whether there was.

    Args:
        admission: takes it.
        rank: its lane.
    """
    room = admission.has_room(rank)
    if room:
        admission.take(rank)
    return room


def fill(admission: Admission, rank: Rank) -> int:
    """Take as many as there is room for; return how many.

    Args:
        admission: takes them.
        rank: their lane.
    """
    count = 0
    while taken(admission, rank):
        count += 1
    return count


def test_the_more_urgent_has_room_where_the_less_urgent_has_none() -> None:
    """Bulk leaves room for writes, they for reads, and control is always taken."""
    admission = Admission()
    counts = [fill(admission, rank) for rank in (Rank.BULK, Rank.WRITE, Rank.READ)]
    assert sum(counts) == LIMIT_FIRST
    assert all(count > LANE_MIN for count in counts)
    assert all(taken(admission, Rank.CONTROL) for _ in range(1000))


def test_no_lane_is_shut_out_by_a_more_urgent_one() -> None:
    """Reads that take all leave the others their few places."""
    admission = Admission()
    assert fill(admission, Rank.READ) == LIMIT_FIRST
    assert fill(admission, Rank.WRITE) == LANE_MIN
    assert fill(admission, Rank.BULK) == LANE_MIN


def test_what_is_answered_at_once_counts_until_the_turn_ends() -> None:
    """A turn is bounded even where nothing is ever waited for."""
    admission = Admission()
    count = 0
    while taken(admission, Rank.READ):
        admission.give_back(Rank.READ)
        count += 1
    assert count == LIMIT_FIRST
    admission.turned(0.001)
    assert admission.total == 0


def test_long_turns_shrink_the_limit_and_short_busy_ones_let_it_grow() -> None:
    """It finds what a turn can hold, and stays there."""
    admission = Admission()
    cost_s, limits = 0.002, list[float]()
    for _ in range(400):
        taken = fill(admission, Rank.READ)
        for _ in range(taken):
            admission.give_back(Rank.READ)
        admission.turned(taken * cost_s)
        limits.append(admission.limit)
    holds = TURN_S / cost_s
    assert all(0.75 * holds <= limit <= 1.15 * holds for limit in limits[50:])


def test_a_load_that_becomes_heavy_is_met_within_a_few_turns() -> None:
    """From small reads to bulk requests that take a hundred times as long each."""
    admission = Admission()
    admission.limit = 800.0
    for _ in range(4):
        taken = fill(admission, Rank.BULK)
        for _ in range(taken):
            admission.give_back(Rank.BULK)
        admission.turned(taken * 0.010)
    assert fill(admission, Rank.BULK) * 0.010 <= TURN_S * 1.2


def test_one_slow_request_is_not_too_many() -> None:
    """A long turn with few requests in it leaves the limit as it is."""
    admission = Admission()
    taken(admission, Rank.BULK)
    admission.give_back(Rank.BULK)
    admission.turned(10.0)
    assert admission.limit == LIMIT_FIRST


def test_a_quiet_node_keeps_its_limit() -> None:
    """Short turns that were not busy say nothing about what could be done."""
    admission = Admission()
    taken(admission, Rank.READ)
    admission.give_back(Rank.READ)
    admission.turned(0.001)
    assert admission.limit == LIMIT_FIRST


def test_refusals_are_spread() -> None:
    """The first leaves at once, a storm at a bounded pace, none too late."""
    admission = Admission()
    delays = [admission.refusal_s(10.0, 0.0) for _ in range(2000)]
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert max(delays) <= REFUSAL_MAX_S
    first = sum(delay < 0.5 for delay in delays)
    assert first <= 0.5 * REFUSALS_PER_S + 1
    assert admission.refusal_s(20.0, 0.0) == 0.0


def refused_in(seconds: float, share: float) -> int:
    """Have a hundred clients refused who ask again at once; count the refusals.

    Args:
        seconds: how long it goes on.
        share: the part of a processor that the node has.
    """
    admission, left, clients = Admission(), 0, [100.0] * 100
    while clients[0] < 100.0 + seconds:
        now = heappop(clients)
        heappush(clients, now + admission.refusal_s(now, now * share))
        left += 1
    return left


def test_refusals_take_the_same_part_of_whatever_time_the_node_has() -> None:
    """With a quarter of a processor a quarter of them leaves, but never none."""
    whole, quarter, none = (refused_in(20.0, share) for share in (1.0, 0.25, 0.0))
    assert 0.9 * 20 * REFUSALS_PER_S < whole < 1.2 * 20 * REFUSALS_PER_S
    assert 0.2 * whole < quarter < 0.35 * whole
    assert 0.5 * SHARE_MIN * whole < none < 2 * SHARE_MIN * whole


def test_the_part_of_a_processor_is_not_told_by_a_time_at_rest() -> None:
    """A node that had nothing to do had little of it for no want of more."""
    admission = Admission()
    admission.refusal_s(10.0, 1.0)
    admission.refusal_s(100.0, 1.1)
    assert admission.share == 1.0
    admission.refusal_s(100.0 + SHARE_S, 1.1 + SHARE_S / 2)
    assert admission.share == pytest.approx(0.5)


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Rank)), st.integers(0, 3), st.floats(0.0, 0.3)),
        max_size=200,
    )
)
def test_what_counts_is_what_was_taken_and_not_given_back(
    steps: list[tuple[Rank, int, float]],
) -> None:
    """In any order of events; the limit stays within its bounds."""
    admission = Admission()
    out, ended = Counter[Rank](), Counter[Rank]()
    for rank, what, length_s in steps:
        if what == 0 and out[rank] > ended[rank]:
            admission.give_back(rank)
            ended[rank] += 1
        elif what == 1:
            admission.turned(length_s)
            out -= ended
            ended.clear()
        elif taken(admission, rank):
            out[rank] += 1
        assert admission.total == sum(out[each] for each in OTHERS)
        assert LIMIT_MIN <= admission.limit <= LIMIT_MAX


def test_an_overload_of_ten_times_keeps_most_of_what_can_be_done() -> None:
    """Ten times what fits is offered; refusals cost as much."""
    admission, cost_s, refusal_s = Admission(), 0.00025, 0.00025
    now, done, offered_per_s = 0.0, 0, 10 / cost_s
    owed, waiting = 0.0, list[float]()
    while now < 20.0:
        arrived = int(owed)
        owed -= arrived
        length_s = 0.0001
        for _ in range(arrived):
            if taken(admission, Rank.READ):
                admission.give_back(Rank.READ)
                done += 1
                length_s += cost_s
            else:
                waiting.append(now + admission.refusal_s(now, now))
                length_s += refusal_s
        admission.turned(length_s)
        now += length_s
        owed += length_s * offered_per_s
        owed = min(owed, 1000.0 - sum(at > now for at in waiting[-1000:]))
    assert done > 0.8 * now / cost_s
