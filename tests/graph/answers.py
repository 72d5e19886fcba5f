"""Answers in a form in which they can be compared, whoever gave them."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from msgspec import Struct

from tests.graph.statements import BAG, Statement

INTERNAL = ("_id", "_src", "_dst", "_ID", "_SRC", "_DST")
"""What the engine numbers by itself: no two databases agree on it."""


RENAMED = {"_LABEL": "_label", "_NODES": "nodes", "_RELS": "rels"}
"""What the engine calls otherwise than we do."""


class Answer(Struct, frozen=True):
    """What a statement gave.

    Attributes:
        columns: their names.
        rows: plain values, in the order in which they came.
        error: why there is none; empty if there is.
        strategy: how it was found, for reports.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    error: str = ""
    strategy: str = ""


def answer_of(table: pa.Table, strategy: str = "") -> Answer:
    """Make an answer of an Arrow table.

    Args:
        table: as an engine or a query worker gives it.
        strategy: see `Answer`.
    """
    columns = [[plain(value) for value in column.to_pylist()] for column in table]
    rows = tuple(zip(*columns, strict=True)) if columns else ()
    return Answer(tuple(table.column_names), rows, strategy=strategy)


def plain(value: object) -> object:
    """Return a value that compares and sorts: without internal ids, nested as tuples.

    Numbers that are equal are equal whatever their types; floats are rounded to twelve
    digits, for sums depend on the order of their terms.
    """
    match value:
        case dict():
            kept = {
                RENAMED.get(name, name): each
                for name, each in value.items()
                if name not in INTERNAL
            }
            made: object = (
                "{",
                *((name, plain(each)) for name, each in sorted(kept.items())),
            )
        case list() | tuple():
            made = ("[", *(plain(each) for each in value))
        case bool():
            made = ("bool", value)
        case float() | Decimal():
            made = _number(float(value))
        case datetime():
            made = ("time", value.replace(tzinfo=None).isoformat())
        case date():
            made = ("date", value.isoformat())
        case timedelta():
            made = ("span", value.total_seconds())
        case _:
            made = value
    return made


def _number(value: float) -> object:
    """Return a number; not-a-number equals itself."""
    if math.isnan(value):
        return ("nan",)
    if math.isinf(value) or value == 0:
        return value if value else 0
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def difference(statement: Statement, expected: Answer, found: Answer) -> str:
    """Tell in a few lines how two answers differ; empty if they do not.

    Args:
        statement: says what of its answer is defined.
        expected: the oracle's.
        found: ours.
    """
    if bool(expected.error) != bool(found.error):
        return (
            f"one engine: {expected.error or 'ok'}\nshards:     {found.error or 'ok'}"
        )
    if expected.error:
        return ""
    if expected.columns != found.columns:
        return f"columns {expected.columns}, but {found.columns}"
    if statement.cut:
        most, few = len(expected.rows), len(found.rows)
        return "" if most == few else f"{most} rows, but {few}"
    bags = [name.startswith(BAG) for name in expected.columns]
    left = [_bagged(row, bags) for row in expected.rows]
    right = [_bagged(row, bags) for row in found.rows]
    if not statement.ordered:
        left, right = sorted(left, key=repr), sorted(right, key=repr)
    return "" if left == right else _told(left, right)


def _bagged(row: Sequence[object], bags: list[bool]) -> tuple[object, ...]:
    """Return a row whose lists without order are sorted."""
    return tuple(
        tuple(sorted(value, key=repr)) if bag and isinstance(value, tuple) else value
        for value, bag in zip(row, bags, strict=True)
    )


def _told(left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> str:
    """Tell which rows only one side has, or that their order differs."""
    rest = list(right)
    missing = []
    for row in left:
        if row in rest:
            rest.remove(row)
        else:
            missing.append(row)
    lines = [f"{len(left)} rows, but {len(right)}"]
    lines += [f"  only one engine: {row}" for row in missing[:5]]
    lines += [f"  only shards:     {row}" for row in rest[:5]]
    if not missing and not rest:
        lines.append("  the same rows in another order")
        lines += [f"  {a}   {b}" for a, b in zip(left, right, strict=True) if a != b][
            :5
        ]
    return "\n".join(lines)
