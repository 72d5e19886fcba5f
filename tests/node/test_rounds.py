"""Tests for `torua.node.rounds`: columns of writes, and what is made of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from torua.codec.plain import decode, encode, plain, shape
from torua.core.ids import ShardId
from torua.core.kv import Condition, Delete, IdempotencyKey, Put
from torua.errors import ProtocolError
from torua.node.rounds import Bundle, Wanted, Write, runs_of, writes_of

GOOD = Wanted(1, 1, 1, [ShardId(1)] * 2, [b"a", b"b"], [b"", b""], ["t"], {}, {})
KEYS = st.binary(min_size=1, max_size=9)
CONDITIONS = st.sampled_from([(), (Condition(None, match=True),)])
TYPES = st.sampled_from(["a/b", "c/d"])
LIVES = st.none() | st.floats(1, 9)
PUTS = st.builds(Put, KEYS, st.binary(max_size=9), TYPES, LIVES, CONDITIONS)
WRITES: st.SearchStrategy[Write] = PUTS | st.builds(Delete, KEYS, CONDITIONS)
PROMISES = st.none() | st.builds(IdempotencyKey, st.text(max_size=3), st.binary())


@given(st.lists(st.tuples(st.integers(0, 3), WRITES, PROMISES), max_size=9))
def test_what_is_gathered_is_what_is_read(
    asked: list[tuple[int, Write, IdempotencyKey | None]],
) -> None:
    """Whatever the writes say, and by the bytes that go over the wire."""
    bundle = Bundle()
    for shard, write, promise in asked:
        bundle.add((ShardId(shard), write, promise))
    wanted = shape(decode(encode(plain(bundle.wanted(5, 6, 7)))), Wanted)
    assert writes_of(wanted) == [write for _, write, _ in asked]
    assert wanted.shards == [shard for shard, _, _ in asked]
    assert [wanted.promises.get(n) for n in range(len(asked))] == [
        promise for _, _, promise in asked
    ]


@given(st.lists(st.tuples(st.integers(0, 3), WRITES, PROMISES), max_size=9))
def test_runs_are_all_that_is_asked_in_the_order_of_each_shard(
    asked: list[tuple[int, Write, IdempotencyKey | None]],
) -> None:
    """Who made a promise or conditions is alone; no two runs could be one."""
    runs = list(runs_of((ShardId(n), write, kept) for n, write, kept in asked))
    for shard in range(4):
        mine = [n for n, each in enumerate(asked) if each[0] == shard]
        of_shard = [run for run in runs if run[0] == shard]
        assert [place for run in of_shard for place in run[2]] == mine
        open_ = [not (run[1] or run[3][0].conditions) for run in of_shard]
        assert not any(a and b for a, b in pairwise(open_))
    for _, promise, places, writes in runs:
        assert writes == [asked[place][1] for place in places]
        assert {asked[place][2] for place in places} == {promise}
        alone = promise is not None or any(write.conditions for write in writes)
        assert not alone or len(places) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"shards": [1]},
        {"keys": [b"a"]},
        {"values": [b""]},
        {"types": ["t", "t", "t"]},
        {"unusual": {2: Delete(b"x")}},
        {"unusual": {-1: Delete(b"x")}},
    ],
)
def test_columns_that_differ_are_no_message(wrong: dict[str, object]) -> None:
    """Nor is a write that has no place among them."""
    assert len(writes_of(GOOD)) == 2
    with pytest.raises(ProtocolError):
        writes_of(structs.replace(GOOD, **wrong))
