"""Patterns: labels there or missing, either direction, chains, cycles, trails."""

from tests.graph.expressions import literal, predicate
from tests.graph.scope import Scope, Variable
from tests.graph.world import NODES, RELS, TABLES, Rel

ALL_LABELS = tuple(table.name for table in NODES)
ALL_TYPES = tuple(rel.name for rel in RELS)
KEYED = ["{id: %s}", "{name: %s}"]


def match(scope: Scope, most_hops: int = 2) -> str:
    """Write one or two patterns, with commas, and WHERE.

    Args:
        scope: gets their variables.
        most_hops: in each.
    """
    dice = scope.dice
    parts = [part(scope, dice.below(most_hops + 1))]
    if dice.chance(15):
        parts.append(part(scope, dice.below(2)))
    return ", ".join(parts) + where(scope)


def where(scope: Scope) -> str:
    """Write a WHERE, or nothing."""
    dice = scope.dice
    if not dice.chance(45):
        return ""
    conjuncts = [condition(scope) for _ in range(1 + dice.below(2))]
    return " WHERE " + dice.of([" AND ", " OR "]).join(conjuncts)


def condition(scope: Scope) -> str:
    """Write a predicate, or a subquery as one."""
    dice = scope.dice
    if not dice.chance(12):
        return predicate(scope)
    inner = subquery(scope)
    form = dice.of(["EXISTS %s", "NOT EXISTS %s", "COUNT %s > 1", "COUNT %s = 0"])
    return form % inner


def subquery(scope: Scope) -> str:
    """Write what stands behind EXISTS and COUNT; its variables are its own."""
    outer = list(scope.variables)
    nodes = scope.of("node")
    begin = scope.dice.of(nodes) if nodes else None
    scope.acyclic = True
    text = part(scope, 1, begin)
    scope.acyclic = False
    if scope.dice.chance(30):
        text += f" WHERE {predicate(scope)}"
    scope.variables = outer
    return f"{{ MATCH {text} }}"


def part(scope: Scope, hops: int, begin: Variable | None = None) -> str:
    """Write one pattern.

    Args:
        scope: gets its variables.
        hops: how many relationships.
        begin: the node that it goes from; None for any.
    """
    dice = scope.dice
    named = hops > 0 and begin is None and dice.chance(12)
    bound = list(scope.variables)
    here = begin or _begin(scope)
    text = f"({here.name})" if here in bound else _node(scope, here)
    for _ in range(hops):
        hop, here = _hop(scope, here)
        text += hop
    if named:
        path = scope.bind("p", "path")
        return f"{path.name} = {text}"
    return text


def _begin(scope: Scope) -> Variable:
    """Choose what a pattern begins with: a new node, or one that is bound."""
    nodes = scope.of("node")
    if nodes and scope.dice.chance(35):
        return scope.dice.of(nodes)
    return scope.bind("n", "node", *_labels(scope, ALL_LABELS))


def _labels(scope: Scope, possible: tuple[str, ...]) -> tuple[str, ...]:
    """Choose labels of a new node: mostly one."""
    dice = scope.dice
    if dice.chance(12):
        return possible
    if dice.chance(10):
        return tuple(dice.some(possible, 1, 2))
    return (dice.of(possible),)


def _node(scope: Scope, node: Variable) -> str:
    """Spell a new node, with or without its labels, sometimes by key."""
    dice = scope.dice
    missing = node.tables == ALL_LABELS or dice.chance(6)
    labels = "" if missing else f":{':'.join(node.tables)}"
    inner = node.name + labels
    if len(node.tables) == 1 and dice.chance(25):
        key = TABLES[node.tables[0]].key
        type_ = "STRING" if key == "name" else "INT64"
        return f"({inner} {{{key}: {literal(scope, type_)}}})"
    return f"({inner})"


def _hop(scope: Scope, left: Variable) -> tuple[str, Variable]:
    """Write a relationship and the node behind it; return that node, too."""
    dice = scope.dice
    direction = dice.of(["->", "<-", "-"])
    types = _fitting(left, direction)
    chosen = tuple(each.name for each in dice.some(types, 1, 1 + dice.below(2)))
    ends = _far_labels(left, direction, chosen)
    arrow = _relationship(scope, chosen, direction, recursive=ends == left.tables)
    known = [node for node in scope.of("node") if set(node.tables) & set(ends)]
    if known and not scope.acyclic and dice.chance(8):
        right = dice.of(known)
        return f"{arrow}({right.name})", right
    right = scope.bind("n", "node", *_labels(scope, ends))
    return arrow + _node(scope, right), right


def _fitting(left: Variable, direction: str) -> list[Rel]:
    """List the relationship tables that go on from a node."""
    found = [rel for rel in RELS if _far_labels(left, direction, (rel.name,))]
    return found or list(RELS)


def _far_labels(
    left: Variable, direction: str, types: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the labels that may stand at the far end."""
    pairs = [pair for rel in RELS if rel.name in types for pair in rel.pairs]
    found = []
    if direction != "<-":
        found += [end for start, end in pairs if start in left.tables]
    if direction != "->":
        found += [start for start, end in pairs if end in left.tables]
    return tuple(label for label in ALL_LABELS if label in found)


def _relationship(
    scope: Scope, types: tuple[str, ...], direction: str, *, recursive: bool
) -> str:
    """Spell a relationship: plain, nameless, or a trail of several."""
    dice = scope.dice
    spelled = "" if dice.chance(8) else f":{'|'.join(types)}"
    tables = types if spelled else ALL_TYPES
    if recursive and dice.chance(18):
        inner = scope.bind("t", "trail", *tables).name + spelled + _bounds(scope, types)
    elif dice.chance(25):
        inner = spelled
    else:
        inner = scope.bind("r", "rel", *tables).name + spelled
        if dice.chance(8) and tables == ("knows",):
            inner += f" {{since: {literal(scope, 'INT64')}}}"
    head, tail = ("<-", "-") if direction == "<-" else ("-", direction)
    return f"{head}[{inner}]{tail}"


def _bounds(scope: Scope, types: tuple[str, ...]) -> str:
    """Spell how long a trail is.

    ALL SHORTEST is for one type only: of several, and in subqueries, the engine crashes
    now and then.
    """
    forms = ["*1..2", "*2", "*1..3", "*2..3", "* SHORTEST 1..4"]
    if types == ("knows",) and not scope.acyclic:
        forms.append("* ALL SHORTEST 1..3")
    return scope.dice.of([*forms, "*1..2 (r, n | WHERE r.since > 3)", "* TRAIL 1..2"])
