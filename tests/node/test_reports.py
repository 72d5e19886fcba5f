"""Tests for `torua.node.reports`: what the coordinator is told, and when again."""

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from torua.core.allocation import Command, FailCopy
from torua.core.ids import AllocId, ShardId
from torua.core.replication.messages import AskFail
from torua.core.state import ClusterState
from torua.errors import UnavailableError
from torua.node.reports import Reports

WISH = AskFail(ShardId(0), 3, AllocId("a" * 32), 7, "its node was lost")


class Coordination:
    """A coordinator that can be away.

    Invariants: ``told`` is what got there.
    """

    def __init__(self) -> None:
        """Have one."""
        self.state = ClusterState()
        self.away = False
        self.asked = 0
        self.told: list[Command] = []
        self.applied: list[Callable[[ClusterState], None]] = []

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back with each state."""
        self.applied.append(callback)

    async def submit(self, command: Command, timeout_s: float) -> None:
        """Take a command, if there is anybody to take it.

        Args:
            command: what.
            timeout_s: how long to wait.
        """
        self.asked += 1
        if self.away:
            raise UnavailableError("no coordinator is known")
        self.told.append(command)

    def apply(self) -> None:
        """Have another state."""
        for each in self.applied:
            each(self.state)


@pytest.fixture(name="coordination")
def make_coordination() -> Coordination:
    """Make one."""
    return Coordination()


@pytest.fixture(name="reports")
def make_reports(coordination: Coordination) -> Reports:
    """Make them."""
    return Reports(Clock(), coordination)


def test_a_wish_that_got_there_is_told_once(
    coordination: Coordination, reports: Reports
) -> None:
    """A later state is no reason to tell it again.

    Args:
        coordination: is told.
        reports: tell.
    """
    reports.wish(WISH)
    coordination.apply()
    assert coordination.told == [FailCopy(ShardId(0), 3, AllocId("a" * 32), 7)]


def test_a_wish_that_nobody_heard_is_told_with_the_next_state(
    coordination: Coordination, reports: Reports
) -> None:
    """It is of whoever coordinates then, and needs not wait to be wished again.

    Args:
        coordination: is told.
        reports: tell.
    """
    coordination.away = True
    reports.wish(WISH)
    reports.wish(WISH)
    coordination.apply()
    assert coordination.told == []
    coordination.away, before = False, coordination.asked
    coordination.apply()
    coordination.apply()
    assert coordination.told == [FailCopy(ShardId(0), 3, AllocId("a" * 32), 7)]
    assert coordination.asked == before + 1
