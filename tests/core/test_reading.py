"""Tests for `torua.core.reading`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.ids import ShardId
from torua.core.reading import (
    TOKENS_MAX,
    Level,
    Position,
    Reading,
    Token,
    read_tokens,
    spell_tokens,
)
from torua.errors import MalformedError

TOKENS = st.builds(
    Token,
    st.integers(0, 4095).map(ShardId),
    st.builds(
        Position,
        st.text("0123456789abcdef", min_size=1, max_size=32),
        st.integers(0, 10**17),
    ),
)


def token(shard: int, seq: int, history: str = "h") -> Token:
    """Make a token.

    Args:
        shard: of which shard.
        seq: its place.
        history: and in which history.
    """
    return Token(ShardId(shard), Position(history, seq))


@given(TOKENS)
def test_a_token_is_read_as_it_was_spelled(token: Token) -> None:
    """It survives a header, whatever is in it."""
    text = spell_tokens([token])
    assert text.isascii()
    assert "," not in text
    assert read_tokens(text) == (token,)


def test_the_last_place_of_each_shard_and_history_stays() -> None:
    """A session sends all it has; what it saw last covers what it saw before."""
    text = spell_tokens([token(1, 5), token(2, 1), token(1, 7), token(1, 3, "old")])
    found = read_tokens(f" {text} , ")
    assert set(found) == {token(1, 7), token(2, 1), token(1, 3, "old")}


@pytest.mark.parametrize("text", ["x", "é", "MC5o", "a" * 300, "MC5oLg,MC5oLjE"])
def test_what_is_none_of_ours_is_malformed(text: str) -> None:
    """A token that was made up is refused, and nothing worse."""
    with pytest.raises(MalformedError):
        read_tokens(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_malformed(text: str) -> None:
    """No text raises anything else."""
    try:
        read_tokens(text)
    except MalformedError:
        return


def test_there_are_only_so_many_tokens() -> None:
    """More are refused when read, and none are spelled."""
    many = [token(shard, 1) for shard in range(TOKENS_MAX + 1)]
    assert spell_tokens(many) == ""
    text = ",".join(spell_tokens([each]) for each in many)
    with pytest.raises(MalformedError):
        read_tokens(text)


def test_a_reading_of_one_shard_keeps_that_shards_tokens() -> None:
    """Other shards' are not sent along."""
    reading = Reading(Level.SESSION, (token(1, 5), token(2, 6)))
    assert reading.of(ShardId(2)) == Reading(Level.SESSION, (token(2, 6),))
    assert reading.of(ShardId(3)) == Reading(Level.SESSION)
