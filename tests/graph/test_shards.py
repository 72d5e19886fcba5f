"""Four shards answer as one engine does."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.graph import network, world
from tests.graph.answers import difference
from tests.graph.oracle import Oracle, Shape, changed_in
from tests.graph.queries import FORTY, Query
from tests.graph.shards import FourShards, OneShard
from tests.graph.statements import Statement
from tests.graph.theatre import perform
from tests.graph.world import Content

SEEDS = (1, 2, 3)
LENGTH = 30
"""More are played by ``python -m tests.graph``."""


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """Hold the sample in one engine."""
    made = network.oracle(network.SAMPLE)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shards() -> Iterator[FourShards]:
    """Hold the sample in four shards."""
    made = FourShards(network.shape(), network.content(network.SAMPLE))
    yield made
    made.close()


@pytest.mark.parametrize("query", FORTY, ids=lambda query: query.name)
def test_query_is_answered_as_by_one_engine(
    oracle: Oracle, shards: FourShards, query: Query
) -> None:
    """The same rows, by the strategy that it shall have.

    Args:
        oracle: one engine.
        shards: four.
        query: one of the forty.
    """
    statement = Statement(query.text, query.parameters, ordered=query.ordered)
    found = shards.run(statement)
    assert difference(statement, oracle.run(statement), found) == ""
    assert found.strategy == query.strategy


def test_generated_statements_are_answered_as_by_one_engine() -> None:
    """Reads and writes by grammar, some plays of them."""
    season = perform(SEEDS, LENGTH, FourShards)
    assert season.found == []
    assert season.statements == len(SEEDS) * LENGTH or season.crashes


def test_a_graph_of_one_shard_answers_as_one_engine() -> None:
    """A play on a graph whose rows are all on one shard."""
    season = perform([4], LENGTH, OneShard)
    assert season.found == []
    assert season.statements == LENGTH or season.crashes


def test_a_node_that_is_born_again_has_none_of_its_old_relationships() -> None:
    """Neither while what is left of them is still there, nor once it is swept away."""
    content = world.content(Random(7))
    oracle = Oracle(world.shape())
    oracle.load(dict(content.nodes), dict(content.rels))
    shards = FourShards(world.shape(), content)
    for text in (
        "MATCH (n:Thing {id: 3}) DETACH DELETE n",
        "CREATE (:Thing {id: 3, name: 'again'})",
        "MATCH (a:Person {id: 1}), (b:Thing {id: 3}) CREATE (a)-[:likes]->(b)",
    ):
        statement = Statement(text, write=True)
        assert difference(statement, oracle.run(statement), shards.run(statement)) == ""
        assert changed_in(oracle.state(), shards.state()) == ""
    for text in (
        "MATCH (a)-[r:likes]->(b:Thing {id: 3}) RETURN a, r, b",
        "MATCH (a:Person)-[r:likes]->(b:Thing) RETURN b.id, count(*) AS n",
    ):
        statement = Statement(text)
        assert difference(statement, oracle.run(statement), shards.run(statement)) == ""
    assert shards.verify() == []
    oracle.close()
    shards.close()


DEFAULTS = Shape(
    (
        "CREATE NODE TABLE A(id INT64 PRIMARY KEY, x INT64 DEFAULT 7,"
        " s STRING[] DEFAULT ['d'])",
        "CREATE REL TABLE r(FROM A TO A, w INT64 DEFAULT 3)",
    ),
    {"A": ("id", "x", "s")},
    {("r", "A", "A"): ("w",)},
)


def test_a_null_that_is_given_is_not_the_default() -> None:
    """Neither in what a fast write makes, nor in what a gathered one does."""
    oracle, shards = Oracle(DEFAULTS), FourShards(DEFAULTS, Content({}, {}))
    for text in (
        "CREATE (:A {id: 1})",
        "CREATE (:A {id: 2, x: NULL})",
        "UNWIND range(3, 5) AS i CREATE (:A {id: i})",
        "UNWIND range(6, 7) AS i CREATE (:A {id: i, x: NULL})",
        "MATCH (a:A {id: 1}) SET a.x = NULL",
        "MATCH (a:A) WHERE a.id > 3 AND a.id < 5 SET a.s = NULL",
        "MATCH (a:A {id: 1}), (b:A {id: 2}) CREATE (a)-[:r]->(b)",
        "MATCH (a:A {id: 2}), (b:A) CREATE (a)-[:r]->(b)",
        "MATCH (a:A {id: 3}), (b:A {id: 1}) CREATE (a)-[:r {w: NULL}]->(b)",
        "MATCH (a:A {id: 2})-[r:r]->(b:A {id: 2}) SET r.w = NULL",
    ):
        statement = Statement(text, write=True)
        assert difference(statement, oracle.run(statement), shards.run(statement)) == ""
        assert changed_in(oracle.state(), shards.state()) == "", text
    for text in (
        "MATCH (a:A) RETURN a.id, a.x, a.s",
        "MATCH (a:A) WHERE a.x IS NULL RETURN a",
        "MATCH (a:A)-[r:r]->(b:A) RETURN a.id, b.id, r",
    ):
        statement = Statement(text)
        assert difference(statement, oracle.run(statement), shards.run(statement)) == ""
    assert shards.verify() == []
    oracle.close()
    shards.close()


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("MATCH (p:Person {id: 933}) RETURN p.id, 1 AS c ORDER BY p.id, c", "route"),
        ("MATCH (p:Person) RETURN p.id, p.gender ORDER BY p.gender, p.id", "scatter"),
    ],
)
def test_a_fragment_is_understood_by_the_engine(
    shards: FourShards, text: str, strategy: str
) -> None:
    """Blanks where it allows them: what it refuses is gathered instead.

    Args:
        shards: four.
        text: a statement with commas.
        strategy: where it shall run.
    """
    assert shards.run(Statement(text)).strategy == strategy
