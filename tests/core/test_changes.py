"""Tests for `torua.core.changes`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.changes import (
    CURSOR_CHARS_MAX,
    Change,
    Mark,
    changes_of,
    mark_of,
    read_cursor,
    spell_cursor,
)
from torua.core.graph.keys import is_graph_key
from torua.core.ids import ShardId
from torua.core.records import Effect, KvDelete, KvPut, Record
from torua.errors import MalformedError

SHARD = ShardId(0)
KEYS = st.sampled_from([b"a", b"ab", b"b", b"\xffn"])
EFFECTS = st.one_of(
    st.builds(KvPut, KEYS, st.binary(max_size=3), st.just("text/plain")),
    st.builds(KvDelete, KEYS),
)
LOGS = st.lists(st.lists(EFFECTS, max_size=4), max_size=6)
MARKS = st.builds(
    Mark,
    st.text("0123456789abcdef", min_size=1, max_size=8),
    st.integers(0, 10**17),
    st.integers(0, 10_000),
)


def log_of(effects: list[list[Effect]]) -> list[Record]:
    """Make records of effects, from seq 1."""
    return [
        Record(SHARD, seq, 1, seq, tuple(each)) for seq, each in enumerate(effects, 1)
    ]


@given(LOGS, st.sampled_from([b"", b"a", b"b", b"c"]))
def test_a_feed_cut_after_any_change_goes_on_with_the_next(
    effects: list[list[Effect]], prefix: bytes
) -> None:
    """From the place behind each change, what follows is what would have followed."""
    records = log_of(effects)
    whole = changes_of(records, prefix, 0)
    for index, change in enumerate(whole):
        rest = changes_of(records[change.seq :], prefix, change.part)
        assert rest == whole[index + 1 :]


@given(LOGS)
def test_every_effect_is_one_change_in_order(effects: list[list[Effect]]) -> None:
    """But rows of graphs, nothing is left out, doubled or moved.

    Deletes have no value.
    """
    told = [(c.version, c.key, c.value) for c in changes_of(log_of(effects), b"", 0)]
    assert told == [
        (seq, effect.key, effect.value if isinstance(effect, KvPut) else None)
        for seq, each in enumerate(effects, 1)
        for effect in each
        if not is_graph_key(effect.key)
    ]


def test_a_prefix_leaves_out_other_keys_and_keeps_the_place() -> None:
    """A place is counted in effects, whoever asked for which."""
    put, other = KvPut(b"ab", b"1", "t"), KvPut(b"b", b"2", "t")
    (change,) = changes_of(log_of([[other, put, other]]), b"a", 0)
    assert change == Change(b"ab", 1, b"1", seq=0, part=2)


@given(st.dictionaries(st.integers(0, 4095).map(ShardId), MARKS, min_size=1))
def test_a_cursor_is_read_as_it_was_spelled(cursor: dict[ShardId, Mark]) -> None:
    """It survives a header, whatever is in it."""
    text = spell_cursor(cursor)
    assert text.isascii()
    assert " " not in text
    assert "\n" not in text
    if len(text) <= CURSOR_CHARS_MAX:
        assert read_cursor(text) == cursor


@given(st.text(max_size=40))
def test_anything_else_is_refused(text: str) -> None:
    """A cursor that was made up is malformed, and nothing worse."""
    try:
        read_cursor(text)
    except MalformedError:
        return
    assert text


@pytest.mark.parametrize("text", ["", "é", "!", "MC5oLjEuMA" * 4000, "MC5oLjE"])
def test_a_cursor_that_is_none_is_malformed(text: str) -> None:
    """Empty, not ASCII, not base64, too long, incomplete."""
    with pytest.raises(MalformedError):
        read_cursor(text)


def test_a_mark_knows_its_history_by_a_few_characters() -> None:
    """Cursors of many shards are to fit a header."""
    assert mark_of("0123456789abcdef", 7) == Mark("01234567", 7, 0)
