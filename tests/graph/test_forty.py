"""The forty queries, on one engine."""

from collections.abc import Iterator

import pytest

from tests.graph import network
from tests.graph.oracle import Oracle
from tests.graph.queries import FORTY, Query
from tests.graph.statements import Statement


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """Hold the sample in one engine."""
    made = network.oracle(network.SAMPLE)
    yield made
    made.close()


def test_there_are_forty() -> None:
    """Forty queries, no two of one name."""
    assert len({query.name for query in FORTY}) == 40


@pytest.mark.parametrize("query", FORTY, ids=lambda query: query.name)
def test_query_finds_something(oracle: Oracle, query: Query) -> None:
    """A query whose answer is empty would show little; one is meant to be."""
    answer = oracle.run(Statement(query.text, query.parameters))
    assert answer.error == ""
    assert bool(answer.rows) == (query.name != "a node that is not there")
