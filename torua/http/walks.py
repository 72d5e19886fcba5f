"""Walks over a graph: from some nodes along some relationships, and shortest paths.

A request is compiled to Cypher.  What is a value becomes a parameter; what is a name is
looked up in the schema and written as that has it, quoted; nothing else that a client
says stands in the statement.
"""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct, field, json

from torua.core.graph.schema import (
    MAIN,
    Graph,
    NodeTable,
    column,
    node_table,
    rel_table,
)
from torua.core.graph.statement import Statement
from torua.errors import MalformedError, UnprocessableError
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.cypher import rows_answer, wanted_format
from torua.http.graph import shown_key, spot_of
from torua.http.messages import Answer, Ask, spelled
from torua.http.routes import Route
from torua.http.seams import Entries, Statements

BODY_BYTES_MAX = 1 << 20
"""Some thousands of nodes to start from."""

STARTS_MAX = 1_000
"""Who starts from more wants Cypher."""

STEPS_MAX = 8
"""A walk of more steps has no end."""

HOPS_MAX = 30
"""What the engine follows at most in one step."""

LIMIT = 100
LIMIT_MAX = 10_000

COMPARISONS = {
    "=": "=",
    "eq": "=",
    "<>": "<>",
    "ne": "<>",
    "<": "<",
    "lt": "<",
    "<=": "<=",
    "le": "<=",
    ">": ">",
    "gt": ">",
    ">=": ">=",
    "ge": ">=",
    "in": "IN",
    "contains": "CONTAINS",
    "starts_with": "STARTS WITH",
    "ends_with": "ENDS WITH",
}

ARROWS = {"out": ("-", "->"), "in": ("<-", "-"), "both": ("-", "-")}

_PLAIN = re.compile(r"[^`\x00-\x1f]{1,256}")


class NodeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One node: its table and key."""

    table: str
    key: object


class StepBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One step: relationships to follow, and what the node at their end must be.

    ``rel`` is a type, a list of types, or null for any.
    """

    rel: str | list[str] | None = None
    direction: str = "out"
    min: int = 1
    max: int | None = None
    table: str | None = None
    where: dict[str, object] = {}


class TraverseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /graph/traverse``."""

    start: list[NodeBody]
    steps: list[StepBody]
    result: str | list[str] = field(default="nodes", name="return")
    limit: int = LIMIT
    graph: str | None = None


class ShortestBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /graph/shortest-path``."""

    source: NodeBody = field(name="from")
    target: NodeBody = field(name="to")
    rel: str | list[str] | None = None
    direction: str = "out"
    max: int = HOPS_MAX
    graph: str | None = None


class WalkHandlers:
    """Answers ``/graph/traverse`` and ``/graph/shortest-path``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(
        self, entries: Entries, statements: Statements, node_name: str
    ) -> None:
        """Have walks run as statements.

        Args:
            entries: knows the schemas.
            statements: runs them.
            node_name: this node's, which puts answers together.
        """
        self._entries = entries
        self._statements = statements
        self._node_name = node_name

    async def traverse(self, ask: Ask) -> Answer:
        """Answer POST of a walk with rows, as ``/cypher`` does."""
        body = read_body(ask, TraverseBody)
        name = body.graph or ask.query.get("graph", MAIN)
        text, values = await self._entries.by_schema(
            name, lambda graph: compile_walk(graph, body)
        )
        form = wanted_format(ask)
        statement = Statement(text, values, name, form, LIMIT_MAX)
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, reading=parameters.reading(ask))
        answered = await self._statements.run(statement, call)
        return rows_answer(form, answered, self._node_name)

    async def shortest(self, ask: Ask) -> Answer:
        """Answer POST of two nodes with a shortest path between them, if any."""
        body = read_body(ask, ShortestBody)
        name = body.graph or ask.query.get("graph", MAIN)
        text, values = await self._entries.by_schema(
            name, lambda graph: compile_shortest(graph, body)
        )
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, reading=parameters.reading(ask))
        answered = await self._statements.run(Statement(text, values, name), call)
        headers = [("Torua-Served-By", self._node_name)]
        if answered.tokens:
            headers.append(("Torua-Token", answered.tokens))
        return spelled(ask, _path(json.decode(answered.body)), tuple(headers))


def routes(
    entries: Entries, statements: Statements, node_name: str
) -> tuple[Route, ...]:
    """List what serves walks.

    Args:
        entries: knows the schemas.
        statements: runs them.
        node_name: this node's.
    """
    handlers = WalkHandlers(entries, statements, node_name)
    return (
        Route("/graph/traverse", "POST", handlers.traverse, BODY_BYTES_MAX),
        Route("/graph/shortest-path", "POST", handlers.shortest, BODY_BYTES_MAX),
    )


def compile_walk(graph: Graph, body: TraverseBody) -> tuple[str, dict[str, object]]:
    """Make a statement of a walk.

    Args:
        graph: the schema.
        body: the walk.

    Returns:
        Cypher, and its parameters.

    Raises:
        MalformedError: a number is out of bounds, or a word is none that is known.
        NotFoundError, UnprocessableError: the schema has no such thing.
    """
    _bound("start", len(body.start), 1, STARTS_MAX)
    _bound("steps", len(body.steps), 0, STEPS_MAX)
    _bound("limit", body.limit, 1, LIMIT_MAX)
    table, values = _start(graph, body.start)
    key = _quoted(column(table, table.primary_key).name)
    pattern = f"(n0:{_quoted(table.name)})"
    demands = [f"n0.{key} IN $start"]
    for number, step in enumerate(body.steps, 1):
        pattern += _hop(graph, step, number)
        demands += _where(graph, step, number, values)
    last = f"n{len(body.steps)}"
    named = "p = " if body.result == "paths" else ""
    text = (
        f"MATCH {named}{pattern} WHERE {' AND '.join(demands)} "
        f"RETURN {_returned(graph, body.result, last)}"
    )
    return text if body.result == "count" else f"{text} LIMIT {body.limit}", values


def compile_shortest(graph: Graph, body: ShortestBody) -> tuple[str, dict[str, object]]:
    """Make a statement that finds a shortest path.

    Args:
        graph: the schema.
        body: the ends, and what may lie between them.

    Returns:
        Cypher, and its parameters.

    Raises:
        MalformedError: a number is out of bounds, or a word is none that is known.
        NotFoundError, UnprocessableError: the schema has no such thing.
    """
    _bound("max", body.max, 1, HOPS_MAX)
    ends = []
    values: dict[str, object] = {}
    for name, node in (("a", body.source), ("b", body.target)):
        spot = spot_of(node_table(graph, node.table), node.key)
        key = _quoted(column(spot.table, spot.table.primary_key).name)
        ends.append(f"({name}:{_quoted(spot.table.name)} {{{key}: ${name}}})")
        values[name] = shown_key(spot)
    before, after = _arrow(body.direction)
    types = _types(graph, body.rel)
    hops = f"[r{types}* SHORTEST 1..{body.max}]"
    text = (
        f"MATCH p = {ends[0]}{before}{hops}{after}{ends[1]} "
        "RETURN nodes(p) AS nodes, rels(p) AS edges, length(p) AS length LIMIT 1"
    )
    return text, values


def _start(
    graph: Graph, start: Sequence[NodeBody]
) -> tuple[NodeTable, dict[str, object]]:
    """Read where a walk starts; each key is one of its table's."""
    spots = [spot_of(node_table(graph, node.table), node.key) for node in start]
    table = spots[0].table
    if any(spot.table != table for spot in spots):
        raise UnprocessableError("start: nodes of one table; ask once for each table")
    return table, {"start": [shown_key(spot) for spot in spots]}


def _hop(graph: Graph, step: StepBody, number: int) -> str:
    """Spell one step of a pattern."""
    most = step.min if step.max is None else step.max
    most = max(1, most) if step.max is None else most
    _bound("min", step.min, 0, HOPS_MAX)
    _bound("max", most, max(1, step.min), HOPS_MAX)
    before, after = _arrow(step.direction)
    hops = "" if (step.min, most) == (1, 1) else f"*{step.min}..{most}"
    label = ""
    if step.table is not None:
        label = f":{_quoted(node_table(graph, step.table).name)}"
    types = _types(graph, step.rel)
    return f"{before}[r{number}{types}{hops}]{after}(n{number}{label})"


def _arrow(direction: str) -> tuple[str, str]:
    """Spell a direction."""
    if direction not in ARROWS:
        raise MalformedError(f"direction: one of {', '.join(ARROWS)}")
    return ARROWS[direction]


def _types(graph: Graph, rel: str | Sequence[str] | None) -> str:
    """Spell relationship types, as the schema has them; nothing for any."""
    if rel is None:
        return ""
    names = [rel] if isinstance(rel, str) else rel
    if not names:
        raise MalformedError("rel: a type, a list of types, or null for any")
    return ":" + "|".join(_quoted(rel_table(graph, name).name) for name in names)


def _where(
    graph: Graph, step: StepBody, number: int, values: dict[str, object]
) -> list[str]:
    """Spell what the node at the end of a step must be."""
    demands: list[str] = []
    for name, wanted in step.where.items():
        place = f"n{number}.{_property(graph, step.table, name)}"
        compared = wanted if isinstance(wanted, Mapping) else {"=": wanted}
        for word, value in compared.items():
            demands.append(_demand(place, str(word), value, values))
    return demands


def _demand(place: str, word: str, value: object, values: dict[str, object]) -> str:
    """Spell one comparison, its value as a parameter."""
    if value is None and word in ("=", "eq", "<>", "ne"):
        return f"{place} IS {'' if word in ('=', 'eq') else 'NOT '}NULL"
    if word not in COMPARISONS:
        raise MalformedError(f"where: {word!r} is none of {', '.join(COMPARISONS)}")
    name = f"w{len(values)}"
    values[name] = value
    return f"{place} {COMPARISONS[word]} ${name}"


def _property(graph: Graph, table: str | None, name: str) -> str:
    """Spell a property, as the schema has it."""
    tables = [node_table(graph, table)] if table is not None else graph.nodes
    for each in tables:
        for known in each.columns:
            if known.name.casefold() == name.casefold():
                return _quoted(known.name)
    raise UnprocessableError(f"no node table has a property {name}")


def _returned(graph: Graph, wanted: str | Sequence[str], last: str) -> str:
    """Spell what a walk returns."""
    if isinstance(wanted, str):
        known = {
            "nodes": f"DISTINCT {last} AS node",
            "paths": "nodes(p) AS nodes, rels(p) AS edges",
            "count": f"count(DISTINCT {last}) AS count",
        }
        if wanted not in known:
            words = ", ".join(known)
            raise MalformedError(f"return: {words}, or a list of properties")
        return known[wanted]
    if not wanted:
        raise MalformedError("return: a list of at least one property")
    names = [_property(graph, None, name) for name in dict.fromkeys(wanted)]
    return "DISTINCT " + ", ".join(f"{last}.{name} AS {name}" for name in names)


def _quoted(name: str) -> str:
    """Quote a name of the schema."""
    if not _PLAIN.fullmatch(name):
        raise UnprocessableError(f"{name!r} can't be asked for here")
    return f"`{name}`"


def _bound(what: str, value: int, least: int, most: int) -> None:
    """Raise MalformedError where a number is out of bounds."""
    if not least <= value <= most:
        raise MalformedError(f"{what}: {value} is not from {least} to {most}")


def _path(rows: Sequence[Sequence[object]]) -> dict[str, object]:
    """Spell a path, or that there is none."""
    if not rows:
        return {"found": False, "length": None, "nodes": [], "edges": []}
    nodes, edges, length = rows[0]
    return {"found": True, "length": length, "nodes": nodes, "edges": edges}
