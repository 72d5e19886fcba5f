"""What statements changed, against what is in the engine when they are done."""

from collections import Counter
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.graphs import PEOPLE, edges, nodes
from torua.core.graph.changes import Change, EdgeChange, NodeChange
from torua.core.graph.jobs import Gathered, Job
from torua.errors import UnprocessableError
from torua.storage.gathered import match
from torua.storage.kuzu import Limits
from torua.storage.queries import Queries

QUERIES = Queries("ladybug", Limits(pool_bytes=64 << 20, db_bytes=1 << 33))

Nodes = dict[tuple[str, Any], dict[str, Any]]
Edges = dict[tuple[str, tuple[str, Any], tuple[str, Any], bytes], dict[str, Any]]

names = st.sampled_from(["Ada", "Bob", "Cyd", "Dan"])
small = st.none() | st.integers(0, 3)
persons = st.dictionaries(names, small, max_size=4)
cities = st.dictionaries(st.integers(1, 3), small.map(str), max_size=3)
pairs = st.lists(st.tuples(names, names, small), max_size=6)
lives = st.lists(st.tuples(names, st.integers(1, 3), small), max_size=4)

MATCHES = (
    "MATCH (a:Person)",
    "MATCH (a:Person {{name: '{one}'}})",
    "MATCH (a:Person) WHERE a.age > {n}",
    "MATCH (a:Person)-[r:Knows]->(b:Person)",
    "MATCH (a:Person)-[r:Knows]->(b:Person) WHERE r.since = {n}",
    "MATCH (a:Person)<-[r:Likes]-(b:Person)",
    "MATCH (a:Person)-[r:Likes]->(b:City)",
)
DEEDS = (
    "SET a.age = {n}",
    "SET a.age = NULL",
    "SET a.age = a.age",
    "SET b.name = 'x'",
    "SET r.since = {n}",
    "SET r.much = NULL",
    "DELETE r",
    "DELETE a",
    "DETACH DELETE a",
    "DETACH DELETE b",
    "CREATE (a)-[:Knows {{since: {n}}}]->(a)",
    "CREATE (a)-[:Likes]->(:City {{id: 1{n}}})",
    "MERGE (a)-[:Knows]->(b)",
    "MERGE (c:City {{id: {n}}}) ON MATCH SET c.name = 'm' ON CREATE SET c.name = 'c'",
    "DELETE r CREATE (a)-[:Knows {{since: {n}}}]->(b)",
    "CREATE (:Person {{name: '{one}', age: {n}}})",
    "DETACH DELETE a CREATE (:Person {{name: '{one}', age: {n}}})",
)
statements = st.builds(
    lambda match_, deed, one, n: f"{match_} {deed}".format(one=one, n=n),
    st.sampled_from(MATCHES),
    st.sampled_from(DEEDS),
    names,
    st.integers(0, 3),
)


def gather(person: Any, city: Any, knows: Any, likes: Any) -> tuple[Gathered, ...]:
    """Make of rows what shards answer; relationships to nothing are left in.

    Args:
        person: ages by name.
        city: names by id.
        knows: from, to, since.
        likes: person, city, how much.
    """
    text, number = pa.string(), pa.int64()
    found = [
        nodes("Person", _columns(person, "name", "age"), {"name": text, "age": number}),
        nodes("City", _columns(city, "id", "name"), {"id": number, "name": text}),
    ]
    if knows:
        both = ("Person", "Person")
        found.append(edges("Knows", both, knows, "since", text))
        found.append(edges("Likes", both, knows[:2], "much", text))
    if likes:
        found.append(edges("Likes", ("Person", "City"), likes, "much", number))
    return tuple(found)


def _columns(rows: dict[Any, Any], key: str, other: str) -> dict[str, Any]:
    """Turn a dictionary into two columns."""
    return {key: list(rows), other: list(rows.values())}


def state(graph: Queries) -> tuple[Nodes, Edges]:
    """Read all that is in the engine; relationships are numbered.

    The numbers are not those that shards know.
    """
    engine = graph._engine
    assert engine is not None
    found: Nodes = {}
    for node in PEOPLE.nodes:
        rows = engine.run(f"{match((node.name, None))} RETURN n.*").to_pylist()
        for row in rows:
            cells = {name.removeprefix("n."): value for name, value in row.items()}
            found[node.name, cells[node.primary_key]] = cells
    between: Edges = {}
    keys = {node.table_id: node for node in PEOPLE.nodes}
    for rel in PEOPLE.rels:
        column = rel.columns[0].name
        for source, target in rel.pairs:
            ends = keys[source], keys[target]
            text = match((rel.name, (ends[0].name, ends[1].name)))
            text += f" RETURN a.{ends[0].primary_key}, b.{ends[1].primary_key}"
            for row in engine.run(f"{text}, n.{column}").to_pylist():
                one, other, value = row.values()
                place = (ends[0].name, one), (ends[1].name, other)
                number = b"%d" % len(between)
                between[rel.name, *place, number] = {column: value}
    return found, between


def apply(
    found: Nodes, between: Edges, changes: tuple[Change, ...]
) -> tuple[Nodes, Edges]:
    """Do what changes say, and check that each could be done.

    Args:
        found: nodes before.
        between: relationships before.
        changes: in order.
    """
    found, between = dict(found), dict(between)
    for at, change in enumerate(changes):
        if isinstance(change, NodeChange):
            _node(found, change)
        else:
            _edge(between, change, b"new %d" % at)
    for _, source, target, _ in between:
        assert source in found, "a relationship from nothing"
        assert target in found, "a relationship to nothing"
    return found, between


def _node(found: Nodes, change: NodeChange) -> None:
    """Change a node."""
    place = change.table, change.key
    assert (place in found) == (change.version is not None)
    if change.cells is None:
        del found[place]
    else:
        assert found.get(place) != change.cells, "nothing was changed"
        found[place] = change.cells


def _edge(between: Edges, change: EdgeChange, new_id: bytes) -> None:
    """Change a relationship."""
    edge_id = change.edge_id or new_id
    place = change.table, change.source, change.target, edge_id
    assert (place in between) == (change.version is not None)
    if change.cells is None:
        del between[place]
    else:
        assert between.get(place) != change.cells, "nothing was changed"
        between[place] = change.cells


def bag(between: Edges) -> Counter[str]:
    """Count relationships, whatever their ids."""
    return Counter(repr((*key[:3], cells)) for key, cells in between.items())


def before(rows: tuple[Gathered, ...]) -> tuple[Nodes, Edges]:
    """Read what was gathered, with the ids that shards gave.

    It checks that only relationships without an end were left out.
    """
    QUERIES.settle()
    QUERIES.run(Job(PEOPLE, "RETURN 1 AS x", tables=rows), 20.0)
    found, between = state(QUERIES)
    named: Edges = {}
    for rows_of in rows:
        table = pa.ipc.open_stream(rows_of.parts[0]).read_all()
        if rows_of.pair is None:
            continue
        for row in table.to_pylist():
            ends = [
                (rows_of.pair[at], row[end])
                for at, end in enumerate(("tv_from", "tv_to"))
            ]
            if ends[0] in found and ends[1] in found:
                column = next(name for name in row if not name.startswith("tv_"))
                place = (rows_of.table, ends[0], ends[1], row["tv_id"])
                named[place] = {column: row[column]}
    assert bag(named) == bag(between)
    QUERIES.settle()
    return found, named


@settings(max_examples=60, deadline=None)
@given(person=persons, city=cities, knows=pairs, likes=lives, statement=statements)
def test_changes_lead_to_what_the_engine_has(
    person: Any, city: Any, knows: Any, likes: Any, statement: str
) -> None:
    """Applied to what was gathered, they give what one engine would have."""
    rows = gather(person, city, knows, likes)
    found, between = before(rows)
    try:
        finished = QUERIES.run(Job(PEOPLE, statement, tables=rows, write=True), 20.0)
    except UnprocessableError:
        return
    after = state(QUERIES)
    made = apply(found, between, finished.changes)
    assert made[0] == after[0]
    assert bag(made[1]) == bag(after[1])
