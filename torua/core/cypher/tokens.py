"""The lexis of Cypher, as the engine reads it: text to tokens, in one linear pass.

The engine's lexer is openCypher's with Kuzu's changes.  What a statement may do is
decided on these tokens and done by the engine, so the two must never disagree on where
a token, a string or a comment ends.  Wherever lexers are known to differ (``''`` inside
a string, ``007``, a name that touches a number, exotic dashes, spaces and currency
signs, NUL), the text is refused, with its position; `without_comments` gives
the engine a text in which no comment is left to disagree on (its own lexer does not see
the end of ``/***/``).

Names are compared without regard to case, as the engine does: use `Token.word`.
"""

import re
from enum import StrEnum

from msgspec import Struct

from torua.errors import MalformedError, TooLargeError

TEXT_BYTES_MAX = 64 << 10
"""A statement is read by people; data belongs in parameters."""

DEPTH_MAX = 100
"""Brackets in brackets; the engine's parser and ours recurse no deeper than this."""


class TokenKind(StrEnum):
    """What a token is.

    NAME: an identifier or a keyword; which of them, only its place tells.
    QUOTED: an identifier in backticks, never a keyword.
    END: stands once, after the last.
    """

    NAME = "name"
    QUOTED = "quoted identifier"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    PARAMETER = "parameter"
    SYMBOL = "symbol"
    END = "end of the statement"


class Token(Struct, frozen=True, gc=False):
    """One token.

    Attributes:
        kind: what it is.
        text: as it is written, quotes included.
        start: where it begins, in characters.
        word: of a NAME, the text in upper case; of a SYMBOL, the text; else empty, so
            that comparing it with a keyword or a symbol needs no look at the kind.
        name: what a NAME, QUOTED or PARAMETER names, without quotes or ``$``.
    """

    kind: TokenKind
    text: str
    start: int
    word: str = ""
    name: str = ""

    @property
    def end(self) -> int:
        """Where the next character after it stands."""
        return self.start + len(self.text)

    @property
    def is_name(self) -> bool:
        """Whether it can name a variable, a table or a property."""
        return self.kind in (TokenKind.NAME, TokenKind.QUOTED)


_PATTERN = re.compile(
    r"""
    (?P<space>   [ \t\n\v\f\r\x1c-\x1f\u00a0\u2000-\u200a\u2028\u2029]+
               | [\u202f\u205f\u3000]+
               | /\*.*?\*/ | //[^\r\n]*(?:\r?\n|\r?\Z) )
  | (?P<name>    [^\W\d][\w$]* )
  | (?P<quoted>  `(?:[^`]|``)+` )
  | (?P<string>  '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" )
  | (?P<float>   (?:\d*\.\d+|\d+)[eE]-?\d+ | \d*\.\d+ )
  | (?P<integer> \d+ )
  | (?P<parameter> \$(?:[^\W\d][\w$]*|\d+) )
  | (?P<symbol>  <= | >= | <> | != | =~ | \.\. | << | >>
               | [-+*%^=<>(){}\[\],:.;|&!] | /(?!\*) )
    """,
    re.VERBOSE | re.DOTALL,
)

_KINDS = {
    "name": TokenKind.NAME,
    "quoted": TokenKind.QUOTED,
    "string": TokenKind.STRING,
    "float": TokenKind.FLOAT,
    "integer": TokenKind.INTEGER,
    "parameter": TokenKind.PARAMETER,
    "symbol": TokenKind.SYMBOL,
}

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = re.compile(
    r"\\(?:([\\'\"bBfFnNrRtT])|[xX][0-9a-fA-F]{2}|[uU][0-9a-fA-F]{4}|(.))", re.DOTALL
)
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_NUMBERS = (TokenKind.INTEGER, TokenKind.FLOAT)


def tokenize(text: str) -> list[Token]:
    """Read all of a statement.

    Comments and spaces are left out; the last token's kind is END.

    Args:
        text: at most `TEXT_BYTES_MAX` bytes.

    Raises:
        TooLargeError: there is more of it than that.
        MalformedError: something in it is no token, brackets do not match, or are
            nested over `DEPTH_MAX` deep; it says where.
    """
    if len(text) > TEXT_BYTES_MAX or len(text.encode(errors="replace")) > (
        TEXT_BYTES_MAX
    ):
        raise TooLargeError(
            f"a statement may have {TEXT_BYTES_MAX} bytes; put data in parameters"
        )
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        found = _PATTERN.match(text, place)
        if found is None or "\0" in found[0]:
            raise _unreadable(text, place)
        group = found.lastgroup or ""
        if group != "space":
            tokens.append(_token(text, group, found[0], place))
            _check_neighbours(text, tokens)
        place = found.end()
    tokens.append(Token(TokenKind.END, "", len(text)))
    _check_brackets(text, tokens)
    return tokens


def without_comments(text: str, tokens: list[Token]) -> str:
    """Return the statement with each comment, and each other gap, made one space.

    Args:
        text: the statement.
        tokens: what `tokenize` made of it; a last ``;`` among them is left out.
    """
    parts: list[str] = []
    place = 0
    for token in tokens:
        if token.word == ";" or token.kind is TokenKind.END:
            break
        gap = text[place : token.start]
        parts.append(" " if "/" in gap else gap)
        parts.append(token.text)
        place = token.end
    return "".join(parts).strip()


def words(text: str) -> frozenset[str]:
    """Return the set of the words of ``text``, for lists of keywords."""
    return frozenset(text.split())


def string_value(token: Token) -> str | None:
    """Return what a STRING says; None where its escapes are the engine's to read.

    Args:
        token: a STRING.
    """
    body = token.text[1:-1]
    if "\\" not in body:
        return body
    if any(not found[1] for found in _ESCAPED.finditer(body)):
        return None
    return _ESCAPED.sub(
        lambda found: _ESCAPES.get(found[1].lower(), found[1]),
        body,
    )


def malformed(text: str, token: Token, expected: str) -> MalformedError:
    """Make the error that says where a statement can't be understood.

    Args:
        text: the statement.
        token: what stands there.
        expected: what should.
    """
    stands = token.text if token.text else "the end"
    return _error(text, token.start, f"expected {expected}, found {stands[:40]}")


def _error(text: str, place: int, what: str) -> MalformedError:
    """Make an error that names line and column."""
    line = text.count("\n", 0, place) + 1
    column = place - (text.rfind("\n", 0, place) + 1) + 1
    return MalformedError(f"line {line}, column {column}: {what}")


def _unreadable(text: str, place: int) -> MalformedError:
    """Say what is wrong where no token begins."""
    mark = text[place]
    if mark in "'\"":
        return _error(text, place, "this string has no end")
    if mark == "`":
        return _error(text, place, "this name in backticks is empty or has no end")
    if text.startswith("/*", place):
        return _error(text, place, "this comment has no end")
    if mark == "$":
        return _error(text, place, "a parameter's name, as in $name, is missing")
    return _error(text, place, f"{mark!a} means nothing here")


def _token(text: str, group: str, found: str, place: int) -> Token:
    """Make the token that was found."""
    kind = _KINDS[group]
    if kind is TokenKind.NAME:
        if not found.replace("$", "_").isidentifier():
            raise _error(text, place, f"{found[:40]!r} is no name without backticks")
        return Token(kind, found, place, found.upper(), found)
    if kind is TokenKind.SYMBOL:
        return Token(kind, found, place, found)
    if kind is TokenKind.QUOTED:
        return Token(kind, found, place, "", found[1:-1].replace("``", "`"))
    if kind is TokenKind.PARAMETER:
        return Token(kind, found, place, "", found[1:])
    if kind is TokenKind.STRING:
        _check_escapes(text, found, place)
    elif kind is TokenKind.INTEGER and found[0] == "0" and len(found) > 1:
        raise _error(text, place, "a number doesn't begin with 0")
    return Token(kind, found, place)


def _check_escapes(text: str, found: str, place: int) -> None:
    r"""Refuse escapes that the engine has not, as ``\q``."""
    if "\\" in found:
        for escape in _ESCAPED.finditer(found, 1, len(found) - 1):
            if escape[2] is not None:
                message = f"{escape[0]!r} is no escape; write \\\\ for a backslash"
                raise _error(text, place + escape.start(), message)


def _check_neighbours(text: str, tokens: list[Token]) -> None:
    """Refuse tokens that touch where lexers differ on what that means."""
    if len(tokens) < 2:
        return
    before, token = tokens[-2:]
    if before.end != token.start:
        return
    if before.kind is TokenKind.STRING and token.kind is TokenKind.STRING:
        raise _error(text, token.start, "write \\' for a quote inside a string")
    wordy = (TokenKind.NAME, TokenKind.PARAMETER, *_NUMBERS)
    if before.kind in _NUMBERS and token.kind in wordy:
        raise _error(text, token.start, "a space is missing after this number")


def _check_brackets(text: str, tokens: list[Token]) -> None:
    """Refuse brackets that do not match, or that are nested too deep."""
    stack: list[Token] = []
    for token in tokens:
        if token.word in ("(", "[", "{"):
            stack.append(token)
            if len(stack) > DEPTH_MAX:
                raise _error(text, token.start, f"nested over {DEPTH_MAX} deep")
        elif token.word in _CLOSERS and (
            not stack or stack.pop().word != _CLOSERS[token.word]
        ):
            raise _error(text, token.start, f"nothing opens this {token.word}")
    if stack:
        raise _error(text, stack[-1].start, f"nothing closes this {stack[-1].word}")
