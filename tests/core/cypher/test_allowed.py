"""Statements that users may not run are refused, and told what to do instead."""

import pytest
from msgspec import structs

from tests.core.cypher.graphs import GRAPH
from torua.core.cypher.planner import plan
from torua.core.graph.schema import MAIN_GRAPH
from torua.errors import ToruaError, UnprocessableError

REFUSED = [
    ("COPY Person FROM 'a.csv'", "import"),
    ("COPY (MATCH (n) RETURN n) TO '/tmp/a.csv'", "import"),
    ("LOAD FROM '/etc/passwd' RETURN *", "import"),
    ("LOAD WITH HEADERS (a STRING) FROM 'a' RETURN *", "import"),
    ("LOAD EXTENSION httpfs", "import"),
    ("MATCH (n) LOAD FROM '/etc/passwd' RETURN *", "import"),
    ("EXPORT DATABASE '/tmp/x'", "read it"),
    ("IMPORT DATABASE '/tmp/x'", "import"),
    ("ATTACH 'x' AS y (dbtype duckdb)", "reachable"),
    ("DETACH y", "reachable"),
    ("USE y", "member graph"),
    ("INSTALL httpfs", "extensions"),
    ("FORCE INSTALL httpfs", "extensions"),
    ("UNINSTALL httpfs", "extensions"),
    ("UPDATE httpfs", "extensions"),
    ("BEGIN TRANSACTION", "transaction"),
    ("COMMIT", "transaction"),
    ("ROLLBACK", "transaction"),
    ("CHECKPOINT", "checkpoint"),
    ("CALL threads=5", "settings"),
    ("CALL show_tables() RETURN *", "schema"),
    ("MATCH (n) CALL show_tables() RETURN *", "schema"),
    ("match (n) call /* x */ SHOW_TABLES () return *", "schema"),
    ("EXPLAIN MATCH (n) RETURN n", "explain"),
    ("PROFILE MATCH (n) RETURN n", "explain"),
    ("ANALYZE", "statistics"),
    ("COMMENT ON TABLE Person IS 'x'", "comments"),
    ("CREATE MACRO f(a) AS a", "expression"),
    ("CREATE TYPE t AS INT64", "type"),
    ("CREATE SEQUENCE s", "ULID"),
    ("CREATE USER u", "configured"),
    ("CREATE ROLE r", "configured"),
    ("RETURN 1; RETURN 2", "one by one"),
    ("RETURN 1;;", "one by one"),
    ("", "empty"),
    ("/* only this */", "empty"),
    ("RETURN nextval('s')", "no function"),
    ("RETURN `nextval`('s')", "no function"),
    ("RETURN currval('s')", "no function"),
    ("RETURN setseed(0.5)", "no function"),
    ("MATCH (n:Person) WHERE read_csv_serial('x') RETURN n", "no function"),
    ("MATCH (n:Person) RETURN n.tv_ver", "tv_"),
    ("MATCH (n:Person) REMOVE n.age", "SET"),
    ("FOREACH (x IN [1] | CREATE (:Person {id: x}))", "UNWIND"),
    ("GRANT ALL", "clause"),
    ("MATCH (n:Nobody) RETURN n", "no node table"),
    ("MATCH (n:Knows) RETURN n", "no node table"),
    ("MATCH (:Person)-[r:Person]->() RETURN r", "no relationship table"),
    ("RETURN $a, $b", r"\$b"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_is_not_allowed_is_refused_with_a_hint(text: str, told: str) -> None:
    """The message says what to do instead."""
    with pytest.raises(UnprocessableError, match=told):
        plan(text, {"a": 1}, GRAPH)


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (n:Person) RETURN n.call, n.load, n.copy",
        "MATCH (n:Person) WHERE n.name = 'COPY x; CALL y()' RETURN n.name",
        "MATCH (n:Person) WHERE n.id IN (  [1]) AND (n.age > 1) RETURN n.name;",
        "RETURN CAST(1, 'STRING'), count(*), [1][1]",
    ],
)
def test_words_that_only_look_so_are_no_trouble(text: str) -> None:
    """Properties, strings and keywords before brackets are none of these."""
    plan(text, {}, GRAPH)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE (:KeyValue {key: 'a'})",
        "MATCH (n:KeyValue) SET n.value = NULL",
        "MATCH (n:KeyValue) DELETE n",
        "MATCH (n) DELETE n",
        "MERGE (:KeyValue {key: 'a'})",
    ],
)
def test_keys_and_values_are_not_written_by_statements(text: str) -> None:
    """They have their own endpoints."""
    with pytest.raises(UnprocessableError, match="/kv"):
        plan(text, {}, MAIN_GRAPH)


def test_any_node_may_be_meant_though_some_are_keys_and_values() -> None:
    """Whether one of those would be changed is seen when the changes are known."""
    graph = structs.replace(MAIN_GRAPH, nodes=(*MAIN_GRAPH.nodes, *GRAPH.nodes))
    assert plan("MATCH (n) DETACH DELETE n", {}, graph).write


@pytest.mark.parametrize(
    "text",
    [
        "MATCH",
        "MATCH (n",
        "MATCH (n) RETURN",
        "MATCH (n)->(m) RETURN n",
        "MATCH (n)<-[]->(m) RETURN n",
        "MATCH (n:) RETURN n",
        "MATCH (n {a}) RETURN n",
        "MATCH (n) RETURN n RETURN n",
        "RETURN 1 AS",
        "UNWIND [1] RETURN 1",
        "MATCH (n) SET n = 1",
        "MATCH (n) RETURN n ORDER n",
    ],
)
def test_what_is_no_cypher_is_malformed_at_a_place(text: str) -> None:
    """The message says where."""
    with pytest.raises(ToruaError, match=r"line 1, column|closes"):
        plan(text, {}, GRAPH)
