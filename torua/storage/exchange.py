"""How values stand in Arrow tables that go into the graph engine or come out of it.

Most types are Arrow's own.  These are not:

| type | in Arrow | why |
|---|---|---|
| INTERVAL | string | the engine's own Arrow makes days of months |
| INT128 | string | Arrow has none |
| UUID | string | an extension type that not every reader knows |
| ARRAY with one of them inside | list | a list is what the casts give |

Inside lists, structs and maps it is the same.  `read` and `write` spell the casts.  A
DECIMAL of up to 18 digits comes without its sign extended, which `mend` does; to cast
text to one inside a list or map ends the process.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from torua.core.graph.schema import Graph, NodeTable
from torua.core.graph.types import Kind, Type, check, show, spell_type

_PLAIN = {
    Kind.BOOL: pa.bool_(),
    Kind.INT8: pa.int8(),
    Kind.INT16: pa.int16(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.UINT8: pa.uint8(),
    Kind.UINT16: pa.uint16(),
    Kind.UINT32: pa.uint32(),
    Kind.UINT64: pa.uint64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.BLOB: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMP_NS: pa.timestamp("ns"),
    Kind.TIMESTAMP_MS: pa.timestamp("ms"),
    Kind.TIMESTAMP_SEC: pa.timestamp("s"),
    Kind.TIMESTAMP_TZ: pa.timestamp("us", tz="UTC"),
}
_AS_TEXT = frozenset({Kind.INTERVAL, Kind.INT128, Kind.UUID})

_HIDDEN = {
    "tv_ghost": Type(Kind.BOOL),
    "tv_ver": Type(Kind.INT64),
    "tv_born": Type(Kind.INT64),
    "tv_id": Type(Kind.BLOB),
}

_MAX_DIGITS = 18
_WIDTHS = ((4, 16), (9, 32), (_MAX_DIGITS, 64))
"""Up to so many digits a DECIMAL is kept in so many bits."""


def quote(name: str) -> str:
    """Spell a name so that it is one whatever it contains."""
    return "`" + name.replace("`", "``") + "`"


def arrow_type(type: Type) -> pa.DataType:
    """Tell what a type is in Arrow.

    Args:
        type: of a column.
    """
    inner = arrow_type(type.item) if type.item is not None else None
    fields = [pa.field(f.name, arrow_type(f.type)) for f in type.fields]
    match type.kind:
        case Kind.LIST:
            made = pa.list_(inner)
        case Kind.ARRAY:
            made = pa.list_(inner, -1 if awkward(type) else type.size)
        case Kind.MAP:
            assert type.key is not None, "a map without keys"
            made = pa.map_(arrow_type(type.key), inner)
        case Kind.STRUCT:
            made = pa.struct(fields)
        case Kind.UNION:
            made = pa.dense_union(fields)
        case Kind.DECIMAL:
            made = pa.decimal128(type.size, type.scale)
        case _:
            made = pa.string() if type.kind in _AS_TEXT else _PLAIN[type.kind]
    return made


def awkward(type: Type) -> bool:
    """Tell whether a type, or one inside of it, needs casts."""
    inner = [t for t in (type.item, type.key) if t is not None]
    inner += [field.type for field in type.fields]
    return type.kind in _AS_TEXT or any(awkward(t) for t in inner)


def write(expression: str, type: Type, depth: int = 0) -> str:
    """Spell how a value in Arrow's form, made `sendable`, becomes one of the engine's.

    Args:
        expression: of the value.
        type: its type.
        depth: how many lambdas are around it.
    """
    if not spans(type):
        cast = f"CAST({expression} AS {spell_type(type)})"
        return cast if awkward(type) else expression
    if type.kind is Kind.INTERVAL:
        parts = ("months", "days", "microseconds")
        made = (f"to_{part}({expression}[{i}])" for i, part in enumerate(parts, 1))
        return f"({' + '.join(made)})"
    return _within(expression, type, depth, write)


def literal(type: Type, cell: Any) -> str:
    """Spell a cell as an expression of its type.

    Args:
        type: of the cell.
        cell: see `torua.core.graph.types`.
    """
    if cell is None:
        return "NULL"
    spelled = _text(str(show(type, cell)))
    match type.kind:
        case Kind.LIST | Kind.ARRAY:
            assert type.item is not None, "a list of nothing"
            spelled = f"[{', '.join(literal(type.item, each) for each in cell)}]"
        case Kind.STRUCT:
            fields = [
                f"{quote(f.name)}: {literal(f.type, cell[f.name])}" for f in type.fields
            ]
            spelled = f"{{{', '.join(fields)}}}"
        case Kind.MAP:
            assert type.key is not None, "a map without keys"
            assert type.item is not None, "a map of nothing"
            keys = ", ".join(literal(type.key, key) for key, _ in cell)
            values = ", ".join(literal(type.item, value) for _, value in cell)
            spelled = f"map([{keys}], [{values}])"
        case Kind.BLOB:
            spelled = _text("".join(f"\\x{byte:02X}" for byte in cell))
        case Kind.UNION:
            tag, value = cell
            (field,) = (f for f in type.fields if f.name == tag)
            spelled = f"union_value({quote(tag)} := {literal(field.type, value)})"
    return f"CAST({spelled} AS {spell_type(type)})"


def _text(text: str) -> str:
    """Spell a string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def read(expression: str, type: Type, depth: int = 0) -> str:
    """Spell how a value of the engine's becomes one in Arrow's form.

    Args:
        expression: of the value.
        type: its type.
        depth: how many lambdas are around it.
    """
    if not awkward(type) or type.kind is Kind.UNION:
        return expression
    if type.kind in _AS_TEXT:
        return f"CAST({expression} AS STRING)"
    return _within(expression, type, depth, read)


def spans(type: Type) -> bool:
    """Tell whether there is an INTERVAL in a type, outside of unions."""
    inner = [t for t in (type.item, type.key) if t is not None]
    inner += [field.type for field in type.fields]
    return type.kind is Kind.INTERVAL or any(map(spans, inner))


def sendable(table: pa.Table, types: Mapping[str, Type]) -> pa.Table:
    """Make a table ready to be read by the engine, with `write`.

    The engine does not take its own text for an INTERVAL that is negative: it is sent
    as a list of months, days and microseconds.

    Args:
        table: in Arrow's form.
        types: by the names of its columns.
    """
    for i, name in enumerate(table.column_names):
        if spans(types[name]):
            values = [_sent(types[name], each) for each in table.column(i).to_pylist()]
            made = pa.array(values, _sent_type(types[name]))
            table = table.set_column(i, name, made)
    return table


def _sent_type(type: Type) -> pa.DataType:
    """Tell what a type is in a table that is sent."""
    if type.kind is Kind.INTERVAL:
        return pa.list_(pa.int64())
    if not spans(type):
        return arrow_type(type)
    if type.kind is Kind.STRUCT:
        return pa.struct([(f.name, _sent_type(f.type)) for f in type.fields])
    assert type.item is not None, "a list of nothing"
    item = _sent_type(type.item)
    if type.kind is Kind.MAP:
        assert type.key is not None, "a map without keys"
        return pa.map_(_sent_type(type.key), item)
    return pa.list_(item)


def _sent(type: Type, value: Any) -> Any:
    """Turn a value in Arrow's form into what is sent."""
    if value is None or not spans(type):
        return value
    if type.kind is Kind.INTERVAL:
        return check(type, value, "an interval")
    if type.kind is Kind.STRUCT:
        return {f.name: _sent(f.type, value[f.name]) for f in type.fields}
    assert type.item is not None, "a list of nothing"
    if type.kind is Kind.MAP:
        assert type.key is not None, "a map without keys"
        return [(_sent(type.key, k), _sent(type.item, v)) for k, v in value]
    return [_sent(type.item, each) for each in value]


def _within(
    expression: str, type: Type, depth: int, turn: Callable[[str, Type, int], str]
) -> str:
    """Spell how what is inside of a value is turned."""
    if type.kind is Kind.STRUCT:
        parts = [
            f"{quote(f.name)} := "
            + turn(f"struct_extract({expression}, '{f.name}')", f.type, depth)
            for f in type.fields
        ]
        packed = f"struct_pack({', '.join(parts)})"
        return f"CASE WHEN {expression} IS NULL THEN NULL ELSE {packed} END"
    assert type.item is not None, "a list of nothing"
    name = f"x{depth}"
    turned = turn(name, type.item, depth + 1)
    if type.kind is Kind.MAP:
        assert type.key is not None, "a map without keys"
        keys = f"{name} -> {turn(name, type.key, depth + 1)}"
        return (
            f"map(list_transform(map_keys({expression}), {keys}), "
            f"list_transform(map_values({expression}), {name} -> {turned}))"
        )
    return f"list_transform({expression}, {name} -> {turned})"


def column_types(
    graph: Graph, table: str, pair: tuple[str, str] | None
) -> dict[str, Type]:
    """Tell the types of a table's columns, hidden ones and ends included.

    Args:
        graph: its schema.
        table: by name, of a table that there is.
        pair: of a relationship table: from where to where.
    """
    keys = {node.name: key_type(node) for node in graph.nodes}
    columns = {t.name: t.columns for t in graph.nodes}
    columns |= {t.name: t.columns for t in graph.rels}
    types = {c.name: c.type for c in columns[table]} | _HIDDEN
    if pair is not None:
        source, target = keys[pair[0]], keys[pair[1]]
        types |= {"tv_from": source, "tv_s": source, "tv_to": target, "tv_d": target}
    return types


def key_type(table: NodeTable) -> Type:
    """Tell the type of a node table's primary key."""
    return next(c.type for c in table.columns if c.name == table.primary_key)


def mend(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make good what is wrong in the engine's own Arrow.

    It leaves out the signs of decimals, and the first offset of lists and texts inside
    of others where there is none of them: whoever looks at those reads anywhere.

    Args:
        column: of a result.
    """
    if not any(map(_wrong, column.chunks)):
        return column
    chunks = [_mend(chunk) for chunk in column.chunks]
    return pa.chunked_array(chunks, type=column.type)


def _wrong(array: Any) -> bool:
    """Tell whether there may be something to make good in an array."""
    kind = array.type
    if pa.types.is_decimal128(kind):
        return bool(kind.precision <= _MAX_DIGITS)
    empty = len(array) == 0 and not pa.types.is_primitive(kind)
    return empty or any(map(_wrong, _inner(array)))


def _inner(array: Any) -> list[Any]:
    """Return the arrays that an array is made of, in its fields' order."""
    kind = array.type
    if pa.types.is_struct(kind) or pa.types.is_union(kind):
        return [array.field(i) for i in range(kind.num_fields)]
    if pa.types.is_map(kind):
        return [array.keys, array.items]
    nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    return [array.values] if nested else []


def _mend(array: Any) -> Any:
    """Make an array good, and the arrays that it is made of."""
    if len(array) == 0:
        return pa.nulls(0, array.type)
    if not _wrong(array):
        return array
    if pa.types.is_decimal128(array.type):
        return _extended(array)
    return _made(array, list(map(_mend, _inner(array))))


def _made(array: Any, inner: list[Any]) -> Any:
    """Make an array like another one of other arrays inside of it."""
    kind, nulls = array.type, array.is_null()
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        made = pa.StructArray.from_arrays(inner, fields=fields, mask=nulls)
    elif pa.types.is_union(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        parts = (array.type_codes, array.offsets, inner, names, kind.type_codes)
        made = pa.UnionArray.from_dense(*parts)
    elif pa.types.is_map(kind):
        made = pa.MapArray.from_arrays(_offsets(array), *inner)
    elif pa.types.is_fixed_size_list(kind):
        made = pa.FixedSizeListArray.from_arrays(*inner, type=kind, mask=nulls)
    else:
        made = pa.ListArray.from_arrays(_offsets(array), *inner, type=kind)
    return made


def _offsets(array: Any) -> pa.Array:
    """Return a list array's offsets, NULL where the list is."""
    nulls = array.is_null().to_pylist()
    offsets: Sequence[int | None] = array.offsets.to_pylist()
    marked = [None if null else at for null, at in zip(nulls, offsets, strict=False)]
    return pa.array([*marked, offsets[-1]], pa.int32())


def _extended(array: pa.Array) -> pa.Array:
    """Extend the signs of an array of short decimals."""
    bits = next(bits for digits, bits in _WIDTHS if array.type.precision <= digits)
    _, data = array.buffers()
    raw = memoryview(data).cast("q")
    half, whole = 1 << (bits - 1), 1 << bits
    mended = bytearray()
    for at in range(array.offset, array.offset + len(array)):
        low = raw[2 * at] % whole
        value = low - whole if low >= half else low
        mended += value.to_bytes(16, "little", signed=True)
    valid = pa.array(array.is_valid().to_pylist(), pa.bool_()).buffers()[1]
    buffers = [valid, pa.py_buffer(bytes(mended))]
    return pa.Array.from_buffers(array.type, len(array), buffers)
