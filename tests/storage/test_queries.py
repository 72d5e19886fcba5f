"""Jobs, run in an engine in memory."""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import cbor2
import pyarrow as pa
import pytest

from tests.storage.graphs import PEOPLE, edges, nodes, people
from torua.core.graph.changes import EdgeChange, NodeChange
from torua.core.graph.jobs import Finished, Format, Gathered, Job
from torua.errors import MalformedError, QueryTooLargeError, UnprocessableError
from torua.storage.kuzu import EngineError, Limits
from torua.storage.queries import Queries


@pytest.fixture(scope="module", name="queries")
def _queries() -> Queries:
    """Make an engine for all tests: jobs see nothing of each other."""
    return Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))


@pytest.fixture(autouse=True)
def _settled(queries: Queries) -> Iterator[None]:
    """Settle after each job."""
    yield
    queries.settle()


def run(
    queries: Queries, text: str, tables: tuple[Gathered, ...] | None = None, **more: Any
) -> Finished:
    """Run a statement on some people, or on other rows.

    Args:
        queries: runs it.
        text: the statement.
        tables: the rows; None: people.
        more: fields of the job.
    """
    given = people() if tables is None else tables
    finished = queries.run(Job(PEOPLE, text, tables=given, **more), 20.0)
    queries.settle()
    return finished


def value(queries: Queries, expression: str, form: Format = Format.JSON) -> Any:
    """Return what an expression is in a format.

    Args:
        queries: runs it.
        expression: in Cypher.
        form: the format.
    """
    body = run(queries, f"RETURN {expression} AS x", (), format=form).body
    if form is Format.CBOR:
        return cbor2.loads(body)[0][0]
    if form is Format.ARROW:
        return pa.ipc.open_stream(body).read_all().column(0)[0].as_py()
    return json.loads(body)[0][0] if form is Format.JSON else json.loads(body)[0]


SHOWN = [
    ("true", True),
    ("cast(-128, 'INT8')", -128),
    ("cast(65535, 'UINT16')", 65535),
    ("9007199254740993", 9007199254740993),
    ("cast(18446744073709551615, 'UINT64')", 18446744073709551615),
    ("cast('36893488147419103232', 'INT128')", "36893488147419103232"),
    ("cast('7', 'INT128')", 7),
    ("1.5", 1.5),
    ("cast(0.5, 'FLOAT')", 0.5),
    ("cast('nan', 'DOUBLE')", "NaN"),
    ("cast('-inf', 'DOUBLE')", "-Infinity"),
    ("[1.5, cast('inf', 'DOUBLE')]", [1.5, "Infinity"]),
    ("cast('-12.30', 'DECIMAL(10, 2)')", "-12.30"),
    ("'é\\n'", "é\n"),
    ("blob('\\\\xFFa')", base64.b64encode(b"\xffa").decode()),
    (
        "uuid('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    ("date('2020-02-29')", "2020-02-29"),
    ("timestamp('1969-12-31 23:59:59.999999')", "1969-12-31T23:59:59.999999Z"),
    (
        "cast('2020-01-01 00:00:00.000001', 'TIMESTAMP_NS')",
        "2020-01-01T00:00:00.000001000Z",
    ),
    ("cast('2020-01-01 00:00:00.5', 'TIMESTAMP_MS')", "2020-01-01T00:00:00.500Z"),
    ("cast('2020-01-01 00:00:01', 'TIMESTAMP_SEC')", "2020-01-01T00:00:01Z"),
    (
        "cast('2020-01-01 00:00:01+02:00', 'TIMESTAMP_TZ')",
        "2019-12-31T22:00:01Z",
    ),
    ("interval('3 days 04:05:06.000007')", "3 days 04:05:06.000007"),
    ("[1, null]", [1, None]),
    ("[[1], []]", [[1], []]),
    ("cast([1, 2], 'INT64[2]')", [1, 2]),
    ("{a: 1, b: {c: 'x'}}", {"a": 1, "b": {"c": "x"}}),
    ("{offset: 1, t: 2}", {"offset": 1, "t": 2}),
    ("map(['a'], [1])", {"a": 1}),
    ("map([1], ['a'])", [[1, "a"]]),
    ("union_value(a := 1)", {"a": 1}),
    ("null", None),
]


@pytest.mark.parametrize(("expression", "shown"), SHOWN)
def test_every_type_has_its_json(
    queries: Queries, expression: str, shown: object
) -> None:
    """JSON, and lines of it, show what the documentation says."""
    assert value(queries, expression) == shown
    assert value(queries, expression, Format.NDJSON) == shown


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("blob('\\\\xFFa')", b"\xffa"),
        ("cast('36893488147419103232', 'INT128')", 36893488147419103232),
        ("cast('-inf', 'DOUBLE')", float("-inf")),
        ("date('2020-02-29')", "2020-02-29"),
    ],
)
def test_cbor_keeps_what_json_cannot(
    queries: Queries, expression: str, shown: object
) -> None:
    """Bytes are bytes, and numbers numbers."""
    assert value(queries, expression, Format.CBOR) == shown


def test_years_that_python_has_not_are_shown(queries: Queries) -> None:
    """The engine's own conversion to Python's dates crashes at them."""
    assert value(queries, "date('12020-02-29')") == "12020-02-29"
    assert value(queries, "[date('12020-02-29')]") == ["12020-02-29"]


def test_entities_are_named_by_their_keys(queries: Queries) -> None:
    """Nodes, relationships, paths and ids show no number of the engine's."""
    text = (
        "MATCH p = (a:Person)-[r:Likes]->(c:City {id: 2}) "
        "RETURN a, r, p, id(c), id(r), [a], {n: c}"
    )
    (row,) = json.loads(run(queries, text).body)
    cyd = {"_label": "Person", "name": "Cyd", "age": 20}
    rome = {"_label": "City", "id": 2, "name": "Rome"}
    likes = {
        "_label": "Likes",
        "_id": b"00000001".hex(),
        "_src": {"_label": "Person", "_key": "Cyd"},
        "_dst": {"_label": "City", "_key": 2},
        "much": 3,
    }
    assert row == [
        cyd,
        likes,
        {"nodes": [cyd, rome], "rels": [likes]},
        {"_label": "City", "_key": 2},
        {"_label": "Likes", "_id": b"00000001".hex()},
        [cyd],
        {"n": rome},
    ]


def test_arrow_names_entities_too(queries: Queries) -> None:
    """A stream has the same fields, keys as text."""
    text = "MATCH p = (a:Person)-[r:Likes]->(c:City) RETURN r, p ORDER BY a.name"
    body = run(queries, text, format=Format.ARROW).body
    row = pa.ipc.open_stream(body).read_all().to_pylist()[1]
    assert row["r"]["_dst"] == {"_label": "City", "_key": "2"}
    assert [node["_label"] for node in row["p"]["nodes"]] == ["Person", "City"]


def test_relationships_to_nothing_are_not_seen(queries: Queries) -> None:
    """An end that is missing, or was born again, hides what points to it."""
    (person, city, *_) = people()
    old = [("Ada", "Bob", 1), ("Ada", "Eve", 2), ("Eve", "Ada", 3)]
    knows = edges("Knows", ("Person", "Person"), old, "since", pa.string())
    text = "MATCH ()-[r:Knows]->() RETURN r.since"
    assert run(queries, text, (knows, person, city)).body == b"[[1]]"
    born = pa.ipc.open_stream(person.parts[0]).read_all()
    column = born.column_names.index("tv_born")
    born = born.set_column(column, "tv_born", pa.array([1, 7, 1], pa.int64()))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, born.schema) as writer:
        writer.write_table(born)
    again = Gathered("Person", None, (sink.getvalue().to_pybytes(),))
    assert run(queries, text, (again, knows)).body == b"[]"


def test_what_comes_twice_is_there_once(queries: Queries) -> None:
    """Rounds of a frontier may bring the same rows again."""
    text = "MATCH (a:Person)-[r:Knows]->(b) RETURN count(*)"
    assert run(queries, text, people() + people()).body == b"[[3]]"


def test_tables_that_were_not_gathered_are_empty(queries: Queries) -> None:
    """A statement binds as it does in one database."""
    text = "MATCH (c:City) RETURN count(c.name)"
    assert run(queries, text, ()).body == b"[[0]]"


def test_tables_are_made_for_those_who_name_them() -> None:
    """With the tables at the ends of relationships, job by job."""
    queries = Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))
    hop = "MATCH (a:Person)-[:Likes]->(b:City) RETURN b.name ORDER BY b.name"
    some = people()[:1]
    found = run(queries, "MATCH (n:Person) RETURN n", some, named=("Person",))
    names = [row[0]["name"] for row in json.loads(found.body)]
    assert names == ["Ada", "Bob", "Cyd"]
    with pytest.raises(UnprocessableError, match="City does not exist"):
        run(queries, "MATCH (n:City) RETURN n", (), named=())
    queries.settle()
    for _ in range(2):
        found = run(queries, hop, named=("Person", "Likes"))
        assert json.loads(found.body) == [["Rome"], ["Ur"]]
        found = run(queries, "MATCH (n:City) RETURN n.id")
        assert found.rows == 2


def test_jobs_in_one_database_see_nothing_of_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few rows are rolled back: keys come again, relationships keep their ids."""
    queries = Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))
    monkeypatch.setattr("torua.storage.queries.TRIALS_MAX", 4)
    count, every = "MATCH (p:Person) RETURN count(*)", people()
    edge = "MATCH (:Person {name: 'Cyd'})-[r:Likes]->() RETURN r"
    named = ("Person", "Likes")
    for turn in range(5):
        assert run(queries, count, every, named=named).body == b"[[3]]"
        found = json.loads(run(queries, edge, every, named=named).body)
        assert [row[0]["_id"] for row in found] == [b"00000001".hex()], turn
        assert run(queries, count, ()).body == b"[[0]]"


def test_a_database_that_cannot_be_made_anew_ends_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next statement is not to blame: it goes to another."""
    queries = Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))
    count = "MATCH (p:Person) RETURN count(*)"
    run(queries, count)

    def fail(*_: object) -> None:
        """Have no more memory."""
        raise EngineError("Mmap for size 8589934592 failed.")

    monkeypatch.setattr("torua.storage.queries.TRIALS_MAX", 2)
    monkeypatch.setattr("torua.storage.queries.Engine", fail)
    assert run(queries, count).body == b"[[3]]"
    assert queries.broken


def test_paths_of_variable_length_see_rows_that_are_rolled_back() -> None:
    """Job after job, in a database of the tables that are named."""
    queries = Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))
    text = "MATCH way = (:Person {name: 'Ada'})-[k:Knows* SHORTEST 1..3]-(b:Person)"
    every = f"{text} RETURN b.name, length(k), way ORDER BY b.name"
    whole = json.loads(run(queries, every).body)
    assert [row[:2] for row in whole] == [["Bob", 1], ["Cyd", 2]]
    for _ in range(2):
        found = run(queries, every, named=("Person", "Knows"))
        assert json.loads(found.body) == whole


def test_many_nodes_are_rolled_back_too() -> None:
    """They are in their order, and gone for the next job."""
    queries = Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))
    names = [f"p{at}" for at in range(1500)]
    person: dict[str, Sequence[object]] = {"name": names, "age": list(range(1500))}
    some = (nodes("Person", person, {"name": pa.string(), "age": pa.int64()}),)
    text = "MATCH (p:Person) WHERE p.age % 500 = 1 RETURN p ORDER BY p.age"
    for _ in range(2):
        found = json.loads(run(queries, text, some, named=("Person",)).body)
        assert [row[0]["name"] for row in found] == ["p1", "p501", "p1001"]
        count = run(queries, "MATCH (p:Person) RETURN count(*)", (), named=("Person",))
        assert count.body == b"[[0]]"


def test_what_is_of_now_is_not_prepared_once(queries: Queries) -> None:
    """The engine would work it out once for all times that a statement comes."""
    text = "MATCH (p:Person) RETURN gen_random_uuid() AS u LIMIT 1"
    first, second = (run(queries, text, named=("Person",)) for _ in range(2))
    assert first.body != second.body


def test_answers_are_cut_and_say_so(queries: Queries) -> None:
    """Rows over the limit are left out; bytes over the limit are refused."""
    cut = run(queries, "UNWIND range(1, 10) AS x RETURN x", (), rows_max=3)
    assert (cut.body, cut.rows, cut.truncated) == (b"[[1],[2],[3]]", 3, True)
    with pytest.raises(QueryTooLargeError):
        run(queries, "UNWIND range(1, 100) AS x RETURN x", (), bytes_max=100)


def test_no_rows_are_a_body_too(queries: Queries) -> None:
    """Every format has an empty answer."""
    text = "MATCH (p:Person) RETURN p"
    bodies = [run(queries, text, (), format=form).body for form in Format]
    assert bodies[0] == b"[]"
    assert bodies[1] == b""
    assert cbor2.loads(bodies[2]) == []
    assert pa.ipc.open_stream(bodies[3]).read_all().num_rows == 0


def test_errors_say_who_must_do_what(queries: Queries) -> None:
    """Syntax is malformed; meaning is unprocessable; parameters must be given."""
    with pytest.raises(MalformedError):
        run(queries, "RETRUN 1", ())
    with pytest.raises(UnprocessableError, match="Nothing"):
        run(queries, "MATCH (n:Nothing) RETURN n", ())
    with pytest.raises(UnprocessableError, match=r"\$p"):
        run(queries, "RETURN $p", ())
    with pytest.raises(UnprocessableError, match="one statement"):
        run(queries, "RETURN 1; RETURN 2", ())


def test_jobs_leave_nothing_behind(queries: Queries) -> None:
    """What one job gathered or wrote, the next does not see."""
    run(queries, "CREATE (:Person {name: 'Zoe'})", write=True)
    assert run(queries, "MATCH (p:Person) RETURN count(*)", ()).body == b"[[0]]"


def test_a_write_says_what_it_changed(queries: Queries) -> None:
    """Properties set, nodes and relationships made, each with what was read."""
    text = (
        "MATCH (a:Person {name: 'Ada'})-[r:Knows {since: 2}]->(b) "
        "SET r.since = 9, a.age = 37 "
        "CREATE (a)-[:Knows {since: 5}]->(b), (:City {id: 3}) RETURN a.age"
    )
    finished = run(queries, text, write=True)
    ada, bob = ("Person", "Ada"), ("Person", "Bob")
    assert finished.body == b"[[37]]"
    assert finished.changes == (
        NodeChange("Person", "Ada", {"name": "Ada", "age": 37}, 1),
        NodeChange("City", 3, {"id": 3, "name": None}),
        EdgeChange("Knows", ada, bob, b"00000001", {"since": 9}, 1),
        EdgeChange("Knows", ada, bob, b"", {"since": 5}),
    )


def test_deletions_come_first_and_tell_of_detach(queries: Queries) -> None:
    """Relationships go before their ends."""
    finished = run(
        queries, "MATCH (p:Person {name: 'Cyd'}) DETACH DELETE p", write=True
    )
    cyd = ("Person", "Cyd")
    assert finished.changes == (
        EdgeChange("Knows", ("Person", "Bob"), cyd, b"00000002", None, 1),
        EdgeChange("Likes", cyd, ("City", 2), b"00000001", None, 1),
        NodeChange("Person", "Cyd", None, 1, detach=True),
    )


def test_a_node_made_again_is_an_update(queries: Queries) -> None:
    """Deleted and created in one statement, it is the row that was read."""
    (city,) = (nodes("City", {"id": [1]}, {"id": pa.int64()}),)
    table = pa.ipc.open_stream(city.parts[0]).read_all()
    names = pa.array(["Ur"], pa.string())
    sink = pa.BufferOutputStream()
    whole = table.append_column("name", names)
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    gathered = Gathered("City", None, (sink.getvalue().to_pybytes(),))
    text = "MATCH (c:City) DELETE c CREATE (:City {id: 1, name: 'Uruk'})"
    finished = run(queries, text, (gathered,), write=True)
    changed = NodeChange("City", 1, {"id": 1, "name": "Uruk"}, 1)
    assert finished.changes == (changed,)


def test_a_write_to_rows_gathered_in_part_is_refused(queries: Queries) -> None:
    """A row that was not read whole would lose what was not read."""
    city = nodes("City", {"id": [1]}, {"id": pa.int64()})
    with pytest.raises(UnprocessableError, match="not all columns"):
        run(queries, "CREATE (:City {id: 2})", (city,), write=True)


@pytest.mark.parametrize("count", [5, 2000, 2001, 5000])
def test_rows_are_numbered_as_they_come(queries: Queries, count: int) -> None:
    """What names rows by their places depends on it."""
    numbers = [(at * 7919) % 10007 for at in range(count)]
    columns: dict[str, Any] = {"id": numbers, "name": [str(n) for n in numbers]}
    city = nodes("City", columns, {"id": pa.int64(), "name": pa.string()})
    text = "MATCH (c:City) RETURN offset(id(c)) AS o, c.id ORDER BY o"
    found = json.loads(run(queries, text, (city,)).body)
    assert found == [list(row) for row in enumerate(numbers)]


@pytest.mark.parametrize(
    ("text", "rows", "kinds"),
    [
        (
            "UNWIND [1, 2] AS x WITH x, interval('14 months') AS i "
            "RETURN i, x AS y ORDER BY y DESC;",
            [["1 year 2 months", 2], ["1 year 2 months", 1]],
            ("INTERVAL", "INT64"),
        ),
        (
            "UNWIND ['2 months', '1 month'] AS x "
            "RETURN DISTINCT interval(x), x SKIP 1 LIMIT 1",
            [["1 month", "1 month"]],
            ("INTERVAL", "STRING"),
        ),
        (
            "UNWIND [1] AS x RETURN max(interval('1 year')), count(*) AS n",
            [["1 year", 1]],
            ("INTERVAL", "INT64"),
        ),
    ],
)
def test_months_are_not_days(
    queries: Queries, text: str, rows: object, kinds: tuple[str, ...]
) -> None:
    """An INTERVAL is shown as the engine prints it, months and all."""
    finished = run(queries, text, ())
    assert json.loads(finished.body) == rows
    assert finished.types == kinds


def test_text_is_not_believed_where_rows_are_other_ones(queries: Queries) -> None:
    """The engine forgets DISTINCT of constants in a WITH."""
    text = "UNWIND [2, 1] AS x WITH x, interval('2 days') AS i RETURN DISTINCT i"
    assert json.loads(run(queries, text, ()).body) == [["2 days"]]
