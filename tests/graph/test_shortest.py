"""The shortest ways between two nodes are those of one engine."""

from random import Random

import pytest

from tests.graph.answers import difference
from tests.graph.oracle import Oracle
from tests.graph.shards import FourShards
from tests.graph.statements import Statement
from tests.graph.test_reached import SHAPE, content

STATEMENTS = 16
DELETED = 3


def drawn(dice: Random, there: set[int]) -> Statement:
    """Ask for ways between two nodes, which may not be there, or be one.

    Of ALL SHORTEST only where they are there, and two: the engine crashes else.

    Args:
        dice: decides what is asked.
        there: the nodes that are.
    """
    start, stop = dice.randrange(-1, 10), dice.randrange(10)
    upper, rel = dice.randint(1, 6), dice.choice("rrs")
    both = start != stop and {start, stop} <= there
    kind = dice.choice(["SHORTEST", "ALL SHORTEST"]) if both else "SHORTEST"
    shown = dice.choice(["length(k)", "a.x, length(way), b.id"])
    if kind == "ALL SHORTEST":
        shown = dice.choice([shown, "count(*)", "properties(nodes(way), 'id')"])
    arrow = dice.choice(["-", "-", "-", "->"])
    right, where = f"(b:A {{id: {stop}}})", ""
    if dice.random() < 0.3:
        right, where = "(b:A)", f" WHERE b.id = {stop}"
    return Statement(
        f"MATCH way = (a:A {{id: {start}}})-[k:{rel}* {kind} 1..{upper}]{arrow}{right}"
        f"{where} RETURN {shown}"
    )


@pytest.mark.parametrize("seed", range(5))
def test_shortest_ways_are_those_of_one_engine(seed: int) -> None:
    """Before and after nodes are deleted, some born again, and not yet swept away."""
    dice = Random(f"shortest {seed}")
    made = content(dice)
    oracle, shards = Oracle(SHAPE), FourShards(SHAPE, made)
    oracle.load(dict(made.nodes), dict(made.rels))
    there = set(range(len(made.nodes["A"])))
    for _ in range(2):
        for statement in [drawn(dice, there) for _ in range(STATEMENTS)]:
            expected, found = oracle.run(statement), shards.run(statement)
            assert not expected.error, expected.error
            assert difference(statement, expected, found) == "", statement.text
        for _ in range(DELETED):
            key = dice.randrange(8)
            there.discard(key)
            writes = [f"MATCH (n:A {{id: {key}}}) DETACH DELETE n"]
            if dice.random() < 0.5:
                writes.append(f"MERGE (:A {{id: {key}}})")
            for text in writes:
                write = Statement(text, write=True)
                assert difference(write, oracle.run(write), shards.run(write)) == ""
    oracle.close()
    shards.close()
