"""One timer ends many waits, each in its time."""

from functools import partial
from random import Random

import pytest
from twisted.internet.task import Clock

from torua.node.deadlines import SPENT_MAX, Deadlines


def test_each_wait_ends_in_its_time_unless_it_is_dropped() -> None:
    """Whatever the order in which they came."""
    clock, dice = Clock(), Random(3)
    ended: list[float] = []
    deadlines = Deadlines(clock)
    due = {}
    for _ in range(200):
        seconds = dice.uniform(0, 9)
        number = deadlines.add(seconds, partial(ended.append, seconds))
        due[number] = seconds
    for number in dice.sample(sorted(due), 100):
        deadlines.drop(number)
        del due[number]
    clock.pump([0.5] * 10)
    assert ended == sorted(at for at in due.values() if at <= 5)
    clock.pump([0.5] * 10)
    assert ended == sorted(due.values())
    assert clock.getDelayedCalls() == []


def test_nothing_is_left_in_the_reactor_once_nothing_waits() -> None:
    """Dropping the last one disarms the timer, and twice is as good as once."""
    clock = Clock()
    deadlines = Deadlines(clock)
    number = deadlines.add(3, lambda: None)
    assert len(clock.getDelayedCalls()) == 1
    deadlines.drop(number)
    deadlines.drop(number)
    assert clock.getDelayedCalls() == []


def test_what_was_dropped_is_not_remembered() -> None:
    """Under load one wait always stands, and thousands come and go beside it."""
    clock = Clock()
    ended: list[str] = []
    deadlines = Deadlines(clock)
    deadlines.add(5, lambda: ended.append("first"))
    for _ in range(20 * SPENT_MAX):
        deadlines.drop(deadlines.add(30, lambda: ended.append("dropped")))
    assert len(deadlines._heap) < 3 * SPENT_MAX
    clock.advance(40)
    assert ended == ["first"]


def test_ending_one_may_add_another() -> None:
    """It waits its own time."""
    clock = Clock()
    ended: list[float] = []
    deadlines = Deadlines(clock)
    deadlines.add(1, lambda: deadlines.add(1, lambda: ended.append(clock.seconds())))
    clock.advance(1)
    assert ended == []
    clock.advance(1)
    assert ended == [2]


def test_a_long_wait_added_by_an_ending_one_delays_no_shorter_one() -> None:
    """Whoever is ended and tries again, for longer, leaves the others their time."""
    clock = Clock()
    ended: list[float] = []
    deadlines = Deadlines(clock)
    deadlines.add(1, lambda: deadlines.add(9, lambda: None))
    deadlines.add(2, lambda: ended.append(clock.seconds()))
    clock.advance(1)
    clock.advance(1)
    assert ended == [2]


def test_one_that_cannot_be_ended_leaves_the_others_their_time() -> None:
    """Whatever ending one raises is told to the reactor, and to nobody else."""
    clock = Clock()
    ended: list[float] = []
    deadlines = Deadlines(clock)

    def wrong() -> None:
        """Fail."""
        raise ZeroDivisionError

    deadlines.add(1, wrong)
    deadlines.add(2, lambda: ended.append(clock.seconds()))
    with pytest.raises(ZeroDivisionError):
        clock.advance(1)
    clock.advance(1)
    assert ended == [2]
