"""The end of a turn: what is done when, and what an error costs."""

import pytest
from twisted.internet.task import Clock

from torua.node.turn import Stage, Turn


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
