"""Four shards answer as one engine does."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.graph import network, world
from tests.graph.answers import difference
from tests.graph.oracle import Oracle, changed_in
from tests.graph.queries import FORTY, Query
from tests.graph.shards import FourShards
from tests.graph.statements import Statement
from tests.graph.theatre import perform

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
