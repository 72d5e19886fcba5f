"""Graphs: what is sent, what is repeated, and what is made of the answers."""

import datetime
import io
import json
import uuid
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import cbor2
import pytest

from tests.client.fakes import DROP, FakeNode, Heard, Says, problem, told
from torua.client import (
    Client,
    Edge,
    End,
    Node,
    NotFoundError,
    OutcomeUnknownError,
    Result,
    Retry,
    UnexpectedAnswerError,
    UnprocessableError,
)

pytestmark = pytest.mark.integration

QUICK = Retry(attempts=4, base_s=0.001, cap_s=0.002)
ANSWER = told({"columns": ["n"], "types": ["INT64"], "rows": [[1]], "stats": {"a": 1}})
REFUSED = problem(
    422, "unprocessable", detail="Idempotency-Key: it is kept for statements that only"
)
NODE = told({"table": "P", "key": 1, "version": 4, "properties": {"id": 1}})
WRITTEN = Says(204, headers={"ETag": '"7"'})
READS = ["MATCH (n) RETURN n", "RETURN 1", "MATCH (n) WHERE n.dataset = 1 RETURN n"]
WRITES = ["MATCH (n) SET n.x = n.x + 1", "match (n) delete n", "MERGE (:P {id: 1})"]
CREATE = "CREATE (:P {id: 1})"
DEFINITION = "CREATE NODE TABLE P (id INT64 PRIMARY KEY)"


def query(heard: Heard) -> dict[str, list[str]]:
    """Return the query parameters of a request."""
    return parse_qs(urlsplit(heard.path).query)


def test_a_statement_and_its_answer(node: FakeNode) -> None:
    """Parameters of all kinds arrive as nodes take them; rows are values."""
    node.usual = ANSWER
    parameters: dict[str, object] = {
        "a": [1, 2.5, None, True, "é", {"b": b"\xff"}],
        "day": datetime.date(2024, 2, 29),
        "time": datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
        "id": uuid.UUID(int=5),
        "price": Decimal("1.50"),
        "nan": float("inf"),
    }
    graph = Client(node.url).graph("people")
    result = graph.cypher("RETURN $a", parameters, max_rows=5, consistency="any")
    assert result == Result(("n",), ("INT64",), [[1]], {"a": 1})
    assert result.dicts() == [{"n": 1}]
    (heard,) = node.heard
    body = cbor2.loads(heard.body)
    assert body["query"] == "RETURN $a"
    assert body["parameters"] == {
        "a": [1, 2.5, None, True, "é", {"b": b"\xff"}],
        "day": "2024-02-29",
        "time": "2024-02-29T12:00:00Z",
        "id": "00000000-0000-0000-0000-000000000005",
        "price": "1.50",
        "nan": float("inf"),
    }
    asked = query(heard)
    assert (asked["graph"], asked["max_rows"]) == (["people"], ["5"])
    assert asked["consistency"] == ["any"]


def test_a_parameter_of_no_type_is_refused(node: FakeNode) -> None:
    """Here, before anything is sent."""
    with pytest.raises(TypeError):
        Client(node.url).graph().cypher("RETURN $a", {"a": object()})
    assert node.heard == []


@pytest.mark.parametrize("statement", READS)
def test_what_only_reads_is_repeated(node: FakeNode, statement: str) -> None:
    """It may be run as often as one likes."""
    node.script.append(DROP)
    node.usual = ANSWER
    assert Client(node.url, retry=QUICK).graph().cypher(statement).rows == [[1]]


@pytest.mark.parametrize("statement", [*WRITES, DEFINITION])
def test_a_write_that_was_cut_off_is_not_repeated(
    node: FakeNode, statement: str
) -> None:
    """No key makes that safe; what certainly was not begun is repeated."""
    node.script.extend([problem(503), DROP])
    node.usual = ANSWER
    client = Client(node.url, retry=QUICK)
    with pytest.raises(OutcomeUnknownError):
        client.graph().cypher(statement)
    assert len(node.heard) == 2
    assert all("idempotency-key" not in each.headers for each in node.heard)


def test_what_only_creates_is_repeated_under_a_key(node: FakeNode) -> None:
    """Which nodes keep for such statements."""
    node.script.append(DROP)
    node.usual = ANSWER
    assert Client(node.url, retry=QUICK).graph().cypher(CREATE).rows == [[1]]
    keys = {each.headers["idempotency-key"] for each in node.heard}
    assert (len(keys), len(node.heard)) == (1, 2)


def test_a_key_that_nodes_cannot_keep_is_left_out(node: FakeNode) -> None:
    """They refuse it before anything is done; then it is not repeatable."""
    node.script.append(REFUSED)
    node.usual = ANSWER
    client = Client(node.url, retry=QUICK)
    assert client.graph().cypher(CREATE).rows == [[1]]
    assert "idempotency-key" not in node.heard[1].headers
    node.script.extend([REFUSED, DROP])
    with pytest.raises(OutcomeUnknownError):
        client.graph().cypher(CREATE)


def test_a_key_is_not_left_out_where_it_matters(node: FakeNode) -> None:
    """The caller's own, and one under which something may have been done."""
    client = Client(node.url, retry=QUICK)
    node.script.append(REFUSED)
    with pytest.raises(UnprocessableError):
        client.graph().cypher(CREATE, idempotency_key="mine")
    node.script.extend([DROP, REFUSED])
    with pytest.raises(OutcomeUnknownError):
        client.graph().cypher(CREATE)
    assert len(node.heard) == 3


def test_rows_are_read_as_they_come(node: FakeNode) -> None:
    """With what is told in headers, as far as it is."""
    rows = [[number, "é" * 100] for number in range(5000)]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    headers = {"Torua-Columns": '["a","\\u00e9"]', "Torua-Types": '["INT64","STRING"]'}
    node.usual = Says(200, body, headers)
    with Client(node.url).graph().stream("RETURN 1") as streamed:
        assert (streamed.columns, streamed.stats) == (("a", "é"), {})
        assert next(streamed) == rows[0]
        assert list(streamed) == rows[1:]
    assert node.heard[0].headers["accept"] == "application/x-ndjson"


def test_rows_that_break_off_are_not_taken_for_all(node: FakeNode) -> None:
    """Not even where the break is between two rows."""
    node.usual = Says(200, b"[1]\n" * 1000, cut=400)
    streamed = Client(node.url).graph().stream("RETURN 1")
    with pytest.raises(UnexpectedAnswerError, match="broke"):
        list(streamed)


def test_a_statement_that_is_refused_is_no_stream(node: FakeNode) -> None:
    """The error comes at once, with what the problem says."""
    node.usual = problem(422, "query-too-large", estimate=5)
    with pytest.raises(UnprocessableError) as caught:
        Client(node.url).graph().stream("RETURN 1")
    assert (caught.value.code, caught.value.members["estimate"]) == (
        "query-too-large",
        5,
    )


def test_nodes_and_relationships(node: FakeNode) -> None:
    """Keys of any type and text in paths; conditions; properties in CBOR."""
    edge = {
        "table": "K",
        "from": {"table": "P", "key": 1},
        "to": {"table": "P", "key": 2},
        "id": "",
        "version": 4,
        "properties": {},
    }
    node.script.extend([NODE, told(edge), WRITTEN, WRITTEN, WRITTEN, WRITTEN, WRITTEN])
    graph = Client(node.url).graph()
    assert graph.get_node("P", "a/b é..") == Node("P", 1, 4, {"id": 1})
    assert graph.get_edge("K", 1, datetime.date(2024, 1, 2)) == Edge(
        "K", End("P", 1), End("P", 2), "", 4, {}
    )
    assert graph.put_node("P", True, {"born": datetime.date(2024, 1, 2)}) == 7
    assert graph.patch_node("P", 1, {}, if_version=3) == 7
    graph.delete_node("P", "..", detach=True)
    assert graph.put_edge("K", "a/b", 2, {"x": b"\xff"}, source_table="P") == 7
    graph.delete_edge("K", 1, 2, id="ab", if_version=2)
    paths = [urlsplit(each.path).path for each in node.heard]
    assert unquote(paths[0]) == "/graph/nodes/P/a/b é.."
    assert paths[1:] == [
        "/graph/edges/K/1/2024-01-02",
        "/graph/nodes/P/true",
        "/graph/nodes/P/1",
        "/graph/nodes/P/%2E%2E",
        "/graph/edges/K/a%2Fb/2",
        "/graph/edges/K/1/2",
    ]
    assert cbor2.loads(node.heard[2].body) == {"born": "2024-01-02"}
    assert node.heard[3].headers["if-match"] == '"3"'
    assert query(node.heard[4])["detach"] == ["true"]
    assert query(node.heard[5])["from_table"] == ["P"]
    assert query(node.heard[6])["id"] == ["ab"]
    assert all("idempotency-key" in each.headers for each in node.heard[2:])
    with pytest.raises(TypeError):
        graph.get_node("P", [1])


def test_a_table_that_is_not_there_is_no_absent_row(node: FakeNode) -> None:
    """Absent rows are of a shard, unknown tables of none."""
    node.script.extend([problem(404, shard=1), problem(404)])
    graph = Client(node.url).graph()
    assert graph.get_node("P", 1) is None
    with pytest.raises(NotFoundError):
        graph.get_node("P", 1)


def test_a_file_that_breaks_off_is_sent_again_whole(
    node: FakeNode, tmp_path: Path
) -> None:
    """Under the same import id, from where the file stood."""
    report = told({"task": "t", "import_id": "i", "table": "P", "rows": 2})
    node.script.extend([DROP, problem(503)])
    node.usual = report
    graph = Client(node.url, retry=QUICK).graph()
    file = io.BytesIO(b"left out\nid\n1\n")
    file.seek(9)
    loaded = graph.load("P", file, media_type="text/csv", options={"delimiter": "|"})
    assert loaded.rows == 2
    assert [each.body for each in node.heard] == [b"id\n1\n"] * 3
    asked = query(node.heard[0])
    assert len({query(each)["import_id"][0] for each in node.heard}) == 1
    assert (asked["delimiter"], asked["graph"]) == (["|"], ["main"])
    path = tmp_path / "P.NDJSON"
    path.write_bytes(b"{}")
    graph.load("P", path, on_duplicate="skip", max_errors=3)
    assert node.heard[-1].headers["content-type"] == "application/x-ndjson"
    assert query(node.heard[-1])["on_duplicate"] == ["skip"]
    with pytest.raises(ValueError):
        graph.load("P", io.BytesIO(b""))


def test_an_import_that_stopped_tells_how_far_it_came(node: FakeNode) -> None:
    """The problem has what the report has."""
    node.usual = problem(422, "unprocessable", complete=512, stopped="bad rows")
    with pytest.raises(UnprocessableError) as caught:
        Client(node.url).graph().load("P", io.BytesIO(b"x"), media_type="text/csv")
    assert caught.value.members["complete"] == 512


def test_graphs(node: FakeNode) -> None:
    """They are listed, made and dropped; only a drop is not repeated."""
    view = {
        "name": "g/h",
        "placement": "single",
        "version": 1,
        "node_tables": 0,
        "rel_tables": 0,
    }
    node.script.extend([told([view]), DROP, told(view), DROP])
    client = Client(node.url, retry=QUICK)
    assert [each.name for each in client.graphs()] == ["g/h"]
    assert client.create_graph("g/h", "single").placement == "single"
    with pytest.raises(OutcomeUnknownError):
        client.drop_graph("g/h")
    assert urlsplit(node.heard[-1].path).path == "/graphs/g%2Fh"
