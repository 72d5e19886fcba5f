"""Cells of rows as columns of Arrow tables, in the form of `torua.storage.exchange`."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from torua.core.graph.types import Cell, Kind, Type, show
from torua.storage.exchange import arrow_type

_INTERVAL = Type(Kind.INTERVAL)


def column(type: Type, cells: Sequence[Cell]) -> pa.Array:
    """Make a column of cells.

    Args:
        type: of all of them.
        cells: see `torua.core.graph.types`.
    """
    if type.kind is Kind.UNION:
        return _union(type, cells)
    plain = _plain(type)
    values = cells if plain is None else [plain(cell) for cell in cells]
    return pa.array(values, arrow_type(type))


def _plain(type: Type) -> Callable[[Any], Any] | None:
    """Tell how a cell becomes what Arrow takes; None where it is that."""
    simple = {
        Kind.INTERVAL: _interval,
        Kind.INT128: _text,
        Kind.DECIMAL: _decimal,
    }
    match type.kind:
        case Kind.LIST | Kind.ARRAY:
            assert type.item is not None, "a list of nothing"
            return _list(_plain(type.item))
        case Kind.MAP:
            assert type.key is not None, "a map without keys"
            assert type.item is not None, "a map of nothing"
            return _map(_plain(type.key), _plain(type.item))
        case Kind.STRUCT:
            return _struct({f.name: _plain(f.type) for f in type.fields})
        case _:
            return simple.get(type.kind)


def _interval(cell: Any) -> str | None:
    """Spell months, days and microseconds."""
    return None if cell is None else str(show(_INTERVAL, cell))


def _text(cell: Any) -> str | None:
    """Spell a number."""
    return None if cell is None else str(cell)


def _decimal(cell: Any) -> Decimal | None:
    """Make a decimal of its text."""
    return None if cell is None else Decimal(cell)


def _do(plain: Callable[[Any], Any] | None, cell: Any) -> Any:
    """Turn a cell into what Arrow takes."""
    return cell if plain is None else plain(cell)


def _list(item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """Tell how lists become what Arrow takes."""
    if item is None:
        return None
    return lambda cell: None if cell is None else [item(each) for each in cell]


def _map(
    key: Callable[[Any], Any] | None, item: Callable[[Any], Any] | None
) -> Callable[[Any], Any]:
    """Tell how maps become what Arrow takes."""
    return lambda cell: (
        None if cell is None else [(_do(key, k), _do(item, v)) for k, v in cell]
    )


def _struct(
    fields: dict[str, Callable[[Any], Any] | None],
) -> Callable[[Any], Any] | None:
    """Tell how structs become what Arrow takes."""
    if all(plain is None for plain in fields.values()):
        return None
    return lambda cell: (
        None
        if cell is None
        else {name: _do(plain, cell.get(name)) for name, plain in fields.items()}
    )


def _union(type: Type, cells: Sequence[Cell]) -> pa.Array:
    """Make a column of alternatives; a NULL is one of the first."""
    names = [field.name for field in type.fields]
    values: list[list[Cell]] = [[] for _ in names]
    tags, offsets = [], []
    for cell in cells:
        tag, value = cell if isinstance(cell, list | tuple) else (names[0], None)
        index = names.index(tag)
        tags.append(index)
        offsets.append(len(values[index]))
        values[index].append(value)
    children = [
        column(field.type, found)
        for field, found in zip(type.fields, values, strict=True)
    ]
    return pa.UnionArray.from_dense(
        pa.array(tags, pa.int8()), pa.array(offsets, pa.int32()), children, names
    )
