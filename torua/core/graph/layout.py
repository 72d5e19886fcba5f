"""Which field of a file's rows is which property, and how its text is read.

Headers are taken plain (``id,name``), and as neo4j-admin and the social network
benchmark spell them: ``id:ID(Person)``, ``name:STRING``, ``:START_ID(Person)``,
``:END_ID(Place)``, ``:LABEL``, ``:TYPE``, ``:IGNORE``.  What a value must be is said by
the table, not by the header.
"""

import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from torua.core.graph.schema import (
    Column,
    Graph,
    NodeTable,
    RelTable,
    column,
    node_table_by_id,
)
from torua.core.graph.types import INTEGERS, Cell, Kind, Type, check
from torua.errors import NotFoundError, UnprocessableError

Reader = Callable[[object], Cell]
"""Turns a field into a cell; UnprocessableError where it is none."""

_HEADING = re.compile(r"([^:]*)(?::([A-Za-z_]+)(\([^()]*\))?.*)?", re.DOTALL)
_FROM = frozenset({"from", "_from", "source", "src", "start"})
_TO = frozenset({"to", "_to", "target", "dst", "end"})
_NESTED = (Kind.LIST, Kind.ARRAY, Kind.STRUCT, Kind.MAP, Kind.UNION)
_KEY = "ID"
_SOURCE = "START_ID"
_TARGET = "END_ID"
_LABEL = "LABEL"
_LABELS = ("label", "type")
_UNUSED = ("TYPE", "IGNORE")


class Heading(Struct, frozen=True):
    """One name of a header.

    Attributes:
        name: before the colon; may be empty.
        role: behind it: ``ID``, ``START_ID``, ``END_ID``, ``LABEL``, a type, or empty.
        space: in parentheses behind that; may be empty.
    """

    name: str
    role: str
    space: str


class Layout(Struct, frozen=True):
    """Which field is what.

    Attributes:
        width: how many fields a row has.
        columns: which field is which property.
        source: which field is the key of the node that a relationship goes from.
        target: which field is the key of the node that it goes to.
        ends: what the header says of the tables of both nodes; may be empty.
    """

    width: int
    columns: tuple[tuple[int, Column], ...]
    source: int | None = None
    target: int | None = None
    ends: tuple[str, str] = ("", "")


def read_heading(text: str) -> Heading:
    """Read one name of a header."""
    found = _HEADING.fullmatch(text.strip())
    assert found is not None, "anything matches"
    name, role, space = found.groups()
    return Heading(name.strip(), (role or "").upper(), (space or "")[1:-1].strip())


def node_layout(table: NodeTable, names: Sequence[str]) -> Layout:
    """Lay out the rows of a node table.

    Args:
        table: the table.
        names: the header.

    Raises:
        UnprocessableError: a name is none of the table's, stands twice, or the primary
            key is missing.
    """
    found = []
    for index, heading in enumerate(map(read_heading, names)):
        match = _node_column(table, heading)
        if match is not None:
            found.append((index, match))
    _check_once(table, found)
    if all(each.name != table.primary_key for _, each in found):
        raise UnprocessableError(
            f"no field is the primary key {table.primary_key} of {table.name}"
        )
    return Layout(len(names), tuple(found))


def edge_layout(table: RelTable, names: Sequence[str]) -> Layout:
    """Lay out the rows of a relationship table.

    Without ``:START_ID`` or ``from``, the first two fields are the ends' keys, if they
    are not properties.

    Args:
        table: the table.
        names: the header.
    """
    headings = [read_heading(name) for name in names]
    source = _end(headings, _SOURCE, _FROM)
    target = _end(headings, _TARGET, _TO)
    if source is None and target is None and not _are_columns(table, headings[:2]):
        source, target = 0, 1
    if source is None or target is None:
        raise UnprocessableError(
            f"{table.name}: the fields :START_ID and :END_ID (or from and to) are "
            "wanted"
        )
    found = []
    for index, heading in enumerate(headings):
        if index in (source, target) or heading.role in (_LABEL, *_UNUSED):
            continue
        found.append((index, _column(table, heading)))
    _check_once(table, found)
    ends = (headings[source].space, headings[target].space)
    return Layout(len(names), tuple(found), source, target, ends)


def default_names(table: NodeTable | RelTable) -> tuple[str, ...]:
    """Return the header of a file that has none: all columns in their order."""
    names = tuple(each.name for each in table.columns)
    if isinstance(table, RelTable):
        return (f":{_SOURCE}", f":{_TARGET}", *names)
    return names


def choose_pair(
    graph: Graph, table: RelTable, source: str, target: str
) -> tuple[NodeTable, NodeTable]:
    """Return the tables that relationships go from and to.

    Args:
        graph: whose.
        table: the relationship table.
        source: a name that someone gave; empty for none.
        target: likewise.

    Raises:
        UnprocessableError: no pair is meant, or several may be.
    """
    pairs = [
        (node_table_by_id(graph, one), node_table_by_id(graph, other))
        for one, other in table.pairs
    ]
    if len(pairs) == 1 and not (source and target):
        return pairs[0]
    fitting = [
        pair
        for pair in pairs
        if _is_named(pair[0], source) and _is_named(pair[1], target)
    ]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(f"{one.name} to {other.name}" for one, other in pairs)
    raise UnprocessableError(
        f"{table.name} goes {known}: say which with from_table and to_table"
    )


def text_reader(type: Type, what: str) -> Reader:
    """Return what reads texts of a type; the commonest types without detours.

    Lists, structs and maps are read as JSON.

    Args:
        type: of the column.
        what: the column's name, for errors.
    """
    kind = type.kind
    if kind is Kind.STRING:
        return lambda text: text
    if kind in _NESTED:
        return lambda text: check(type, _from_json(str(text)), what)
    if kind not in INTEGERS:
        return lambda text: check(type, text, what)
    least, most = INTEGERS[kind]

    def read(text: object) -> Cell:
        """Read a whole number."""
        assert isinstance(text, str), "a field"
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        return check(type, text, what)

    return read


def value_reader(type: Type, what: str) -> Reader:
    """Return what reads values that have types of their own.

    Args:
        type: of the column.
        what: the column's name, for errors.
    """
    return lambda value: check(type, value, what)


def _node_column(table: NodeTable, heading: Heading) -> Column | None:
    """Return what a name of a node table's header means; None where it is unused."""
    if heading.role in _UNUSED:
        return None
    if heading.role == _KEY:
        return _find(table, heading.name) or column(table, table.primary_key)
    if heading.role == _LABEL:
        names = (heading.name,) if heading.name else _LABELS
        return next(filter(None, (_find(table, name) for name in names)), None)
    return _column(table, heading)


def _column(table: NodeTable | RelTable, heading: Heading) -> Column:
    """Return the column of a name; UnprocessableError where there is none."""
    try:
        return column(table, heading.name)
    except NotFoundError as error:
        raise UnprocessableError(f"header: {error.detail}") from error


def _find(table: NodeTable, name: str) -> Column | None:
    """Return the column of a name; None where there is none."""
    try:
        return column(table, name)
    except NotFoundError:
        return None


def _check_once(
    table: NodeTable | RelTable, found: Sequence[tuple[int, Column]]
) -> None:
    """Raise where two fields are of one column."""
    ids = [each.column_id for _, each in found]
    for _, each in found:
        if ids.count(each.column_id) > 1:
            raise UnprocessableError(
                f"header: {each.name} of {table.name} stands twice"
            )


def _end(headings: Sequence[Heading], role: str, names: frozenset[str]) -> int | None:
    """Return which field is an end of a relationship; None where none says so."""
    for index, heading in enumerate(headings):
        if heading.role == role:
            return index
    for index, heading in enumerate(headings):
        if heading.name.lower() in names:
            return index
    return None


def _are_columns(table: RelTable, headings: Sequence[Heading]) -> bool:
    """Tell whether two names are properties, or are not two."""
    known = {each.name.casefold() for each in table.columns}
    return len(headings) < 2 or any(each.name.casefold() in known for each in headings)


def _is_named(table: NodeTable, name: str) -> bool:
    """Tell whether a table may be meant by a name; an empty one means any."""
    return not name or table.name.casefold() == name.casefold()


def _from_json(text: str) -> object:
    """Read JSON; the text itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
