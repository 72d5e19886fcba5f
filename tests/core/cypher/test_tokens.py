"""Tokens stand where the engine sees them, or the text is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.core.cypher.tokens import (
    DEPTH_MAX,
    TEXT_BYTES_MAX,
    Token,
    TokenKind,
    string_value,
    tokenize,
    without_comments,
)
from torua.errors import MalformedError, TooLargeError

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
STRINGS = st.text(
    st.characters(exclude_characters="\0\\'\"`", codec="utf-8"), max_size=8
)
PIECES = st.one_of(
    NAMES,
    STRINGS.map(lambda text: f"'{text}'"),
    STRINGS.map(lambda text: f'"{text}"'),
    STRINGS.filter(bool).map(lambda text: f"`{text}`"),
    st.integers(0, 10**20).map(str),
    st.from_regex(r"[0-9]{0,3}\.[0-9]{1,3}(e-?[0-9]{1,2})?", fullmatch=True),
    NAMES.map(lambda name: f"${name}"),
    st.sampled_from(["<=", ">=", "<>", "=~", "..", "+", "=", ",", ":", "|", "%", "*"]),
)
GAPS = st.sampled_from([" ", "\n", "\t ", " /* a * b */ ", " // c\n", " /***/ "])


def texts(text: str) -> list[str]:
    """Return the texts of all tokens."""
    return [token.text for token in tokenize(text)[:-1]]


def only(text: str) -> Token:
    """Return the only token."""
    token, end = tokenize(text)
    assert end.kind is TokenKind.END
    return token


@given(st.lists(st.tuples(PIECES, GAPS)))
def test_what_is_written_with_gaps_is_read_back(parts: list[tuple[str, str]]) -> None:
    """Tokens with anything between them are those tokens, at their places."""
    text = "".join(piece + gap for piece, gap in parts)
    tokens = tokenize(text)
    assert [token.text for token in tokens[:-1]] == [piece for piece, _ in parts]
    assert all(text[token.start : token.end] == token.text for token in tokens)


@given(st.lists(st.tuples(PIECES, GAPS)))
def test_without_comments_are_the_same_tokens(parts: list[tuple[str, str]]) -> None:
    """Comments divide tokens, and are nothing else."""
    text = "".join(piece + gap for piece, gap in parts)
    bare = without_comments(text, tokenize(text))
    assert texts(bare) == texts(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but the expected error comes of any text."""
    try:
        tokens = tokenize(text)
    except MalformedError:
        return
    assert tokens[-1].kind is TokenKind.END


@pytest.mark.parametrize(
    "text",
    [
        "'a''b'",
        "'a",
        '"a',
        "``",
        "`a",
        "/* a",
        "007",
        "1x",
        "1$p",
        "'\\q'",
        "$",
        "$`a`",
        "(",
        ")",
        "(]",
        "a \0",
        "'\0'",
        "a \u2013 b",
        "?",
        "a²",
        "\ud800",
    ],
)
def test_what_lexers_may_read_differently_is_refused(text: str) -> None:
    """The engine's lexer and ours need not agree on these, so nobody reads them."""
    with pytest.raises(MalformedError):
        tokenize(text)


def test_an_error_names_line_and_column() -> None:
    """A person finds the place."""
    with pytest.raises(MalformedError, match="line 2, column 8"):
        tokenize("MATCH (n)\nRETURN 'x")


def test_ranges_are_no_numbers() -> None:
    """Two dots keep numbers apart."""
    assert texts("*1..3") == ["*", "1", "..", "3"]
    assert texts("[..-.5]") == ["[", "..", "-", ".5", "]"]


def test_keywords_are_compared_without_case_and_quotes_prevent_it() -> None:
    """A name in backticks is no keyword."""
    assert only("maTch").word == "MATCH"
    assert only("`match`").word == ""
    assert only("`a``b`").name == "a`b"
    assert only("$p1").name == "p1"


def test_strings_are_read_where_their_escapes_are_plain() -> None:
    """Other escapes are the engine's to read."""
    assert string_value(only(r"'a\'b\\n\n'")) == "a'b\\n\n"
    assert string_value(only(r"'\u0041'")) is None


def test_length_and_depth_are_bounded() -> None:
    """Neither a long nor a deep statement takes long."""
    with pytest.raises(TooLargeError):
        tokenize("x" * (TEXT_BYTES_MAX + 1))
    with pytest.raises(TooLargeError):
        tokenize("'" + "é" * (TEXT_BYTES_MAX // 2) + "'")
    tokenize("(" * DEPTH_MAX + ")" * DEPTH_MAX)
    with pytest.raises(MalformedError, match="deep"):
        tokenize("(" * (DEPTH_MAX + 1) + ")" * (DEPTH_MAX + 1))
