"""Tests for `torua.core.resilience.stalls`."""

from torua.core.resilience.stalls import SAY_EVERY_S, STALL_S, StallJudge


def test_a_beat_in_time_is_no_stall() -> None:
    """Nor is one that is a little late."""
    judge = StallJudge()
    assert judge.judge(due=10.0, now=9.9) is None
    assert judge.judge(due=10.0, now=10.0 + STALL_S * 0.9) is None


def test_a_stall_is_reported_once_however_long_it_lasts() -> None:
    """The next beat that is missed is another stall."""
    judge = StallJudge()
    found = [judge.judge(10.0, 10.0 + late_s) for late_s in (0.1, 0.2, 5.0)]
    assert [stall is not None for stall in found] == [True, False, False]
    assert judge.judge(20.0, 20.1) is not None


def test_one_line_a_minute_says_how_many_were_not_said() -> None:
    """The count of the silent ones begins anew with each line."""
    judge = StallJudge()
    found = [judge.judge(at, at + 0.1) for at in (0.0, 1.0, 2.0, SAY_EVERY_S, 100.0)]
    said = [(stall.aloud, stall.unsaid) for stall in found if stall is not None]
    assert said == [(True, 0), (False, 0), (False, 0), (True, 2), (False, 0)]
