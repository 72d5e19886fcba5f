"""From a statement to its plan.

What is sound without any argument is the gather of every node and every relationship
of the graph: the statement then runs on all the data there is.
"""

from collections.abc import Mapping

from torua.core.cypher.plan import Plan, Strategy
from torua.core.cypher.tokens import TokenKind, tokenize, without_comments
from torua.core.graph.fragments import Scan
from torua.core.graph.schema import Graph

_WRITING = frozenset({"CREATE", "MERGE", "SET", "DELETE"})


def plan(text: str, parameters: Mapping[str, object], graph: Graph) -> Plan:
    """Decide how a statement is run.

    Args:
        text: the statement.
        parameters: looked at for their names only.
        graph: the schema that it is run with.

    Raises:
        MalformedError: it is not Cypher; says where, and what was expected.
        UnprocessableError: it is, but is refused; says why, and what to do.
    """
    tokens = tokenize(text)
    words = {token.word for token in tokens}
    return Plan(
        strategy=Strategy.GATHER,
        why=("every table of the graph is gathered",),
        statement=without_comments(text, tokens),
        write=bool(words & _WRITING),
        parameters=tuple(
            dict.fromkeys(
                token.name for token in tokens if token.kind is TokenKind.PARAMETER
            )
        ),
        gather=everything(graph),
    )


def everything(graph: Graph) -> tuple[Scan, ...]:
    """Return scans of all nodes and all relationships of a graph."""
    names = {table.table_id: table.name for table in graph.nodes}
    nodes = [Scan(table.name) for table in graph.nodes]
    rels = [
        Scan(rel.name, (names[source], names[target]))
        for rel in graph.rels
        for source, target in rel.pairs
    ]
    return (*nodes, *rels)
