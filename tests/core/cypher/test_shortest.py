"""Which statements ask for the shortest ways between two nodes, and which those are."""

from random import Random

import pytest

from tests.core.cypher.graphs import GRAPH
from torua.core.cypher.planner import plan
from torua.core.cypher.shortest import ways_between

START, STOP = "(a:Person {id: 1})", "(b:Person {id: $k})"


def pair(text: str) -> tuple[str, str, str] | None:
    """Return what is on the way."""
    found = plan(text, {"k": 1}, GRAPH).frontier
    assert found is not None, text
    return found.shortest


@pytest.mark.parametrize(
    "text",
    [
        f"MATCH {START}-[k:Knows* SHORTEST 1..4]-{STOP} RETURN length(k)",
        f"MATCH w = {START}-[:Knows* ALL SHORTEST ..3]-{STOP} RETURN w",
        "MATCH (a:Person)-[k:Knows* SHORTEST 1..4]-(b:Person)"
        " WHERE b.id = $k AND a.id = 2 RETURN DISTINCT k",
    ],
)
def test_ways_between_two_nodes_are_found_alone(text: str) -> None:
    """Whatever is said of them."""
    assert pair(text) == ("Knows", "Person", "Person")


@pytest.mark.parametrize(
    "text",
    [
        f"MATCH {START}-[k:Knows*1..4]-{STOP} RETURN length(k)",
        f"MATCH {START}-[k:Knows* SHORTEST 1..4]->{STOP} RETURN length(k)",
        f"MATCH {START}-[k:Knows* SHORTEST 1..1]-{STOP} RETURN length(k)",
        f"MATCH {START}-[k:Knows* SHORTEST 1..4]-(b:Person) RETURN length(k)",
        f"MATCH {START}-[k:Knows* SHORTEST 1..4 (r, n | WHERE true)]-{STOP} RETURN k",
        f"MATCH {START}-[k:Knows* SHORTEST 1..4]-{STOP}, (c:Person {{id: 3}}) RETURN k",
        f"MATCH {START}-[k:Knows|LivesIn* SHORTEST 1..4]-{STOP} RETURN k",
        f"OPTIONAL MATCH {START}-[k:Knows* SHORTEST 1..4]-{STOP} RETURN k",
        f"MATCH {START}-[k:Knows* SHORTEST 1..4]-{STOP} WITH k RETURN k",
        f"MATCH {START}-[k:Knows* SHORTEST 1..4]-{STOP}"
        " WHERE EXISTS {MATCH (a)-[:Knows]->(:Person)} RETURN k",
        "MATCH (a:Person)-[k:Knows* SHORTEST 1..4]-(b:Person)"
        " WHERE a.id IN [1, 2] RETURN k",
    ],
)
def test_other_statements_take_what_surrounds_them(text: str) -> None:
    """What is not of the shape is not reasoned about."""
    assert pair(text) is None


def test_shortest_ways_are_all_of_them_and_nothing_else() -> None:
    """By going through all walks that are no longer."""
    dice = Random("ways")
    for _ in range(200):
        count = dice.randint(2, 7)
        edges = [
            (dice.randrange(count), dice.randrange(count))
            for _ in range(dice.randrange(12))
        ]
        most = dice.randint(1, 5)
        assert ways_between(edges, 0, 1, most) == walked(edges, most)


def walked(edges: list[tuple[int, int]], most: int) -> list[int] | None:
    """Find the relationships of all shortest walks from 0 to 1, one after the other.

    Args:
        edges: both ends of each.
        most: the longest walk.
    """
    walks: list[tuple[int, frozenset[int]]] = [(0, frozenset())]
    for _ in range(most):
        walks = list(
            {
                (two if one == at else one, used | {place})
                for at, used in walks
                for place, (one, two) in enumerate(edges)
                if at in (one, two)
            }
        )
        if arrived := [used for at, used in walks if at == 1]:
            return sorted(frozenset().union(*arrived))
    return None
