"""The end of a turn: what is done when, and what an error costs."""

from functools import partial

import pytest
from twisted.internet.task import Clock

from torua.node.turn import HOLD_S, Stage, Turn


def test_stages_go_in_order_whatever_came_first() -> None:
    """What an earlier stage adds to a later one is done in the same turn."""
    clock, done = Clock(), []
    turn = Turn(clock)
    turn.add(Stage.SEND, lambda: done.append("send"))

    def decide() -> None:
        """Have more to keep and to send."""
        done.append("decide")
        turn.add(Stage.SEND, lambda: done.append("more to send"))
        turn.add(Stage.KEEP, lambda: done.append("keep"))

    turn.add(Stage.DECIDE, decide)
    assert done == []
    clock.advance(0)
    assert done == ["decide", "keep", "send", "more to send"]
    assert clock.getDelayedCalls() == []


def test_what_fails_costs_the_others_nothing() -> None:
    """They are done in the next turn."""
    clock, done = Clock(), []
    turn = Turn(clock)
    turn.add(Stage.DECIDE, lambda: 1 // 0)
    turn.add(Stage.SEND, lambda: done.append("send"))
    with pytest.raises(ZeroDivisionError):
        clock.advance(0)
    clock.advance(0)
    assert done == ["send"]


def test_what_is_decided_waits_for_a_busy_log_and_nothing_else_does() -> None:
    """It goes on at the end of the turn in which the log is free."""
    clock, done, busy = Clock(), [], [True]
    turn = Turn(clock, lambda: busy[0])
    turn.add(Stage.DECIDE, lambda: done.append("decide"))
    turn.add(Stage.SEND, lambda: done.append("send"))
    clock.advance(0)
    assert done == ["send"]
    busy.clear()
    busy.append(False)
    turn.release()
    turn.add(Stage.SEND, lambda: done.append("send more"))
    clock.advance(0)
    assert done == ["send", "decide", "send more"]
    assert clock.getDelayedCalls() == []


def test_a_log_that_stays_busy_is_not_waited_for() -> None:
    """Other copies' disks may be quicker."""
    clock = Clock()
    done: list[int] = []
    turn = Turn(clock, lambda: True)
    for number in range(3):
        turn.add(Stage.DECIDE, partial(done.append, number))
    clock.advance(HOLD_S / 2)
    assert done == []
    clock.advance(HOLD_S / 2)
    assert done == [0, 1, 2]
    turn.release()
    assert clock.getDelayedCalls() == []


def test_what_a_decision_adds_is_decided_with_it() -> None:
    """The log may be busy still, but that was waited for."""
    clock, done = Clock(), list[str]()
    turn = Turn(clock, lambda: True)
    more = partial(turn.add, Stage.DECIDE, lambda: done.append("more"))
    turn.add(Stage.DECIDE, more)
    clock.advance(HOLD_S)
    assert done == ["more"]
    assert clock.getDelayedCalls() == []
