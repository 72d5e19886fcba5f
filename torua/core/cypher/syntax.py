"""Clauses and patterns of a statement; expressions stay spans of tokens.

Names of variables are folded to lower case, for the engine does not tell case apart;
names of tables and properties stand as written.
"""

from enum import StrEnum

from msgspec import Struct

from torua.core.cypher.tokens import Token


class Span(Struct, frozen=True, gc=False):
    """An expression: tokens from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int


Properties = tuple[tuple[str, Span], ...]
"""What stands in the braces of a pattern: names and expressions."""


class NodePattern(Struct, frozen=True):
    """``(variable:Label {name: …})``.

    Attributes:
        variable: folded; empty if it has none.
        labels: any of which it may have; none for any at all.
        properties: that it must have.
    """

    variable: str
    labels: tuple[str, ...] = ()
    properties: Properties = ()


class Direction(StrEnum):
    """How a relationship pattern is drawn: ``-->``, ``<--``, ``--``."""

    OUT = "out"
    IN = "in"
    BOTH = "both"


class Length(Struct, frozen=True):
    """``*lower..upper`` of a relationship pattern.

    Attributes:
        lower: 1 where it is not said.
        upper: None where it is not said, or is no integer literal.
        plain: it looks at nothing but the pattern: no filter inside, no weights.
        shortest: only the shortest ways are meant, one or all of them.
    """

    lower: int = 1
    upper: int | None = None
    plain: bool = True
    shortest: bool = False


class RelPattern(Struct, frozen=True):
    """``-[variable:TYPE* {name: …}]->``; see `NodePattern`, `Direction`, `Length`."""

    variable: str
    types: tuple[str, ...] = ()
    direction: Direction = Direction.BOTH
    length: Length | None = None
    properties: Properties = ()


class Path(Struct, frozen=True):
    """``variable = (…)-[…]-(…)``: one node more than relationships."""

    variable: str
    nodes: tuple[NodePattern, ...]
    rels: tuple[RelPattern, ...]


class Match(Struct, frozen=True):
    """``OPTIONAL MATCH … WHERE …``; ``hint`` tells that there is a join hint."""

    optional: bool
    paths: tuple[Path, ...]
    where: Span | None = None
    hint: bool = False


class Unwind(Struct, frozen=True):
    """``UNWIND expression AS variable``."""

    expression: Span
    variable: str


class Item(Struct, frozen=True):
    """``expression AS alias``; the alias as written, None if there is none."""

    expression: Span
    alias: str | None


class Projection(Struct, frozen=True):
    """``RETURN`` or ``WITH``.

    Attributes:
        final: it is a RETURN.
        distinct: DISTINCT.
        star: it begins with ``*``.
        items: the others.
        order: expressions, each with whether it is descending.
        skip: how many to leave out.
        limit: how many to keep.
        where: of a WITH.
    """

    final: bool
    distinct: bool
    star: bool
    items: tuple[Item, ...]
    order: tuple[tuple[Span, bool], ...] = ()
    skip: Span | None = None
    limit: Span | None = None
    where: Span | None = None


class Create(Struct, frozen=True):
    """``CREATE`` of patterns."""

    paths: tuple[Path, ...]


class SetItem(Struct, frozen=True):
    """One assignment of ``SET``.

    Attributes:
        target: the expression before the last dot; a variable, in all but oddities.
        name: the property; empty in ``SET n = {…}``.
        value: what is assigned; the map without its braces in ``SET n = {…}``.
        properties: of ``SET n = {…}``.
    """

    target: Span
    name: str
    value: Span
    properties: Properties = ()


class SetClause(Struct, frozen=True):
    """``SET`` of one or more properties."""

    items: tuple[SetItem, ...]


class Merge(Struct, frozen=True):
    """``MERGE``, with what its ``ON MATCH SET`` and ``ON CREATE SET`` assign."""

    paths: tuple[Path, ...]
    actions: tuple[SetItem, ...] = ()


class Delete(Struct, frozen=True):
    """``DELETE`` or ``DETACH DELETE``."""

    detach: bool
    items: tuple[Span, ...]


Clause = Match | Unwind | Projection | Create | SetClause | Merge | Delete

WRITES = (Create, SetClause, Merge, Delete)
"""The clauses that change something."""


class Statement(Struct, frozen=True):
    """A query: one or more branches, joined by UNION.

    Attributes:
        tokens: what its spans are of.
        closing: per opening bracket, where it is closed.
        branches: the clauses of each.
    """

    tokens: list[Token]
    closing: dict[int, int]
    branches: tuple[tuple[Clause, ...], ...]

    @property
    def write(self) -> bool:
        """Whether any clause changes something."""
        return any(isinstance(each, WRITES) for some in self.branches for each in some)
