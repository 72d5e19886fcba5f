"""Types as Kuzu spells them, read and written."""

import re

from torua.core.graph.kinds import Field, Kind, Type
from torua.errors import UnprocessableError

DEPTH_MAX = 6
"""How deep types nest: rows and schemas must fit in messages of bounded depth."""

ARRAY_ITEMS_MAX = 65_536
"""An array's items stand in every row."""

DECIMAL_DIGITS_MAX = 38
"""What fits into 128 bits."""

NAME = re.compile(r"[^\W\d]\w{0,127}")
"""What tables, columns and fields may be called, like Cypher's plain identifiers."""

_ALIASES = {
    "INT": Kind.INT32,
    "BOOLEAN": Kind.BOOL,
    "REAL": Kind.FLOAT,
    "FLOAT4": Kind.FLOAT,
    "FLOAT8": Kind.DOUBLE,
    "BYTEA": Kind.BLOB,
    "NUMERIC": Kind.DECIMAL,
    "DURATION": Kind.INTERVAL,
}
_PLAIN = {str(kind): kind for kind in Kind} | _ALIASES
for _kind in (Kind.LIST, Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.UNION):
    del _PLAIN[_kind]
_TOKEN = re.compile(r"\s*(?:([^\W\d]\w*)|`([^`]+)`|(\d+)|([\[\](),]))")


def parse_type(text: str) -> Type:
    """Read a type as Kuzu spells it, in any case: ``STRUCT(a INT64[], b STRING)``.

    Args:
        text: the type and nothing else.

    Raises:
        UnprocessableError: there is no such type, or it can't be stored.
    """
    words: list[str] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise UnprocessableError(f"{text!r} is not a type")
        words.append(found[1] or found[2] or found[3] or found[4])
        place = found.end()
    reader = _Reader(text, words)
    made = reader.type(1)
    reader.end()
    return made


def spell_type(kind: Type) -> str:
    """Spell a type as Kuzu does; the reverse of `parse_type`.

    Args:
        kind: any type.
    """
    match kind.kind:
        case Kind.LIST:
            return f"{spell_type(_of(kind.item))}[]"
        case Kind.ARRAY:
            return f"{spell_type(_of(kind.item))}[{kind.size}]"
        case Kind.MAP:
            return f"MAP({spell_type(_of(kind.key))}, {spell_type(_of(kind.item))})"
        case Kind.STRUCT | Kind.UNION:
            fields = ", ".join(
                f"{_quoted(each.name)} {spell_type(each.type)}" for each in kind.fields
            )
            return f"{kind.kind}({fields})"
        case Kind.DECIMAL:
            return f"DECIMAL({kind.size}, {kind.scale})"
        case _:
            return str(kind.kind)


def _of(kind: Type | None) -> Type:
    """Return the inner type of one that has one."""
    assert kind is not None, "a type without its inner type"
    return kind


def _quoted(name: str) -> str:
    """Spell a field's name, in backquotes where it is not a plain word."""
    return name if NAME.fullmatch(name) else f"`{name}`"


class _Reader:
    """Reads one type from its words.

    Invariants: ``at`` is the next word's index; it only rises.
    """

    def __init__(self, text: str, words: list[str]) -> None:
        """Begin at the first word."""
        self._text = text
        self._words = words
        self._at = 0

    def type(self, depth: int) -> Type:
        """Read a type, its brackets included.

        Args:
            depth: how deep it stands in others, from 1.
        """
        if depth > DEPTH_MAX:
            raise UnprocessableError(f"types nest up to {DEPTH_MAX} deep")
        made = self._base(depth)
        if made.kind is Kind.SERIAL and len(self._words) > 1:
            raise self._error("SERIAL stands alone")
        while self._take("["):
            depth += 1
            if depth > DEPTH_MAX:
                raise UnprocessableError(f"types nest up to {DEPTH_MAX} deep")
            if self._take("]"):
                made = Type(Kind.LIST, item=made)
            else:
                size = self._number()
                self._expect("]")
                if not 1 <= size <= ARRAY_ITEMS_MAX:
                    raise self._error(f"an array has 1 to {ARRAY_ITEMS_MAX} items")
                made = Type(Kind.ARRAY, item=made, size=size)
        return made

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self._at < len(self._words):
            raise self._error("there is more after its end")

    def _base(self, depth: int) -> Type:
        """Read a type up to its brackets."""
        word = self._word().upper()
        match word:
            case "STRUCT" | "UNION":
                return Type(Kind(word), fields=self._fields(depth))
            case "MAP":
                self._expect("(")
                key = self.type(depth + 1)
                self._expect(",")
                item = self.type(depth + 1)
                self._expect(")")
                return Type(Kind.MAP, item=item, key=key)
            case "DECIMAL" | "NUMERIC":
                return self._decimal()
        if word not in _PLAIN:
            raise self._error(f"there is no type {word}")
        return Type(_PLAIN[word])

    def _decimal(self) -> Type:
        """Read what follows DECIMAL; without anything it is Kuzu's default."""
        if not self._take("("):
            return Type(Kind.DECIMAL, size=18, scale=3)
        size = self._number()
        self._expect(",")
        scale = self._number()
        self._expect(")")
        if not 1 <= size <= DECIMAL_DIGITS_MAX or scale > size:
            raise self._error(
                f"a DECIMAL has 1 to {DECIMAL_DIGITS_MAX} digits, and no more behind "
                "the point"
            )
        return Type(Kind.DECIMAL, size=size, scale=scale)

    def _fields(self, depth: int) -> tuple[Field, ...]:
        """Read the fields of a STRUCT or a UNION."""
        self._expect("(")
        fields: dict[str, Field] = {}
        while True:
            name = self._word()
            if name.lower() in fields:
                raise self._error(f"the field {name} stands twice")
            fields[name.lower()] = Field(name, self.type(depth + 1))
            if self._take(")"):
                return tuple(fields.values())
            self._expect(",")

    def _take(self, word: str) -> bool:
        """Take a word if it is next."""
        if self._at < len(self._words) and self._words[self._at] == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        """Take a word that must be next."""
        if not self._take(word):
            raise self._error(f"{word!r} is missing")

    def _word(self) -> str:
        """Take a name."""
        if self._at >= len(self._words) or self._words[self._at] in "[](),":
            raise self._error("a name is missing")
        self._at += 1
        return self._words[self._at - 1]

    def _number(self) -> int:
        """Take a number."""
        word = self._word()
        if not word.isdecimal() or len(word) > 9:
            raise self._error(f"{word} is not a number in bounds")
        return int(word)

    def _error(self, reason: str) -> UnprocessableError:
        """Make the error of a type that can't be."""
        return UnprocessableError(f"{self._text!r} is not a type: {reason}")
