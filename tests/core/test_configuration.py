"""Keys, values, and all that is wrong with a change at once."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.configuration import (
    KEYS,
    Configuration,
    Replication,
    contradictions,
    merged,
    min_copies,
    values,
)
from torua.errors import InvalidError

ROOT = Path(__file__).parents[2]
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.text() | st.integers(), max_size=3)
    | st.dictionaries(st.text(), st.integers(), max_size=2)
)


def faults(changes: dict[str, object]) -> dict[str, str]:
    """Return what a first change is refused for, by key."""
    with pytest.raises(InvalidError) as refused:
        merged(Configuration(), changes)
    return dict(refused.value.faults)


def test_a_change_leaves_what_it_does_not_name() -> None:
    """Only the named keys have other values, and the version is not counted here."""
    before = Configuration()
    after = merged(
        before, {"allocation.rebuild_after_s": 5, "resilience.breakers": False}
    )
    changed = {key for key in KEYS if values(before)[key] != values(after)[key]}
    assert changed == {"allocation.rebuild_after_s", "resilience.breakers"}
    assert after.allocation.rebuild_after_s == 5.0
    assert after.version == before.version


def test_null_brings_the_default_back() -> None:
    """What was set is as if it had never been."""
    changed = merged(Configuration(), {"replication.replicas": 3})
    assert merged(changed, {"replication.replicas": None}) == Configuration()


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Unknown keys, wrong types, values out of bounds, and what contradicts."""
    found = faults(
        {
            "replication.replica": 2,
            "replication.replicas": 8,
            "allocation.rebuild_after_s": "5",
            "allocation.rebalance": 1,
            "allocation.forced_zones": ["a", "b c"],
            "allocation.watermark_low_percent": 99,
            "version": 7,
        }
    )
    assert found["replication.replica"] == "there is no such key"
    assert found["version"] == "there is no such key"
    assert found["replication.replicas"] == "takes a whole number from 1 to 7"
    assert found["allocation.rebuild_after_s"] == "takes a number from 0 to 604800"
    assert found["allocation.rebalance"] == "takes true or false"
    assert "allocation.forced_zones" in found
    assert "more than" in found["allocation.watermark_low_percent"]
    assert len(found) == 7


def test_two_values_that_contradict_are_refused_whichever_comes_second() -> None:
    """More copies must hold a write than there are: refused with the whole change."""
    assert faults({"replication.min_copies": 3}).keys() == {"replication.min_copies"}
    three = merged(
        Configuration(), {"replication.replicas": 3, "replication.min_copies": 3}
    )
    with pytest.raises(InvalidError):
        merged(three, {"replication.replicas": 2})


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf, -1.0])
def test_numbers_that_are_none_are_refused(given: float) -> None:
    """CBOR can spell them, so they may come."""
    assert faults({"allocation.rebuild_after_s": given})


@given(st.dictionaries(st.sampled_from([*KEYS, "x.y", "version"]), PLAIN))
def test_a_change_is_made_whole_or_refused(changes: dict[str, object]) -> None:
    """Whatever comes: a valid whole that has what was named, or faults by key."""
    try:
        after = merged(Configuration(), changes)
    except InvalidError as error:
        assert error.faults
        assert {name for name, _ in error.faults} <= {*KEYS, *changes}
    else:
        assert not list(contradictions(after))
        assert merged(after, values(after)) == after
        for name, value in changes.items():
            held = values(after)[name]
            wanted = KEYS[name].default if value is None else value
            assert held == (tuple(wanted) if isinstance(wanted, list) else wanted)


def test_the_copies_that_a_write_needs() -> None:
    """As set; else one of two, and a majority of more."""
    needed = [min_copies(Replication(count)) for count in (1, 2, 3, 5)]
    assert needed == [1, 1, 2, 3]
    assert min_copies(Replication(3, min_copies=3)) == 3


def table() -> list[str]:
    """Spell the table of keys as the documentation has it."""
    return [
        f"| `{key.name}` | {spelled(key.default)} | {key.takes} | {key.help} |"
        for key in KEYS.values()
    ]


def spelled(value: object) -> str:
    """Spell a default as it would be given."""
    return json.dumps(value)


def test_the_documentation_has_every_key() -> None:
    """As it is: its default, what it takes, and what it is for."""
    page = (ROOT / "docs" / "configuration.md").read_text().splitlines()
    assert [line for line in page if line.startswith("| `")] == table()


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_used(name: str) -> None:
    """Somewhere beside what declares it; else it would promise what is not done."""
    field = name.partition(".")[2]
    sources = set((ROOT / "torua").rglob("*.py"))
    sources.discard(ROOT / "torua" / "core" / "configuration.py")
    assert any(f".{field}" in each.read_text() for each in sources), name
