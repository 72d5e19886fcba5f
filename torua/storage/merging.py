"""The answers of shards made one, as `torua.core.cypher.plan.Merge` says.

What the engine does is done here as it does it: NULL counts as largest when sorting, is
left out of aggregates, and equals itself as a key of a group; NaN equals nothing; of no
rows, counts are 0, lists empty, and other aggregates NULL.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Context, Decimal
from functools import reduce
from typing import Any

import pyarrow as pa

from torua.core.cypher.plan import Merge, MergedColumn, Merging, Parameter
from torua.errors import UnprocessableError
from torua.storage.kuzu import INTERNAL_TYPE

_KINDS = {
    Merging.COUNT: ("INT64", pa.int64()),
    Merging.COUNT_DISTINCT: ("INT64", pa.int64()),
    Merging.AVG: ("DOUBLE", pa.float64()),
}
_RENAMED = {
    Merging.AVG: (("SUM(", "AVG("),),
    Merging.COUNT_DISTINCT: (("COLLECT(", "COUNT("),),
}
_KEYS = frozenset({Merging.KEY})
_MANY = 500
"""With fewer rows, they are grouped by hand in the time that Arrow takes to begin."""

_EXACT = Context(prec=80)
"""Sums of INT128s have no more digits."""


def merged(
    merge: Merge, partials: Sequence[pa.Table], parameters: Mapping[str, object]
) -> pa.Table:
    """Make one answer of several.

    Args:
        merge: how.
        partials: the shards' answers, at least one; their columns agree.
        parameters: the statement's.

    Returns:
        The answer, hidden columns left out.

    Raises:
        UnprocessableError: SKIP or LIMIT is no number of rows.
    """
    whole = pa.concat_tables(partials)
    rows = whole.cast(_retyped(whole.schema, _counted))
    if merge.grouped:
        group = _counted_up if _is_count(merge, rows) else _grouped
        table = group(merge, rows)
    else:
        table = _picked(merge, rows)
    if merge.distinct and not merge.grouped:
        table = _distinct(table)
    table = _cut(merge, _sorted(merge, table), parameters)
    fields = [_field(each, whole.schema.field(each.at)) for each in merge.columns]
    return _named(merge, table.cast(pa.schema(fields)), whole.schema)


def _counted(kind: Any) -> Any:
    """Make of days and moments the numbers that they are kept as.

    Python has not all of them.
    """
    if pa.types.is_date32(kind):
        return pa.int32()
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(_counted(kind.value_type))
    return kind


def _retyped(schema: Any, change: Callable[[Any], Any]) -> Any:
    """Change the types of a schema."""
    return pa.schema([field.with_type(change(field.type)) for field in schema])


def _picked(merge: Merge, rows: pa.Table) -> pa.Table:
    """Take the columns of the answer, hidden ones included, out of partial ones."""
    columns = [rows.column(each.at) for each in merge.columns]
    fields = [rows.schema.field(each.at) for each in merge.columns]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _distinct(table: pa.Table) -> pa.Table:
    """Keep the first of equal rows."""
    seen: set[object] = set()
    keep = []
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    for at, row in enumerate(rows):
        key = tuple(map(_hashed, row))
        if key not in seen:
            seen.add(key)
            keep.append(at)
    return table.take(pa.array(keep, pa.int64()))


def _grouped(merge: Merge, rows: pa.Table) -> pa.Table:
    """Put rows of one group together, and aggregate."""
    columns = [column.to_pylist() for column in rows.columns]
    keys = [each.at for each in merge.columns if each.how is Merging.KEY]
    groups: dict[object, list[int]] = {}
    if not keys:
        groups[()] = list(range(rows.num_rows))
    else:
        spelled = zip(*(map(_hashed, columns[at]) for at in keys), strict=True)
        for at_row, key in enumerate(spelled):
            groups.setdefault(key, []).append(at_row)
    made, fields = [], []
    for each in merge.columns:
        field = _field(each, rows.schema.field(each.at))
        aggregate = _AGGREGATES[each.how]
        partial = columns[each.at]
        counts = columns[each.at + 1] if each.how is Merging.AVG else partial
        values = [
            aggregate([partial[at] for at in group], [counts[at] for at in group])
            for group in groups.values()
        ]
        made.append(pa.array(values, field.type))
        fields.append(field)
    return pa.Table.from_arrays(made, schema=pa.schema(fields))


def _is_count(merge: Merge, rows: pa.Table) -> bool:
    """Tell whether there are many rows, and Arrow groups and counts as the engine does.

    It does not find all NaNs equal, nor -0.0 and 0.0; lists and maps it groups not.
    """
    hows = {each.how for each in merge.columns}
    kinds = [rows.schema.field(c.at).type for c in merge.columns if c.how in _KEYS]
    plain = all(pa.types.is_integer(k) or pa.types.is_string(k) for k in kinds)
    return rows.num_rows > _MANY and plain and hows == {Merging.KEY, Merging.COUNT}


def _counted_up(merge: Merge, rows: pa.Table) -> pa.Table:
    """Put rows of one group together, and add up their counts."""
    names = [str(number) for number in range(len(merge.columns))]
    table = _picked(merge, rows).rename_columns(names)
    keys = [
        n for n, each in zip(names, merge.columns, strict=True) if each.how in _KEYS
    ]
    sums = [(name, "sum") for name in names if name not in keys]
    groups = table.group_by(keys, use_threads=False).aggregate(sums)
    made = [groups.column(n if n in keys else f"{n}_sum") for n in names]
    fields = [_field(each, rows.schema.field(each.at)) for each in merge.columns]
    return (
        pa.Table.from_arrays(made, names=names)
        .cast(
            pa.schema(
                [field.with_name(n) for field, n in zip(fields, names, strict=True)]
            )
        )
        .rename_columns([field.name for field in fields])
    )


def _field(column: MergedColumn, partial: Any) -> Any:
    """Tell what an aggregate's column is."""
    if column.how not in _KINDS:
        return partial
    name, kind = _KINDS[column.how]
    return pa.field(partial.name, kind, metadata={INTERNAL_TYPE: name.encode()})


def _sorted(merge: Merge, table: pa.Table) -> pa.Table:
    """Sort rows; what is equal stays in order."""
    if not merge.order:
        return table
    places = list(range(table.num_rows))
    for at, descending in reversed(merge.order):
        keys = [_ordered(each) for each in table.column(at).to_pylist()]
        places.sort(key=keys.__getitem__, reverse=descending)
    return table.take(pa.array(places, pa.int64()))


def _cut(merge: Merge, table: pa.Table, parameters: Mapping[str, object]) -> pa.Table:
    """Skip, and limit."""
    skip = min(_rows(merge.skip, "SKIP", parameters), table.num_rows)
    if merge.limit is None:
        return table.slice(skip)
    limit = _rows(merge.limit, "LIMIT", parameters)
    return table.slice(skip, min(limit, table.num_rows))


def _rows(count: int | Parameter, what: str, parameters: Mapping[str, object]) -> int:
    """Tell how many rows are meant."""
    value: object = count
    if isinstance(count, Parameter):
        value = parameters.get(count.name)
        for name in count.path:
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnprocessableError(f"{what} needs a number of rows that is not negative")
    return value


def _named(merge: Merge, table: pa.Table, partial: Any) -> pa.Table:
    """Leave hidden columns out, and name the others."""
    shown = [at for at, each in enumerate(merge.columns) if not each.hidden]
    names = [
        each.name or _renamed(each.how, partial.field(each.at).name)
        for each in merge.columns
        if not each.hidden
    ]
    return table.select(shown).rename_columns(names)


def _renamed(how: Merging, name: str) -> str:
    """Make of a partial column's name the one that the whole statement gives it."""
    for old, new in _RENAMED.get(how, ()):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _ordered(value: Any) -> tuple[int, Any]:
    """Make of a value what sorts as the engine does: NaN after numbers, NULL last."""
    if value is None:
        return (2, 0)
    if isinstance(value, float) and math.isnan(value):
        return (1, 0)
    return (0, value)


def _hashed(value: Any) -> object:
    """Make of a value what is equal where the engine says so, and can be hashed."""
    if isinstance(value, list):
        return tuple(map(_hashed, value))
    if isinstance(value, dict):
        return tuple((name, _hashed(each)) for name, each in value.items())
    return value


def _present(values: Iterable[Any]) -> list[Any]:
    """Leave NULLs out."""
    return [each for each in values if each is not None]


def _sum(values: list[Any], _counts: list[Any]) -> Any:
    """Add up; NULL where there is nothing."""
    present = _present(values)
    if present and isinstance(present[0], Decimal):
        return reduce(_EXACT.add, present)
    return sum(present[1:], present[0]) if present else None


def _least(values: list[Any], _counts: list[Any]) -> Any:
    """Find the least; NULL where there is nothing."""
    present = _present(values)
    return reduce(lambda a, b: b if b < a else a, present) if present else None


def _most(values: list[Any], _counts: list[Any]) -> Any:
    """Find the most; NULL where there is nothing."""
    present = _present(values)
    return reduce(lambda a, b: b if b > a else a, present) if present else None


def _average(sums: list[Any], counts: list[Any]) -> float | None:
    """Divide sums by counts; NULL where there is nothing."""
    count = sum(_present(counts))
    total = _sum(sums, [])
    return float(total) / count if count and total is not None else None


def _joined(lists: list[Any], _counts: list[Any]) -> list[Any]:
    """Put lists together."""
    return [item for each in _present(lists) for item in each]


def _set(lists: list[Any], _counts: list[Any]) -> list[Any]:
    """Put lists together; equal items are one, and NULL is none."""
    found: dict[object, Any] = {}
    for item in _present(_joined(lists, [])):
        found.setdefault(_hashed(item), item)
    return list(found.values())


_AGGREGATES: dict[Merging, Callable[[list[Any], list[Any]], Any]] = {
    Merging.KEY: lambda values, _: values[0],
    Merging.SUM: _sum,
    Merging.COUNT: lambda values, _: sum(_present(values)),
    Merging.MIN: _least,
    Merging.MAX: _most,
    Merging.AVG: _average,
    Merging.COLLECT: _joined,
    Merging.COUNT_DISTINCT: lambda values, _: len(_set(values, [])),
    Merging.COLLECT_DISTINCT: _set,
}
