"""Statements that write: every clause that may, and what may stand before it.

Whether a statement's outcome depends on the order in which the engine takes its rows is
seen to: what is SET is a constant or comes from the row itself, and of several new
nodes none refers to another by chance.
"""

from tests.graph.dice import Dice
from tests.graph.expressions import CONSTANTS, expression, literal, predicate
from tests.graph.patterns import where
from tests.graph.scope import Scope, Variable
from tests.graph.statements import Statement
from tests.graph.world import CITIES, NODES, PERSONS, RELS, TABLES, THINGS, Rel, Table

KEYS: dict[str, list[object]] = {
    "Person": [*range(PERSONS + 6)],
    "City": [*CITIES, "new", "Ann"],
    "Thing": [*range(-4, THINGS)],
}
"""Keys that are there, that were once, and that never were."""


def write(dice: Dice) -> Statement:
    """Write a statement that writes."""
    scope = Scope(dice)
    text = dice.of(WEIGHTED)(scope)
    return Statement(text, scope.parameters, write=True)


def create_node(scope: Scope) -> str:
    """CREATE one node, or two, by a key that may be there already."""
    dice = scope.dice
    nodes = [_new(scope, dice.of(NODES)) for _ in range(2 if dice.chance(15) else 1)]
    text = f"CREATE {', '.join(nodes)}"
    created = scope.of("node")
    if dice.chance(15):
        text += f" RETURN {created[0].name}.name AS c0"
    return text


def create_path(scope: Scope) -> str:
    """CREATE two nodes and what is between them."""
    rel, start, end = _pair(scope)
    left, right = _new(scope, TABLES[start]), _new(scope, TABLES[end])
    return f"CREATE {left}-[:{rel.name}{_cells(scope, rel)}]->{right}"


def create_edge(scope: Scope) -> str:
    """CREATE a relationship between two nodes by their keys, or between many."""
    rel, start, end = _pair(scope)
    left, right = _keyed(scope, start), _keyed(scope, end)
    if scope.dice.chance(15):
        right = f"({scope.bind('n', 'node', end).name}:{end})"
    nodes = scope.of("node")
    ends = nodes[0].name, nodes[-1].name
    filtered = where(scope) if scope.dice.chance(20) else ""
    made = f"({ends[0]})-[:{rel.name}{_cells(scope, rel)}]->({ends[1]})"
    return f"MATCH {left}, {right}{filtered} CREATE {made}"


def merge_edge(scope: Scope) -> str:
    """MERGE a relationship between two nodes by their keys."""
    rel, start, end = _pair(scope)
    left, right = _keyed(scope, start), _keyed(scope, end)
    ends = [node.name for node in scope.of("node")]
    bound = scope.bind("r", "rel", rel.name)
    merged = f"({ends[0]})-[{bound.name}:{rel.name}]->({ends[1]})"
    text = f"MATCH {left}, {right} MERGE {merged}"
    if rel.columns and scope.dice.chance(40):
        text += f" ON CREATE SET {_assign(scope, bound)}"
    if rel.columns and scope.dice.chance(30):
        text += f" ON MATCH SET {_assign(scope, bound)}"
    return text


def merge_node(scope: Scope) -> str:
    """MERGE a node by its key."""
    table = scope.dice.of(NODES)
    bound = scope.bind("n", "node", table.name)
    text = (
        f"MERGE ({bound.name}:{table.name} {{{table.key}: {_key(scope, table.name)}}})"
    )
    if scope.dice.chance(50):
        text += f" ON CREATE SET {_assign(scope, bound)}"
    if scope.dice.chance(50):
        text += f" ON MATCH SET {_assign(scope, bound)}"
    return text


def set_node(scope: Scope) -> str:
    """SET properties of a node by its key."""
    text = f"MATCH {_keyed(scope, scope.dice.of(NODES).name)}"
    bound = scope.variables[-1]
    assigned = [_assign(scope, bound) for _ in range(1 + scope.dice.below(2))]
    text += f" SET {', '.join(assigned)}"
    if scope.dice.chance(20):
        text += f" RETURN {bound.name}"
    return text


def set_many(scope: Scope) -> str:
    """SET properties of all nodes of a table that a predicate holds of."""
    bound = scope.bind("n", "node", scope.dice.of(NODES).name)
    text = f"MATCH ({bound.name}:{bound.tables[0]}) WHERE {predicate(scope)}"
    return f"{text} SET {_assign(scope, bound, computed=True)}"


def set_edges(scope: Scope) -> str:
    """SET properties of relationships."""
    rel, start, end = _pair(scope, with_columns=True)
    left = _keyed(scope, start)
    right = f"({scope.bind('n', 'node', end).name}:{end})"
    bound = scope.bind("r", "rel", rel.name)
    text = f"MATCH {left}-[{bound.name}:{rel.name}]->{right}{where(scope)}"
    return f"{text} SET {_assign(scope, bound, computed=True)}"


def delete_edges(scope: Scope) -> str:
    """DELETE relationships of a node, in any direction."""
    rel, start, end = _pair(scope)
    bound = scope.bind("r", "rel", rel.name)
    far = scope.bind("n", "node", end).name
    text = f"MATCH {_keyed(scope, start)}-[{bound.name}:{rel.name}]->({far}:{end})"
    return f"{text}{where(scope)} DELETE {bound.name}"


def delete_node(scope: Scope) -> str:
    """DELETE a node by its key, with or without its relationships."""
    text = f"MATCH {_keyed(scope, scope.dice.of(NODES).name)}"
    word = scope.dice.of(["DETACH DELETE", "DETACH DELETE", "DELETE"])
    return f"{text} {word} {scope.variables[-1].name}"


def delete_many(scope: Scope) -> str:
    """DELETE nodes that a predicate holds of."""
    bound = scope.bind("n", "node", scope.dice.of(NODES).name)
    text = f"MATCH ({bound.name}:{bound.tables[0]}) WHERE {predicate(scope)}"
    key = f"{bound.name}.{TABLES[bound.tables[0]].key}"
    few = f"{key} < 3" if TABLES[bound.tables[0]].key == "id" else f"{key} < 'C'"
    word = scope.dice.of(["DETACH DELETE", "DELETE"])
    return f"{text} AND {few} {word} {bound.name}"


def unwind_nodes(scope: Scope) -> str:
    """CREATE or MERGE nodes from rows that come as a parameter."""
    dice = scope.dice
    table = dice.of(NODES)
    keys = dice.some(KEYS[table.name], 1, 4)
    column, type_ = dice.of([each for each in table.columns[1:] if _plain(each[1])])
    rows = [{"k": key, "v": dice.of(CONSTANTS[type_])} for key in keys]
    spelled = f"{table.key}: row.k"
    if dice.chance(50):
        made = f"CREATE (:{table.name} {{{spelled}, {column}: row.v}})"
    else:
        made = f"MERGE (n:{table.name} {{{spelled}}}) SET n.{column} = row.v"
    return f"UNWIND {scope.parameter(rows)} AS row {made}"


def unwind_edges(scope: Scope) -> str:
    """CREATE relationships from rows that come as a parameter."""
    dice = scope.dice
    rel, start, end = _pair(scope)
    rows = [
        {"a": dice.of(KEYS[start]), "b": dice.of(KEYS[end])}
        for _ in range(1 + dice.below(4))
    ]
    matched = (
        f"MATCH (a:{start} {{{TABLES[start].key}: row.a}}),"
        f" (b:{end} {{{TABLES[end].key}: row.b}})"
    )
    made = f"CREATE (a)-[:{rel.name}{_cells(scope, rel)}]->(b)"
    return f"UNWIND {scope.parameter(rows)} AS row {matched} {made}"


def chained(scope: Scope) -> str:
    """SET behind a WITH, or CREATE what an OPTIONAL MATCH found the ends of.

    What is created goes to a node that is not NULL.
    """
    dice = scope.dice
    if dice.chance(50):
        table = dice.of(NODES)
        bound = scope.bind("n", "node", table.name)
        text = f"MATCH ({bound.name}:{table.name}) WITH {bound.name}, count(*) AS k"
        return f"{text} WHERE {predicate(scope)} SET {_assign(scope, bound)}"
    rel, start, end = _pair(scope)
    left, right = _keyed(scope, start), _keyed(scope, end)
    ends = [node.name for node in scope.of("node")]
    return (
        f"MATCH {left} OPTIONAL MATCH {right} WITH {', '.join(ends)}"
        f" WHERE {ends[1]}.name IS NOT NULL"
        f" CREATE ({ends[0]})-[:{rel.name}]->({ends[1]})"
    )


WEIGHTED = [
    *([create_node] * 3),
    *([create_edge] * 4),
    *([set_node] * 3),
    *([delete_node] * 3),
    *([merge_edge] * 2),
    *([merge_node] * 2),
    *([delete_edges] * 2),
    set_many,
    set_edges,
    create_path,
    delete_many,
    unwind_nodes,
    unwind_edges,
    chained,
]


def _plain(type_: str) -> bool:
    """Tell whether a value of a type may be a parameter as it is."""
    return type_ in ("INT64", "STRING", "DOUBLE", "BOOL")


def _pair(scope: Scope, *, with_columns: bool = False) -> tuple[Rel, str, str]:
    """Choose a relationship table, and one of its pairs."""
    rel = scope.dice.of([each for each in RELS if each.columns or not with_columns])
    start, end = scope.dice.of(rel.pairs)
    return rel, start, end


def _key(scope: Scope, table: str) -> str:
    """Spell a key: a literal or a parameter."""
    key = scope.dice.of(KEYS[table])
    if scope.dice.chance(40):
        return scope.parameter(key)
    return f"'{key}'" if isinstance(key, str) else str(key)


def _keyed(scope: Scope, table: str) -> str:
    """Spell a new variable for a node by its key."""
    name = scope.bind("n", "node", table).name
    return f"({name}:{table} {{{TABLES[table].key}: {_key(scope, table)}}})"


def _new(scope: Scope, table: Table) -> str:
    """Spell a node to create, with some properties."""
    name = scope.bind("n", "node", table.name).name
    cells = [f"{table.key}: {_key(scope, table.name)}"]
    for column, type_ in scope.dice.some(table.columns[1:], 0, 3):
        cells.append(f"{column}: {literal(scope, type_)}")
    return f"({name}:{table.name} {{{', '.join(cells)}}})"


def _cells(scope: Scope, rel: Rel) -> str:
    """Spell some properties of a relationship to create."""
    cells = [
        f"{column}: {literal(scope, type_)}"
        for column, type_ in scope.dice.some(rel.columns, 0, 2)
    ]
    return f" {{{', '.join(cells)}}}" if cells else ""


def _assign(scope: Scope, bound: Variable, *, computed: bool = False) -> str:
    """Spell an assignment to a property, not to the key."""
    dice = scope.dice
    if bound.kind == "node":
        columns = TABLES[bound.tables[0]].columns[1:]
    else:
        columns = next(rel for rel in RELS if rel.name == bound.tables[0]).columns
    column, type_ = dice.of(columns)
    if dice.chance(15):
        value = "NULL"
    elif computed and dice.chance(50):
        value = expression(scope, type_, 1)
    else:
        value = literal(scope, type_)
    return f"{bound.name}.{column} = {value}"
