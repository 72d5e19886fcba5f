"""The graph engine, whichever of the two it is, does what we rely on."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.storage import engine_cases
from torua.storage.kuzu import missing

KNOWN = {
    "every_type_comes_back_as_it_went_in": "rows beside a NULL struct are lost",
    "what_takes_too_long_is_interrupted": "a list is made whole before it looks up",
    "a_checkpoint_goes_on_beside_a_reader": "it waits for readers, then fails",
}
"""What kuzu 0.11.3 is known to fail at, by case, and why."""

Case = Callable[[str], None]


@pytest.mark.parametrize("case", engine_cases.CASES, ids=lambda case: case.__name__)
def test_ladybug_does_what_we_rely_on(case: Case) -> None:
    """In this process, as it is everywhere."""
    case("ladybug")


@pytest.mark.skipif(bool(missing("kuzu")), reason=missing("kuzu"))
@pytest.mark.parametrize("case", engine_cases.CASES, ids=lambda case: case.__name__)
def test_kuzu_does_what_we_rely_on(case: Case, request: pytest.FixtureRequest) -> None:
    """In a process of its own: both in one end it."""
    if reason := KNOWN.get(case.__name__):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    command = (
        sys.executable,
        "-m",
        "tests.storage.engine_cases",
        "kuzu",
        case.__name__,
    )
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_engine_that_is_not_installed_is_named() -> None:
    """In one line that says what to do."""
    assert missing("ladybug") == ""
    assert "pip install" in missing("no_such_engine")
