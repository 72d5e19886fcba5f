"""A small graph's schema, for tests of plans."""

from torua.core.cypher.plan import Plan
from torua.core.cypher.planner import plan
from torua.core.graph.schema import Column, Graph, NodeTable, Placement, RelTable
from torua.core.graph.types import Kind, Type


def column(number: int, name: str, kind: Kind) -> Column:
    """Make a column.

    Args:
        number: its id.
        name: its name.
        kind: of its type.
    """
    return Column(number, name, Type(kind))


PERSON = NodeTable(
    1,
    "Person",
    (
        column(0, "id", Kind.INT64),
        column(1, "name", Kind.STRING),
        column(2, "age", Kind.INT64),
    ),
    "id",
)
CITY = NodeTable(
    2, "City", (column(0, "name", Kind.STRING), column(1, "size", Kind.INT64)), "name"
)
KNOWS = RelTable(3, "Knows", ((1, 1),), (column(0, "since", Kind.INT64),))
LIVES = RelTable(4, "LivesIn", ((1, 2),))
LIKES = RelTable(5, "Likes", ((1, 1), (1, 2)), (column(0, "rank", Kind.INT64),))
GRAPH = Graph(7, "test", nodes=(PERSON, CITY), rels=(KNOWS, LIVES, LIKES))
SINGLE = Graph(
    8, "one", Placement.SINGLE, nodes=(PERSON, CITY), rels=(KNOWS, LIVES, LIKES)
)
PARAMETERS = {"p": 1, "q": 2, "rows": []}


def planned(text: str, graph: Graph = GRAPH) -> Plan:
    """Plan a statement.

    Args:
        text: the statement.
        graph: its schema.
    """
    return plan(text, PARAMETERS, graph)
