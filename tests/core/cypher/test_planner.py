"""Each rule of the planner: a statement that it is for, and one that it is not for."""

import pytest

from tests.core.cypher.graphs import GRAPH, SINGLE, planned
from torua.core.cypher.plan import (
    Along,
    Anchor,
    Literal,
    Parameter,
    Strategy,
)
from torua.core.cypher.planner import everything, is_well_formed
from torua.core.graph.fragments import Scan

P = ("Person", "Person")
C = ("Person", "City")


def scans(text: str) -> dict[tuple[str, ...], tuple[str, ...] | None]:
    """Return what is gathered for a statement: columns by table or pair."""
    return {(s.table, *(s.pair or ())): s.columns for s in planned(text).gather}


def wheres(text: str) -> dict[str, str]:
    """Return what is gathered of node tables, if not all."""
    return {s.table: s.where for s in planned(text).gather if s.where}


def test_a_statement_without_pattern_reads_nothing() -> None:
    """It runs as it is."""
    assert planned("UNWIND [1, 2] AS x RETURN x").strategy is Strategy.NONE


def test_definitions_are_recognised() -> None:
    """Nothing else of such a plan is filled."""
    for text in ("CREATE NODE TABLE A(id INT64, PRIMARY KEY (id))", "DROP TABLE A"):
        assert planned(text).strategy is Strategy.DDL


def test_names_beyond_ascii_are_not_reasoned_about() -> None:
    """Nobody knows how the engine folds their case."""
    found = planned("MATCH (é:Person {id: 1}) RETURN É.name")
    assert found.strategy is Strategy.GATHER
    assert found.gather == everything(GRAPH)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("MATCH (a:Person) RETURN a", ("Person",)),
        ("MATCH (a:Person)-[:Knows]->(b:Person) RETURN b", ("Knows", "Person")),
        (
            "MATCH (a:Person)-[:Knows|LivesIn]->(b:Person) RETURN b",
            ("Knows", "LivesIn", "Person"),
        ),
        ("MATCH (a:Person)-[:Knows]->(a:City) RETURN a", ("City", "Knows", "Person")),
        (
            "MATCH (a:Person) WITH a MATCH (a)-[:Knows]->(:Person) RETURN a",
            ("Knows", "Person"),
        ),
        (
            "MATCH (a:Person) WHERE EXISTS {MATCH (a)-[:Knows]->(:Person)} RETURN a",
            ("Knows", "Person"),
        ),
        ("MATCH (a:Person)-[:Knows]->(b) RETURN b.name", None),
        ("MATCH (a:Person)-[r]->(b:Person) RETURN r.since", None),
        ("MATCH (a:Person)-[:Knows*1..2]->(b:Person) RETURN a", ("Knows", "Person")),
        ("MATCH (a:Person)-[:Knows* (r, n | WHERE true)]->(b:Person) RETURN a", None),
        ("MATCH (a:Person)-[:Knows|LivesIn*1..2]->(b:Person) RETURN a", None),
        ("MATCH (a:Person) WHERE EXISTS {MATCH (a)-[:Knows]->()} RETURN a", None),
        ("MATCH (a:Person) WITH a.name AS a MATCH (a) RETURN a", None),
        ("MATCH (é:Person) RETURN É.name", None),
    ],
)
def test_other_tables_make_no_difference_where_all_are_named(
    text: str, named: tuple[str, ...] | None
) -> None:
    """A property of a node without label may be one of any table.

    Args:
        text: a statement.
        named: the tables that it names, if it names all.
    """
    assert planned(text).named == named


def test_a_single_graph_is_read_where_it_lives() -> None:
    """All of it is in one shard."""
    found = planned("MATCH (a)-[]->(b) RETURN a, b", SINGLE)
    assert found.strategy is Strategy.ROUTE
    assert found.route is not None
    assert found.route.home


def test_no_label_is_all_labels_and_no_type_all_types() -> None:
    """Where nothing tells more."""
    assert scans("MATCH (n) RETURN count(n)") == {("Person",): (), ("City",): ()}
    assert set(scans("MATCH ()-[r]-() RETURN count(r)")) == {
        ("Person",),
        ("City",),
        ("Knows", *P),
        ("LivesIn", *C),
        ("Likes", *P),
        ("Likes", *C),
    }


def test_a_relationship_tells_what_its_ends_may_be() -> None:
    """Tables that are at no end of its pairs are not gathered."""
    assert set(scans("MATCH (n)-[:Knows]->(m) RETURN n.age, m.age")) == {
        ("Person",),
        ("Knows", *P),
    }
    assert set(scans("MATCH (:City)<-[r]-(n) RETURN count(r)")) == {
        ("Person",),
        ("City",),
        ("LivesIn", *C),
        ("Likes", *C),
    }


def test_a_dropped_variable_is_another_one_afterwards() -> None:
    """What WITH does not hand on is new when it is matched again."""
    kept = "MATCH (n:City) WITH n MATCH (n) RETURN n.size"
    dropped = "MATCH (n:City) WITH 1 AS x MATCH (n) RETURN n.size"
    assert set(scans(kept)) == {("City",)}
    assert set(scans(dropped)) == {("City",), ("Person",)}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("MATCH (n:Person) RETURN n.name", ("name",)),
        ("MATCH (n:Person) RETURN N.NAME", ("name",)),
        ("MATCH (n:Person) RETURN n", None),
        ("MATCH (n:Person) RETURN *", None),
        ("MATCH (n:Person) RETURN n.*", None),
        ("MATCH (n:Person) RETURN properties(n)", None),
        ("MATCH (n:Person) RETURN collect(n)", None),
        ("MATCH (n:Person) RETURN count(n), label(n)", ()),
        ("MATCH (n:Person) RETURN count(DISTINCT n)", ()),
        ("MATCH (n:Person) WITH n AS m RETURN m.age", ("age",)),
        ("MATCH (n:Person) WITH * RETURN n.age", ("age",)),
        ("MATCH (n:Person) WITH [n] AS m UNWIND m AS x RETURN x.age", None),
        ("MATCH (n:Person {name: 'x'}) RETURN 1", ("name",)),
        ("MATCH (n:Person) RETURN 1 ORDER BY n.age", ("age",)),
        ("MATCH p = (n:Person) RETURN p", None),
        ("MATCH p = (n:Person) RETURN length(p)", ()),
        ("MATCH (n:Person), (m:Person) WHERE n = m RETURN 1", None),
        ("MATCH (n:Person) WHERE n.nothing = 1 RETURN 1", None),
        ("MATCH (n:Person)-[r:Knows*1..2]->() RETURN count(*)", ()),
        ("MATCH (n:Person)-[r:Knows*1..2]->() RETURN r", None),
        ("MATCH (n:Person)-[r:Knows]->() RETURN start_node(r).age", None),
        ("MATCH (n:Person) SET n.age = 1", None),
    ],
)
def test_columns_are_those_that_are_mentioned(
    text: str, columns: tuple[str, ...] | None
) -> None:
    """Any mention but of a property takes all."""
    assert scans(text)[("Person",)] == columns


def test_filters_are_for_variables_whose_every_node_passes() -> None:
    """Several variables of one table: any of their filters; none if one has none."""
    one = "MATCH (n:Person) WHERE n.age > $p AND n.name IS NOT NULL RETURN count(*)"
    two = "MATCH (n:Person), (m:Person) WHERE n.age > 1 AND m.age < 0 RETURN count(*)"
    assert wheres(one) == {"Person": "(n.age > $p AND n.name IS NOT NULL)"}
    assert wheres(two) == {"Person": "(n.age > 1) OR (n.age < 0)"}


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (n:Person), (m:Person) WHERE n.age > 1 RETURN n.name",
        "MATCH (n:Person) WHERE n.age > 1 OR n.name = 'x' RETURN n.name",
        "OPTIONAL MATCH (n:Person) WHERE n.age > 1 RETURN n.name",
        "MATCH (n:Person) WHERE n.age > 1 AND n.id = 2 OR n.name = 'x' RETURN n.name",
        "MATCH (n:Person) WHERE n.age > n.id RETURN n.name",
        "MATCH (n:Person) WHERE n.age + 1 > 2 RETURN n.name",
        "MATCH (n:Person)-[:Knows*1..2]->() WHERE n.age > 1 RETURN n.name",
        "MATCH (n:Person) WHERE n.age > 1 AND EXISTS { MATCH (n)-[:Knows]->() }"
        " RETURN n.name",
        "MATCH (n:Person) WHERE CASE WHEN true AND n.age > 1 THEN true END RETURN 1",
        "MATCH (n:Person) WHERE n.age > 1 SET n.age = 2",
    ],
)
def test_in_doubt_nothing_is_filtered(text: str) -> None:
    """A node that is left out wrongly is a wrong answer."""
    assert wheres(text) == {}


@pytest.mark.parametrize(
    "given",
    [
        "(n:Person {id: 1})",
        "(n:Person) WHERE n.id = 1",
        "(n:Person) WHERE 1 = n.id AND n.age > 3",
        "(n) WHERE n.ID = 1 MATCH (n)-[:Knows]->(m:Person {id: 1})",
    ],
)
def test_a_key_makes_an_anchor(given: str) -> None:
    """In braces or in WHERE, from either side."""
    found = planned(f"MATCH {given} RETURN n.name")
    if "(n)" in given:
        assert found.strategy is not Strategy.ROUTE
        return
    assert found.strategy is Strategy.ROUTE
    assert found.route is not None
    assert found.route.anchors == (Anchor("Person", (Literal(1),)),)


def test_lists_of_keys_are_anchors() -> None:
    """As literals or as a parameter."""
    for text, key in (("[1, 2]", Literal([1, 2])), ("$p", Parameter("p"))):
        found = planned(f"MATCH (n:Person) WHERE n.id IN {text} RETURN n")
        assert found.route is not None
        assert found.route.anchors == (Anchor("Person", (key,), many=True),)


@pytest.mark.parametrize(
    "where",
    [
        "n.id = 1 OR n.age = 2",
        "n.id = 1 AND n.age = 2 OR n.age = 3",
        "NOT n.id = 1",
        "n.id > 1",
        "n.age = 1",
        "n.id = n.age",
        "n.id IN [n.age]",
        "(n.id = 1) = false",
        "n.id = 1 XOR true",
    ],
)
def test_other_conditions_are_no_anchors(where: str) -> None:
    """They may hold of other nodes."""
    assert planned(f"MATCH (n:Person) WHERE {where} RETURN n").route is None


def test_what_one_shard_can_answer_is_written_for_it() -> None:
    """Ghosts are left out; whole nodes would show what is hidden."""
    found = planned("MATCH (n:Person {id: $p}) WHERE n.age > 1 RETURN n.name AS x")
    assert found.route is not None
    assert found.route.fragment is not None
    text = found.route.fragment.text
    assert "tv_ghost = false" in text
    assert text.endswith("RETURN n . name AS x")
    whole = planned("MATCH (n:Person {id: $p}) RETURN n")
    assert whole.route is not None
    assert whole.route.fragment is None


def test_a_frontier_follows_the_pattern_from_its_anchor() -> None:
    """Along, against, or both, round by round."""
    found = planned(
        "MATCH (a:Person {id: 1})-[:Knows]->(b)<-[:Knows*1..2]-(c)-[:LivesIn]-(d)"
        " RETURN d.size"
    ).frontier
    assert found is not None
    out, back = (
        Along("Knows", P, True, ("since",)),
        Along("Knows", P, False, ("since",)),
    )
    lives = (Along("LivesIn", C, True, ()), Along("LivesIn", C, False, ()))
    assert found.rounds == ((out,), (back,), (back,), lives)
    assert dict(found.nodes) == {"Person": ("id",), "City": ("size",)}


def test_distances_are_from_the_nearest_anchor() -> None:
    """Two anchors meet in the middle; a triangle's far side is followed, too."""
    chain = "MATCH (a:Person {id: 1})-[:Knows]->(b)-[:Knows]->(c:Person {id: 2})"
    ring = "MATCH (a:Person {id: 1})-[:Knows]->(b)-[:Knows]->(c)<-[:Knows]-(a)"
    assert len(rounds(f"{chain} RETURN b.name")) == 1
    assert len(rounds(f"{ring} RETURN b.name")) == 2


def test_a_way_between_two_anchors_is_followed_from_both_ends() -> None:
    """Along the arrow from its start, against it from its end, in half the rounds."""
    way = "MATCH (a:Person {id: 1})-[:Knows*1..5]->(b:Person {id: 2}) RETURN a.name"
    assert [{along.outgoing for along in some} for some in rounds(way)] == [
        {True, False}
    ] * 3
    long = "MATCH (a:Person {id: 1})-[:Knows*1..15]->(b:Person {id: 2}) RETURN a.name"
    assert len(rounds(long)) == 8
    nearer = "MATCH (a:Person {id: 1})-[:Knows*1..3]->(b)-[:Knows]->(c:Person {id: 2})"
    assert len(rounds(f"{nearer} RETURN a.name")) == 2


@pytest.mark.parametrize(
    "text", ["COPY Person FROM 'x'", "RETURN $y", "MATCH (n", "MATCH (n) REMOVE n.x"]
)
def test_a_form_that_no_schema_mends_is_told(text: str) -> None:
    """Names of tables and properties may be known tomorrow."""
    assert not is_well_formed(text, {})
    assert is_well_formed("MATCH (n:Nobody) RETURN n.nothing, $y", {"y": 1})
    assert is_well_formed("DROP TABLE Nobody", {})


def rounds(text: str) -> tuple[tuple[Along, ...], ...]:
    """Return the rounds of a statement that has a frontier."""
    found = planned(text).frontier
    assert found is not None, planned(text).why
    return found.rounds


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (a:Person {id: 1})-[:Knows]->(b) WITH b MATCH (b)-[:Knows]->(c)"
        " RETURN c",
        "MATCH (a:Person {id: 1}) OPTIONAL MATCH (a)-[:Knows]->(b) RETURN b",
        "MATCH (a:Person {id: 1}) WHERE EXISTS { MATCH (a)-[:Knows]->() } RETURN a",
        "MATCH (a:Person {id: 1}) RETURN COUNT { MATCH (a)-[:Knows]->() }",
        "MATCH (a:Person {id: 1}) WHERE (a)-[:Knows]->() RETURN a",
        "MATCH p = (a:Person {id: 1})-[:Knows* SHORTEST 1..4]-(b) RETURN p",
        "MATCH (a:Person {id: 1}) MATCH (a)-[:Knows]->(b) SET b.age = 1",
        "MATCH (a:Person {id: 1})-[r:Knows]->(b) DELETE r",
    ],
)
def test_clauses_that_hang_on_an_anchor_are_a_frontier(text: str) -> None:
    """Directly, or by a variable that a clause before has bound."""
    assert planned(text).strategy is Strategy.FRONTIER


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (a:Person {id: 1})-[:Knows]->(b), (c:Person) RETURN a, c",
        "MATCH (b:Person) WITH b LIMIT 3 MATCH (:Person {id: 1})-[:Knows]->(b)"
        " RETURN b",
        "MATCH (b:Person) OPTIONAL MATCH (a:Person {id: 1})-[:Knows]->(b) RETURN b",
        "MATCH (b:Person) WHERE NOT EXISTS { MATCH (b)-[:Knows]->(:Person {id: 1}) }"
        " RETURN b",
        "MATCH (a:Person {id: 1})-[:Knows*]->(b) RETURN b",
        "MATCH (a:Person {id: 1})-[:Knows*1..30]->(b) RETURN b",
        "MATCH (a:Person {id: 1})-[r:Knows]->(b) MATCH ()-[r]->(c) RETURN c",
        "MATCH (a:Person {id: 1}) WITH collect(a) AS l UNWIND l AS x MATCH (x)-[]-(y)"
        " RETURN y",
        "MATCH (a:Person {id: 1})-[:Knows]->(b) DETACH DELETE b",
        "MATCH (a:Person {id: 1})-[:Knows]->(b) UNION MATCH (b:Person) RETURN b",
        "MATCH (x:Person) OPTIONAL MATCH (x)-[:Knows]->(a) WHERE x.id = 1 RETURN a",
    ],
)
def test_what_no_anchor_holds_is_gathered(text: str) -> None:
    """A row more or less elsewhere would change the answer."""
    assert planned(text.replace("->(b) UNION", "->(b) RETURN b UNION")).strategy is (
        Strategy.GATHER
    )


def test_an_optional_condition_does_not_bring_a_bound_node_nearer() -> None:
    """The row stays where the condition does not hold; so does what comes after it."""
    text = (
        "MATCH (x:Person {id: 1})-[:Knows]->(a)"
        " OPTIONAL MATCH (a)-[:LivesIn]->(c) WHERE a.id = 5"
        " MATCH (a)-[:Likes]->(w) RETURN w"
    )
    first, second = rounds(text)
    assert "Likes" not in {along.table for along in first}
    assert "Likes" in {along.table for along in second}


def test_deletions_of_nodes_gather_all_that_may_hang_on_them() -> None:
    """With all columns, for what they leave must be known whole."""
    found = planned("MATCH (n:Person) WHERE n.age > 3 DETACH DELETE n")
    assert found.gather == everything(GRAPH)


def test_a_scan_has_a_column_of_its_relationships_at_least() -> None:
    """The engine can't copy rows of which it is given none."""
    found = planned("MATCH (:Person)-[:Knows]-() RETURN count(*)").gather
    assert Scan("Knows", P, ("since",)) in found


@pytest.mark.parametrize("after", ["< true", "- 1", "<> true", "AND n.age > 1", ""])
def test_a_path_in_an_expression_ends_where_it_ends(after: str) -> None:
    """What follows may look like the beginning of a further relationship."""
    found = scans(f"MATCH (n:Person) WHERE (n)-[:LivesIn]->() {after} RETURN n.name")
    assert ("LivesIn", *C) in found
