"""Statements that define a schema, as Kuzu has them, read.

    CREATE NODE TABLE [IF NOT EXISTS] name (column type [DEFAULT literal] …,
        PRIMARY KEY (column))
    CREATE REL TABLE [GROUP] [IF NOT EXISTS] name (FROM a TO b, …, column type …
        [, MANY_MANY | MANY_ONE | ONE_MANY | ONE_ONE])
    ALTER TABLE name ADD [IF NOT EXISTS] column type [DEFAULT literal] | FROM a TO b
    ALTER TABLE name DROP [IF EXISTS] column | FROM a TO b
    ALTER TABLE name RENAME TO name | column TO column
    DROP TABLE [IF EXISTS] name

What a default is must be known from its text: literals, and the functions that make
dates, times, intervals, UUIDs and blobs of text.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from torua.core.cypher.tokens import Token, TokenKind, string_value, tokenize
from torua.core.graph.defining import define
from torua.core.graph.definitions import (
    AddColumn,
    AddPair,
    ColumnDefinition,
    CreateNodeTable,
    CreateRelTable,
    Ddl,
    DropColumn,
    DropPair,
    DropTable,
    RenameColumn,
    RenameTable,
)
from torua.core.graph.types import check, parse_type
from torua.errors import MalformedError, UnprocessableError

__all__ = ("Ddl", "define", "parse_ddl")

MULTIPLICITIES = ("MANY_MANY", "MANY_ONE", "ONE_MANY", "ONE_ONE")
"""How many relationships of a type a node may have: out of it, and into it."""

_REFUSED = ("SEQUENCE", "TYPE", "MACRO", "GRAPH", "FUNCTION")
_MAKERS = ("DATE", "TIMESTAMP", "INTERVAL", "DURATION", "UUID")
_ENDS_TYPE = ("PRIMARY", "DEFAULT", "NOT", ",", ";")
Item = TypeVar("Item")
_BLOB = re.compile(r"\\x([0-9a-fA-F]{2})|([ -~])")


def parse_ddl(text: str) -> Ddl | None:
    """Read a statement; None where it does not define a schema.

    Args:
        text: one statement, a ``;`` behind it or not.

    Raises:
        MalformedError: it is no statement that there is; it says where.
        UnprocessableError: it is one that is not supported, or a type or a default in
            it is wrong.
        TooLargeError: there is too much of it.
    """
    tokens = tokenize(text)
    heads = {"CREATE": _create, "ALTER": _alter, "DROP": _drop, "COMMENT": _comment}
    head = heads.get(tokens[0].word)
    if head is None:
        return None
    cursor = _Cursor(tokens)
    cursor.take(tokens[0].word)
    ddl = head(cursor)
    if ddl is not None:
        cursor.end()
    return ddl


class _Cursor:
    """A place in a statement.

    Invariants: it only moves on, and never past the last token.
    """

    def __init__(self, tokens: list[Token]) -> None:
        """Begin at the first token."""
        self._tokens = tokens
        self._at = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[self._at]

    def ahead(self, count: int) -> Token:
        """Return the token so many after the next; the last where there is none."""
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def looks(self, *words: str) -> bool:
        """Tell whether words come next."""
        ahead = self._tokens[self._at : self._at + len(words)]
        return tuple(each.word for each in ahead) == words

    def take(self, *words: str) -> bool:
        """Take words if they come next."""
        if not self.looks(*words):
            return False
        self._at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Take words that must come next."""
        for word in words:
            if not self.take(word):
                raise self.error(word)

    def next(self) -> Token:
        """Take any token but the end."""
        token = self.token
        if token.kind is TokenKind.END:
            raise self.error("more")
        self._at += 1
        return token

    def name(self, what: str) -> str:
        """Take a name."""
        if not self.token.is_name:
            raise self.error(f"the name of {what}")
        return self.next().name

    def end(self) -> None:
        """Make sure that nothing is left but a ``;``."""
        self.take(";")
        if self.token.kind is not TokenKind.END:
            raise self.error("the end of the statement")

    def error(self, wanted: str) -> MalformedError:
        """Make the error of a token that should be another."""
        token = self.token
        found = token.text or "nothing"
        return MalformedError(
            f"at character {token.start + 1}: {wanted} is expected, not {found[:40]!r}"
        )


def _create(cursor: _Cursor) -> Ddl | None:
    """Read what follows CREATE."""
    if cursor.take("NODE", "TABLE"):
        return _create_node(cursor)
    if cursor.take("REL", "TABLE"):
        return _create_rel(cursor)
    if cursor.token.kind is TokenKind.NAME and not cursor.looks(cursor.token.word, "="):
        _refuse(cursor, "CREATE")
    return None


def _drop(cursor: _Cursor) -> Ddl:
    """Read what follows DROP."""
    if not cursor.take("TABLE"):
        _refuse(cursor, "DROP")
        raise cursor.error("TABLE")
    if_exists = cursor.take("IF", "EXISTS")
    return DropTable(cursor.name("a table"), if_exists)


def _comment(_cursor: _Cursor) -> Ddl:
    """Refuse COMMENT ON TABLE."""
    raise UnprocessableError("COMMENT ON is not supported: schemas have no comments")


def _refuse(cursor: _Cursor, verb: str) -> None:
    """Refuse what Kuzu has and Torua has not."""
    if cursor.token.word in _REFUSED:
        raise UnprocessableError(f"{verb} {cursor.token.word} is not supported")


def _create_node(cursor: _Cursor) -> Ddl:
    """Read what follows CREATE NODE TABLE."""
    if_not_exists = cursor.take("IF", "NOT", "EXISTS")
    name = cursor.name("a table")
    if cursor.looks("AS"):
        raise UnprocessableError("CREATE NODE TABLE … AS is not supported")
    cursor.expect("(")
    columns: list[ColumnDefinition] = []
    keys: list[str] = []
    while True:
        if columns and cursor.take("PRIMARY", "KEY", "("):
            keys.append(cursor.name("a property"))
            cursor.expect(")")
            break
        columns.append(_column(cursor))
        if cursor.take("PRIMARY", "KEY"):
            keys.append(columns[-1].name)
        if not cursor.take(","):
            break
    cursor.expect(")")
    if not keys:
        raise UnprocessableError(f"the node table {name} has no PRIMARY KEY")
    if len(frozenset(key.casefold() for key in keys)) > 1:
        raise UnprocessableError(f"the node table {name} has two PRIMARY KEYs")
    return CreateNodeTable(name, tuple(columns), keys[0], if_not_exists)


def _create_rel(cursor: _Cursor) -> Ddl:
    """Read what follows CREATE REL TABLE."""
    cursor.take("GROUP")
    if_not_exists = cursor.take("IF", "NOT", "EXISTS")
    name = cursor.name("a table")
    cursor.expect("(")
    pairs = [_pair(cursor)]
    columns: list[ColumnDefinition] = []
    multiplicity = "MANY_MANY"
    while cursor.take(","):
        if not columns and cursor.looks("FROM") and _is_pair(cursor):
            pairs.append(_pair(cursor))
        elif cursor.token.word in MULTIPLICITIES:
            multiplicity = cursor.next().word
            break
        else:
            columns.append(_column(cursor))
    cursor.expect(")")
    if cursor.looks("WITH"):
        raise UnprocessableError("WITH (…) is not supported for relationship tables")
    return CreateRelTable(
        name, tuple(pairs), tuple(columns), multiplicity, if_not_exists
    )


def _is_pair(cursor: _Cursor) -> bool:
    """Tell FROM a TO b from a property that is called from."""
    return cursor.ahead(2).word == "TO"


def _pair(cursor: _Cursor) -> tuple[str, str]:
    """Read FROM a TO b."""
    cursor.expect("FROM")
    source = cursor.name("a node table")
    cursor.expect("TO")
    return source, cursor.name("a node table")


def _alter(cursor: _Cursor) -> Ddl:
    """Read what follows ALTER."""
    cursor.expect("TABLE")
    name = cursor.name("a table")
    verbs: dict[str, Callable[[_Cursor, str], Ddl]] = {
        "ADD": _add,
        "DROP": _take_off,
        "RENAME": _rename,
    }
    verb = verbs.get(cursor.token.word)
    if verb is None:
        raise cursor.error("ADD, DROP or RENAME")
    cursor.next()
    return verb(cursor, name)


def _add(cursor: _Cursor, table: str) -> Ddl:
    """Read what follows ADD."""
    if_not_exists = cursor.take("IF", "NOT", "EXISTS")
    if cursor.looks("FROM") and _is_pair(cursor):
        return AddPair(table, *_pair(cursor), if_not_exists)
    return AddColumn(table, _column(cursor), if_not_exists)


def _take_off(cursor: _Cursor, table: str) -> Ddl:
    """Read what follows DROP."""
    if_exists = cursor.take("IF", "EXISTS")
    if cursor.looks("FROM") and _is_pair(cursor):
        return DropPair(table, *_pair(cursor), if_exists)
    return DropColumn(table, cursor.name("a property"), if_exists)


def _rename(cursor: _Cursor, table: str) -> Ddl:
    """Read what follows RENAME."""
    if cursor.take("TO"):
        return RenameTable(table, cursor.name("a table"))
    column = cursor.name("a property")
    cursor.expect("TO")
    return RenameColumn(table, column, cursor.name("a property"))


def _column(cursor: _Cursor) -> ColumnDefinition:
    """Read a property: its name, its type, its default."""
    name = cursor.name("a property")
    words: list[str] = []
    depth = 0
    while depth or not (cursor.token.word in _ENDS_TYPE or cursor.looks(")")):
        if cursor.token.kind is TokenKind.END:
            break
        token = cursor.next()
        depth += (token.word in ("(", "[")) - (token.word in (")", "]"))
        words.append(token.text)
    if not words:
        raise cursor.error("a type")
    if cursor.looks("NOT"):
        raise UnprocessableError(f"{name}: NOT NULL is not supported")
    kind = parse_type(" ".join(words))
    if not cursor.take("DEFAULT"):
        return ColumnDefinition(name, kind)
    return ColumnDefinition(name, kind, check(kind, _literal(cursor), name))


def _literal(cursor: _Cursor) -> object:
    """Read a value that is known from its text."""
    token = cursor.next()
    atom = _ATOMS.get(token.kind)
    if atom is not None:
        return atom(token)
    if token.word in _CONSTANTS:
        return _CONSTANTS[token.word]
    match token.word:
        case "-" | "+":
            return _signed(cursor, token.word)
        case "[":
            return _items(cursor, "]", _literal)
        case "{":
            return dict(_items(cursor, "}", _field))
    return _made(cursor, token)


def _signed(cursor: _Cursor, sign: str) -> object:
    """Read a number behind a sign."""
    number = _literal(cursor)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise cursor.error("a number")
    return -number if sign == "-" else number


def _items(cursor: _Cursor, closer: str, item: Callable[[_Cursor], Item]) -> list[Item]:
    """Read what stands in brackets, with commas between."""
    found: list[Item] = []
    if cursor.take(closer):
        return found
    while True:
        found.append(item(cursor))
        if cursor.take(closer):
            return found
        cursor.expect(",")


def _field(cursor: _Cursor) -> tuple[str, object]:
    """Read a field of a struct."""
    name = cursor.name("a field")
    cursor.expect(":")
    return name, _literal(cursor)


def _made(cursor: _Cursor, token: Token) -> object:
    """Read what a function makes of text, or of two lists."""
    word = token.word
    if token.kind is TokenKind.SYMBOL:
        raise MalformedError(
            f"at character {token.start + 1}: a value is expected, not {word!r}"
        )
    if word not in (*_MAKERS, "BLOB", "MAP") or not cursor.take("("):
        raise UnprocessableError(
            f"at character {token.start + 1}: a default is a literal, not "
            f"{token.text[:40]!r}"
        )
    values = _items(cursor, ")", _literal)
    match word, values:
        case "MAP", [list() as keys, list() as items] if len(keys) == len(items):
            return [list(pair) for pair in zip(keys, items, strict=True)]
        case "BLOB", [str() as text] if _BLOB.sub("", text) == "":
            return b"".join(
                bytes.fromhex(found[1]) if found[1] else found[2].encode()
                for found in _BLOB.finditer(text)
            )
        case _, [str() as text] if word in _MAKERS:
            return text
    raise UnprocessableError(f"at character {token.start + 1}: {word} is misused")


def _string(token: Token) -> str:
    """Read text in quotes."""
    value = string_value(token)
    if value is None:
        raise MalformedError(f"at character {token.start + 1}: an unknown escape")
    return value


_CONSTANTS = {"NULL": None, "TRUE": True, "FALSE": False}
_ATOMS: dict[TokenKind, Callable[[Token], object]] = {
    TokenKind.STRING: _string,
    TokenKind.INTEGER: lambda token: int(token.text),
    TokenKind.FLOAT: lambda token: float(token.text),
}
