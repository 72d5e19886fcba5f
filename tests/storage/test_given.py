"""Parameters as the graph engine takes them."""

from decimal import Decimal

import pytest

from torua.storage.given import CELLS_MAX, prepared
from torua.storage.kuzu import Engine, EngineError, Limits

LIMITS = Limits(pool_bytes=128 << 20, db_bytes=1 << 32, threads=1)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"a": 1, "b": 2}, {"b": 3, "a": 4}], [[1, 2], [4, 3]]),
        ([{"a": 1}, {"b": "x"}], [[1, None], [None, "x"]]),
        (
            [{"a": {"x": 1, "y": 2}}, {"a": {"y": 3, "x": 4}, "b": 1}],
            [[{"x": 1, "y": 2}, None], [{"x": 4, "y": 3}, 1]],
        ),
        (
            [{"a": [{"p": 1}], "b": 1}, {"b": 2, "a": [{"q": 5, "p": 4}]}],
            [[[{"p": 1, "q": None}], 1], [[{"p": 4, "q": 5}], 2]],
        ),
    ],
)
def test_each_map_of_a_list_keeps_its_own_values(
    rows: list[object], found: list[object]
) -> None:
    """In whatever order its names stand, and whichever of them it has."""
    engine = Engine(None, LIMITS)
    table = engine.run("UNWIND $rows AS r RETURN r.a AS a, r.b AS b", {"rows": rows})
    assert [list(row.values()) for row in table.to_pylist()] == found
    engine.close()


@pytest.mark.parametrize("value", [1 << 63, -(1 << 100), (1 << 127) - 1])
def test_an_integer_of_up_to_128_bits_is_itself(value: int) -> None:
    """The engine's own door lets none over 64 bits pass."""
    engine = Engine(None, LIMITS)
    engine.run("CREATE NODE TABLE T (id INT64 PRIMARY KEY, v INT128)")
    engine.run("CREATE (:T {id: 1, v: $v})", {"v": value})
    table = engine.run(
        "MATCH (n:T) WHERE n.v = $v RETURN CAST(n.v AS STRING)", {"v": value}
    )
    assert table.column(0).to_pylist() == [str(value)]
    engine.close()


@pytest.mark.parametrize("value", [1 << 127, [10**38], [1, "a"]])
def test_a_value_that_the_engine_has_nothing_for_is_a_refused_parameter(
    value: object,
) -> None:
    """Who asked is told; nothing is taken for a failure of the engine's."""
    engine = Engine(None, LIMITS)
    with pytest.raises(EngineError, match=r"^parameter: "):
        engine.run("RETURN $v", {"v": value})
    engine.close()


def test_a_literal_stands_only_where_its_parameter_stood() -> None:
    """A text, or a longer name, may contain the parameter's."""
    text = "RETURN $a, $ab, '$a', `$a` // $a"
    made, left = prepared(text, {"a": [], "ab": 1})
    assert made == "RETURN [], $ab, '$a', `$a` // $a"
    assert left == {"ab": 1}


def test_large_integers_inside_of_values_are_decimals() -> None:
    """There they can't be spelled out."""
    _, left = prepared("RETURN $v", {"v": [{"a": 1 << 64}]})
    assert left == {"v": [{"a": Decimal(1 << 64)}]}


def test_maps_of_ever_other_names_are_refused_before_they_fill_the_memory() -> None:
    """Each would have the names of all."""
    rows = [{f"n{i}": i} for i in range(3000)]
    assert len(rows) ** 2 > CELLS_MAX
    with pytest.raises(ValueError, match="too many different names"):
        prepared("RETURN $v", {"v": rows})
