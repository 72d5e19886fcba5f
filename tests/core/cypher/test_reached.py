"""Which statements ask for nothing but the far nodes of a path."""

import pytest

from tests.core.cypher.graphs import GRAPH
from torua.core.cypher.plan import Reached
from torua.core.cypher.planner import plan

PATH = "MATCH (p:Person {id: 9})-[:Knows*1..3]-(f:Person)"


def reached(text: str) -> Reached | None:
    """Return what is to run on the far nodes alone."""
    found = plan(text, {"k": 1}, GRAPH).frontier
    assert found is not None, text
    return found.reached


def test_the_relationship_is_taken_out() -> None:
    """What stands around it is left as it is written; comments are gone."""
    found = reached(f"/* ) */ {PATH} RETURN count(DISTINCT f.id) AS n;")
    start = "MATCH (p:Person {id: 9}), (f:Person)"
    end = "RETURN count(DISTINCT f.id) AS n"
    assert found == Reached(
        "Person", f"{start} {end}", f"{start} WHERE id(p) <> id(f) {end}"
    )


def test_a_condition_stays_as_one() -> None:
    """It holds together, whatever is said before it."""
    found = reached(
        "MATCH (`f g`:Person)-[:Knows*..2]->(:Person {id: $k})"
        " WHERE `f g`.age > 1 OR `f g`.age IS NULL RETURN DISTINCT `f g`.name LIMIT 2"
    )
    assert found is not None
    assert found.statement.startswith("MATCH (`f g`:Person), (tv_")
    assert " WHERE `f g`.age > 1 OR `f g`.age IS NULL RETURN" in found.statement
    assert " AND (`f g`.age > 1 OR `f g`.age IS NULL) RETURN DIST" in found.apart


@pytest.mark.parametrize(
    "rest",
    [
        "RETURN DISTINCT f",
        "RETURN DISTINCT p.age, f.name ORDER BY f.name",
        "RETURN min(f.age), max(f.age), collect(DISTINCT f.name)",
        "RETURN f.age, count(DISTINCT f)",
        "WHERE f.id <> p.id AND (f.age > 2 OR NOT (p.age < 3)) RETURN DISTINCT id(f)",
        "RETURN DISTINCT 10 / f.age, size(f.name)",
    ],
)
def test_what_comes_twice_makes_no_difference(rest: str) -> None:
    """To these."""
    assert reached(f"{PATH} {rest}") is not None


@pytest.mark.parametrize(
    "text",
    [
        f"{PATH} RETURN f.id",
        f"{PATH} RETURN count(*)",
        f"{PATH} RETURN count(f.id)",
        f"{PATH} RETURN DISTINCT count(f.id)",
        f"{PATH} RETURN min(f.id), collect(f.id)",
        f"{PATH} RETURN sum(DISTINCT f.id)",
        f"{PATH} RETURN DISTINCT f.age ORDER BY count(f.id)",
        f"{PATH} RETURN DISTINCT *",
        f"{PATH} RETURN DISTINCT f.id UNION {PATH} RETURN DISTINCT f.id",
        f"{PATH} WITH DISTINCT f RETURN f.id",
        f"{PATH} WHERE (f)-[:Knows]->(p) RETURN DISTINCT f.id",
        f"{PATH} WHERE EXISTS {{ MATCH (f)-[:Knows]->() }} RETURN DISTINCT f.id",
        f"{PATH} RETURN DISTINCT COUNT {{ MATCH (f)-[:Knows]->() }}",
        f"{PATH} WHERE p.id = 8 RETURN DISTINCT f.id",
        f"{PATH} WHERE 10 / f.age > 1 RETURN DISTINCT f.id",
        f"{PATH} WHERE size(f.name) > 1 RETURN DISTINCT f.id",
        f"{PATH}, (q:Person {{id: 1}}) RETURN DISTINCT f.id",
        f"OPTIONAL {PATH} RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*1..3]-(f:Person {id: 1}) RETURN DISTINCT f",
        "MATCH (p:Person)-[:Knows*1..3]-(f:Person) WHERE p.id IN [1, 2]"
        " RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*1..3]-(p) RETURN DISTINCT p.id",
        "MATCH (p:Person {id: 9})-[:Knows*1..3]-(f) RETURN DISTINCT f.age",
        "MATCH (p:Person {id: 9})-[*1..3]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*2..3]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*0..3]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*2]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[r:Knows*1..3]-(f:Person) RETURN DISTINCT f.id",
        "MATCH q = (p:Person {id: 9})-[:Knows*1..3]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*1..3 {since: 1}]-(f:Person)"
        " RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows* SHORTEST 1..3]-(f:Person)"
        " RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows* TRAIL 1..3]-(f:Person) RETURN DISTINCT f.id",
        "MATCH (p:Person {id: 9})-[:Knows*1..3 (r, n | WHERE r.since > 1)]-(f:Person)"
        " RETURN DISTINCT f.id",
    ],
)
def test_all_else_takes_the_relationships(text: str) -> None:
    """How often, by which way, from which of several, or something else is asked."""
    found = plan(text, {}, GRAPH).frontier
    assert found is None or found.reached is None
