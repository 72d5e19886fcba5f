"""Tests for `torua.node.logs`."""

import json
from io import StringIO

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from torua.node.logs import make_observer


def lines(style: str, level: str = "info") -> tuple[Logger, StringIO]:
    """Make a logger and what its lines are written to.

    Args:
        style: ``text`` or ``json``.
        level: the least severity.
    """
    out = StringIO()
    observer = make_observer(style, level, "n1", out)
    return Logger(namespace="torua.test", observer=observer), out


def test_a_text_line_says_when_how_bad_where_and_what() -> None:
    """Time, level, node, sentence, request id, in this order."""
    log, out = lines("text")
    log.info("{who} joined", who="n2", request_id="r1")
    time, rest = out.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == "info  [n1] n2 joined request_id=r1\n"


def test_a_json_line_is_flat_and_has_every_field() -> None:
    """Fields of the event stand beside the fixed ones, scalars as they are."""
    log, out = lines("json")
    log.warn("{who} is slow", who="n2", seconds=1.5, request_id="r1", odd=[1])
    line = json.loads(out.getvalue())
    assert line["level"] == "warn"
    assert line["node"] == "n1"
    assert line["message"] == "n2 is slow"
    assert (line["seconds"], line["request_id"], line["odd"]) == (1.5, "r1", "[1]")


def test_a_sentence_cannot_forge_a_second_line() -> None:
    """A line break in a field stays inside its line."""
    for style in ("text", "json"):
        log, out = lines(style)
        log.info("{key}", key="a\nb")
        assert out.getvalue().count("\n") == 1


def test_twisted_does_not_chatter() -> None:
    """What Twisted says of its factories at info is left out; its warnings are not."""
    out = StringIO()
    observer = make_observer("text", "info", "n1", out)
    twisted = Logger(namespace="twisted.web.server.Site", observer=observer)
    twisted.info("Starting factory")
    assert out.getvalue() == ""
    twisted.warn("odd")
    assert "odd" in out.getvalue()


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_failure_is_spelled_with_its_traceback(style: str) -> None:
    """An error that was logged with a failure shows where it came from."""
    log, out = lines(style)
    try:
        raise ValueError("broken")
    except ValueError:
        log.failure("it failed", failure=Failure(), level=LogLevel.critical)
    assert "ValueError: broken" in out.getvalue()
    assert "critical" in out.getvalue()
