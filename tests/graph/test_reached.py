"""Far nodes of paths, of which nothing else is asked, are those of one engine."""

from random import Random

import pytest

from tests.graph.answers import difference
from tests.graph.oracle import Oracle, Shape
from tests.graph.shards import FourShards
from tests.graph.statements import Statement
from tests.graph.world import Content, Row

SHAPE = Shape(
    (
        "CREATE NODE TABLE A(id INT64 PRIMARY KEY, x INT64)",
        "CREATE REL TABLE r(FROM A TO A)",
        "CREATE REL TABLE s(FROM A TO A, w INT64)",
    ),
    {"A": ("id", "x")},
    {("r", "A", "A"): (), ("s", "A", "A"): ("w",)},
)
STATEMENTS = 12
DELETED = 4


def content(dice: Random) -> Content:
    """Fill a graph with loops, with nodes apart, and with more than one way."""
    count = dice.choice([3, 8, 20])
    rels: dict[tuple[str, str, str], list[Row]] = {}
    for name, extra in (("r", []), ("s", [5])):
        rows: list[Row] = []
        for _ in range(round(count * dice.choice([0.6, 1.2, 2.5]))):
            ends = [dice.randrange(count), dice.randrange(count)]
            rows += [[*ends, *extra]] * dice.choice([1, 1, 1, 2])
        rels[name, "A", "A"] = rows
    nodes: list[Row] = [[at, dice.choice([None, 1, 2])] for at in range(count)]
    return Content({"A": nodes}, rels)


def drawn(dice: Random) -> Statement:
    """Ask for what is around a node, which may not be there.

    Args:
        dice: decides what is asked, and which way it lies.
    """
    anchor = f"(p:A {{id: {dice.randrange(-1, 12)}}})"
    far, where = "(f:A)", ""
    if dice.random() < 0.4:
        where = " WHERE " + dice.choice(["f.x = 1 OR p.x = 1", "f.id <> p.id"])
    low = dice.choice(["", "1", "1", "1", "0", "2"])
    rel = f"[:{dice.choice('rs')}*{low}..{dice.randint(2, 4)}]"
    left, right = dice.choice([("-", "->"), ("<-", "-"), ("-", "-")])
    ends = (anchor, far) if dice.random() < 0.7 else (far, anchor)
    shown = dice.choice(
        [
            "count(DISTINCT f.id) AS n",
            "DISTINCT f.id, p.x",
            "DISTINCT f",
            "p.id, f.x, count(DISTINCT f)",
            "min(f.id), max(f.x)",
        ]
    )
    return Statement(
        f"MATCH {ends[0]}{left}{rel}{right}{ends[1]}{where} RETURN {shown}"
    )


@pytest.mark.parametrize("seed", range(5))
def test_far_nodes_are_those_of_one_engine(seed: int) -> None:
    """Before and after nodes are deleted, some born again, and not yet swept away."""
    dice = Random(f"reached {seed}")
    made = content(dice)
    oracle, shards = Oracle(SHAPE), FourShards(SHAPE, made)
    oracle.load(dict(made.nodes), dict(made.rels))
    for _ in range(2):
        for statement in [drawn(dice) for _ in range(STATEMENTS)]:
            expected, found = oracle.run(statement), shards.run(statement)
            assert not expected.error, expected.error
            assert difference(statement, expected, found) == "", statement.text
        for _ in range(DELETED):
            key = dice.randrange(8)
            writes = [f"MATCH (n:A {{id: {key}}}) DETACH DELETE n"]
            if dice.random() < 0.5:
                writes.append(f"MERGE (:A {{id: {key}}})")
            for text in writes:
                write = Statement(text, write=True)
                expected, found = oracle.run(write), shards.run(write)
                assert difference(write, expected, found) == ""
    oracle.close()
    shards.close()
