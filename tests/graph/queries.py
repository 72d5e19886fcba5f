"""Forty queries over the social network, and the strategy that each shall have.

They hold for the small sample beside this module and for the whole network alike: the
persons and tags that they name are in both.  Wherever there is an ORDER BY it leaves no
ties, so that their answers are one list.
"""

from msgspec import Struct

ROUTE = "route"
SCATTER = "scatter"
FRONTIER = "frontier"
GATHER = "gather"
NONE = "none"


class Query(Struct, frozen=True):
    """One of the forty.

    Attributes:
        name: what it shows; also how it is found in a report.
        strategy: where it shall run.
        text: Cypher.
        parameters: a value for each ``$name`` in it.
    """

    name: str
    strategy: str
    text: str
    parameters: dict[str, object] = {}

    @property
    def ordered(self) -> bool:
        """Whether its rows come in one order."""
        return "ORDER BY" in self.text


SCANS = (
    Query("count of a table", SCATTER, "MATCH (p:Person) RETURN count(*) AS persons"),
    Query(
        "scan of properties",
        SCATTER,
        "MATCH (p:Person) RETURN p.id, p.firstName, p.lastName",
    ),
    Query(
        "filter of a range",
        SCATTER,
        "MATCH (p:Person) WHERE p.birthday >= $from AND p.birthday < $to"
        " RETURN p.id, p.birthday",
        {"from": 19850101, "to": 19880101},
    ),
    Query(
        "filter of text",
        SCATTER,
        "MATCH (t:Tag) WHERE t.name STARTS WITH 'A' AND t.name CONTAINS '_'"
        " RETURN t.name",
    ),
    Query(
        "whole nodes",
        GATHER,
        "MATCH (c:TagClass) RETURN c",
    ),
    Query(
        "first by order",
        SCATTER,
        "MATCH (f:Forum) RETURN f.id, f.title ORDER BY f.creationDate DESC, f.id"
        " LIMIT 10",
    ),
    Query(
        "a page by order",
        SCATTER,
        "MATCH (p:Person) RETURN p.lastName, p.id ORDER BY p.lastName, p.id"
        " SKIP 5 LIMIT 5",
    ),
    Query(
        "groups by a property",
        SCATTER,
        "MATCH (p:Person) RETURN p.browserUsed AS browser, count(*) AS persons,"
        " min(p.birthday) AS oldest, max(p.birthday) AS youngest"
        " ORDER BY persons DESC, browser",
    ),
    Query(
        "average and sum",
        SCATTER,
        "MATCH (p:Person) RETURN p.gender, avg(p.birthday % 10000),"
        " sum(p.birthday / 10000)",
    ),
    Query(
        "distinct values",
        SCATTER,
        "MATCH (o:Organisation) RETURN DISTINCT o.type",
    ),
    Query(
        "count of distinct values",
        SCATTER,
        "MATCH (p:Person) RETURN count(DISTINCT p.lastName) AS names",
    ),
    Query(
        "nodes of any label",
        GATHER,
        "MATCH (n) RETURN label(n) AS label, count(*) AS nodes",
    ),
)
"""Nodes of one table."""

POINTS = (
    Query(
        "one node by its key",
        ROUTE,
        "MATCH (p:Person {id: $id}) RETURN p.firstName, p.lastName, p.birthday",
        {"id": 933},
    ),
    Query(
        "one whole node by its key",
        ROUTE,
        "MATCH (p:Person) WHERE p.id = 933 RETURN p",
    ),
    Query(
        "a node that is not there",
        ROUTE,
        "MATCH (p:Person {id: -1}) RETURN p.firstName",
    ),
)
"""Nodes by their keys."""

HOPS = (
    Query(
        "count of relationships",
        SCATTER,
        "MATCH (a:Person)-[k:knows]->(b:Person) RETURN count(*) AS friendships",
    ),
    Query(
        "degrees",
        SCATTER,
        "MATCH (a:Person)-[:hasInterest]->(t:Tag) RETURN a.id, count(*) AS tags"
        " ORDER BY tags DESC, a.id LIMIT 10",
    ),
    Query(
        "properties of relationships",
        SCATTER,
        "MATCH (a:Person)-[w:workAt]->(o:Organisation) WHERE w.workFrom < 2005"
        " RETURN a.id, w.workFrom, o.id",
    ),
    Query(
        "popularity of far ends",
        SCATTER,
        "MATCH (p:Person)-[:hasInterest]->(t:Tag) RETURN t.id, count(*) AS persons"
        " ORDER BY persons DESC, t.id LIMIT 5",
    ),
    Query(
        "one hop from a node",
        FRONTIER,
        "MATCH (p:Person {id: 933})-[k:knows]->(f:Person)"
        " RETURN f.id, f.firstName, k.creationDate",
    ),
    Query(
        "one hop in both directions",
        FRONTIER,
        "MATCH (p:Person {id: $id})-[k:knows]-(f:Person) RETURN f.firstName, k",
        {"id": 933},
    ),
    Query(
        "one hop against the direction",
        FRONTIER,
        "MATCH (p:Person {id: 933})<-[:hasModerator]-(f:Forum) RETURN f.title",
    ),
    Query(
        "two hops",
        FRONTIER,
        "MATCH (p:Person {id: 933})-[:knows]-(f:Person)-[:hasInterest]->(t:Tag)"
        " RETURN t.name, count(DISTINCT f.id) AS friends"
        " ORDER BY friends DESC, t.name LIMIT 10",
    ),
    Query(
        "three hops",
        FRONTIER,
        "MATCH (p:Person {id: 933})-[:knows]-(f:Person)-[:isLocatedIn]->(c:Place)"
        "-[:isPartOf]->(n:Place) RETURN DISTINCT f.firstName, c.name, n.name",
    ),
    Query(
        "four hops",
        FRONTIER,
        "MATCH (f:Forum {id: 0})-[:hasModerator]->(p:Person)-[:knows]-(:Person)"
        "-[:workAt]->(o:Organisation)-[:isLocatedIn]->(c:Place)"
        " RETURN DISTINCT o.name, c.name",
    ),
    Query(
        "two hops from everywhere",
        GATHER,
        "MATCH (o:Organisation)-[:isLocatedIn]->(c:Place)-[:isPartOf]->(n:Place)"
        " RETURN n.name, count(*) AS organisations",
    ),
)
"""One to four hops."""

PATHS = (
    Query(
        "up to three hops",
        FRONTIER,
        "MATCH (p:Person {id: 933})-[:knows*1..3]-(f:Person)"
        " RETURN count(DISTINCT f.id) AS reached",
    ),
    Query(
        "a whole path",
        FRONTIER,
        "MATCH way = (t:TagClass {id: 349})-[:isSubclassOf*1..4]->(c:TagClass)"
        " RETURN way",
    ),
    Query(
        "the shortest way",
        FRONTIER,
        "MATCH (a:Person {id: 933})-[k:knows* SHORTEST 1..4]-(b:Person {id: $to})"
        " RETURN length(k) AS hops",
        {"to": 2199023256403},
    ),
    Query(
        "nodes along a path",
        FRONTIER,
        "MATCH way = (t:Tag {id: 1})-[:hasType]->(:TagClass)-[:isSubclassOf]->"
        "(c:TagClass) RETURN properties(nodes(way), 'name'), length(way), c.name",
    ),
)
"""Variable length, shortest, paths as values."""

CLAUSES = (
    Query(
        "optional far end",
        GATHER,
        "MATCH (p:Person) OPTIONAL MATCH (p)-[s:studyAt]->(o:Organisation)"
        " RETURN p.id, o.name, s.classYear ORDER BY p.id, o.name LIMIT 20",
    ),
    Query(
        "optional from one node",
        FRONTIER,
        "MATCH (p:Person {id: 933}) OPTIONAL MATCH (p)-[:studyAt]->(o:Organisation)"
        " RETURN p.firstName, o.name",
    ),
    Query(
        "existence",
        GATHER,
        "MATCH (p:Person) WHERE EXISTS { MATCH (f:Forum)-[:hasModerator]->(p)"
        " WHERE f.title STARTS WITH 'Album' } AND NOT"
        " EXISTS { MATCH (p)-[:studyAt]->(:Organisation) } RETURN p.id",
    ),
    Query(
        "count in a subquery",
        FRONTIER,
        "MATCH (p:Person {id: 933}) RETURN p.firstName,"
        " COUNT { MATCH (p)-[:knows]-(:Person) } AS friends",
    ),
    Query(
        "union",
        GATHER,
        "MATCH (p:Person {id: 933}) RETURN p.firstName AS name"
        " UNION MATCH (c:TagClass) WHERE c.id < 100 RETURN c.name AS name",
    ),
    Query(
        "chain of WITH",
        GATHER,
        "MATCH (p:Person)-[:hasInterest]->(t:Tag) WITH t, count(*) AS persons"
        " WHERE persons > 1 MATCH (t)-[:hasType]->(c:TagClass)"
        " RETURN c.name AS class, sum(persons) AS total ORDER BY total DESC, class",
    ),
    Query(
        "unwound parameters",
        GATHER,
        "UNWIND $ids AS id MATCH (p:Person) WHERE p.id = id RETURN p.firstName, id",
        {"ids": [933, 2199023256403, -1]},
    ),
    Query(
        "collected list",
        FRONTIER,
        "MATCH (p:Person {id: 933})-[:knows]-(f:Person) WITH f ORDER BY f.id LIMIT 9"
        " RETURN list_sort(collect(f.firstName)) AS friends",
    ),
    Query(
        "functions of text",
        SCATTER,
        "MATCH (p:Person) WHERE p.id = 933 OR size(p.lastName) < 4"
        " RETURN upper(p.firstName), substring(p.lastName, 1, 3),"
        " reverse(p.gender), p.firstName + ' ' + p.lastName,"
        " CASE WHEN p.gender = 'male' THEN 1 ELSE 2 END",
    ),
    Query(
        "functions of lists",
        NONE,
        "WITH range(1, 5) AS numbers RETURN list_sum(numbers),"
        " list_filter(numbers, x -> x % 2 = 1), numbers[2:4],"
        " list_transform(numbers, x -> x * x), size(numbers)",
    ),
)
"""What clauses do together."""

FORTY = (*SCANS, *POINTS, *HOPS, *PATHS, *CLAUSES)
