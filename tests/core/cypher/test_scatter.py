"""What shards answer by themselves, and what they must not be asked."""

import pytest

from tests.core.cypher.graphs import planned
from torua.core.cypher.plan import Merging, Strategy


def merging(text: str) -> list[Merging]:
    """Return how the columns of a scattered statement merge."""
    found = planned(text).scatter
    assert found is not None, planned(text).why
    return [column.how for column in found.merge.columns]


def test_aggregates_of_parts_make_those_of_the_whole() -> None:
    """Each by its own rule; an average by sum and count."""
    text = (
        "MATCH (n:Person) RETURN n.age, count(*), sum(n.id), min(n.id), max(n.id),"
        " avg(n.id), collect(n.name), count(DISTINCT n.name), collect(DISTINCT n.name)"
    )
    found = planned(text).scatter
    assert found is not None
    assert [column.how for column in found.merge.columns] == list(
        [
            Merging.KEY,
            Merging.COUNT,
            Merging.SUM,
            Merging.MIN,
            Merging.MAX,
            Merging.AVG,
            Merging.COLLECT,
            Merging.COUNT_DISTINCT,
            Merging.COLLECT_DISTINCT,
        ]
    )
    assert [column.at for column in found.merge.columns][-2:] == [8, 9]
    assert found.merge.grouped
    assert "LIMIT" not in found.fragment.text


def test_the_first_of_all_are_among_the_first_of_each() -> None:
    """SKIP is counted in; what is only sorted by comes along, hidden."""
    found = planned("MATCH (n:Person) RETURN n.name ORDER BY n.age DESC SKIP 2 LIMIT 3")
    assert found.ordered
    assert found.scatter is not None
    merge = found.scatter.merge
    assert merge.order == ((1, True),)
    assert [column.hidden for column in merge.columns] == [False, True]
    assert (merge.skip, merge.limit) == (2, 3)
    assert found.scatter.fragment.text.endswith("ORDER BY tv_sort_1 DESC LIMIT 5")


def test_a_hop_along_the_stored_direction_is_scattered() -> None:
    """The far node gives its key only."""
    for text in (
        "MATCH (a:Person)-[r:Knows]->(b:Person) RETURN a.name, b.id, r.since",
        "MATCH (b:Person)<-[:Knows]-(a:Person) RETURN b.id, count(*)",
        "MATCH (a:Person)-[:LivesIn]->(c:City {name: 'x'}) RETURN count(a)",
    ):
        found = planned(text).scatter
        if "{name" in text:
            assert planned(text).strategy is Strategy.FRONTIER
            continue
        assert found is not None
        assert found.hop
        assert "`a`.tv_ghost = false" in found.fragment.text


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (a:Person)-[:Knows]->(b:Person) RETURN a.name, b.name",
        "MATCH (a:Person)-[:Knows]->(b:Person) WHERE b.age > 1 RETURN a.name",
        "MATCH (a:Person)-[:Knows]-(b:Person) RETURN a.name",
        "MATCH (a:Person)-[:Knows*1..2]->(b:Person) RETURN a.name",
        "MATCH (a:Person)-[:Knows]->(b)-[:Knows]->(c:Person) RETURN a.name",
        "MATCH (a:Person)-[:Knows]->(a) RETURN a.name",
        "MATCH (a:Person), (b:Person) RETURN a.name",
        "MATCH (n) RETURN count(*)",
        "MATCH (n:Person) RETURN n",
        "MATCH (n:Person) RETURN id(n)",
        "MATCH (n:Person) RETURN sum(n.age) + 1",
        "MATCH (n:Person) RETURN sum(DISTINCT n.age)",
        "MATCH (n:Person) RETURN DISTINCT n.age, count(*)",
        "MATCH (n:Person) RETURN n.age AS a ORDER BY a + 1",
        "MATCH (n:Person) RETURN DISTINCT n.age ORDER BY n.name",
        "MATCH (n:Person) RETURN n.age LIMIT 1 + 1",
        "MATCH (n:Person) RETURN range(1, n.age)",
        "MATCH (n:Person) RETURN n.name =~ '(a+)+'",
        "MATCH (n:Person) WHERE EXISTS { MATCH (n)-[:Knows]->() } RETURN n.name",
        "MATCH (n:Person) WITH n.age AS a RETURN a",
        "MATCH (n:Person) RETURN n.age UNION MATCH (n:City) RETURN n.size",
        "OPTIONAL MATCH (n:Person) RETURN n.age",
        "MATCH (n:Person) SET n.age = 1 RETURN n.age",
    ],
)
def test_what_shards_can_not_do_alone_is_not_scattered(text: str) -> None:
    """Or must not: functions that take long stay off storage workers."""
    assert planned(text).scatter is None
