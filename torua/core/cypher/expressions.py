"""The few expressions that the planner understands; of all others it knows nothing.

It understands what compares one property of one variable with a value that does not
depend on any row: ``v.name = $p``, ``5 < v.age``, ``v.id IN [1, 2]``, ``v.name IS
NULL``, ``v.name STARTS WITH 'a'``. None of them can fail where the engine's whole
statement would not look at the row, for they only compare.
"""

from collections.abc import Sequence

from msgspec import Struct

from torua.core.cypher.plan import Field, Literal, Parameter, Source
from torua.core.cypher.syntax import Span, Statement
from torua.core.cypher.tokens import Token, TokenKind, string_value, words

INT64_MAX = (1 << 63) - 1
"""Beyond it the engine has other types for literals, and we do not follow."""

_CONSTANTS: dict[str, object] = {"TRUE": True, "FALSE": False, "NULL": None}
_TURNED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_DIVIDERS = words("OR XOR CASE")


class Comparison(Struct, frozen=True):
    """One property against one value.

    Attributes:
        variable: folded.
        name: of the property, as written.
        operator: ``=``, ``<`` and so on, ``IN``, ``IS NULL``, ``STARTS WITH`` …
        value: what it is compared with; None with IS NULL and IS NOT NULL.
        text: the comparison without its variable and dot, to be put after others.
    """

    variable: str
    name: str
    operator: str
    value: Source | None
    text: str


def conjuncts(statement: Statement, span: Span) -> tuple[Span, ...]:
    """Split a condition into parts that must all hold; in doubt it is one part.

    Args:
        statement: whose tokens they are.
        span: the condition.
    """
    tokens, closing = statement.tokens, statement.closing
    while tokens[span.start].word == "(" and closing[span.start] == span.stop - 1:
        span = Span(span.start + 1, span.stop - 1)
    parts: list[Span] = []
    place = start = span.start
    while place < span.stop:
        if tokens[place].word in _DIVIDERS and tokens[place - 1].word != ".":
            return (span,)
        if tokens[place].word == "AND" and tokens[place - 1].word != ".":
            parts.append(Span(start, place))
            start = place + 1
        place = closing.get(place, place) + 1
    if not parts:
        return (span,)
    parts.append(Span(start, span.stop))
    return tuple(each for part in parts for each in _inner(statement, part))


def _inner(statement: Statement, span: Span) -> tuple[Span, ...]:
    """Split a part that is all in brackets once more."""
    bracketed = statement.tokens[span.start].word == "("
    if bracketed and statement.closing[span.start] == span.stop - 1:
        return conjuncts(statement, span)
    return (span,)


def source(statement: Statement, span: Span, row: str = "") -> Source | None:
    """Read a value that is a literal, a parameter, or a field of a row.

    Args:
        statement: whose tokens they are.
        span: the expression.
        row: the folded variable of the row; empty if there is none.

    Returns:
        Where the value comes from; None if it is anything else.
    """
    tokens = statement.tokens[span.start : span.stop]
    if not tokens:
        return None
    if tokens[0].word == "[" and statement.closing[span.start] == span.stop - 1:
        return _list(tokens[1:-1])
    if len(tokens) == 1 or tokens[0].word == "-":
        found = _scalar(tokens)
        if found is not None:
            return found
    path = _path(tokens[1:])
    return None if path is None else _named(tokens[0], path, row)


def _named(token: Token, path: tuple[str, ...], row: str) -> Source | None:
    """Read a parameter or the row, and what is taken of it."""
    if token.kind is TokenKind.PARAMETER:
        return Parameter(token.name, path)
    if row and token.is_name and token.name.lower() == row:
        return Field(path)
    return None


def _path(tokens: Sequence[Token]) -> tuple[str, ...] | None:
    """Read ``.a.b``; None if it is something else."""
    if len(tokens) % 2:
        return None
    dots, names = tokens[::2], tokens[1::2]
    if any(dot.word != "." for dot in dots) or not all(one.is_name for one in names):
        return None
    return tuple(one.name for one in names)


def _scalar(tokens: Sequence[Token]) -> Literal | None:
    """Read a literal that is no list."""
    sign = -1 if tokens[0].word == "-" else 1
    token = tokens[-1]
    if len(tokens) != (2 if sign < 0 else 1):
        return None
    if token.kind is TokenKind.INTEGER:
        number = int(token.text) if len(token.text) < 20 else INT64_MAX + 1
        return Literal(sign * number) if number <= INT64_MAX else None
    if token.kind is TokenKind.FLOAT:
        return Literal(sign * float(token.text))
    if sign < 0:
        return None
    if token.kind is TokenKind.STRING:
        text = string_value(token)
        return None if text is None else Literal(text)
    return Literal(_CONSTANTS[token.word]) if token.word in _CONSTANTS else None


def _list(tokens: Sequence[Token]) -> Literal | None:
    """Read the inside of a list of literals; an empty one is for the engine."""
    items: list[list[Token]] = [[]]
    for token in tokens:
        if token.word == ",":
            items.append([])
        else:
            items[-1].append(token)
    values = [_scalar(item) if item else None for item in items]
    if any(value is None for value in values):
        return None
    return Literal([value.value for value in values if value is not None])


def comparison(statement: Statement, span: Span, row: str = "") -> Comparison | None:
    """Read a comparison; None if it is any other expression.

    Args:
        statement: whose tokens they are.
        span: the expression.
        row: the folded variable of the row; empty if there is none.
    """
    tokens = statement.tokens
    owned = row and tokens[span.start].name.lower() == row
    if _is_property(tokens, span.start) and span.stop - span.start > 3 and not owned:
        return _forward(statement, span, row)
    turned = span.stop - 4
    if turned > span.start and _is_property(tokens, span.stop - 3):
        operator = tokens[turned].word
        value = source(statement, Span(span.start, turned), row)
        if operator in _TURNED and value is not None:
            where = Span(span.start, turned)
            text = f"{_TURNED[operator]} {written(tokens, where)}"
            return _made(tokens, span.stop - 3, _TURNED[operator], value, text)
    return None


def _forward(statement: Statement, span: Span, row: str) -> Comparison | None:
    """Read ``v.name operator value``."""
    tokens, start = statement.tokens, span.start + 3
    ahead = [token.word for token in tokens[start : span.stop]]
    rest = written(tokens, Span(start, span.stop))
    if ahead in (["IS", "NULL"], ["IS", "NOT", "NULL"]):
        return _made(tokens, span.start, " ".join(ahead), None, rest)
    width = 2 if ahead[0] in ("STARTS", "ENDS") and ahead[1:2] == ["WITH"] else 1
    operator = " ".join(ahead[:width])
    if operator not in {*_TURNED, "IN", "STARTS WITH", "ENDS WITH", "CONTAINS"}:
        return None
    value = source(statement, Span(start + width, span.stop), row)
    if value is None:
        return None
    return _made(tokens, span.start, operator, value, rest)


def _made(
    tokens: Sequence[Token], place: int, operator: str, value: Source | None, rest: str
) -> Comparison:
    """Make a comparison of the property at ``place``."""
    variable, name = tokens[place], tokens[place + 2]
    text = f"{name.text} {rest}"
    return Comparison(variable.name.lower(), name.name, operator, value, text)


def _is_property(tokens: Sequence[Token], place: int) -> bool:
    """Tell whether ``v.name`` stands there, and no longer path."""
    variable, dot, name, after = tokens[place : place + 4]
    return (
        variable.is_name
        and dot.word == "."
        and name.is_name
        and after.word not in (".", "[", "(")
        and tokens[place - 1].word != "."
    )


def written(tokens: Sequence[Token], span: Span) -> str:
    """Write an expression down again, or several with commas.

    The engine takes no blank before the commas of an ORDER BY.

    Args:
        tokens: of the statement.
        span: the expression.
    """
    texts = [token.text for token in tokens[span.start : span.stop]]
    return "".join(
        text if not place or text == "," else f" {text}"
        for place, text in enumerate(texts)
    )
