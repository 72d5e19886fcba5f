"""Walks over HTTP, compiled to statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from tests.http.test_graph import MAIN, Schemas
from tests.http.wire import Response
from tests.http.wire import World as Site
from torua.core.cypher.tokens import tokenize
from torua.core.graph.statement import Answered, Statement
from torua.core.graph.views import ExplainView
from torua.core.kv import Call
from torua.core.reading import Level
from torua.errors import ToruaError
from torua.http.walks import StepBody, TraverseBody, compile_walk, routes
from torua.node.graph.entries import Entries

START = [{"table": "Person", "key": 1}, {"table": "person", "key": "2"}]
ENDS = {"from": START[0], "to": START[1]}


class Statements:
    """Notes statements, and answers with what the test gives it.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with no rows."""
        self.asked: list[tuple[Statement, Call]] = []
        self.body = b"[]"

    async def run(self, statement: Statement, call: Call) -> Answered:
        """Note a statement.

        Args:
            statement: what is asked.
            call: who asks.
        """
        self.asked.append((statement, call))
        return Answered(("node",), ("NODE",), self.body, {"strategy": "x"}, "t")

    async def explain(self, statement: Statement, call: Call) -> ExplainView:
        """Explain nothing.

        Args:
            statement: what is asked.
            call: who asks.
        """
        raise NotImplementedError


class World:
    """A site that compiles walks.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Make it."""
        self.statements = Statements()
        entries = Entries(None, Schemas(), None, "n1")  # type: ignore[arg-type]
        self.site = Site(routes(entries, self.statements, "n1"))

    def walk(self, query: str = "", /, **body: object) -> Response:
        """Ask for a walk."""
        spelled = json.encode({"start": START, "steps": [], **body})
        return self.site.ask("POST", f"/graph/traverse{query}", spelled)

    def shortest(self, **body: object) -> Response:
        """Ask for a shortest path."""
        spelled = json.encode({**ENDS, **body})
        return self.site.ask("POST", "/graph/shortest-path", spelled)

    @property
    def statement(self) -> Statement:
        """The last statement."""
        return self.statements.asked[-1][0]


def test_a_walk_becomes_a_statement() -> None:
    """Names are the schema's, values are parameters."""
    world = World()
    step = {
        "rel": ["knows", "LIKES"],
        "direction": "both",
        "min": 1,
        "max": 3,
        "table": "person",
        "where": {"NAME": {"starts_with": "p", "<>": None}, "stars": 7},
    }
    answer = world.walk(steps=[{"rel": "KNOWS"}, step], limit=5)
    assert answer.status == 200
    assert answer.json["rows"] == []
    assert answer.headers["torua-token"] == "t"
    assert world.statement.text == (
        "MATCH (n0:`Person`)-[r1:`KNOWS`]->(n1)-[r2:`KNOWS`|`LIKES`*1..3]-(n2:`Person`)"
        " WHERE n0.`id` IN $start AND n2.`name` STARTS WITH $w1"
        " AND n2.`name` IS NOT NULL AND n2.`stars` = $w2"
        " RETURN DISTINCT n2 AS node LIMIT 5"
    )
    assert world.statement.parameters == {"start": [1, 2], "w1": "p", "w2": 7}


def test_what_is_returned_is_chosen() -> None:
    """Nodes, paths, how many, or properties."""
    world = World()
    for wanted, text in (
        ("nodes", "RETURN DISTINCT n0 AS node LIMIT 100"),
        ("paths", "RETURN nodes(p) AS nodes, rels(p) AS edges LIMIT 100"),
        ("count", "RETURN count(DISTINCT n0) AS count"),
        (
            ["Name", "id"],
            "RETURN DISTINCT n0.`name` AS `name`, n0.`id` AS `id` LIMIT 100",
        ),
    ):
        assert world.walk(**{"return": wanted}).status == 200
        assert world.statement.text.endswith(text)
    assert world.statement.text.startswith("MATCH (n0:`Person`) WHERE")


def test_a_walk_is_read_as_fresh_as_it_is_asked() -> None:
    """Consistency, graph and time are given as everywhere."""
    world = World()
    assert world.walk("?consistency=any&timeout_ms=5&graph=main").status == 200
    call = world.statements.asked[-1][1]
    assert (call.reading.level, call.timeout_s) == (Level.ANY, 0.005)
    assert world.walk(graph="none").status == 404


def test_a_shortest_path_is_found_or_not() -> None:
    """Both are answers."""
    world = World()
    assert world.shortest().json == {
        "found": False,
        "length": None,
        "nodes": [],
        "edges": [],
    }
    assert world.statement.text == (
        "MATCH p = (a:`Person` {`id`: $a})-[r* SHORTEST 1..30]->(b:`Person` {`id`: $b})"
        " RETURN nodes(p) AS nodes, rels(p) AS edges, length(p) AS length LIMIT 1"
    )
    world.statements.body = b'[[[{"id":1},{"id":2}],[{"since":1}],1]]'
    found = world.shortest(rel="KNOWS", direction="in", max=4).json
    assert (found["found"], found["length"], len(found["nodes"])) == (True, 1, 2)
    assert "<-[r:`KNOWS`* SHORTEST 1..4]-" in world.statement.text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"start": []}),
        (400, {"start": START * 501}),
        (422, {"start": [{"table": "Person", "key": "x"}]}),
        (422, {"start": [{"table": "Person", "key": None}]}),
        (422, {"start": [*START, {"table": "City", "key": "x"}]}),
        (404, {"start": [{"table": "Nobody", "key": 1}]}),
        (400, {"steps": [{}] * 9}),
        (400, {"steps": [{"min": 2, "max": 1}]}),
        (400, {"steps": [{"min": -1}]}),
        (400, {"steps": [{"max": 31}]}),
        (400, {"steps": [{"direction": "up"}]}),
        (400, {"steps": [{"rel": []}]}),
        (404, {"steps": [{"rel": "HATES"}]}),
        (404, {"steps": [{"rel": "KNOWS`]->() DETACH DELETE n0 //"}]}),
        (404, {"steps": [{"table": "Nobody"}]}),
        (422, {"steps": [{"where": {"age": 1}}]}),
        (422, {"steps": [{"where": {"name` = 1 OR true //": 1}}]}),
        (400, {"steps": [{"where": {"name": {"= 1 OR true": 1}}}]}),
        (400, {"steps": [{"hops": 1}]}),
        (400, {"return": "everything"}),
        (400, {"return": []}),
        (422, {"return": ["age"]}),
        (400, {"limit": 0}),
        (400, {"limit": 10_001}),
        (400, {"limit": "1 UNION MATCH (n) RETURN n"}),
    ],
)
def test_wrong_walks_are_refused(status: int, body: dict[str, object]) -> None:
    """Each has its status, and no statement is run."""
    world = World()
    assert world.walk(**body).status == status
    assert world.statements.asked == []


def test_wrong_paths_are_refused() -> None:
    """Numbers, words and keys are checked."""
    world = World()
    for status, body in (
        (400, {"max": 0}),
        (400, {"max": 31}),
        (400, {"direction": "sideways"}),
        (404, {"rel": "HATES"}),
        (422, {"to": {"table": "Person", "key": "x"}}),
        (400, {"to": None}),
    ):
        assert world.shortest(**body).status == status
    assert world.statements.asked == []


@given(text=st.text(max_size=30), value=st.text(max_size=30))
def test_no_text_of_a_client_stands_in_a_statement(text: str, value: str) -> None:
    """Whatever stands for a name is one of the schema's, or refused."""
    step = StepBody(rel=text, table=text, where={text: value, "name": {text: value}})
    for each in (
        step,
        StepBody(where={"name": value}),
        StepBody(where={text: value}),
        StepBody(rel=text),
        StepBody(direction=text),
    ):
        body = TraverseBody([], [each])
        try:
            statement, values = compile_walk(MAIN, with_start(body))
        except ToruaError:
            continue
        words = {token.text for token in tokenize(statement)}
        assert value in values.values() or not each.where
        assert words <= ALLOWED


def with_start(body: TraverseBody) -> TraverseBody:
    """Let a walk start somewhere."""
    return json.decode(
        json.encode({"start": START, "steps": json.decode(json.encode(body.steps))}),
        type=TraverseBody,
    )


ALLOWED = {
    token.text
    for token in tokenize(
        "MATCH (n0:`Person`)-[r1:`KNOWS`|`LIKES`|`LIVES`]->(n1:`City`) "
        "WHERE n0.`id` IN $start AND n1.`name` <- <> <= >= < > = $w1 $w2 "
        "CONTAINS STARTS WITH ENDS IS NOT NULL `photo` `born` `stars` `since` "
        "RETURN DISTINCT n1 AS node LIMIT 100"
    )
}
