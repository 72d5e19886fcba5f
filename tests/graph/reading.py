"""Statements that read: clauses put together, and what they return."""

from tests.graph.dice import Dice
from tests.graph.expressions import SCALARS, TYPES, expression, fill, predicate
from tests.graph.patterns import match, subquery
from tests.graph.scope import Scope, Variable
from tests.graph.statements import BAG, Statement

AGGREGATES = [
    ("count(*)", "INT64"),
    ("count({readable})", "INT64"),
    ("sum({INT64})", ""),
    ("min({INT64})", "INT64"),
    ("max({STRING})", "STRING"),
    ("avg({INT64})", "DOUBLE"),
    ("count(DISTINCT {INT64})", "INT64"),
    ("count(DISTINCT {STRING})", "INT64"),
    ("sum({DOUBLE})", "DOUBLE"),
    ("avg({DOUBLE})", "DOUBLE"),
    ("min({DATE})", "DATE"),
    ("max({DOUBLE})", "DOUBLE"),
    ("sum(DISTINCT {INT64})", ""),
    ("max({TIMESTAMP})", "TIMESTAMP"),
    ("size(collect({STRING}))", "INT64"),
]
LIST = "list"
"""What names of columns begin with that hold lists: the engine can't order by them."""

COLLECTED = ["collect({INT64})", "collect({STRING})", "collect(DISTINCT {INT64})"]


def read(dice: Dice) -> Statement:
    """Write a statement that reads."""
    scope = Scope(dice)
    if dice.chance(7):
        return union(scope)
    clauses = reading_clauses(scope)
    returned, ordered, cut = _return(scope)
    text = " ".join([*clauses, returned])
    return Statement(text, scope.parameters, ordered=ordered, cut=cut)


def reading_clauses(scope: Scope) -> list[str]:
    """Write MATCH and what may follow, up to RETURN.

    What it binds is left in the scope.
    """
    dice = scope.dice
    clauses = []
    if dice.chance(10):
        clauses.append(_unwind(scope))
    if not clauses or dice.chance(70):
        clauses.append(f"MATCH {match(scope, dice.of([1, 1, 2, 3]))}")
    if dice.chance(14):
        clauses.append(f"OPTIONAL MATCH {match(scope, 1)}")
    if dice.chance(16):
        clauses.append(_with(scope))
        if dice.chance(50):
            clauses.append(f"MATCH {match(scope, 1)}")
    return clauses


def union(scope: Scope) -> Statement:
    """Write two statements with columns alike, as one."""
    dice = scope.dice
    types = [dice.of(SCALARS) for _ in range(1 + dice.below(2))]
    halves = []
    for _ in range(2):
        scope.variables.clear()
        clause = f"MATCH {match(scope, 1)}"
        items = [
            f"{expression(scope, type_)} AS c{place}"
            for place, type_ in enumerate(types)
        ]
        halves.append(f"{clause} RETURN {', '.join(items)}")
    return Statement(dice.of([" UNION ", " UNION ALL "]).join(halves), scope.parameters)


def _unwind(scope: Scope) -> str:
    """Write an UNWIND of a list, or of rows that come as a parameter."""
    dice = scope.dice
    if dice.chance(30):
        rows = [{"k": number, "s": "abc"[number % 3]} for number in (1, 5, 5, 9)]
        row = scope.name("row")
        text = f"UNWIND {scope.parameter(rows)} AS {row}"
        scope.variables.append(Variable(f"{row}.k", "value", (), "INT64"))
        scope.variables.append(Variable(f"{row}.s", "value", (), "STRING"))
        return text
    source = dice.of(["[1, 2, 3]", "range(0, 4)", "[5, 5, -1]"])
    return f"UNWIND {source} AS {scope.bind('x', 'value', type_='INT64').name}"


def _with(scope: Scope) -> str:
    """Write a WITH: some variables go on, some values are computed."""
    dice = scope.dice
    kept = dice.some(scope.of("node", "rel"), 0, 2) if scope.of("node", "rel") else []
    items = [each.name for each in kept]
    values = []
    for _ in range(1 + dice.below(2) if kept else 2):
        if dice.chance(35):
            form, type_ = dice.of(AGGREGATES)
            text = filled(scope, form)
        else:
            type_ = dice.of(TYPES)
            text = expression(scope, type_)
        values.append((text, type_))
    distinct = dice.chance(12)
    bound = []
    for text, type_ in values:
        variable = scope.bind("v", "value", type_=type_)
        bound.append(variable)
        items.append(f"{text} AS {variable.name}")
    scope.variables = [*kept, *bound]
    text = f"WITH {'DISTINCT ' if distinct else ''}{', '.join(items)}"
    if dice.chance(25):
        text += f" WHERE {predicate(scope)}"
    return text


def _return(scope: Scope) -> tuple[str, bool, bool]:
    """Write RETURN; tell whether it is ordered, and whether it is cut."""
    dice = scope.dice
    shape = dice.of(["values", "values", "groups", "whole", "all"])
    if shape == "whole" and scope.of("node", "rel", "path", "trail"):
        return _whole(scope), False, False
    columns = _columns(scope, grouped=shape in ("groups", "all"), keys=shape != "all")
    distinct = "DISTINCT " if dice.chance(12) else ""
    items = ", ".join(f"{text} AS {name}" for name, text in columns)
    text = f"RETURN {distinct}{items}"
    lists = any(name.startswith((BAG, LIST)) for name, _ in columns)
    if lists or not dice.chance(35):
        if not lists and dice.chance(4):
            return f"{text} LIMIT {1 + dice.below(5)}", False, True
        return text, False, False
    order = [f"{name}{dice.of(['', ' DESC'])}" for name, _ in columns]
    turn = dice.below(len(order))
    text += f" ORDER BY {', '.join(order[turn:] + order[:turn])}"
    if dice.chance(25):
        text += f" SKIP {dice.below(4)}"
    if dice.chance(60):
        text += f" LIMIT {1 + dice.below(8)}"
    return text, True, False


def _columns(scope: Scope, *, grouped: bool, keys: bool) -> list[tuple[str, str]]:
    """Write what is returned, as (name, expression)."""
    dice = scope.dice
    columns = []
    for place in range(1 + dice.below(3) if keys else 0):
        type_ = dice.of(TYPES)
        readable = scope.readable(type_)
        simple = grouped and readable and dice.chance(70)
        text = dice.of(readable) if simple else expression(scope, type_)
        if dice.chance(3):
            text = f"COUNT {subquery(scope)}"
            type_ = "INT64"
        columns.append((f"{LIST if type_.endswith('[]') else 'c'}{place}", text))
    for place in range(1 + dice.below(2) if grouped else 0):
        if dice.chance(15):
            columns.append((f"{BAG}{place}", filled(scope, dice.of(COLLECTED))))
        else:
            columns.append((f"a{place}", filled(scope, dice.of(AGGREGATES)[0])))
    return columns


def filled(scope: Scope, form: str) -> str:
    """Fill an aggregate with simple arguments.

    Args:
        scope: what they may use.
        form: see `expressions.FORMS`.
    """
    return fill(scope, form, scope.dice.of([0, 0, 1]))


def _whole(scope: Scope) -> str:
    """Return nodes, relationships, trails and paths as they are, or what they have."""
    dice = scope.dice
    items: list[str] = []
    for each in dice.some(scope.of("node", "rel", "path", "trail"), 1, 3):
        item = dice.of(_FORMS[each.kind]) % each.name
        items.append(f"{item} AS c{len(items)}")
    return f"RETURN {dice.of(['', '', 'DISTINCT '])}{', '.join(items)}"


_FORMS = {
    "node": ["%s", "label(%s)", "%s.name"],
    "rel": ["%s", "label(%s)"],
    "trail": ["length(%s)", "size(rels(%s))"],
    "path": ["%s", "length(%s)", "size(nodes(%s))", "properties(nodes(%s), 'name')"],
}
