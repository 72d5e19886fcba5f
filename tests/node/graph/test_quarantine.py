"""Statements that crash the engine."""

import pytest

from torua.errors import UnprocessableError
from torua.node.graph.quarantine import QUARANTINE_S, SUSPECTS_MAX, Quarantine


def test_the_second_crash_condemns() -> None:
    """Once is an accident; others are not held to blame."""
    quarantine = Quarantine()
    assert not quarantine.crashed("bad", 1.0)
    quarantine.check("bad", 2.0)
    assert quarantine.crashed("bad", 3.0)
    quarantine.check("good", 4.0)
    with pytest.raises(UnprocessableError):
        quarantine.check("bad", 4.0)


def test_an_hour_later_it_may_try_again() -> None:
    """The engine may have been replaced; crashes of long ago are forgotten."""
    quarantine = Quarantine()
    quarantine.crashed("bad", 0.0)
    quarantine.crashed("bad", 1.0)
    with pytest.raises(UnprocessableError):
        quarantine.check("bad", QUARANTINE_S)
    quarantine.check("bad", QUARANTINE_S + 1.0)
    assert not quarantine.crashed("bad", QUARANTINE_S + 2.0)


def test_suspects_are_bounded() -> None:
    """A flood of crashing statements takes no more memory than that."""
    quarantine = Quarantine()
    for at in range(SUSPECTS_MAX + 1):
        quarantine.crashed(f"bad {at}", 1.0)
    assert not quarantine.crashed("bad 0", 2.0)
    assert quarantine.crashed(f"bad {SUSPECTS_MAX}", 2.0)
