"""Types are spelled as Kuzu does, and cells are what values were, or refused."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.graph.values import types, values
from torua.core.graph.types import Kind, Type, check, parse_type, show, spell_type
from torua.errors import UnprocessableError


@given(types)
def test_a_type_is_read_as_it_was_spelled(kind: Type) -> None:
    """Whatever nests in it."""
    assert parse_type(spell_type(kind)) == kind
    assert parse_type(spell_type(kind).lower().replace(" ", "\n ")) == kind


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("int", "INT32"),
        ("boolean", "BOOL"),
        ("Real", "FLOAT"),
        ("DECIMAL", "DECIMAL(18, 3)"),
        ("bytea", "BLOB"),
        ("DOUBLE[][2]", "DOUBLE[][2]"),
        ("struct(`a b` INT64, c MAP(STRING,INT64))", None),
    ],
)
def test_other_names_are_known(text: str, spelled: str | None) -> None:
    """As the engine knows them."""
    assert spell_type(parse_type(text)) == (
        spelled or "STRUCT(`a b` INT64, c MAP(STRING, INT64))"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INTEGER",
        "JSON",
        "UINT128",
        "INT64[0]",
        "INT64[",
        "INT64]",
        "INT64 INT64",
        "STRUCT()",
        "STRUCT(a)",
        "STRUCT(a INT64, A INT64)",
        "MAP(INT64)",
        "DECIMAL(39, 1)",
        "DECIMAL(3, 4)",
        "DECIMAL(3)",
        "SERIAL[]",
        "INT64" + "[]" * 6,
        "INT64; DROP",
        "INT64[99999999999999999999]",
    ],
)
def test_what_is_no_type_is_refused(text: str) -> None:
    """With a reason."""
    with pytest.raises(UnprocessableError):
        parse_type(text)


@settings(max_examples=300)
@given(st.data())
def test_what_is_shown_is_taken_back(data: st.DataObject) -> None:
    """A value becomes a cell, is shown as JSON has it, and is the same cell again."""
    kind = data.draw(types)
    value = data.draw(values(kind))
    cell = check(kind, value, "p")
    shown = msgspec.json.decode(msgspec.json.encode(show(kind, cell)))
    assert check(kind, shown, "p") == cell


@settings(max_examples=200)
@given(types, st.from_type(object) | st.text() | st.integers() | st.floats())
def test_anything_else_is_refused_and_never_an_accident(
    kind: Type, value: object
) -> None:
    """Whatever is sent, it is a cell or the error for clients."""
    try:
        cell = check(kind, value, "p")
    except UnprocessableError as error:
        assert error.detail.startswith("p")
    else:
        show(kind, cell)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("INT64", 1.5),
        ("INT64", True),
        ("INT64", 1 << 63),
        ("INT8", 128),
        ("UINT8", -1),
        ("INT64", float("inf")),
        ("BOOL", 1),
        ("DOUBLE", "x"),
        ("FLOAT", 1e300),
        ("DOUBLE", 10**400),
        ("DECIMAL(3, 1)", 1.25),
        ("DECIMAL(3, 1)", 100),
        ("DECIMAL(3, 1)", "NaN"),
        ("STRING", 5),
        ("STRING", "\ud800"),
        ("BLOB", "???"),
        ("UUID", "123"),
        ("DATE", "0000-01-01"),
        ("DATE", "2020-02-30"),
        ("DATE", "2020-01-01T00:00:00"),
        ("TIMESTAMP", "yesterday"),
        ("TIMESTAMP_SEC", "2020-01-01T00:00:00.5Z"),
        ("TIMESTAMP_NS", "1500-01-01"),
        ("INTERVAL", ""),
        ("INTERVAL", "5"),
        ("INTERVAL", "3 fortnights"),
        ("INTERVAL", [1, 2]),
        ("INTERVAL", [1, 2, 1 << 63]),
        ("INT64[2]", [1]),
        ("INT64[]", "12"),
        ("STRUCT(a INT64)", {"b": 1}),
        ("MAP(STRING, INT64)", [["a", 1], ["a", 2]]),
        ("MAP(STRING, INT64)", [[None, 1]]),
        ("UNION(a INT64, b BOOL)", "x"),
    ],
)
def test_what_would_be_changed_is_refused(text: str, value: object) -> None:
    """Rather than rounded, cut or guessed."""
    with pytest.raises(UnprocessableError, match=r"^p"):
        check(parse_type(text), value, "p")


@pytest.mark.parametrize(
    ("text", "value", "cell"),
    [
        ("INT64", "-7", -7),
        ("INT64", 2.0, 2),
        ("BOOL", "False", False),
        ("DOUBLE", 1, 1.0),
        ("DECIMAL(5, 2)", 1.5, "1.50"),
        ("DECIMAL(5, 2)", "-0", "0.00"),
        ("DATE", "1970-01-02", 1),
        ("DATE", "0001-01-01", -719162),
        ("TIMESTAMP", "1970-01-01 01:00:00.5+01", 500_000),
        ("TIMESTAMP_NS", "1969-12-31T23:59:59.999999999Z", -1),
        ("TIMESTAMP_MS", "1970-01-01", 0),
        ("INTERVAL", "1 year 2 days 03:04:05", [12, 2, 11_045_000_000]),
        ("INTERVAL", "-1 month 5us", [-1, 0, 5]),
        ("UNION(a INT64, b STRING)", "x", ["b", "x"]),
        ("UNION(a INT64, b STRING)", ["B", "1"], ["b", "1"]),
        ("MAP(INT64, STRING)", {"1": "x"}, [[1, "x"]]),
        ("STRUCT(a INT64, b STRING)", {"A": 1}, {"a": 1, "b": None}),
        ("BLOB", "AAE=", b"\0\1"),
    ],
)
def test_text_and_other_spellings_are_taken(
    text: str, value: object, cell: object
) -> None:
    """Where they say the same."""
    assert check(parse_type(text), value, "p") == cell


def test_numbers_that_json_has_not_are_shown_as_text() -> None:
    """And read as such."""
    double, wide = Type(Kind.DOUBLE), Type(Kind.INT128)
    assert show(double, math.inf) == "Infinity"
    assert math.isnan(_float(check(double, show(double, math.nan), "p")))
    assert show(wide, 1 << 100) == str(1 << 100)


def _float(value: Any) -> float:
    """Take a number for one."""
    return float(value)
