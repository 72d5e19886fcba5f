"""Groups that limit how many keys may begin alike."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.replication.desk import DictMap
from torua.core.ids import ShardId
from torua.core.kv import Check, Delete, Group, Put
from torua.core.replication.batch import Draft
from torua.core.replication.tip import Position, Tip
from torua.errors import PreconditionError

KEYS = st.text("ab", min_size=1, max_size=3).map(str.encode)
WRITES = st.lists(
    st.one_of(KEYS.map(Delete), st.builds(Put, KEYS, st.just(b"v"))),
    unique_by=lambda write: write.key,
    max_size=6,
)
STEPS = st.lists(
    st.tuples(st.lists(st.tuples(KEYS, st.integers(0, 3)), max_size=2), WRITES),
    max_size=12,
)


def _after(there: set[bytes], group: Group) -> set[bytes]:
    """Return the keys that there are once a group is done."""
    made = {write.key for write in group.writes if isinstance(write, Put)}
    return there.difference(write.key for write in group.writes) | made


def _allowed(there: set[bytes], group: Group) -> bool:
    """Tell whether a group leaves no more keys than its checks allow."""
    after = _after(there, group)
    counts = (sum(key.startswith(c.key) for key in after) for c in group.checks)
    return all(n <= (c.most or 0) for n, c in zip(counts, group.checks, strict=True))


@given(steps=STEPS, committing=st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_group_is_done_where_few_enough_keys_begin_alike(
    steps: list[tuple[list[tuple[bytes, int]], list[Put | Delete]]],
    committing: list[bool],
) -> None:
    """What is in flight counts as what is committed does, and as the group itself."""
    view = DictMap()
    tip = Tip(view, Position())
    there: set[bytes] = set()
    for (limits, writes), commits in zip(steps, committing, strict=False):
        checks = tuple(Check(key, most=most) for key, most in limits)
        group = Group(checks, tuple(writes))
        draft = Draft(tip, 0)
        draft.judge(group)
        (outcome,) = draft.outcomes
        allowed = _allowed(there, group)
        assert (outcome.error is None) is allowed
        if allowed:
            there = _after(there, group)
        else:
            assert outcome.error == PreconditionError.code
            assert outcome.which is not None
            assert outcome.which < len(checks)
        record = draft.record(ShardId(0), 1, None)
        if record is not None:
            tip.append(record)
        if commits:
            for each in tip.commit(tip.seq):
                view.apply(each)
    assert set(tip.under(b"a", 99)) == {key for key in there if key[:1] == b"a"}


def test_groups_of_one_record_count_each_other() -> None:
    """The second of two groups in a record is judged by what the first one leaves."""
    draft = Draft(Tip(DictMap(), Position()), 0)
    for key in (b"a1", b"a2"):
        draft.judge(Group((Check(b"a", most=1),), (Put(key, b""),)))
    first, second = draft.outcomes
    assert first.error is None
    assert second.error == PreconditionError.code
    assert second.which == 0


def test_what_a_group_removes_makes_no_room_for_what_it_does_not() -> None:
    """Keys behind those that a group removes are counted."""
    tip = Tip(DictMap(), Position())
    draft = Draft(tip, 0)
    for key in (b"a1", b"a2", b"a3"):
        draft.judge(Put(key, b""))
    draft.judge(Group((Check(b"a", most=0),), (Delete(b"a1"), Delete(b"a2"))))
    record = draft.record(ShardId(0), 1, None)
    assert record is not None
    assert draft.outcomes[-1].error == PreconditionError.code
    tip.append(record)
    for most, removed in ((0, 2), (1, 2), (0, 3)):
        later = Draft(tip, 0)
        deletes = tuple(Delete(f"a{n}".encode()) for n in range(1, removed + 1))
        later.judge(Group((Check(b"a", most=most),), deletes))
        (outcome,) = later.outcomes
        assert (outcome.error is None) is (3 - removed <= most)
