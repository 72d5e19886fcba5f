"""What the graph engine must do, whichever it is: run in-process, or as a program.

    python -m tests.storage.engine_cases ENGINE CASE

The two engines can't be in one process, so that the second one's cases are run as
programs of their own.
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import Kind, parse_type
from torua.storage.cells import cells
from torua.storage.columns import column
from torua.storage.exchange import quote, read
from torua.storage.kuzu import TEXTS_MAX, Engine, EngineError, Limits

LIMITS = Limits(pool_bytes=128 << 20, db_bytes=1 << 32, threads=1)

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
CELLS: dict[str, object] = {
    "BOOL": True,
    "INT8": -128,
    "INT64": -(1 << 63),
    "INT128": -(1 << 100),
    "UINT64": (1 << 64) - 1,
    "FLOAT": 1.5,
    "DOUBLE": -0.1,
    "STRING": "grüß`e'",
    "BLOB": bytes(range(256)),
    "UUID": UUID,
    "DECIMAL(4, 2)": "-1.25",
    "DECIMAL(18, 3)": "-999999999999999.999",
    "DECIMAL(38, 3)": "-1.250",
    "DATE": -719162,
    "TIMESTAMP": -1,
    "TIMESTAMP_NS": -1,
    "TIMESTAMP_MS": 1,
    "TIMESTAMP_SEC": 1,
    "TIMESTAMP_TZ": -1,
    "INTERVAL": [14, -3, 5],
    "INT64[]": [1, None, 3],
    "INT64[2]": [1, 2],
    "STRUCT(a INTERVAL, b DECIMAL(9, 3)[])": {"a": [1, 0, 0], "b": ["-1.500"]},
    "MAP(STRING, INT128)": [["k", 1 << 70]],
    "UNION(n INT64, s STRING)": ["s", "7"],
}
"""A cell of each type."""

GRAPH = Graph(
    graph_id=1,
    name="g",
    nodes=(
        NodeTable(
            16,
            "Thing",
            (
                Column(0, "id", parse_type("INT64")),
                *(
                    Column(i + 1, f"c{i}", parse_type(type))
                    for i, type in enumerate(CELLS)
                ),
            ),
            "id",
        ),
        NodeTable(17, "Other", (Column(0, "k", parse_type("STRING")),), "k"),
    ),
    rels=(
        RelTable(
            18,
            "TO",
            ((16, 16), (16, 17)),
            (Column(0, "w", parse_type("DECIMAL(9, 2)")),),
        ),
    ),
)


def things(count: int) -> pa.Table:
    """Make rows of all types; the second and every other one are NULL."""
    made = {"id": pa.array(range(count))}
    for each, cell in zip(GRAPH.nodes[0].columns[1:], CELLS.values(), strict=True):
        cells = [
            cell if i % 2 == 0 or "UNION" in each.type.kind else None
            for i in range(count)
        ]
        made[each.name] = column(each.type, cells)
    return pa.table(made)


def edges(ends: list[tuple[int, int]]) -> pa.Table:
    """Make relationships between things."""
    sources, targets = zip(*ends, strict=True)
    return pa.table(
        {
            "tv_from": pa.array(sources),
            "tv_to": pa.array(targets),
            "w": pa.array([Decimal("-1.50")] * len(ends), pa.decimal128(9, 2)),
            "tv_id": pa.array([b"x"] * len(ends)),
        }
    )


def loaded(engine: str, path: Path | None = None) -> Engine:
    """Open an engine with ten things, and relationships from each to the next.

    Args:
        engine: which.
        path: of its file; None for memory.
    """
    made = Engine(path, LIMITS, engine)
    made.create(GRAPH, hidden=True)
    made.load(GRAPH, "Thing", None, things(10))
    made.load(GRAPH, "Other", None, pa.table({"k": ["far"]}))
    made.load(GRAPH, "TO", ("Thing", "Thing"), edges([(i, i + 1) for i in range(9)]))
    return made


def every_type_comes_back_as_it_went_in(engine: str) -> None:
    """Through COPY and out by Arrow; NULL too."""
    opened = loaded(engine)
    for each, cell in zip(GRAPH.nodes[0].columns[1:], CELLS.values(), strict=True):
        shown = read(f"n.{quote(each.name)}", each.type)
        text = f"MATCH (n:Thing) WHERE n.id < 2 RETURN {shown} AS x ORDER BY n.id"
        found = cells(opened.run(text)["x"], each.type)
        null = None if each.type.kind is not Kind.UNION else cell
        assert found == [cell, null], (each.type, found)
    opened.close()


def a_parameter_without_a_value_is_refused(engine: str) -> None:
    """The engine would take it for NULL."""
    opened = Engine(None, LIMITS, engine)
    _refused(opened, "RETURN $nothing", "no value")
    assert opened.rows("RETURN '$text', \"$too\" // $three") == [["$text", "$too"]]
    opened.close()


def a_list_may_be_empty(engine: str) -> None:
    """As a parameter too, which the engine refuses."""
    opened = loaded(engine)
    text = "MATCH (n:Thing) WHERE n.id IN $ids RETURN count(*)"
    assert opened.rows(text, {"ids": []}) == [[0]]
    assert opened.rows(text, {"ids": [1, 2]}) == [[2]]
    opened.close()


def several_statements_are_refused(engine: str) -> None:
    """Each is a request of its own."""
    opened = Engine(None, LIMITS, engine)
    _refused(opened, "RETURN 1; RETURN 2", "one statement")
    opened.close()


def what_takes_too_long_is_interrupted(engine: str) -> None:
    """And the engine goes on.

    Args:
        engine: which.
    """
    opened = Engine(None, LIMITS, engine)
    try:
        opened.run("UNWIND range(1, 1000000000) AS x RETURN sum(x)", timeout_s=0.1)
    except EngineError as error:
        assert error.timeout
    else:
        raise AssertionError("it was not interrupted")
    assert opened.rows("RETURN 1") == [[1]]
    opened.close()


def a_key_is_copied_once(engine: str) -> None:
    """A second row of a key is refused, not left out."""
    opened = loaded(engine)
    try:
        opened.load(GRAPH, "Thing", None, things(2))
    except EngineError:
        return
    raise AssertionError("a key was copied twice")


def what_was_committed_outlives_the_process(engine: str) -> None:
    """Without a checkpoint.

    Args:
        engine: which.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "db"
        loaded(engine, path).close()
        opened = Engine(path, LIMITS, engine)
        with opened.once() as session:
            session.do("BEGIN TRANSACTION")
            session.do("MATCH (n:Thing) WHERE n.id = 1 SET n.c0 = true")
            session.do("MATCH ()-[r:TO]->(n:Thing) WHERE n.id = 1 DELETE r")
            session.do("COMMIT")
        opened.close()
        again = Engine(path, LIMITS, engine)
        assert again.rows("MATCH (n:Thing) WHERE n.id = 1 RETURN n.c0") == [[True]]
        assert again.rows("MATCH ()-[r:TO]->() RETURN count(*)") == [[8]]
        again.close()


def a_checkpoint_goes_on_beside_a_reader(engine: str) -> None:
    """A transaction that reads must not stop updates from being written back."""
    with tempfile.TemporaryDirectory() as directory:
        opened = loaded(engine, Path(directory) / "db")
        reader = opened.session()
        reader.do("BEGIN TRANSACTION READ ONLY")
        assert reader.rows("MATCH (n:Thing) RETURN count(*)") == [[10]]
        opened.rows("MATCH (n:Thing) WHERE n.id = 1 SET n.c0 = true")
        opened.rows("CHECKPOINT")
        assert reader.rows("MATCH (n:Thing) WHERE n.id = 1 RETURN n.c0") == [[None]]
        reader.close()
        opened.close()


def readings_follow_one_another_on_a_connection(engine: str) -> None:
    """With other parameters, other rows and other tables than it was prepared for.

    Args:
        engine: which.
    """
    with tempfile.TemporaryDirectory() as directory:
        opened = loaded(engine, Path(directory) / "db")
        text = "MATCH (n:Thing) WHERE n.id = $id RETURN n.c0"

        def read(id: int, **more: object) -> list[list[object]]:
            """Read one in a transaction of its own."""
            session = opened.begin_read()
            found = session.rows(text, {"id": id, **more})
            opened.end_read(session)
            return found

        first = opened.begin_read()
        opened.end_read(first)
        assert [len(read(id)) for id in (99, 1, 2)] == [0, 1, 1]
        opened.rows("MATCH (n:Thing) WHERE n.id = 1 SET n.c0 = true")
        opened.rows("CHECKPOINT")
        assert read(1) == [[True]]
        assert opened.begin_read() is first, "it was used all the time"
        opened.end_read(first)
        opened.rows("ALTER TABLE Thing DROP c0")
        opened.rows("ALTER TABLE Thing ADD c0 STRING DEFAULT 'new'")
        opened.altered()
        assert read(2) == [["new"]]
        opened.close()


def worn_connections_are_not_read_with_again(engine: str) -> None:
    """After a statement that was refused, an Arrow table, or many statements.

    Args:
        engine: which.
    """
    opened = loaded(engine)
    refused = opened.begin_read()
    with suppress(EngineError):
        refused.rows("MATCH (n:Nothing) RETURN n")
    opened.end_read(refused)
    given = opened.begin_read()
    assert given is not refused
    given.rows("LOAD FROM $arrow RETURN *", {"arrow": pa.table({"a": [1]})})
    opened.end_read(given)
    old = opened.begin_read()
    assert old is not given
    for number in range(TEXTS_MAX):
        old.rows(f"RETURN {number}")
    opened.end_read(old)
    assert opened.begin_read() is not old


def tables_are_altered_within_a_transaction(engine: str) -> None:
    """With the state that says so."""
    opened = loaded(engine)
    with opened.once() as session:
        session.do("BEGIN TRANSACTION")
        session.do("ALTER TABLE Other ADD more STRING")
        session.do("CREATE NODE TABLE Third (id INT64, PRIMARY KEY (id))")
        session.do("CREATE (:Third {id: 1})")
        session.do("COMMIT")
    assert opened.rows("MATCH (n:Third) RETURN n.id") == [[1]]
    opened.close()


def deleted_relationships_stay_deleted(engine: str) -> None:
    """Through rounds of writes, checkpoints and reopenings.

    Args:
        engine: which.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "db"
        loaded(engine, path).close()
        there = {(i, i + 1) for i in range(9)}
        for turn in range(40):
            opened = Engine(path, LIMITS, engine)
            for step in range(10):
                pair = ((turn * 7 + step * 3) % 10, (turn + step * 5) % 10)
                ends = "(a:Thing), (b:Thing) WHERE a.id = $a AND b.id = $b"
                given = {"a": pair[0], "b": pair[1]}
                if pair in there:
                    hop = ends.replace("), (", ")-[r:TO]->(")
                    opened.rows(f"MATCH {hop} DELETE r", given)
                    there.remove(pair)
                else:
                    opened.rows(f"MATCH {ends} CREATE (a)-[:TO]->(b)", given)
                    there.add(pair)
            if turn % 3 == 0:
                opened.rows("CHECKPOINT")
            found = opened.rows("MATCH (a:Thing)-[:TO]->(b:Thing) RETURN a.id, b.id")
            assert sorted(map(tuple, found)) == sorted(there), turn
            opened.close()


def _refused(engine: Engine, text: str, why: str) -> None:
    """Make sure that a statement is refused, and why."""
    try:
        engine.run(text)
    except EngineError as error:
        assert why in error.message, error.message
        return
    raise AssertionError(f"{text} was not refused")


CASES: tuple[Callable[[str], None], ...] = (
    every_type_comes_back_as_it_went_in,
    a_parameter_without_a_value_is_refused,
    a_list_may_be_empty,
    several_statements_are_refused,
    what_takes_too_long_is_interrupted,
    a_key_is_copied_once,
    what_was_committed_outlives_the_process,
    a_checkpoint_goes_on_beside_a_reader,
    readings_follow_one_another_on_a_connection,
    worn_connections_are_not_read_with_again,
    tables_are_altered_within_a_transaction,
    deleted_relationships_stay_deleted,
)

if __name__ == "__main__":
    _, wanted_engine, wanted = sys.argv
    next(case for case in CASES if case.__name__ == wanted)(wanted_engine)
