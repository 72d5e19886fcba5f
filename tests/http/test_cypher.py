"""Statements and graphs, over HTTP."""

import json

import cbor2
import pytest

from tests.http.wire import World
from torua.core.configuration import Limits
from torua.core.graph.schema import Placement
from torua.core.graph.statement import Answered, Statement
from torua.core.graph.views import ExplainView, GraphView, SchemaView
from torua.core.ids import ShardId
from torua.core.kv import Call
from torua.core.reading import Level, Position, Token, spell_tokens
from torua.errors import QueryTooLargeError, ToruaError
from torua.http import cypher, graphs, limits

TOKEN = spell_tokens([Token(ShardId(1), Position("h", 7))])
BODIES = {
    "json": b'[[1,"a"]]',
    "ndjson": b'[1,"a"]\n',
    "cbor": cbor2.dumps([[1, "a"]]),
    "arrow": b"ARROW",
}


class FakeGraphs:
    """Statements and graphs that are what the test says.

    Invariants: whatever is asked is noted.
    """

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked: list[tuple[Statement, Call]] = []
        self.made: list[tuple[str, str]] = []
        self.failure: ToruaError | None = None
        self.answers = dict(BODIES)
        self.stats: dict[str, object] = {"strategy": "gather"}

    async def run(self, statement: Statement, call: Call) -> Answered:
        """Answer one row.

        Args:
            statement: noted.
            call: noted.
        """
        self.asked.append((statement, call))
        if self.failure is not None:
            raise self.failure
        columns, types = ("n", "tëxt"), ("INT64", "STRING")
        body = self.answers[statement.format]
        return Answered(columns, types, body, self.stats, TOKEN)

    async def explain(self, statement: Statement, call: Call) -> ExplainView:
        """Explain.

        Args:
            statement: noted.
            call: noted.
        """
        self.asked.append((statement, call))
        return ExplainView("gather", ("because",), False, (0, 1))

    def graphs(self) -> tuple[GraphView, ...]:
        """List one."""
        return (GraphView("main", "sharded", 1, 1, 0),)

    async def create(self, name: str, placement: Placement, call: Call) -> GraphView:
        """Note it.

        Args:
            name: which.
            placement: where.
            call: who asks.
        """
        self.made.append((name, placement))
        return GraphView(name, placement, 1, 0, 0)

    async def drop(self, name: str, call: Call) -> None:
        """Note it.

        Args:
            name: which.
            call: who asks.
        """
        self.made.append((name, "gone"))

    async def schema(self, name: str, call: Call) -> SchemaView:
        """Describe nothing.

        Args:
            name: which.
            call: who asks.
        """
        return SchemaView(name, "sharded", 1, (), ())


def begin() -> tuple[World, FakeGraphs]:
    """Make a site with graphs."""
    fake = FakeGraphs()
    return World((*cypher.routes(fake, "n1"), *graphs.routes(fake))), fake


def test_rows_come_as_they_were_asked_for() -> None:
    """JSON by default, CBOR, lines and Arrow where they are accepted."""
    world, _ = begin()
    asked = {"query": "RETURN 1"}
    body = json.dumps(asked).encode()
    answer = world.ask("POST", "/cypher", body)
    whole = {
        "columns": ["n", "tëxt"],
        "types": ["INT64", "STRING"],
        "rows": [[1, "a"]],
        "stats": {"strategy": "gather"},
    }
    assert answer.json == whole
    answer = world.ask("POST", "/cypher", body, Accept="application/cbor")
    assert cbor2.loads(answer.body) == whole
    lines = world.ask("POST", "/cypher", body, Accept="application/x-ndjson")
    assert lines.body == BODIES["ndjson"]
    assert json.loads(lines.headers["torua-columns"]) == ["n", "tëxt"]
    arrow = {"Accept": "application/vnd.apache.arrow.stream, */*;q=0.1"}
    assert world.ask("POST", "/cypher", body, **arrow).body == b"ARROW"


def test_all_that_a_body_says_reaches_the_query() -> None:
    """Parameters, graph, freshness, time and bounds; the token is a header."""
    world, fake = begin()
    body = {
        "query": "MATCH (n) RETURN n",
        "parameters": {"x": [1, None]},
        "graph": "g",
        "consistency": "session",
        "timeout_ms": 120_000,
        "max_rows": 5,
    }
    answer = world.ask(
        "POST",
        "/cypher",
        cbor2.dumps(body),
        Content_Type="application/cbor",
        Torua_Token=TOKEN,
    )
    assert answer.headers["torua-token"] == TOKEN
    ((statement, call),) = fake.asked
    text = "MATCH (n) RETURN n"
    assert statement == Statement(text, {"x": [1, None]}, "g", "json", 5)
    assert call.reading.level is Level.SESSION
    assert call.reading.seen[0].position.seq == 7
    assert call.timeout_s == 120.0


def test_what_a_statement_does_not_say_is_configured() -> None:
    """It holds from the next statement on."""
    fake, limits = FakeGraphs(), [Limits(), Limits(query_rows=7, query_timeout_s=2.0)]
    world = World(cypher.routes(fake, "n1", limits.pop))
    for body in (b'{"query":"RETURN 1"}', b'{"query":"RETURN 1"}'):
        assert world.ask("POST", "/cypher", body).status == 200
    found = [(asked.rows_max, call.timeout_s) for asked, call in fake.asked]
    assert found == [(7, 2.0), (100_000, 30.0)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"query":""}',
        b'{"query":"RETURN 1","else":1}',
        b'{"query":"RETURN 1","timeout_ms":300001}',
        b'{"query":"RETURN 1","timeout_ms":0}',
        b'{"query":"RETURN 1","consistency":"most"}',
        b'{"query":"RETURN 1","max_rows":0}',
        b'{"query":"RETURN 1","parameters":[1]}',
    ],
)
def test_what_is_no_statement_is_malformed(body: bytes) -> None:
    """Nothing is asked of anybody."""
    world, fake = begin()
    assert world.ask("POST", "/cypher", body).status == 400
    assert fake.asked == []


def test_what_is_too_large_is_refused_with_its_estimate() -> None:
    """The problem says how much it would be."""
    world, fake = begin()
    fake.failure = QueryTooLargeError("too much", estimate=10, limit=5)
    answer = world.ask("POST", "/cypher", b'{"query":"RETURN 1"}')
    assert answer.status == 422
    assert answer.json["type"] == "urn:torua:problem:query-too-large"
    assert (answer.json["estimate"], answer.json["limit"]) == (10, 5)


def test_large_answers_to_reads_are_withheld_where_many_wait() -> None:
    """What was written is told in any case."""
    fake = FakeGraphs()
    world = World(cypher.routes(fake, "n1"), unread_bytes_max=0)
    large = b"[[" + b"1" * limits.PIECE_BYTES + b"]]"
    fake.answers["json"] = large
    body = b'{"query":"MATCH (n) RETURN n"}'
    assert world.ask("POST", "/cypher", body).status == 429
    fake.stats = {"nodes_created": 1}
    assert len(world.ask("POST", "/cypher", body).body) > len(large)


def test_a_statement_is_explained() -> None:
    """The plan, and the shards."""
    world, _ = begin()
    answer = world.ask("POST", "/cypher/explain", b'{"query":"RETURN 1"}')
    assert answer.json["strategy"] == "gather"
    assert answer.json["shards"] == [0, 1]


def test_graphs_are_made_and_removed() -> None:
    """The placement stands in the body or in the query."""
    world, fake = begin()
    assert world.ask("GET", "/graphs").json[0]["name"] == "main"
    made = world.ask("PUT", "/graphs/a", b'{"placement":"single"}')
    assert made.json["placement"] == "single"
    assert world.ask("PUT", "/graphs/b?placement=single").status == 200
    assert world.ask("PUT", "/graphs/c").status == 200
    assert world.ask("PUT", "/graphs/d?placement=here").status == 400
    assert world.ask("DELETE", "/graphs/a").status == 204
    made_all = [("a", "single"), ("b", "single"), ("c", "sharded"), ("a", "gone")]
    assert fake.made == made_all
    assert world.ask("GET", "/graph/schema?graph=a").json["graph"] == "a"
