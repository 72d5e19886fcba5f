"""A stop is bounded by the time in which the process ran."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from torua.service.stopping import BEAT_S, STOP_TIMEOUT_S, bounded

BEATS = round(STOP_TIMEOUT_S / BEAT_S)


def begun() -> tuple[Clock, "Deferred[None]", "list[Failure | None]"]:
    """Begin a stop; return the clock, what ends it, and what became of it."""
    clock, stopping = Clock(), Deferred[None]()
    outcomes: list[Failure | None] = []
    bounded(clock, stopping).addBoth(outcomes.append)
    return clock, stopping, outcomes


def test_what_does_not_end_is_cut_off_in_time() -> None:
    """Not a beat earlier, and nothing is left to be done."""
    clock, _, outcomes = begun()
    clock.pump([BEAT_S] * (BEATS - 1))
    assert outcomes == []
    clock.advance(BEAT_S)
    (failure,) = outcomes
    assert failure is not None
    assert failure.check(CancelledError)
    assert clock.getDelayedCalls() == []


def test_time_in_which_nothing_ran_is_not_counted() -> None:
    """Wherever it came, there is time left to end well."""
    clock, stopping, outcomes = begun()
    clock.pump([BEAT_S] * (BEATS - 2))
    clock.advance(10 * STOP_TIMEOUT_S)
    assert outcomes == []
    stopping.callback(None)
    assert outcomes == [None]
    assert clock.getDelayedCalls() == []
