"""Lines about what happens over and over."""

from torua.core.resilience.lines import Lines


def test_lines_are_spaced_out_and_tell_what_they_left_out() -> None:
    """The first is written at once, one more after each while."""
    lines = Lines(1.0)
    told = [lines.take(now) for now in (5.0, 5.1, 5.9, 6.0, 6.5, 9.0, 10.0)]
    assert told == [0, None, None, 2, None, 1, 0]
