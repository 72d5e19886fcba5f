"""Tests for `torua.core.routing`."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.routing import even_slots, routing_key, shard_of, slot_of
from torua.core.state import SLOTS


@pytest.mark.parametrize(
    ("key", "part"),
    [
        (b"plain", b"plain"),
        (b"{user}:1", b"user"),
        (b"a{b}c{d}", b"b"),
        (b"{}x", b"{}x"),
        (b"{open", b"{open"),
        (b"}{t}", b"t"),
    ],
)
def test_a_tag_routes_in_place_of_its_key(key: bytes, part: bytes) -> None:
    """The first braces that hold something say where a key lives."""
    assert routing_key(key) == part


@given(st.binary(min_size=1, max_size=64), st.integers(1, SLOTS))
def test_every_key_has_one_slot_and_one_shard(key: bytes, shards: int) -> None:
    """The shard of a key is the one whose range its slot is in."""
    slots = even_slots(shards)
    (owner,) = [each for each in slots if each.first <= slot_of(key) <= each.last]
    assert shard_of(slots, key) == owner.shard


@given(st.integers(1, SLOTS))
def test_slots_are_shared_evenly_without_a_gap(shards: int) -> None:
    """Ranges follow each other from 0 to the end, and differ by one slot at most."""
    slots = even_slots(shards)
    ends = [-1, *(each.last for each in slots)]
    assert [each.first for each in slots] == [end + 1 for end in ends[:-1]]
    assert ends[-1] == SLOTS - 1
    assert len({each.last - each.first for each in slots}) <= 2


def test_a_thousand_keys_fall_on_all_shards() -> None:
    """The hash spreads keys that are alike: no shard has twice its share."""
    slots = even_slots(4)
    counts = Counter(shard_of(slots, b"key-%d" % number) for number in range(1000))
    assert len(counts) == 4
    assert max(counts.values()) < 500


def test_the_hash_is_the_same_for_ever() -> None:
    """Where a key lives is written into disks; the function must not change."""
    assert [slot_of(key) for key in (b"a", b"key-1", "ключ".encode())] == [
        2482,
        1440,
        66,
    ]
