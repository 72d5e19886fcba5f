"""Tests for `torua.node.rounds`: columns of writes, and what is made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from torua.codec.plain import decode, encode, plain, shape
from torua.core.ids import ShardId
from torua.core.kv import Condition, Delete, IdempotencyKey, Put
from torua.errors import ProtocolError
from torua.node.rounds import Bundle, Wanted, Write, writes_of

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
        bundle.add(ShardId(shard), write, promise)
    wanted = shape(decode(encode(plain(bundle.wanted(5, 6, 7)))), Wanted)
    assert writes_of(wanted) == [write for _, write, _ in asked]
    assert wanted.shards == [shard for shard, _, _ in asked]
    assert [wanted.promises.get(n) for n in range(len(asked))] == [
        promise for _, _, promise in asked
    ]


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
