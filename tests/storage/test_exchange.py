"""Arrow as the graph engine gives it, made good."""

import pytest

from torua.storage.kuzu import Engine, Limits

LIMITS = Limits(pool_bytes=128 << 20, db_bytes=1 << 32, threads=1)

HOLLOW = {
    "STRING[]": "[]",
    "STRING[][]": "[]",
    "STRING[2][]": "[]",
    "STRUCT(a STRING)[]": "[]",
    "MAP(STRING, STRING)": "map([], [])",
    "MAP(STRING, STRING)[]": "[map([], [])]",
    "STRUCT(y MAP(STRING, STRING))": "{y: CAST(map([], []) AS MAP(STRING, STRING))}",
    "UNION(a INT64, b STRING[])": "NULL",
    "DECIMAL(4, 2)[]": "[]",
}
"""Of each type a value with nothing in it."""

FULL = {
    "STRING[]": ("['a', NULL]", ["a", None]),
    "STRING[2][]": ("[['a', 'b']]", [["a", "b"]]),
    "MAP(STRING, STRING[])": ("map(['k'], [[]])", [("k", [])]),
    "UNION(a INT64, b STRING[])": ("union_value(a := 7)", 7),
    "STRUCT(x STRING[], y MAP(STRING, DECIMAL(4, 2)))": (
        "{x: [], y: map([], [])}",
        {"x": [], "y": []},
    ),
}
"""Of each type a value, as a literal and in Python."""


@pytest.mark.parametrize("kind", HOLLOW)
def test_nothing_inside_of_a_value_is_safe_to_look_at(kind: str) -> None:
    """Else a shard's process ends where it measures an answer of empty lists."""
    engine = Engine(None, LIMITS)
    engine.run(f"CREATE NODE TABLE T (id INT64 PRIMARY KEY, v {kind})")
    engine.run(f"CREATE (:T {{id: 1, v: CAST({HOLLOW[kind]} AS {kind})}})")
    for shown in ("n.v", "n", "collect(n.v)"):
        found = engine.run(f"MATCH (n:T) RETURN {shown}")
        found.validate(full=True)
        assert found.nbytes < 1000
    engine.close()


@pytest.mark.parametrize("kind", FULL)
def test_what_is_made_good_is_otherwise_as_it_was(kind: str) -> None:
    """Values beside those with nothing in them keep all that they have."""
    literal, value = FULL[kind]
    engine = Engine(None, LIMITS)
    engine.run(f"CREATE NODE TABLE T (id INT64 PRIMARY KEY, v {kind})")
    engine.run(f"CREATE (:T {{id: 1, v: CAST({literal} AS {kind})}})")
    engine.run("CREATE (:T {id: 2})")
    found = engine.run("MATCH (n:T) RETURN n.v ORDER BY n.id")
    found.validate(full=True)
    assert found.column(0).to_pylist() == [value, None]
    engine.close()
