"""A recursive-descent parser of clauses and patterns, in linear time.

It follows Kuzu's grammar where clauses and patterns are concerned, and is stricter
where that costs nothing: keywords are no names of variables without backticks.
Expressions are not parsed: one ends at a comma, a closing bracket or a keyword that
begins or divides clauses.  Brackets within are jumped over, so each token is looked at
a bounded number of times, and recursion is as deep as `tokens.DEPTH_MAX` at most.
"""

from collections.abc import Callable
from typing import TypeVar

from torua.core.cypher.syntax import (
    Clause,
    Create,
    Delete,
    Direction,
    Item,
    Length,
    Match,
    Merge,
    NodePattern,
    Path,
    Projection,
    Properties,
    RelPattern,
    SetClause,
    SetItem,
    Span,
    Statement,
    Unwind,
)
from torua.core.cypher.tokens import Token, TokenKind, malformed, words
from torua.errors import MalformedError, UnprocessableError

T = TypeVar("T")

_BOUNDARIES = words(
    "MATCH OPTIONAL UNWIND WITH RETURN CREATE MERGE SET DELETE DETACH UNION WHERE ORDER"
    " SKIP LIMIT AS ASC ASCENDING DESC DESCENDING ON HINT CALL LOAD YIELD REMOVE"
    " FOREACH COPY"
)
"""Words that end an expression, unless they name a property or follow STARTS, ENDS."""

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_SHORTEST = frozenset({"SHORTEST", "WSHORTEST", "TRAIL", "ACYCLIC"})


def parse(text: str, tokens: list[Token]) -> Statement:
    """Parse a query.

    Args:
        text: the statement, to say where it is wrong.
        tokens: of it.

    Raises:
        MalformedError: it is no query; says where, and what was expected.
        UnprocessableError: a clause is not supported.
    """
    return Parser(text, tokens).statement()


class Parser:
    """Reads tokens in order.

    Invariants: ``place`` only rises, but for `pattern_at`, which puts it back; it is
    never beyond the END token.
    """

    def __init__(self, text: str, tokens: list[Token]) -> None:
        """Read ``tokens`` of ``text``, whose brackets match."""
        self.text = text
        self.tokens = tokens
        self.place = 0
        self.closing: dict[int, int] = {}
        stack: list[int] = []
        for place, token in enumerate(tokens):
            if token.word in _PAIRS:
                stack.append(place)
            elif token.word in (")", "]", "}"):
                self.closing[stack.pop()] = place
        self.clauses: dict[str, Callable[[], Clause]] = {
            "MATCH": self._match,
            "OPTIONAL": self._match,
            "UNWIND": self._unwind,
            "WITH": self._projection,
            "RETURN": self._projection,
            "CREATE": self._create,
            "MERGE": self._merge,
            "SET": self._set,
            "DELETE": self._delete,
            "DETACH": self._delete,
        }

    @property
    def token(self) -> Token:
        """The one at ``place``."""
        return self.tokens[self.place]

    def expected(self, what: str) -> MalformedError:
        """Make the error that ``what`` should stand here."""
        return malformed(self.text, self.token, what)

    def accept(self, *words: str) -> bool:
        """Pass these words, if all of them stand here, in this order."""
        ahead = self.tokens[self.place : self.place + len(words)]
        found = [token.word for token in ahead] == list(words)
        if found:
            self.place += len(words)
        return found

    def expect(self, word: str) -> None:
        """Pass a word that must stand here."""
        if not self.accept(word):
            raise self.expected(word)

    def name(self, what: str) -> str:
        """Pass a name and return it."""
        if not self.token.is_name:
            raise self.expected(what)
        found = self.token.name
        self.place += 1
        return found

    def listed(self, each: Callable[[], T]) -> tuple[T, ...]:
        """Pass one or more of something, with commas between."""
        found = [each()]
        while self.accept(","):
            found.append(each())
        return tuple(found)

    def statement(self) -> Statement:
        """Pass all clauses up to the end."""
        branches = [self._branch()]
        while self.accept("UNION"):
            self.accept("ALL")
            branches.append(self._branch())
        self.accept(";")
        if self.token.kind is not TokenKind.END:
            raise self.expected("a clause or the end")
        return Statement(self.tokens, self.closing, tuple(branches))

    def _branch(self) -> tuple[Clause, ...]:
        """Pass clauses up to UNION or the end."""
        found: list[Clause] = []
        while self.token.word in self.clauses:
            if found and isinstance(found[-1], Projection) and found[-1].final:
                raise self.expected("UNION or the end after RETURN")
            found.append(self.clauses[self.token.word]())
        if self.token.word == "REMOVE":
            raise UnprocessableError("REMOVE is not supported: use SET n.name = NULL")
        if not found:
            raise self.expected("a clause, such as MATCH")
        return tuple(found)

    def _match(self) -> Match:
        """Pass ``OPTIONAL MATCH pattern WHERE … HINT …``."""
        optional = self.accept("OPTIONAL")
        self.expect("MATCH")
        paths = self.listed(self.path)
        where = self.expression() if self.accept("WHERE") else None
        hint = self.accept("HINT")
        while hint and not self.at_boundary():
            self.place = self.closing.get(self.place, self.place) + 1
        return Match(optional, paths, where, hint)

    def subquery_at(self, place: int) -> tuple[Match, int]:
        """Parse the inside of ``EXISTS {…}`` or ``COUNT {…}``.

        Args:
            place: of the ``{``.

        Returns:
            What it matches, and the place after the ``}``.
        """
        kept, self.place = self.place, place + 1
        found = self._match()
        self.expect("}")
        after, self.place = self.place, kept
        return found, after

    def _unwind(self) -> Unwind:
        """Pass ``UNWIND expression AS variable``."""
        self.expect("UNWIND")
        expression = self.expression()
        self.expect("AS")
        return Unwind(expression, self.name("a variable").lower())

    def _projection(self) -> Projection:
        """Pass ``RETURN`` or ``WITH``, up to the next clause."""
        final = self.token.word == "RETURN"
        self.place += 1
        distinct = self.accept("DISTINCT")
        star = self.accept("*")
        items: tuple[Item, ...] = ()
        if not star or self.accept(","):
            items = self.listed(self._item)
        order: tuple[tuple[Span, bool], ...] = ()
        if self.accept("ORDER"):
            self.expect("BY")
            order = self.listed(self._sort_item)
        skip = self.expression() if self.accept("SKIP") else None
        limit = self.expression() if self.accept("LIMIT") else None
        where = self.expression() if not final and self.accept("WHERE") else None
        return Projection(final, distinct, star, items, order, skip, limit, where)

    def _item(self) -> Item:
        """Pass ``expression AS alias``."""
        expression = self.expression()
        alias = self.name("a name for the column") if self.accept("AS") else None
        return Item(expression, alias)

    def _sort_item(self) -> tuple[Span, bool]:
        """Pass ``expression DESC``."""
        expression = self.expression()
        if self.accept("DESC") or self.accept("DESCENDING"):
            return expression, True
        if not self.accept("ASC"):
            self.accept("ASCENDING")
        return expression, False

    def _create(self) -> Create:
        """Pass ``CREATE pattern``."""
        self.expect("CREATE")
        return Create(self.listed(self.path))

    def _merge(self) -> Merge:
        """Pass ``MERGE pattern ON MATCH SET … ON CREATE SET …``."""
        self.expect("MERGE")
        paths = self.listed(self.path)
        actions: list[SetItem] = []
        while self.accept("ON"):
            if not self.accept("MATCH"):
                self.expect("CREATE")
            actions.extend(self._set().items)
        return Merge(paths, tuple(actions))

    def _set(self) -> SetClause:
        """Pass ``SET n.name = …, …`` or ``SET n = {…}``."""
        self.expect("SET")
        return SetClause(self.listed(self._set_item))

    def _set_item(self) -> SetItem:
        """Pass one assignment."""
        start = self.place
        while self.token.word not in ("=", ",") and not self.at_boundary():
            self.place = self.closing.get(self.place, self.place) + 1
        stop = self.place
        self.expect("=")
        dotted = stop - start >= 3 and self.tokens[stop - 2].word == "."
        if dotted and self.tokens[stop - 1].is_name:
            name = self.tokens[stop - 1].name
            return SetItem(Span(start, stop - 2), name, self.expression())
        if self.token.word != "{":
            raise self.expected("n.name = value, or n = {name: value}; a map")
        value = Span(self.place + 1, self.closing[self.place])
        return SetItem(Span(start, stop), "", value, self.properties())

    def _delete(self) -> Delete:
        """Pass ``DETACH DELETE n, …``."""
        detach = self.accept("DETACH")
        self.expect("DELETE")
        return Delete(detach, self.listed(self.expression))

    def at_boundary(self) -> bool:
        """Tell whether an expression ends here."""
        token = self.token
        if token.word in (",", ")", "]", "}", ";") or token.kind is TokenKind.END:
            return True
        if token.word not in _BOUNDARIES:
            return False
        before = self.tokens[self.place - 1].word
        if token.word == "WITH":
            return before not in (".", "STARTS", "ENDS")
        return before != "."

    def expression(self) -> Span:
        """Pass an expression, at least one token."""
        start = self.place
        while not self.at_boundary():
            self.place = self.closing.get(self.place, self.place) + 1
        if start == self.place:
            raise self.expected("an expression")
        return Span(start, self.place)

    def path(self, partial: bool = False) -> Path:
        """Pass ``variable = (…)-[…]-(…)…``.

        All of it but the variable may stand in brackets of its own.

        Args:
            partial: it stands in an expression: what looks like a further relationship
                but is none belongs to what follows.
        """
        variable = ""
        if self.token.is_name:
            variable = self.name("a variable").lower()
            self.expect("=")
        if self.token.word == "(" and self.tokens[self.place + 1].word == "(":
            self.place += 1
            inner = self.path(partial)
            self.expect(")")
            return Path(variable, inner.nodes, inner.rels)
        nodes = [self._node()]
        rels: list[RelPattern] = []
        while self.token.word in ("-", "<"):
            kept = self.place
            try:
                rel, node = self._rel(), self._node()
            except MalformedError:
                if not partial:
                    raise
                self.place = kept
                break
            rels.append(rel)
            nodes.append(node)
        return Path(variable, tuple(nodes), tuple(rels))

    def pattern_at(self, place: int) -> tuple[Path, int] | None:
        """Try whether a path with a relationship stands in an expression.

        Args:
            place: of a ``(``.

        Returns:
            The path and the place after it; None if it is something else.
        """
        ahead = self.tokens[self.closing[place] + 1].word
        if ahead not in ("-", "<"):
            return None
        kept, self.place = self.place, place
        try:
            found = self.path(partial=True)
            return (found, self.place) if found.rels else None
        except MalformedError:
            return None
        finally:
            self.place = kept

    def _node(self) -> NodePattern:
        """Pass ``(variable:Label {…})``."""
        self.expect("(")
        variable = self.name("a variable").lower() if self.token.is_name else ""
        labels = self._labels("a label")
        properties = self.properties() if self.token.word == "{" else ()
        if self.token.word != ")":
            raise self.expected("the rest of a node: (variable:Label {name: value})")
        self.place += 1
        return NodePattern(variable, labels, properties)

    def _labels(self, what: str) -> tuple[str, ...]:
        """Pass ``:A|B``, ``:A|:B`` or ``:A:B``, if it is there."""
        found: list[str] = []
        while self.accept(":") or (found and self.accept("|")):
            self.accept(":")
            found.append(self.name(what))
        return tuple(found)

    def properties(self) -> Properties:
        """Pass ``{name: expression, …}``."""
        self.expect("{")
        if self.accept("}"):
            return ()
        found = self.listed(self._property)
        self.expect("}")
        return found

    def _property(self) -> tuple[str, Span]:
        """Pass ``name: expression``."""
        name = self.name("a property's name")
        self.expect(":")
        return name, self.expression()

    def _rel(self) -> RelPattern:
        """Pass ``-[…]->``, ``<-[…]-`` or ``-[…]-``."""
        left = self.accept("<")
        self.expect("-")
        variable, length = "", None
        types: tuple[str, ...] = ()
        properties: Properties = ()
        if self.accept("["):
            variable = self.name("a variable").lower() if self.token.is_name else ""
            types = self._labels("a relationship type")
            length = self._length() if self.accept("*") else None
            properties = self.properties() if self.token.word == "{" else ()
            if self.token.word != "]":
                raise self.expected("the rest of a relationship: [r:TYPE*1..3 {…}]")
            self.place += 1
        self.expect("-")
        right = self.accept(">")
        if left and right:
            raise self.expected("a relationship with one direction")
        direction = Direction.BOTH
        if left or right:
            direction = Direction.IN if left else Direction.OUT
        return RelPattern(variable, types, direction, length, properties)

    def _length(self) -> Length:
        """Pass what stands between ``*`` and ``]`` or ``{`` or the end of it."""
        plain = True
        self.accept("ALL")
        shortest = self.token.word == "SHORTEST"
        if self.token.word in _SHORTEST:
            plain = self.token.word != "WSHORTEST"
            self.place += 1
            if not plain:
                self._skip_brackets()
        start = self.place
        while self.token.word not in ("]", "{", "(") and not self.at_boundary():
            self.place += 1
        lower, upper = self._bounds(start, self.place)
        if self.token.word == "(":
            plain = False
            self._skip_brackets()
        return Length(lower, upper, plain, shortest)

    def _skip_brackets(self) -> None:
        """Pass ``(…)``."""
        if self.token.word != "(":
            raise self.expected("(")
        self.place = self.closing[self.place] + 1

    def _bounds(self, start: int, stop: int) -> tuple[int, int | None]:
        """Read ``2``, ``1..3``, ``..3``, ``2..`` or nothing, from tokens."""
        parts: list[list[Token]] = [[]]
        for token in self.tokens[start:stop]:
            if token.word == "..":
                parts.append([])
            else:
                parts[-1].append(token)
        if len(parts) == 1:
            exact = _integer(parts[0])
            return (1, None) if exact is None else (exact, exact)
        lower = _integer(parts[0]) if parts[0] else 1
        return lower or 0, _integer(parts[1])


def _integer(tokens: list[Token]) -> int | None:
    """Return the integer that is all of these tokens; None if there is none."""
    if len(tokens) == 1 and tokens[0].kind is TokenKind.INTEGER:
        return int(tokens[0].text) if len(tokens[0].text) < 10 else None
    return None
