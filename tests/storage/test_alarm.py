"""Tests for the thread that ends statements."""

from threading import Event

from torua.storage.alarm import IDLE_TICKS, TICK_S, Alarm

WAIT_S = 20.0


def test_what_takes_too_long_is_interrupted_until_it_ends() -> None:
    """Once may be lost, while the engine is planning."""
    alarm, told, ended = Alarm(), Event(), Event()
    heard: list[int] = []

    def interrupt() -> None:
        """Be deaf once."""
        heard.append(1)
        if len(heard) > 1:
            told.set()

    with alarm.within(0.001, interrupt):
        assert told.wait(WAIT_S)
    count = len(heard)
    ended.wait(3 * TICK_S)
    assert len(heard) == count


def test_what_ends_in_time_is_left_alone() -> None:
    """So is what has no limit."""
    alarm, long = Alarm(), Event()
    heard: list[int] = []
    with alarm.within(WAIT_S, lambda: heard.append(1)):
        long.wait(3 * TICK_S)
    with alarm.within(0.0, lambda: heard.append(2)):
        long.wait(3 * TICK_S)
    assert heard == []


def test_the_thread_wakes_again_after_it_had_nothing_to_do() -> None:
    """It sleeps then, until something begins."""
    alarm, pause = Alarm(), Event()
    with alarm.within(WAIT_S, pause.set):
        pass
    pause.wait((IDLE_TICKS + 5) * TICK_S)
    told = Event()
    with alarm.within(0.001, told.set):
        assert told.wait(WAIT_S)
