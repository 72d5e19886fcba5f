"""Kuzu's data types, and the plain values that stand for theirs in rows.

A *cell* is how a value stands in a row, in the log and between nodes: None for NULL,
else

| type | cell |
|---|---|
| BOOL; INT8 to INT128, UINT8 to UINT64, SERIAL; FLOAT, DOUBLE | bool; int; float |
| STRING; BLOB; UUID | str; bytes; str in lower case |
| DECIMAL(p, s) | str, as it is printed |
| DATE; TIMESTAMP, _NS, _MS, _SEC, _TZ | int, days or ticks of its unit since 1970 |
| INTERVAL | [months, days, microseconds] |
| T[], T[n]; STRUCT; MAP | list; dict by field; list of [key, value] |
| UNION | [tag, value] |
"""

from enum import StrEnum

from msgspec import Struct

Cell = object
"""A value in a row; see above.  What it may be depends on its column's type."""


class Kind(StrEnum):
    """The kinds of types, by the names that the engine gives them."""

    BOOL = "BOOL"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    INT128 = "INT128"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    SERIAL = "SERIAL"
    FLOAT = "FLOAT"
    DOUBLE = "DOUBLE"
    DECIMAL = "DECIMAL"
    STRING = "STRING"
    BLOB = "BLOB"
    UUID = "UUID"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    TIMESTAMP_NS = "TIMESTAMP_NS"
    TIMESTAMP_MS = "TIMESTAMP_MS"
    TIMESTAMP_SEC = "TIMESTAMP_SEC"
    TIMESTAMP_TZ = "TIMESTAMP_TZ"
    INTERVAL = "INTERVAL"
    LIST = "LIST"
    ARRAY = "ARRAY"
    STRUCT = "STRUCT"
    MAP = "MAP"
    UNION = "UNION"


class Type(Struct, frozen=True, omit_defaults=True):
    """One data type.

    Attributes:
        kind: which.
        item: of a LIST's and an ARRAY's items, and of a MAP's values.
        key: of a MAP's keys.
        size: how many items an ARRAY has; a DECIMAL's precision.
        scale: a DECIMAL's.
        fields: of a STRUCT and a UNION, in order.
    """

    kind: Kind
    item: "Type | None" = None
    key: "Type | None" = None
    size: int = 0
    scale: int = 0
    fields: "tuple[Field, ...]" = ()


class Field(Struct, frozen=True):
    """One field of a STRUCT, or one alternative of a UNION."""

    name: str
    type: Type


INTEGERS = {
    Kind.INT8: (-(1 << 7), (1 << 7) - 1),
    Kind.INT16: (-(1 << 15), (1 << 15) - 1),
    Kind.INT32: (-(1 << 31), (1 << 31) - 1),
    Kind.INT64: (-(1 << 63), (1 << 63) - 1),
    Kind.INT128: (1 - (1 << 127), (1 << 127) - 1),
    Kind.UINT8: (0, (1 << 8) - 1),
    Kind.UINT16: (0, (1 << 16) - 1),
    Kind.UINT32: (0, (1 << 32) - 1),
    Kind.UINT64: (0, (1 << 64) - 1),
    Kind.SERIAL: (-(1 << 63), (1 << 63) - 1),
}
"""The least and the greatest value of each integer type."""

TICKS = {
    Kind.TIMESTAMP: 6,
    Kind.TIMESTAMP_TZ: 6,
    Kind.TIMESTAMP_NS: 9,
    Kind.TIMESTAMP_MS: 3,
    Kind.TIMESTAMP_SEC: 0,
}
"""How many digits of a second each timestamp type keeps."""
