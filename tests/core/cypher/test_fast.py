"""Writes that need no gather, and those that only look so."""

import pytest

from tests.core.cypher.graphs import planned
from torua.core.cypher.plan import (
    CreateEdge,
    CreateNode,
    DeleteNode,
    Field,
    Literal,
    Parameter,
    SetNode,
)


@pytest.mark.parametrize(
    ("text", "write"),
    [
        (
            "CREATE (:Person {id: 1, name: $p})",
            CreateNode("Person", (("id", Literal(1)), ("name", Parameter("p")))),
        ),
        (
            "MATCH (n:Person {id: $p}) SET n.age = 5, n.name = NULL",
            SetNode(
                "Person", Parameter("p"), (("age", Literal(5)), ("name", Literal(None)))
            ),
        ),
        (
            "MATCH (n:Person) WHERE n.id = 1 DETACH DELETE n",
            DeleteNode("Person", Literal(1), detach=True),
        ),
        (
            "MATCH (a:Person {id: 1}), (b:Person {id: $q}) MERGE (b)<-[:Knows]-(a)",
            CreateEdge(
                "Knows",
                ("Person", Literal(1)),
                ("Person", Parameter("q")),
                (),
                merge=True,
            ),
        ),
    ],
)
def test_writes_whose_effect_is_known_are_fast(text: str, write: object) -> None:
    """No gather is needed to know it."""
    writes = planned(text).writes
    assert writes is not None
    assert writes.each == (write,)
    assert writes.rows is None


def test_rows_make_many_of_one() -> None:
    """Fields of the row stand where values do."""
    writes = planned(
        "UNWIND $rows AS r MATCH (a:Person {id: r.a}) MATCH (b:City) WHERE b.name = r.b"
        " CREATE (a)-[:Likes {rank: r.x.y}]->(b)"
    ).writes
    assert writes is not None
    assert writes.rows == Parameter("rows")
    assert writes.each == (
        CreateEdge(
            "Likes",
            ("Person", Field(("a",))),
            ("City", Field(("b",))),
            (("rank", Field(("x", "y"))),),
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "CREATE (:Person {id: 1 + 1})",
        "CREATE (:Person {id: '1'})",
        "CREATE (:Person {name: 'x'})",
        "CREATE (a:Person {id: 1}) RETURN a",
        "CREATE (a:Person {id: 1})-[:Knows]->(b:Person {id: 2})",
        "CREATE (a:Person {id: 1}), (a)-[:Knows]->(a)",
        "MATCH (n:Person {id: 1}) SET n.age = n.age + 1",
        "MATCH (n:Person {id: 1}) SET n.id = 2",
        "MATCH (n:Person {id: 1, name: 'x'}) SET n.age = 1",
        "MATCH (n:Person {id: 1}) WHERE n.id = 2 SET n.age = 1",
        "MATCH (n:Person {id: 1}) WHERE n.age = 2 SET n.age = 1",
        "MATCH (n:Person) SET n.age = 1",
        "MATCH (n:Person {id: 1}), (m:Person {id: 2}) SET n.age = 1",
        "MATCH (n:Person {id: 1}), (m:Person {id: 2}) CREATE (n)-[:LivesIn]->(m)",
        "MATCH (n:Person {id: 1}) MERGE (n)-[r:Knows]->(n) ON MATCH SET r.since = 1",
        "UNWIND [1] AS x CREATE (:Person {id: x})",
        "OPTIONAL MATCH (n:Person {id: 1}) SET n.age = 1",
        "MERGE (:Person {id: 1})",
    ],
)
def test_other_writes_are_not_fast(text: str) -> None:
    """Shadow execution tells what they do."""
    assert planned(text).write
    assert planned(text).writes is None
