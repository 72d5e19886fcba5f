"""Tests for `torua.net.steps`."""

from collections.abc import Callable
from functools import partial
from typing import cast

from twisted.internet.interfaces import IReactorTime

from torua.net.steps import Steps


class Turning:
    """A reactor that does in a turn what was due before it began, as the real one does.

    Invariants: what is called later waits for the next turn.
    """

    def __init__(self) -> None:
        """Begin with nothing due."""
        self.due: list[Callable[[], None]] = []

    def callLater(self, delay_s: float, call: Callable[[], None]) -> None:
        """Have something called in the next turn."""
        assert delay_s == 0
        self.due.append(call)

    def turn(self) -> None:
        """Do what is due."""
        due, self.due = self.due, []
        for call in due:
            call()


def steps_of(turning: Turning) -> Steps:
    """Make steps without any."""
    return Steps(cast(IReactorTime, turning))


def test_each_has_a_turn_in_the_order_in_which_they_came() -> None:
    """However many there are, and nothing is left in the reactor."""
    turning, done = Turning(), list[int]()
    steps = steps_of(turning)
    for number in range(3):
        steps.add(partial(done.append, number))
    for number in range(4):
        assert done == list(range(number))
        turning.turn()
    assert turning.due == []


def test_what_a_step_adds_has_a_turn_behind_all_others() -> None:
    """And not the one in which it was added."""
    turning, done = Turning(), list[int]()
    steps = steps_of(turning)
    steps.add(lambda: steps.add(lambda: done.append(2)))
    steps.add(lambda: done.append(1))
    seen = []
    for _ in range(3):
        turning.turn()
        seen.append(list(done))
    assert seen == [[], [1], [1, 2]]
    assert turning.due == []
