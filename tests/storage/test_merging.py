"""Merged answers, against one engine that has all rows."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torua.core.cypher.plan import Merge, MergedColumn, Merging, Parameter
from torua.errors import UnprocessableError
from torua.storage.answers import types
from torua.storage.kuzu import Engine, Limits
from torua.storage.merging import merged

SHARDS = 3
NOBODY: list[tuple[Any, ...]] = []

rows = st.lists(
    st.tuples(
        st.integers(0, SHARDS - 1),
        st.none() | st.integers(0, 2),
        st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-2, 2),
        st.none() | st.sampled_from([-1.5, 0.0, 0.25, 4.0]),
        st.none() | st.sampled_from(["", "a", "B", "é", "｡", "😀"]),
        st.none() | st.integers(0, 3).map(lambda n: date(1969, 12, 31) + timedelta(n)),
    ),
    max_size=12,
)
GROUPED = (
    "count(*), count(n.v), sum(n.v), min(n.v), max(n.s), min(n.t), max(n.t), "
    "sum(n.d), {avg}, collect(n.t), {distinct}, collect(DISTINCT n.s)"
)
WHOLE = GROUPED.format(avg="avg(n.v)", distinct="count(DISTINCT n.v)")
PART = GROUPED.format(avg="sum(n.v), count(n.v)", distinct="collect(DISTINCT n.v)")
HOW = (
    (Merging.COUNT, 0),
    (Merging.COUNT, 1),
    (Merging.SUM, 2),
    (Merging.MIN, 3),
    (Merging.MAX, 4),
    (Merging.MIN, 5),
    (Merging.MAX, 6),
    (Merging.SUM, 7),
    (Merging.AVG, 8),
    (Merging.COLLECT, 10),
    (Merging.COUNT_DISTINCT, 11),
    (Merging.COLLECT_DISTINCT, 12),
)


@pytest.fixture(scope="module", name="engine")
def _engine() -> Iterator[Engine]:
    """Make one engine with a table for the whole, and one for each shard."""
    engine = Engine(None, Limits(pool_bytes=64 << 20, db_bytes=1 << 33))
    for name in ("Whole", *(f"Part{at}" for at in range(SHARDS))):
        columns = "id INT64, k INT64, v INT64, d DOUBLE, s STRING, t DATE"
        engine.run(f"CREATE NODE TABLE {name} ({columns}, PRIMARY KEY (id))")
    yield engine
    engine.close()


def fill(engine: Engine, made: list[tuple[Any, ...]]) -> None:
    """Put rows into the whole, and each into its part.

    Args:
        engine: has the tables.
        made: a shard, then the row's values.
    """
    engine.run("MATCH (n) DELETE n")
    for at, (shard, *cells) in enumerate(made):
        names = ("id", "k", "v", "d", "s", "t")
        given_cells = dict(zip(names, [at, *cells], strict=True))
        given_cells = {k: v for k, v in given_cells.items() if v is not None}
        values = ", ".join(f"{name}: ${name}" for name in given_cells)
        for table in ("Whole", f"Part{shard}"):
            engine.run(f"CREATE (:{table} {{{values}}})", given_cells)


def plain(table: pa.Table) -> list[list[Any]]:
    """Return rows, lists in one order, and sums as they are nearly."""
    found = [list(row.values()) for row in _unique(table).to_pylist()]
    for row in found:
        for at, value in enumerate(row):
            if isinstance(value, list):
                row[at] = sorted(value)
            elif isinstance(value, float):
                row[at] = pytest.approx(value)
    return found


def _unique(table: pa.Table) -> pa.Table:
    """Number the columns, for names may stand twice."""
    return table.rename_columns([str(at) for at in range(table.num_columns)])


def both(
    engine: Engine, whole: str, part: str, merge: Merge, **parameters: object
) -> tuple[pa.Table, pa.Table]:
    """Return one engine's answer, and the merged one.

    Args:
        engine: has all.
        whole: the statement after its MATCH.
        part: the fragment after its MATCH.
        merge: how to merge.
        parameters: of the merge.
    """
    partials = [engine.run(f"MATCH (n:Part{at}) RETURN {part}") for at in range(SHARDS)]
    one = engine.run(f"MATCH (n:Whole) RETURN {whole}")
    return one, merged(merge, partials, parameters)


quick = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@quick
@given(made=rows, grouped=st.booleans(), descending=st.booleans())
def test_groups_are_those_of_one_engine(
    engine: Engine, made: list[tuple[Any, ...]], grouped: bool, descending: bool
) -> None:
    """All aggregates, with a key and without, also of nothing."""
    fill(engine, made)
    key = (MergedColumn("", Merging.KEY, 0),) if grouped else ()
    shift = len(key)
    columns = key + tuple(MergedColumn("", how, at + shift) for how, at in HOW)
    order = ((0, descending),) if grouped else ()
    prefix = "n.k, " if grouped else ""
    suffix = f" ORDER BY n.k {'DESC' if descending else ''}" if grouped else ""
    merge = Merge(columns, grouped=True, order=order)
    one, other = both(engine, prefix + WHOLE + suffix, prefix + PART, merge)
    assert plain(other) == plain(one)
    assert other.column_names == one.column_names
    assert types(other) == types(one)


@quick
@given(made=rows, skip=st.integers(0, 3), limit=st.none() | st.integers(0, 4))
def test_rows_are_in_one_engines_order(
    engine: Engine, made: list[tuple[Any, ...]], skip: int, limit: int | None
) -> None:
    """By several columns, hidden ones too, NULL last, or first when descending."""
    fill(engine, made)
    bound = f" SKIP {skip}" + ("" if limit is None else f" LIMIT {limit}")
    order = " ORDER BY n.s DESC, n.t, n.id"
    columns = (
        MergedColumn("s", Merging.KEY, 0),
        MergedColumn("", Merging.KEY, 1),
        MergedColumn("", Merging.KEY, 2, hidden=True),
    )
    by = ((0, True), (1, False), (2, False))
    count = None if limit is None else Parameter("n")
    merge = Merge(columns, order=by, skip=skip, limit=count)
    whole, part = f"n.s AS s, n.t{order}{bound}", f"n.s, n.t, n.id{order}"
    one, other = both(engine, whole, part, merge, n=limit)
    assert other.to_pylist() == one.to_pylist()


@quick
@given(made=rows)
def test_distinct_rows_are_those_of_one_engine(
    engine: Engine, made: list[tuple[Any, ...]]
) -> None:
    """NULL equals itself."""
    fill(engine, made)
    columns = tuple(MergedColumn("", Merging.KEY, at) for at in range(3))
    merge = Merge(columns, distinct=True)
    text = "DISTINCT n.k, n.d, n.t"
    one, other = both(engine, text, text, merge)
    assert sorted(map(repr, plain(other))) == sorted(map(repr, plain(one)))


def test_a_limit_may_be_larger_than_any_answer(engine: Engine) -> None:
    """Arrow itself takes no number of more than 64 bits."""
    fill(engine, NOBODY)
    columns = (MergedColumn("", Merging.KEY, 0),)
    number = Parameter("n")
    for merge in (Merge(columns, limit=number), Merge(columns, skip=number)):
        _, found = both(engine, "n.k", "n.k", merge, n=1 << 70)
        assert found.num_rows == 0


def test_a_limit_must_be_a_number_of_rows(engine: Engine) -> None:
    """Parameters are only known when the answers are merged."""
    fill(engine, NOBODY)
    columns = (MergedColumn("", Merging.KEY, 0),)
    for value in (-1, 1.5, None, "2", True):
        with pytest.raises(UnprocessableError, match="LIMIT"):
            both(engine, "n.k", "n.k", Merge(columns, limit=Parameter("n")), n=value)


def test_many_rows_are_counted_as_few_are(engine: Engine) -> None:
    """By Arrow; NULL is a group as well."""
    keys = [None if n % 7 == 0 else f"k{n % 13}" for n in range(900)]
    part = pa.table(
        {"k": keys, "n": list(range(900)), "c": [n % 5 for n in range(900)]}
    )
    columns = (
        MergedColumn("k", Merging.KEY, 0),
        MergedColumn("c", Merging.COUNT, 2),
    )
    merge = Merge(columns, grouped=True)
    many = merged(merge, [part], {})
    few = [merged(merge, [part.slice(at, 90)], {}) for at in range(0, 900, 90)]
    again = merged(merge, [each.append_column("x", each["c"]) for each in few], {})
    assert many.to_pylist() == again.to_pylist()
    assert many.column_names == ["k", "c"]
    wanted = [
        sum(n % 5 for n in range(900) if keys[n] == key)
        for key in many["k"].to_pylist()
    ]
    assert many["c"].to_pylist() == wanted
