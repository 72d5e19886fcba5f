"""Expressions: every type that the world has, every function that users may call.

What fails for some rows only (division by a column, overflow) is left out: whether such
a row is met may depend on where a predicate is evaluated.
"""

from collections.abc import Callable

from tests.graph.scope import Scope
from tests.graph.world import CITIES, NAMES

SCALARS = ["INT64", "STRING", "DOUBLE", "BOOL", "DATE", "TIMESTAMP"]
LISTS = ["STRING[]", "INT64[]"]
TYPES = [*SCALARS, *LISTS]
COMPARED = ["=", "<>", "<", "<=", ">", ">="]

FORMS: dict[str, list[str]] = {
    "INT64": [
        "({INT64} + {INT64})",
        "({INT64} - {INT64})",
        "({int} * {INT64})",
        "({INT64} / {divisor})",
        "({INT64} % {divisor})",
        "-{int}",
        "abs({INT64})",
        "sign({INT64})",
        "size({STRING})",
        "size({STRING[]})",
        "size({INT64[]})",
        "list_sum({INT64[]})",
        "coalesce({INT64}, {int})",
        "date_part('year', {DATE})",
        "date_part('month', {TIMESTAMP})",
        "levenshtein({STRING}, {text})",
        "CASE WHEN {BOOL} THEN {INT64} ELSE {int} END",
        "CASE {INT64} WHEN {int} THEN {int} ELSE {INT64} END",
        "list_position({STRING[]}, {text})",
        "bitwise_and({INT64}, 7)",
        "{{a: {INT64}, b: {STRING}}}.a",
    ],
    "DOUBLE": [
        "({DOUBLE} + {DOUBLE})",
        "({DOUBLE} * {number})",
        "({DOUBLE} / 4.0)",
        "abs({DOUBLE})",
        "floor({DOUBLE})",
        "ceil({DOUBLE})",
        "round({DOUBLE}, 1)",
        "sqrt(abs({DOUBLE}))",
        "pow({DOUBLE}, 2)",
        "cast({INT64}, 'DOUBLE')",
        "coalesce({DOUBLE}, {number})",
        "CASE WHEN {BOOL} THEN {DOUBLE} END",
    ],
    "STRING": [
        "({STRING} + {STRING})",
        "upper({STRING})",
        "lower({STRING})",
        "trim({STRING})",
        "reverse({STRING})",
        "substring({STRING}, 1, 2)",
        "left({STRING}, 2)",
        "right({STRING}, 1)",
        "lpad({STRING}, 4, '.')",
        "rpad({STRING}, 4, '.')",
        "repeat({STRING}, 2)",
        "concat({STRING}, {text})",
        "initcap({STRING})",
        "coalesce({STRING}, {text})",
        "CASE WHEN {BOOL} THEN {STRING} ELSE {text} END",
        "cast({INT64}, 'STRING')",
        "string({DATE})",
        "list_to_string('-', {INT64[]})",
        "regexp_replace({STRING}, 'a', 'o')",
        "dayname({DATE})",
        "{label}",
        "{{a: {INT64}, b: {STRING}}}.b",
    ],
    "BOOL": [
        "({INT64} {compare} {INT64})",
        "({STRING} {compare} {STRING})",
        "({DOUBLE} {compare} {DOUBLE})",
        "({DATE} {compare} {DATE})",
        "({readable} IS NULL)",
        "({readable} IS NOT NULL)",
        "({BOOL} AND {BOOL})",
        "({BOOL} OR {BOOL})",
        "({BOOL} XOR {BOOL})",
        "(NOT {BOOL})",
        "({STRING} STARTS WITH {text})",
        "({STRING} ENDS WITH {text})",
        "({STRING} CONTAINS {text})",
        "({STRING} =~ '[a-c].*')",
        "({INT64} IN {INT64[]})",
        "({INT64} IN [{int}, {int}, {int}])",
        "({STRING} IN [{text}, {text}])",
        "list_contains({STRING[]}, {text})",
        "any(x IN {INT64[]} WHERE x > {int})",
        "all(x IN {INT64[]} WHERE x > {int})",
        "none(x IN {INT64[]} WHERE x = {int})",
        "({INT64[]} = {INT64[]})",
        "({INT64} {compare} {DOUBLE})",
        "({TIMESTAMP} {compare} {TIMESTAMP})",
    ],
    "DATE": [
        "last_day({DATE})",
        "({DATE} + {divisor})",
        "date_trunc('year', {DATE})",
        "cast({TIMESTAMP}, 'DATE')",
        "coalesce({DATE}, date('1999-12-31'))",
        "make_date(2000, 1 + abs({int}) % 12, 3)",
    ],
    "TIMESTAMP": [
        "({TIMESTAMP} + interval('{divisor} days'))",
        "date_trunc('hour', {TIMESTAMP})",
        "greatest({TIMESTAMP}, timestamp('2010-01-01 00:00:00'))",
    ],
    "STRING[]": [
        "list_append({STRING[]}, {STRING})",
        "list_concat({STRING[]}, {STRING[]})",
        "list_sort({STRING[]})",
        "list_distinct(['a', 'a'])",
        "{STRING[]}[1:2]",
        "string_split({STRING}, 'a')",
        "list_transform({STRING[]}, x -> upper(x))",
    ],
    "INT64[]": [
        "list_append({INT64[]}, {INT64})",
        "list_concat({INT64[]}, [{int}])",
        "list_reverse({INT64[]})",
        "list_sort({INT64[]})",
        "range(1, abs({int}) % 5)",
        "[{INT64}, {int}]",
        "list_filter({INT64[]}, x -> x > {int})",
        "list_transform({INT64[]}, x -> x + {int})",
    ],
}
"""What makes a value of a type; ``{…}`` is filled with an expression of that type."""


def expression(scope: Scope, type_: str, depth: int = 2) -> str:
    """Write an expression of a type.

    Args:
        scope: what it may use.
        type_: one of `TYPES`.
        depth: how many calls may stand in each other.
    """
    dice = scope.dice
    readable = scope.readable(type_)
    if readable and (depth == 0 or not dice.chance(45)):
        return dice.of(readable)
    if depth == 0 or dice.chance(25):
        return literal(scope, type_)
    return fill(scope, dice.of(FORMS[type_]), depth - 1)


def predicate(scope: Scope) -> str:
    """Write what may stand behind WHERE."""
    if not scope.dice.chance(30):
        access = scope.readable("INT64")
        if access:
            dice = scope.dice
            return f"{dice.of(access)} {dice.of(COMPARED)} {literal(scope, 'INT64')}"
    return fill(scope, scope.dice.of(FORMS["BOOL"]), 1)


def fill(scope: Scope, form: str, depth: int) -> str:
    """Replace what stands in braces in a form.

    Args:
        scope: what it may use.
        form: its own braces are doubled.
        depth: of what is put in.
    """
    out, rest = "", form
    while "{" in rest:
        head, _, rest = rest.partition("{")
        out += head
        if rest.startswith("{"):
            out, rest = out + "\0", rest[1:]
            continue
        name, _, rest = rest.partition("}")
        hole = HOLES.get(name)
        out += hole(scope) if hole else expression(scope, name, depth)
    return (out + rest).replace("\0", "{").replace("}}", "}")


def literal(scope: Scope, type_: str) -> str:
    """Write a constant of a type: a literal, a parameter, rarely NULL.

    Args:
        scope: gets the parameter.
        type_: one of `TYPES`.
    """
    dice = scope.dice
    if type_ in ("INT64", "STRING", "DOUBLE", "BOOL") and dice.chance(25):
        return scope.parameter(_value(scope, type_))
    return spell(_value(scope, type_), type_)


def spell(value: object, type_: str) -> str:
    """Spell a value as a literal.

    Args:
        value: a plain one.
        type_: its type.
    """
    if value is None:
        return f"cast(NULL, '{type_}')"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return {"DATE": "date('%s')", "TIMESTAMP": "timestamp('%s')"}.get(
            type_, "'%s'"
        ) % (quoted)
    if isinstance(value, list):
        item = type_.removesuffix("[]")
        return "[" + ", ".join(spell(each, item) for each in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(scope: Scope, type_: str) -> object:
    """Draw a plain value of a type."""
    return scope.dice.of(CONSTANTS[type_])


CONSTANTS: dict[str, list[object]] = {
    "INT64": [1, 2, 3, 0, -1, 5, 10, 20, 40, 1099511627776],
    "DOUBLE": [1.5, 0.0, -2.25, 4.0, 10.5],
    "STRING": [*NAMES[:-1], *CITIES[:2]],
    "BOOL": [True, False],
    "DATE": ["2000-01-03", "1985-05-03", "2024-02-29"],
    "TIMESTAMP": ["2010-03-05 07:30:00", "2020-01-01 00:00:00"],
    "STRING[]": [["a"], ["a", "b"], ["zoë", "a", "a"]],
    "INT64[]": [[1], [1, 2, 3], [5, 0, 5]],
}


def _readable(scope: Scope) -> str:
    """Write something that can be read."""
    found = [access for type_ in TYPES for access in scope.readable(type_)]
    return scope.dice.of(found) if found else "1"


def _label(scope: Scope) -> str:
    """Write the label of a node or the type of a relationship."""
    found = scope.of("node", "rel")
    return f"label({scope.dice.of(found).name})" if found else "'none'"


HOLES: dict[str, Callable[[Scope], str]] = {
    "int": lambda scope: spell(scope.dice.of(CONSTANTS["INT64"][:8]), "INT64"),
    "number": lambda scope: spell(scope.dice.of(CONSTANTS["DOUBLE"]), "DOUBLE"),
    "text": lambda scope: literal(scope, "STRING"),
    "divisor": lambda scope: str(scope.dice.of([2, 3, 5, 7])),
    "compare": lambda scope: scope.dice.of(COMPARED),
    "readable": _readable,
    "label": _label,
}
