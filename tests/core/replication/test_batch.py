"""Groups happen all at once or not at all, whatever they stand among."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.replication.desk import Desk
from torua.core.kv import (
    Check,
    Condition,
    Delete,
    Get,
    Group,
    Operation,
    Outcome,
    Put,
    keys_of,
)
from torua.core.replication.batch import PART_BYTES_MAX, expires, split, weight_of

A, B, C = b"a", b"b", b"c"
ABSENT = Condition(None, match=False)
EXISTS = Condition(None, match=True)


def at(version: int) -> tuple[Condition, ...]:
    """Ask for one version."""
    return (Condition((version,), match=True),)


keys = st.sampled_from([A, B, C])
versions = st.integers(2, 12).map(lambda n: Condition((n,), match=True))
conditions = st.lists(st.sampled_from([ABSENT, EXISTS]) | versions, max_size=1).map(
    tuple
)
values = st.sampled_from([b"one", b"two", b"other"])
puts = st.builds(Put, keys, values, conditions=conditions)
writes = st.one_of(puts, st.builds(Delete, keys, conditions))
checks = st.builds(
    Check, keys, conditions, begins=st.none() | st.sampled_from([b"o", b"t", b""])
)
groups = st.builds(
    Group,
    st.lists(checks, max_size=2).map(tuple),
    st.lists(writes, max_size=3).map(tuple),
)
operations: st.SearchStrategy[Operation] = st.one_of(
    groups, writes, st.builds(Get, keys)
)
batches = st.lists(st.lists(operations, min_size=1, max_size=5), max_size=6)


@given(batches, st.booleans())
def test_a_group_is_one_record_or_nothing(
    found: list[list[Operation]], promises: bool
) -> None:
    """Judged by a plain model: an answer, and what is there, are the model's."""
    desk = Desk().ready()
    model: dict[bytes, tuple[int, bytes]] = {}
    for number, batch in enumerate(found):
        key = f"k{number}" if promises else None
        outcomes = desk.done(*batch, key=key)
        for operation, outcome in zip(batch, outcomes, strict=True):
            if isinstance(operation, Group):
                judge(model, operation, outcome)
            else:
                alone(model, operation, outcome)
        there = {k: (e.version, e.value) for k, e in desk.map.entries.items()}
        assert there == model
        if promises:
            desk.crash()
            desk.sync()
            assert desk.done(*batch, key=key) == outcomes, "another answer"


def judge(
    model: dict[bytes, tuple[int, bytes]], group: Group, outcome: Outcome
) -> None:
    """Compare what became of a group with what must have; and do it.

    Args:
        model: what is there.
        group: was asked for.
        outcome: its answer.
    """
    written = [write.key for write in group.writes]
    if len(frozenset(written)) < len(written):
        assert (outcome.error, outcome.which) == ("unprocessable", None)
        return
    for which, each in enumerate((*group.checks, *group.writes)):
        if not holds(model, each):
            version, _ = model.get(each.key, (None, None))
            said = (outcome.error, outcome.which, outcome.version)
            assert said == ("precondition-failed", which, version)
            return
    assert (outcome.error, outcome.which) == (None, None)
    changes = [w for w in group.writes if isinstance(w, Put) or w.key in model]
    assert (outcome.version is not None) == bool(changes)
    for write in changes:
        model.pop(write.key, None)
        if isinstance(write, Put):
            assert outcome.version is not None
            model[write.key] = (outcome.version, write.value)


def holds(model: dict[bytes, tuple[int, bytes]], each: Check | Put | Delete) -> bool:
    """Tell whether what must hold of a key does.

    Args:
        model: what is there.
        each: what must hold.
    """
    version, value = model.get(each.key, (None, None))
    begins = each.begins if isinstance(each, Check) else None
    if begins is not None and (value is None or not value.startswith(begins)):
        return False
    return all(condition.holds(version) for condition in each.conditions)


def alone(
    model: dict[bytes, tuple[int, bytes]], operation: Operation, outcome: Outcome
) -> None:
    """Compare a single operation, and do it.

    Args:
        model: what is there.
        operation: was asked for.
        outcome: its answer.
    """
    assert not isinstance(operation, Group)
    version, _ = model.get(operation.key, (None, None))
    if isinstance(operation, Get):
        assert outcome.version == version
        return
    if not all(each.holds(version) for each in operation.conditions):
        assert (outcome.error, outcome.version) == ("precondition-failed", version)
        return
    model.pop(operation.key, None)
    if isinstance(operation, Put):
        assert outcome.version is not None
        model[operation.key] = (outcome.version, operation.value)


@given(st.lists(operations, max_size=12), st.booleans())
def test_a_batch_is_split_between_groups_and_never_in_one(
    found: list[Operation], answered: bool
) -> None:
    """In order, whole, and with no key twice in what becomes one record."""
    parts = split(found, answered)
    assert [each for part in parts for each in part] == found
    for part in parts:
        seen: set[bytes] = set()
        for operation in part:
            if isinstance(operation, Get):
                continue
            assert seen.isdisjoint(keys_of(operation))
            written = operation.writes if isinstance(operation, Group) else [operation]
            seen.update(write.key for write in written)


def test_a_group_is_never_split_for_its_weight() -> None:
    """However much it is, it is one part, and other things are in others."""
    large = tuple(Put(b"%d" % n, bytes(PART_BYTES_MAX // 2)) for n in range(5))
    group = Group((Check(b"c"),), large)
    assert weight_of(group) > 2 * PART_BYTES_MAX
    put = Put(A, b"")
    assert split([put, group, put], answered=False) == [(put,), (group,), (put,)]


def test_a_group_is_in_one_record() -> None:
    """All its keys have the record's seq for their version."""
    desk = Desk().ready()
    desk.done(Put(C, b""))
    before = len(desk.log)
    (outcome,) = desk.done(Group((), (Put(A, b"1"), Put(B, b"2"), Delete(C))))
    assert desk.map.version(A) == desk.map.version(B) == outcome.version
    assert desk.map.version(C) is None
    assert len(desk.log) == before + 1


def test_a_refusal_says_which() -> None:
    """Checks first, then writes; and at which version the key is."""
    desk = Desk().ready()
    (made,) = desk.done(Put(A, b"abc"))
    put = Put(B, b"")
    refusals = {
        Group((Check(A, (ABSENT,)),), (put,)): (0, made.version),
        Group((Check(A), Check(A, begins=b"b")), (put,)): (1, made.version),
        Group((Check(A), Check(B, begins=b"")), (put,)): (1, None),
        Group((Check(A),), (Put(B, b"", conditions=at(1)),)): (1, None),
        Group((), (put, Delete(A, at(99)))): (1, made.version),
    }
    for group, expected in refusals.items():
        (outcome,) = desk.done(group)
        assert (outcome.which, outcome.version) == expected
        assert desk.map.version(B) is None
    (done,) = desk.done(Group((Check(A, at(made.version or 0), b"ab"),), (put,)))
    assert done.error is None


@pytest.mark.parametrize("size", [0, 1])
def test_a_group_that_changes_nothing_has_no_version(size: int) -> None:
    """Neither has one without writes; its checks are answered all the same."""
    desk = Desk().ready()
    before = len(desk.log)
    group = Group((Check(A, (ABSENT,)),), (Delete(A),) * size)
    assert desk.done(group) == [Outcome()]
    assert len(desk.log) == before


def test_what_expires_in_a_group_is_known() -> None:
    """So that the primary looks after it."""
    assert expires(Group((), (Put(A, b"", ttl_s=1.0),)))
    assert not expires(Group((), (Put(A, b""),)))
    desk = Desk().ready()
    desk.done(Group((), (Put(A, b"", ttl_s=1.0),)))
    desk.pass_time(5.0)
    desk.sync()
    assert desk.map.version(A) is None
