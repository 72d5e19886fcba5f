"""From a statement to its plan.

What is sound without any argument is the gather of every node and every relationship
of the graph: the statement then runs on all the data there is.  Each restriction of
that is argued where it is made: `footprint` (tables, columns and rows that a statement
can't touch), `frontier` (nodes that are too far away), `scatter` (what shards can do by
themselves).  What none of them understands is gathered whole.
"""

from collections.abc import Mapping

from msgspec import structs

from torua.core.cypher.allowed import check_allowed, is_ddl
from torua.core.cypher.fast import fast_writes
from torua.core.cypher.footprint import Footprint
from torua.core.cypher.parser import parse
from torua.core.cypher.plan import Plan, Route, Scatter, Strategy
from torua.core.cypher.reached import reached
from torua.core.cypher.scatter import alone, scatter
from torua.core.cypher.shortest import shortest
from torua.core.cypher.syntax import Projection, Statement
from torua.core.cypher.tables import Tables
from torua.core.cypher.tokens import Token, TokenKind, tokenize, without_comments
from torua.core.graph.fragments import Scan
from torua.core.graph.schema import KEY_VALUE, MAIN, Graph, Placement
from torua.errors import MalformedError, TooLargeError, UnprocessableError


def plan(text: str, parameters: Mapping[str, object], graph: Graph) -> Plan:
    """Decide how a statement is run.

    Args:
        text: the statement.
        parameters: looked at for their names only.
        graph: the schema that it is run with.

    Raises:
        TooLargeError: the text is too long.
        MalformedError: it is not Cypher; says where, and what was expected.
        UnprocessableError: it is, but is refused; says why, and what to do.
    """
    tokens = tokenize(text)
    check_allowed(tokens)
    statement = without_comments(text, tokens)
    if is_ddl(tokens):
        return Plan(Strategy.DDL, ("it changes the schema",), statement, write=True)
    names, parsed = _read(text, tokens, parameters)
    base = Plan(
        strategy=Strategy.GATHER,
        why=("a name is not plain ASCII: everything is gathered",),
        statement=statement,
        write=parsed.write,
        parameters=names,
        ordered=_ordered(parsed),
        gather=everything(graph),
    )
    if any(token.is_name and not token.name.isascii() for token in tokens):
        return base
    footprint = Footprint(text, parsed, Tables(graph))
    return _choose(base, footprint, graph)


def is_well_formed(text: str, parameters: Mapping[str, object]) -> bool:
    """Tell whether there may be a schema with which a statement is run.

    Args:
        text: the statement.
        parameters: looked at for their names only.
    """
    try:
        tokens = tokenize(text)
        check_allowed(tokens)
        if not is_ddl(tokens):
            _read(text, tokens, parameters)
    except (MalformedError, TooLargeError, UnprocessableError):
        return False
    return True


def _read(
    text: str, tokens: list[Token], parameters: Mapping[str, object]
) -> tuple[tuple[str, ...], Statement]:
    """Return a statement's parameters and clauses, of whatever schema."""
    return _parameters(tokens, parameters), parse(text, tokens)


def everything(graph: Graph) -> tuple[Scan, ...]:
    """Return scans of all nodes and all relationships of a graph."""
    tables = Tables(graph)
    nodes = (Scan(name) for name in tables.all_nodes)
    return (*nodes, *(Scan(pair[0], pair[1:]) for pair in tables.all_pairs))


def _parameters(
    tokens: list[Token], parameters: Mapping[str, object]
) -> tuple[str, ...]:
    """Return the names of all parameters; all of them must be given."""
    named = (token.name for token in tokens if token.kind is TokenKind.PARAMETER)
    names = tuple(dict.fromkeys(named))
    missing = [f"${name}" for name in names if name not in parameters]
    if missing:
        raise UnprocessableError(f"no value is given for {', '.join(missing)}")
    return names


def _ordered(statement: Statement) -> bool:
    """Tell whether the order of the answer's rows is defined."""
    last = statement.branches[-1][-1]
    single = len(statement.branches) == 1 and isinstance(last, Projection)
    return single and isinstance(last, Projection) and bool(last.order)


def _choose(base: Plan, footprint: Footprint, graph: Graph) -> Plan:
    """Choose the best strategy that is sound."""
    if not footprint.nodes:
        none = Strategy.NONE
        return structs.replace(
            base, strategy=none, why=("no table is read",), gather=()
        )
    named = None if footprint.named is None else tuple(sorted(footprint.named))
    base = structs.replace(base, gather=footprint.gather(), named=named)
    _check_key_value(footprint, graph)
    base = structs.replace(base, writes=fast_writes(footprint.statement, graph))
    why: tuple[str, ...]
    if graph.placement is Placement.SINGLE:
        why = ("the whole graph lives in one shard", _gathered(base))
        route = Route((), home=True)
        return structs.replace(base, strategy=Strategy.ROUTE, why=why, route=route)
    reach = footprint.reach
    if not reach.blocked:
        return _near(base, footprint)
    scattered = None if base.write else scatter(footprint)
    if isinstance(scattered, Scatter):
        why = ("every shard answers for its own nodes, and the answers are merged",)
        return structs.replace(
            base, strategy=Strategy.SCATTER, why=why, scatter=scattered
        )
    why = (_gathered(base), f"not from nodes given by key: {reach.blocked}")
    if scattered is not None:
        why = (*why, f"not shard by shard: {scattered}")
    return structs.replace(base, strategy=Strategy.GATHER, why=why)


def _near(base: Plan, footprint: Footprint) -> Plan:
    """Plan what needs only nodes given by key, and what surrounds them."""
    anchors = footprint.reach.anchors()
    named = ", ".join(dict.fromkeys(anchor.table for anchor in anchors))
    if not footprint.reach.hops:
        why = (f"it reads nothing but nodes given by key, of {named}",)
        route = Route(anchors, None if base.write else alone(footprint))
        return structs.replace(base, strategy=Strategy.ROUTE, why=why, route=route)
    nodes = [(name, footprint.node_columns(name)) for name in footprint.nodes]
    columns = {pair: footprint.pair_columns(pair) for pair in footprint.pairs}
    frontier = structs.replace(
        footprint.reach.frontier(nodes, columns),
        reached=reached(footprint, base.statement),
        shortest=shortest(footprint),
    )
    steps = len(frontier.rounds)
    why = (f"all it reads is within {steps} steps of nodes given by key, of {named}",)
    return structs.replace(base, strategy=Strategy.FRONTIER, why=why, frontier=frontier)


def _gathered(base: Plan) -> str:
    """Say what is gathered."""
    parts = []
    for scan in base.gather:
        columns = "all properties" if scan.columns is None else "some properties"
        if scan.columns == ():
            columns = "keys"
        only = " that pass a filter" if scan.where else ""
        parts.append(f"{scan.table} ({columns}{only})")
    return f"gathered: {', '.join(dict.fromkeys(parts))}"


def _check_key_value(footprint: Footprint, graph: Graph) -> None:
    """Refuse to write what only ``/kv`` writes.

    A statement that may change any node is refused once it would change one of these.
    """
    if graph.name != MAIN or KEY_VALUE not in footprint.written:
        return
    words = (token.name.lower() for token in footprint.tokens if token.is_name)
    if footprint.written == {KEY_VALUE} or KEY_VALUE.lower() in words:
        raise UnprocessableError(
            f"{KEY_VALUE} is not written by statements: use /kv/{{key}}"
        )
