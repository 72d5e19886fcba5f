"""Which field of a file is which property."""

import pytest

from torua.core.graph.layout import (
    Heading,
    choose_pair,
    default_names,
    edge_layout,
    node_layout,
    read_heading,
    text_reader,
    value_reader,
)
from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import Kind, Type, parse_type
from torua.errors import UnprocessableError

INT, TEXT = Type(Kind.INT64), Type(Kind.STRING)
PERSON = NodeTable(
    16,
    "Person",
    (Column(0, "id", INT), Column(1, "name", TEXT), Column(3, "type", TEXT)),
    "id",
)
PLACE = NodeTable(17, "Place", (Column(0, "id", INT),), "id")
KNOWS = RelTable(18, "knows", ((16, 16),), (Column(0, "since", INT),))
LIVES = RelTable(19, "lives", ((16, 17), (17, 17)))
GRAPH = Graph(0, "main", nodes=(PERSON, PLACE), rels=(KNOWS, LIVES))


def test_headings_are_read_in_all_spellings() -> None:
    """Plain names, names with types, and roles with or without a table."""
    assert read_heading("name") == Heading("name", "", "")
    assert read_heading("name:STRING") == Heading("name", "STRING", "")
    assert read_heading("id:ID(Person)") == Heading("id", "ID", "Person")
    assert read_heading(" :START_ID(A b) ") == Heading("", "START_ID", "A b")
    assert read_heading("tags:string[]") == Heading("tags", "STRING", "")
    assert read_heading(":LABEL") == Heading("", "LABEL", "")


def found(table: NodeTable, *names: str) -> dict[int, str]:
    """Lay a node table out; tell which field is which property.

    Args:
        table: the table.
        names: the header.
    """
    return {index: each.name for index, each in node_layout(table, names).columns}


def test_fields_of_nodes_are_found_by_name_and_by_role() -> None:
    """Case does not matter; an ID is the primary key; a label may be a property."""
    assert found(PERSON, "NAME", "id") == {0: "name", 1: "id"}
    assert found(PERSON, ":ID", "name:STRING") == {0: "id", 1: "name"}
    assert found(PERSON, "key:ID(Person)", ":LABEL") == {0: "id", 1: "type"}
    assert found(PLACE, "id", ":LABEL", "x:IGNORE") == {0: "id"}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("name",), "primary key id"),
        (("id", "nome"), "no property nome"),
        (("id", "ID"), "stands twice"),
    ],
)
def test_headers_that_do_not_fit_are_refused(names: tuple[str, ...], why: str) -> None:
    """The error says what is wrong with the header."""
    with pytest.raises(UnprocessableError, match=why):
        node_layout(PERSON, names)


def test_ends_of_relationships_are_found() -> None:
    """By role, by name, or as the first two fields."""
    layout = edge_layout(KNOWS, ("since:LONG", ":END_ID(B)", ":START_ID(A)"))
    assert (layout.source, layout.target, layout.ends) == (2, 1, ("A", "B"))
    layout = edge_layout(KNOWS, ("from", "TO", "since"))
    assert (layout.source, layout.target) == (0, 1)
    layout = edge_layout(KNOWS, ("a", "b", "since"))
    assert (layout.source, layout.target) == (0, 1)
    for names in (("since", "from"), ("since",), ("since", "x")):
        with pytest.raises(UnprocessableError):
            edge_layout(KNOWS, names)


def test_a_file_without_a_header_has_all_columns_in_their_order() -> None:
    """Those of relationships stand behind both ends."""
    assert default_names(PERSON) == ("id", "name", "type")
    assert edge_layout(KNOWS, default_names(KNOWS)).columns[0][0] == 2


def test_a_pair_is_chosen_by_what_is_known_of_it() -> None:
    """One pair needs nothing; of several, one must be meant."""
    assert choose_pair(GRAPH, KNOWS, "", "") == (PERSON, PERSON)
    assert choose_pair(GRAPH, KNOWS, "ids", "") == (PERSON, PERSON)
    assert choose_pair(GRAPH, LIVES, "place", "") == (PLACE, PLACE)
    for names in (("", ""), ("Person", "Person")):
        with pytest.raises(UnprocessableError, match="say which"):
            choose_pair(GRAPH, LIVES, *names)
    with pytest.raises(UnprocessableError, match="say which"):
        choose_pair(GRAPH, KNOWS, "Place", "Person")


@pytest.mark.parametrize(
    ("type_", "text", "cell"),
    [
        ("INT64", "42", 42),
        ("INT64", "-42", -42),
        ("UINT8", "255", 255),
        ("STRING", "42", "42"),
        ("DOUBLE", "1.5", 1.5),
        ("BOOL", "TRUE", True),
        ("DATE", "1970-01-02", 1),
        ("INT64[]", "[1, 2]", [1, 2]),
        ("STRUCT(a INT64)", '{"a": 1}', {"a": 1}),
    ],
)
def test_texts_become_cells(type_: str, text: str, cell: object) -> None:
    """Each type reads its spelling; nested ones are JSON."""
    assert text_reader(parse_type(type_), "x")(text) == cell


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("INT64", "1.5"),
        ("INT64", "9223372036854775808"),
        ("INT64", "1_000"),
        ("INT64", "٣"),
        ("UINT8", "256"),
        ("INT64[]", "[1, x]"),
        ("INT64[]", "1"),
    ],
)
def test_texts_that_are_none_of_a_type_are_refused(type_: str, text: str) -> None:
    """Nothing is changed on the way."""
    with pytest.raises(UnprocessableError, match="x"):
        text_reader(parse_type(type_), "x")(text)


def test_values_are_checked_as_they_are() -> None:
    """1.5 is no whole number."""
    assert value_reader(INT, "x")(7) == 7
    with pytest.raises(UnprocessableError):
        value_reader(INT, "x")(1.5)
