"""Plans that are run on four engines answer as one engine that holds everything.

The first statements are written for the rules of each strategy; the others are drawn
from the grammar.
"""

from collections.abc import Iterator
from random import Random

import pytest

from tests.core.cypher.planned import Planned
from tests.core.cypher.walks import Walks
from tests.graph import world
from tests.graph.answers import difference
from tests.graph.dice import Dice
from tests.graph.oracle import Oracle
from tests.graph.reading import read
from tests.graph.statements import Statement

DRAWN = 25
"""Engines take a tenth of a second for a statement; longer plays are elsewhere."""

K = {"k": 3, "ks": [1, 2, 3, None]}
WRITTEN = [
    "MATCH (p:Person {id: $k}) RETURN p.name, p.age, p.ok",
    "MATCH (p:Person {id: $k}) RETURN p",
    "MATCH (p:Person) WHERE p.id IN $ks"
    " RETURN count(*), avg(p.age), collect(p.id) AS bag",
    "MATCH (p:Person {id: 1}), (c:City {name: 'Rome'}) RETURN p.name, c.size",
    "MATCH (p:Person {id: 999}) RETURN count(*), sum(p.age), max(p.name)",
    "MATCH (p:Person) RETURN count(*), count(p.age), sum(p.age), min(p.name)",
    "MATCH (p:Person) RETURN avg(p.age), avg(p.height), sum(p.height)",
    "MATCH (p:Person) WHERE p.id > 999"
    " RETURN count(*), avg(p.age), collect(p.id) AS bag",
    "MATCH (p:Person) RETURN p.name, count(*), avg(p.height), count(DISTINCT p.age)",
    "MATCH (p:Person) RETURN p.ok, collect(DISTINCT p.name) AS bag, min(p.born)",
    "MATCH (p:Person) RETURN p.age % 5, count(*)",
    "MATCH (p:Person) RETURN DISTINCT p.name, p.ok",
    "MATCH (P:Person) RETURN DISTINCT P.name",
    "MATCH (p:Person) RETURN p.id AS x ORDER BY p.age DESC, x SKIP 2 LIMIT 5",
    "MATCH (p:Person) RETURN p.id ORDER BY p.name, p.id LIMIT 7",
    "MATCH (p:Person) RETURN p.name AS n, count(*) AS c ORDER BY c DESC, n LIMIT 3",
    "MATCH (p:Person:City) RETURN count(*)",
    "MATCH (:Person) RETURN count(*)",
    "MATCH (a:Person)-[r:knows]->(b:Person) RETURN a.name, r.since, b.id",
    "MATCH (b:Person)<-[:knows]-(a:Person) RETURN b.id, count(*), sum(a.age)",
    "MATCH (a:Person)-[:knows]->(b:Person {id: $k}) RETURN a.id, a.name",
    "MATCH (a:Person)-[r:likes]->(b:City) WHERE r.rank > 1 RETURN b.name, count(r)",
    "MATCH (a:Person)-[:knows]->(b:Person) WHERE b.id > 3 AND a.age > 5"
    " RETURN count(*)",
    "MATCH (a:Person {id: $k})-[:knows]->(b)-[:knows]->(c)-[:livesIn]->(d)"
    " RETURN DISTINCT d.name",
    "MATCH (a:Person {id: $k})-[:knows]-(b)-[:likes]-(c) RETURN b.id, c.name",
    "MATCH (a:Person {id: 1})-[:knows]->(b)-[:knows]->(c)<-[:knows]-(a) RETURN c.id",
    "MATCH (a:Person {id: 1})-[:knows]->(b)-[:knows]->(a) RETURN b.id",
    "MATCH p = (a:Person {id: $k})-[:knows*1..3]-(b:Person) RETURN length(p), b.name",
    "MATCH (a:Person {id: 1})-[r:knows* SHORTEST 1..4]-(b:Person {id: 7})"
    " RETURN length(r)",
    "MATCH p = (a:Person {id: 1})-[:knows*1..5]->(b:Person {id: 7})"
    " RETURN length(p), count(*)",
    "MATCH p = (a:Person {id: 1})-[:knows*2..4]-(b:Person {id: 3})"
    " RETURN length(p), count(*)",
    "MATCH (a:Person {id: 1})-[:knows*1..3]->(b)-[:knows]->(c:Person {id: 7})"
    " RETURN b.id, count(*)",
    "MATCH (a:Person {id: 1})<-[:knows*1..4]-(b:Person {id: 7})<-[:knows]-(c)"
    " RETURN c.id, count(*)",
    "MATCH (a:Person {id: $k}) OPTIONAL MATCH (a)-[:livesIn]->(c) RETURN a.id, c.name",
    "MATCH (x:Person {id: 1})-[:knows]->(a) OPTIONAL MATCH (a)-[:livesIn]->(c)"
    " WHERE a.id = 5 MATCH (a)-[:likes]->(w) RETURN a.id, c.name, w.name",
    "MATCH (a:Person) WHERE NOT EXISTS { MATCH (a)-[:knows]->(:Person {id: 1}) }"
    " RETURN a.id",
    "MATCH (a:Person {id: 1}) RETURN COUNT { MATCH (a)-[:knows]->(b) WHERE b.age > 3 }",
    "MATCH (b:Person) WITH b ORDER BY b.id LIMIT 9"
    " MATCH (:Person {id: 1})-[:knows]->(b) RETURN b.id",
    "MATCH (b:Person) OPTIONAL MATCH (a:Person {id: 1})-[:knows]->(b)"
    " RETURN b.id, a.id",
    "MATCH (t:Thing {id: -1})-[:partOf*1..2]->(u) RETURN u.id UNION"
    " MATCH (t:Thing {id: 2}) RETURN t.id AS `u.id`",
    "MATCH (n) WHERE n.name = 'Rome' RETURN label(n), n.size",
    "MATCH (n:Person) WHERE n.age > 3 AND n.name <> 'a' MATCH (n)-[:knows]->(m)"
    " WHERE m.ok RETURN n.id, m.id",
    "MATCH (n:Person)-[r]->(m) RETURN label(r), count(*)",
    "MATCH (a:Person)-[:knows*1..2]->(b) WHERE a.age > 20 RETURN a.id, count(b)",
    "MATCH (a:Person) WHERE (a)-[:livesIn]->(:City {name: 'Rome'}) RETURN a.id",
    "UNWIND $ks AS k MATCH (a:Person {id: k}) RETURN a.name",
    "MATCH (n:Person) WITH collect(n) AS l UNWIND l AS x MATCH (x)-[:knows]->(y)"
    " RETURN x.name, y.name",
]


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Oracle, Planned]]:
    """Fill one engine, and four."""
    content, shape = world.content(Random("planned")), world.shape()
    oracle = Oracle(shape)
    oracle.load(dict(content.nodes), dict(content.rels))
    planned = Planned(shape, content)
    yield oracle, planned
    planned.close()
    oracle.close()


@pytest.mark.parametrize("text", WRITTEN)
def test_what_a_rule_is_for_is_answered_alike(
    sides: tuple[Oracle, Planned], text: str
) -> None:
    """Rows, columns and their names are equal."""
    parameters = {name: K[name] for name in K if f"${name}" in text}
    statement = Statement(text, parameters, ordered="ORDER BY" in text)
    expected, found = sides[0].run(statement), sides[1].run(statement)
    assert not expected.error, expected.error
    assert difference(statement, expected, found) == ""


def test_what_is_drawn_is_answered_alike(sides: tuple[Oracle, Planned]) -> None:
    """Where one engine answers; where it fails, so do we."""
    for number in range(DRAWN):
        statement = read(Dice(Random(f"planned {number}")))
        expected, found = sides[0].run(statement), sides[1].run(statement)
        told = difference(statement, expected, found)
        assert told == "", f"{statement.text} {statement.parameters} {found.strategy}"


def test_walks_from_keys_are_answered_alike(sides: tuple[Oracle, Planned]) -> None:
    """Whatever hangs on whatever, what was not gathered was not needed."""
    strategies = set()
    for number in range(DRAWN):
        statement = Walks(Random(f"walk {number}")).statement()
        expected, found = sides[0].run(statement), sides[1].run(statement)
        strategies.add(found.strategy)
        if "Buffer manager" in expected.error:
            continue
        told = difference(statement, expected, found)
        assert told == "", f"{statement.text} {statement.parameters} {found.strategy}"
    assert "frontier" in strategies
