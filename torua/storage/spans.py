"""Statements that return INTERVALs, spelled so that months are not lost.

The engine's Arrow, and its Python too, make 30 days of a month.  So a statement whose
answer has INTERVALs is run once more, in which they are cast to text:

    RETURN a.b, c AS d ORDER BY d
    WITH a.b AS tv_0, c AS d ORDER BY d LIMIT … RETURN CAST(tv_0 AS STRING) AS `a.b`, …

Lists and structs with INTERVALs inside stay as they are: the engine's casts of those
give wrong rows behind a LIMIT.
"""

from collections.abc import Sequence

from torua.core.cypher.parser import parse
from torua.core.cypher.syntax import Item, Projection, Statement
from torua.core.cypher.tokens import Token, TokenKind, tokenize
from torua.errors import ToruaError
from torua.storage.exchange import quote

_ALL = (1 << 63) - 1
_INTERVAL = "INTERVAL"


def casting(text: str, names: Sequence[str], kinds: Sequence[str]) -> str | None:
    """Spell a statement with its INTERVALs cast to text.

    Args:
        text: the statement; it changes nothing.
        names: of its answer's columns.
        kinds: their types, as the engine names them.

    Returns:
        The same statement, but for the types; None where that is not needed, or cannot
        be done (``RETURN *``, UNION, names that stand twice).
    """
    if _INTERVAL not in kinds or len(set(names)) < len(names):
        return None
    try:
        statement = parse(text, tokenize(text))
    except ToruaError:
        return None
    clauses = statement.branches[0]
    last = clauses[-1]
    if len(statement.branches) > 1 or not isinstance(last, Projection) or last.star:
        return None
    return _spelled(text, statement, last, list(zip(names, kinds, strict=True)))


def _spelled(
    text: str, statement: Statement, last: Projection, columns: list[tuple[str, str]]
) -> str:
    """Put a WITH for the RETURN, and another RETURN behind it."""
    tokens = statement.tokens
    place = last.items[0].expression.start - (2 if last.distinct else 1)
    items, shown = [], []
    for number, (item, (name, kind)) in enumerate(
        zip(last.items, columns, strict=True)
    ):
        expression, alias = _item(text, tokens, item, number)
        items.append(f"{expression} AS {alias}")
        value = f"CAST({alias} AS STRING)" if kind == _INTERVAL else alias
        shown.append(f"{value} AS {quote(name)}")
    end = last.items[-1]
    rest = tokens[end.expression.stop + (2 if end.alias is not None else 0)]
    tail = text[rest.start :].strip().rstrip(";")
    if last.order and last.limit is None:
        tail += f" LIMIT {_ALL}"
    distinct = "DISTINCT " if last.distinct else ""
    head = text[: tokens[place].start]
    return f"{head}WITH {distinct}{', '.join(items)} {tail} RETURN {', '.join(shown)}"


def _item(text: str, tokens: list[Token], item: Item, number: int) -> tuple[str, str]:
    """Return an item's expression, and the name that it goes by."""
    first, end = tokens[item.expression.start], tokens[item.expression.stop - 1]
    expression = text[first.start : end.end]
    if item.alias is not None:
        return expression, quote(item.alias)
    if first is end and first.kind in (TokenKind.NAME, TokenKind.QUOTED):
        return expression, expression
    return expression, f"tv_{number}"
