"""Tests for `torua.core.merging`."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.kv import Entry, Page
from torua.core.merging import merge


def shard_page(keys: list[bytes], after: bytes, limit: int, most: int) -> Page:
    """List one shard as a copy does, which may stop short of the limit.

    Args:
        keys: all that the shard has, in order.
        after: list what comes after it.
        limit: what was asked for.
        most: what the shard gives at a time, 1 or more.
    """
    rest = [key for key in keys if key > after]
    kept = tuple(Entry(key, 1, 0) for key in rest[: min(limit, most)])
    return Page(kept, kept[-1].key if len(rest) > len(kept) else None)


@given(
    st.sets(st.binary(min_size=1, max_size=3)),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_paging_lists_every_key_once_and_in_order(
    keys: set[bytes], shards: int, most: int, limit: int
) -> None:
    """Following ``next`` to its end gives all keys of all shards, sorted."""
    held = [sorted(k for k in keys if sum(k) % shards == n) for n in range(shards)]
    listed: list[bytes] = []
    after: bytes | None = b""
    while after is not None:
        page = merge([shard_page(each, after, limit, most) for each in held], limit)
        assert len(page.items) <= limit
        listed += [item.key for item in page.items]
        after = page.next
    assert listed == sorted(keys)
