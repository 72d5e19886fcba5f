"""What a group is to each of its keys, and when somebody saw a part of one."""

import pytest

from tests.simulation.grouping import (
    grouped,
    seen_apart,
    singles,
    tag_of,
    written_apart,
)
from tests.simulation.history import History, HistoryError
from torua.core.kv import Check, Condition, Delete, Get, Group, Outcome, Put

KEYS = grouped(b"k")
ABSENT = (Condition(None, match=False),)
GROUP = Group((Check(KEYS[1], ABSENT),), tuple(Put(key, b"v") for key in KEYS))


def test_keys_of_a_group_share_a_tag() -> None:
    """And no other key has one."""
    assert {tag_of(key) for key in KEYS} == {b"{k}"}
    assert tag_of(b"ttl{k}") is tag_of(b"k") is None


def test_a_group_is_a_write_of_each_key() -> None:
    """At one version; a refusal is of the key that was refused."""
    done = singles(GROUP, Outcome(version=7))
    assert done == [(write, Outcome(version=7)) for write in GROUP.writes]
    assert singles(GROUP, None) == [(write, None) for write in GROUP.writes]
    refused = Outcome(version=3, error="precondition-failed", which=0)
    expected = Put(KEYS[1], b"", conditions=ABSENT)
    assert singles(GROUP, refused) == [(expected, refused)]
    gone = Group((), tuple(Delete(key) for key in KEYS))
    assert singles(gone, Outcome(version=9))[0] == (Delete(KEYS[0]), Outcome())


def test_a_part_of_a_group_is_noticed() -> None:
    """In what was read at once, and in a record."""
    reads = [Get(key) for key in KEYS]
    whole = [Outcome(version=4)] * 3
    assert seen_apart(reads, whole) is None
    assert seen_apart(reads, [*whole[:2], Outcome()]) == b"{k}"
    assert written_apart([(key, False) for key in KEYS]) is None
    assert written_apart([(key, False) for key in KEYS[:2]]) == b"{k}"
    assert written_apart([(key, key == KEYS[0]) for key in KEYS]) == b"{k}"


def test_a_history_with_a_part_of_a_group_is_wrong() -> None:
    """Although each key for itself has an order."""
    history = History()
    write = history.begin("a", [GROUP], 0.0)
    write.attempted()
    write.answered((Outcome(version=3),), 1.0)
    history.check()
    before = history.begin("b", [Get(key, value=False) for key in KEYS], 0.5)
    before.attempted()
    before.answered((Outcome(), Outcome(), Outcome()), 0.9)
    history.check()
    part = history.begin("c", [Get(KEYS[0]), Get(KEYS[1])], 0.5)
    part.attempted()
    part.answered((Outcome(), Outcome(version=3, entry=None)), 0.9)
    with pytest.raises(HistoryError):
        history.check()
