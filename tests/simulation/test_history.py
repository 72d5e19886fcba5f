"""The checker of histories: what it lets pass, and what it finds."""

from math import inf
from random import Random

import pytest

from tests.simulation.history import (
    History,
    HistoryError,
    check_order,
    check_sessions,
)
from tests.simulation.linearizability import Op, Search, linearizable
from torua.core.kv import Condition, Delete, Entry, Get, Outcome, Put, Single

K = b"k"
ABSENT = (Condition(None, False),)
DELETED = Outcome()


def put(
    start: float, end: float, value: bytes, version: int | None, at: int = -1
) -> Op:
    """Note a write, conditional on version ``at`` where one is given.

    Args:
        start: when.
        end: when it was answered.
        value: what was written.
        version: the answer; None for an unknown one.
        at: the version that is meant; 0 for an absent key.
    """
    conditions = () if at < 0 else (Condition((at,), True),) if at else ABSENT
    operation = Put(K, value, conditions=conditions)
    if version is None:
        return Op("c", operation, start)
    return Op("c", operation, start, end, Outcome(version=version))


def failed(start: float, end: float, at: int, found: int | None) -> Op:
    """Note a conditional write that was refused.

    Args:
        start: when.
        end: when it was answered.
        at: the version that was meant; 0 for an absent key.
        found: the version that the key was at.
    """
    operation = Put(K, b"no", conditions=(Condition((at,), True),) if at else ABSENT)
    answer = Outcome(version=found, error="precondition-failed")
    return Op("c", operation, start, end, answer)


def get(start: float, end: float, value: bytes | None, version: int = 0) -> Op:
    """Note a read.

    Args:
        start: when.
        end: when it was answered.
        value: what was found; None for nothing.
        version: of it.
    """
    if value is None:
        return Op("c", Get(K), start, end, Outcome())
    entry = Entry(K, version, len(value), value=value)
    return Op("c", Get(K), start, end, Outcome(version=version, entry=entry))


def delete(start: float, end: float, known: bool = True) -> Op:
    """Note a removal.

    Args:
        start: when.
        end: when it was answered.
        known: whether its outcome is.
    """
    outcome = DELETED if known else None
    return Op("c", Delete(K), start, end if known else inf, outcome)


GOOD = {
    "one after the other": [put(0, 1, b"a", 1), get(2, 3, b"a", 1)],
    "a read beside a write, new": [put(0, 9, b"a", 1), get(2, 3, b"a", 1)],
    "a read beside a write, old": [put(0, 9, b"a", 1), get(2, 3, None)],
    "an unknown write that happened": [put(0, 1, b"a", None), get(2, 3, b"a", 4)],
    "an unknown write that did not": [put(0, 1, b"a", None), get(2, 3, None)],
    "an unknown write that happened late": [
        put(0, 1, b"a", None),
        get(2, 3, None),
        get(4, 5, b"a", 4),
    ],
    "a conditional write": [put(0, 1, b"a", 1), put(2, 3, b"b", 2, at=1)],
    "a refused one": [put(0, 1, b"a", 1), failed(2, 3, 7, 1), failed(4, 5, 0, 1)],
    "a refusal that tells of an unknown write": [
        put(0, 1, b"a", None),
        failed(2, 3, 0, 3),
        get(4, 5, b"a", 3),
    ],
    "a refusal that only an unseen write explains": [
        put(0, 1, b"a", None),
        failed(2, 3, 0, 3),
        put(4, 5, b"b", 4),
    ],
    "writes of unknown outcome, each upon the last": [
        put(0, 1, b"a", 1),
        delete(2, 3, False),
        put(4, 5, b"b", None, at=0),
        failed(6, 7, 0, 4),
        put(8, 9, b"c", None, at=4),
        get(10, 11, b"c", 6),
    ],
    "a delete": [put(0, 1, b"a", 1), delete(2, 3), get(4, 5, None)],
    "an unknown delete": [put(0, 1, b"a", 1), delete(2, 3, False), get(4, 5, None)],
    "writes beside each other": [
        put(0, 9, b"b", 2),
        put(0, 9, b"a", 1),
        get(1, 8, b"a", 1),
        get(10, 11, b"b", 2),
    ],
}

BAD = {
    "a lost write": [put(0, 1, b"a", 1), get(2, 3, None)],
    "a stale read": [
        put(0, 1, b"a", 1),
        put(2, 3, b"b", 2),
        get(4, 5, b"a", 1),
    ],
    "a dirty read": [
        put(0, 1, b"a", None),
        get(2, 3, b"a", 1),
        get(4, 5, None),
    ],
    "a read of the future": [get(0, 1, b"a", 1), put(2, 3, b"a", 1)],
    "reads that disagree on the order": [
        put(0, 9, b"a", 1),
        get(1, 2, b"a", 1),
        get(3, 4, None),
    ],
    "two that won": [
        put(0, 9, b"a", 1, at=0),
        put(0, 9, b"b", 2, at=0),
    ],
    "a write upon a version that is gone": [
        put(0, 1, b"a", 1),
        put(2, 3, b"b", 2),
        put(4, 5, b"c", 3, at=1),
    ],
    "a refusal that nothing explains": [put(0, 1, b"a", 1), failed(2, 3, 0, 2)],
    "a refusal although the condition held": [
        put(0, 1, b"a", 1),
        failed(2, 3, 1, 1),
    ],
    "an undone delete": [put(0, 1, b"a", 1), delete(2, 3), get(4, 5, b"a", 1)],
    "a version given twice": [put(0, 1, b"a", 1), put(2, 3, b"b", 1)],
    "an unknown write that happened before it was asked": [
        get(0, 1, b"a", 1),
        put(2, 3, b"a", None),
    ],
    "an unknown write that happened twice": [
        put(0, 1, b"a", None),
        get(2, 3, b"a", 1),
        put(4, 5, b"b", 2),
        get(6, 7, b"a", 3),
    ],
}


@pytest.mark.parametrize("ops", GOOD.values(), ids=GOOD)
def test_what_one_copy_may_show_passes(ops: list[Op]) -> None:
    """Each of these has an order."""
    assert linearizable(ops)


@pytest.mark.parametrize("ops", BAD.values(), ids=BAD)
def test_what_no_copy_can_show_is_found(ops: list[Op]) -> None:
    """None of these has."""
    assert not linearizable(ops)


def played(seed: int, count: int, unknown: float = 0.1) -> list[Op]:
    """Play clients against one true key, eight at a time.

    Args:
        seed: of chance.
        count: how many operations.
        unknown: the share of answers that are lost.
    """
    dice = Random(seed)
    version, value = 0, b""
    ops = []
    for seq, number in enumerate(range(count), 1):
        at = number / 4
        start, end = at - dice.uniform(0, 2), at + dice.uniform(0, 2)
        roll = dice.random()
        text = b"%d" % number
        if roll < 0.4:
            ops.append(get(start, end, value if version else None, version))
        elif roll < 0.5:
            known = dice.random() > unknown
            version = 0 if known or dice.random() < 0.5 else version
            ops.append(delete(start, end, known))
        elif dice.random() < 0.3 and version:
            ops.append(failed(start, end, version + 1, version))
        elif dice.random() < unknown:
            if dice.random() < 0.5:
                version, value = seq, text
            ops.append(put(start, end, text, None))
        else:
            at_version = version if dice.random() < 0.5 else -1
            ops.append(put(start, end, text, seq, at=at_version))
            version, value = seq, text
    return ops


@pytest.mark.parametrize("seed", range(5))
def test_long_good_histories_pass_in_few_steps(seed: int) -> None:
    """Five hundred operations of eight clients, a tenth of them of unknown outcome."""
    search = Search(played(seed, 500))
    assert search.run()
    assert len(search._been) < 100 * 500


@pytest.mark.parametrize("seed", range(2))
def test_a_lie_in_a_long_history_is_found(seed: int) -> None:
    """One read that goes back by some writes has no place."""
    ops = played(seed, 300)
    writes = [op for op in ops[:200] if isinstance(op.operation, Put)]
    known = [op for op in writes if op.outcome and not op.failed]
    lie = known[20]
    assert isinstance(lie.operation, Put)
    assert lie.outcome is not None
    ops.append(get(70, 71, lie.operation.value, lie.outcome.version or 0))
    assert not linearizable(ops)


def test_attempts_of_one_request_are_one_operation() -> None:
    """A request that was tried twice happened once, and has one answer (R11)."""
    history = History()
    operations: tuple[Single, ...] = (Put(K, b"a"),)
    request = history.begin("c", operations, 0.0)
    request.attempted()
    request.attempted()
    request.refused()
    assert len(request.ops()) == 1
    assert request.ops()[0].outcome is None
    request.answered((Outcome(version=3),), 4.0)
    assert [(op.start, op.end) for op in request.ops()] == [(0.0, 4.0)]
    with pytest.raises(HistoryError, match="R11"):
        request.answered((Outcome(version=5),), 6.0)


def test_what_was_refused_did_not_happen() -> None:
    """A request none of whose attempts was begun is no operation."""
    request = History().begin("c", (Put(K, b"a"),), 0.0)
    request.attempted()
    request.refused()
    assert request.ops() == []


def test_a_session_that_goes_back_is_found() -> None:
    """A client that saw version 5 does not see version 4 (R10)."""
    check_sessions(K, [get(0, 1, b"b", 4), get(2, 3, b"a", 5)])
    with pytest.raises(HistoryError, match="R10"):
        check_sessions(K, [get(0, 1, b"b", 5), get(2, 3, b"a", 4)])


def test_seqs_that_contradict_time_are_found() -> None:
    """What was acknowledged before another write began has the lower seq (R9)."""
    check_order([put(0, 3, b"a", 5), put(2, 4, b"b", 4)])
    with pytest.raises(HistoryError, match="R9"):
        check_order([put(0, 1, b"a", 5), put(2, 4, b"b", 4)])


def test_a_history_is_checked_by_key() -> None:
    """Keys do not disturb each other; the one that is wrong is named."""
    history = History()
    for key, seen in ((b"a", 1), (b"b", 0)):
        write = history.begin("c", (Put(key, b"v"),), 0.0)
        write.attempted()
        write.answered((Outcome(version=1),), 1.0)
        read = history.begin("c", (Get(key),), 2.0)
        read.attempted()
        entry = Entry(key, 1, 1, value=b"v") if seen else None
        read.answered((Outcome(version=seen or None, entry=entry),), 3.0)
    with pytest.raises(HistoryError, match="b'b' has no order"):
        history.check()
