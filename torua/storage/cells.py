"""Columns in Arrow, in the form of `torua.storage.exchange`, as lists of cells."""

from itertools import pairwise
from typing import Any

import pyarrow as pa

from torua.core.graph.types import TICKS, Cell, Kind, Type, check


def cells(column: pa.ChunkedArray, kind: Type) -> list[Cell]:
    """Turn a column into cells.

    Args:
        column: in the form that `exchange.arrow_type` names.
        kind: the column's type in the schema.
    """
    found: list[Cell] = []
    for chunk in column.chunks:
        found += _cells(chunk, kind)
    return found


def _cells(array: Any, kind: Type) -> list[Cell]:
    """Turn an array into cells."""
    match kind.kind:
        case Kind.INTERVAL | Kind.INT128 | Kind.DECIMAL:
            made = [check(kind, each, "") for each in array.to_pylist()]
        case Kind.DATE:
            made = array.cast(pa.int32()).to_pylist()
        case Kind.LIST | Kind.ARRAY:
            made = _lists(array, kind)
        case Kind.STRUCT:
            made = _structs(array, kind)
        case Kind.MAP:
            made = _maps(array, kind)
        case Kind.UNION:
            made = _unions(array, kind)
        case each if each in TICKS:
            made = array.cast(pa.int64()).to_pylist()
        case _:
            made = array.to_pylist()
    return made


def _where(array: Any, made: list[Any]) -> list[Cell]:
    """Put None where an array has NULL."""
    valid = array.is_valid().to_pylist()
    return [each if there else None for there, each in zip(valid, made, strict=True)]


def _lists(array: Any, kind: Type) -> list[Cell]:
    """Turn lists into cells."""
    assert kind.item is not None, "a list of nothing"
    if not pa.types.is_fixed_size_list(array.type):
        items = _cells(array.values, kind.item)
        bounds = array.offsets.to_pylist()
        return _where(array, [items[start:end] for start, end in pairwise(bounds)])
    flat = iter(_cells(array.flatten(), kind.item))
    size = array.type.list_size
    return [
        [next(flat) for _ in range(size)] if valid else None
        for valid in array.is_valid().to_pylist()
    ]


def _structs(array: Any, kind: Type) -> list[Cell]:
    """Turn structs into cells."""
    names = [field.name for field in kind.fields]
    columns = [_cells(array.field(at), f.type) for at, f in enumerate(kind.fields)]
    rows = zip(*columns, strict=True)
    return _where(array, [dict(zip(names, row, strict=True)) for row in rows])


def _maps(array: Any, kind: Type) -> list[Cell]:
    """Turn maps into cells."""
    assert kind.key is not None, "a map without keys"
    assert kind.item is not None, "a map of nothing"
    keys, items = _cells(array.keys, kind.key), _cells(array.items, kind.item)
    pairs = [list(pair) for pair in zip(keys, items, strict=True)]
    bounds = array.offsets.to_pylist()
    return _where(array, [pairs[start:end] for start, end in pairwise(bounds)])


def _unions(array: Any, kind: Type) -> list[Cell]:
    """Turn unions into cells; one whose value is NULL is NULL."""
    columns = [_cells(array.field(at), f.type) for at, f in enumerate(kind.fields)]
    names = [field.name for field in kind.fields]
    places = zip(array.type_codes.to_pylist(), array.offsets.to_pylist(), strict=True)
    made = [(names[code], columns[code][place]) for code, place in places]
    return [None if value is None else [name, value] for name, value in made]
