"""Tests for `torua.core.resilience.policies`."""

from torua.core.resilience.policies import NAMES, Policies


def test_policies_can_be_named_off() -> None:
    """Each part has a name for people, and can be left out alone."""
    for name in NAMES:
        changed = Policies().without([name])
        off = [
            field for field in NAMES if not getattr(changed, field.replace("-", "_"))
        ]
        assert off == [name]
