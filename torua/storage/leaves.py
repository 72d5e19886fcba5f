"""Scalar values of an answer, an Arrow array at a time, as JSON or CBOR has them.

They look as `torua.core.graph.cells.show` says; years that Python has not are shown
too.  In CBOR, bytes are bytes, and numbers of any size and kind are numbers.
"""

import math
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from torua.core.graph.types import Kind, Type, show

_INTERVAL = Type(Kind.INTERVAL)
_INT128 = Type(Kind.INT128)
_DOUBLE = Type(Kind.DOUBLE)
_DAY_US = 86_400_000_000


def leaves(array: Any, kind: str, raw: bool) -> list[Any]:
    """Show an array of scalars.

    Args:
        array: of Arrow's; NULLs become None.
        kind: the engine's name of its type, or of one that it is inside of.
        raw: for CBOR; else for JSON.
    """
    for fits, shower in _SHOWERS:
        if fits(array.type):
            return shower(array, kind, raw)
    plain: list[Any] = array.to_pylist()
    return plain


def moment(text: str) -> str:
    """Turn a moment as Arrow spells it into one as we do.

    Args:
        text: date and time, with a space between, and the type's digits.
    """
    whole, _, fraction = text.replace(" ", "T").partition(".")
    return f"{whole}.{fraction}Z" if fraction.strip("0") else f"{whole}Z"


def _floats(array: Any, _kind: str, raw: bool) -> list[Any]:
    """Show numbers; in JSON as text where it has none."""
    plain: list[Any] = array.to_pylist()
    if raw or pc.all(pc.is_finite(array)).as_py() is not False:
        return plain
    return [
        each if each is None or math.isfinite(each) else show(_DOUBLE, each)
        for each in plain
    ]


def _decimals(array: Any, kind: str, raw: bool) -> list[Any]:
    """Show DECIMALs as text, and INT128s as numbers."""
    plain: list[Decimal | None] = array.to_pylist()
    if array.type.scale or "INT128" not in kind:
        return [None if each is None else f"{each:f}" for each in plain]
    whole = [None if each is None else int(each) for each in plain]
    return [each if raw else show(_INT128, each) for each in whole]


def _blobs(array: Any, _kind: str, raw: bool) -> list[Any]:
    """Show bytes; in JSON as base64."""
    plain: list[Any] = array.to_pylist()
    if raw:
        return plain
    return [None if each is None else b64encode(each).decode() for each in plain]


def _dates(array: Any, _kind: str, _raw: bool) -> list[Any]:
    """Show dates."""
    shown: list[Any] = array.cast(pa.string()).to_pylist()
    return shown


def _moments(array: Any, _kind: str, _raw: bool) -> list[Any]:
    """Show moments, in UTC."""
    texts = array.cast(pa.timestamp(array.type.unit)).cast(pa.string()).to_pylist()
    return [None if text is None else moment(text) for text in texts]


def _spans(array: Any, _kind: str, _raw: bool) -> list[Any]:
    """Show INTERVALs of which the engine kept days and microseconds only."""
    shown: list[Any] = []
    for each in array.cast(pa.int64()).to_pylist():
        if each is None:
            shown.append(None)
            continue
        days, micros = divmod(abs(each), _DAY_US)
        sign = -1 if each < 0 else 1
        shown.append(show(_INTERVAL, [0, sign * days, sign * micros]))
    return shown


def _uuids(array: Any, _kind: str, _raw: bool) -> list[Any]:
    """Show UUIDs."""
    return [None if each is None else str(each) for each in array.to_pylist()]


def _is_bytes(kind: Any) -> bool:
    """Tell whether a type is of bytes."""
    return bool(at.is_binary(kind) or at.is_large_binary(kind))


def _is_uuid(kind: Any) -> bool:
    """Tell whether a type is Arrow's extension for UUIDs."""
    return isinstance(kind, pa.BaseExtensionType)


_SHOWERS: tuple[
    tuple[Callable[[Any], bool], Callable[[Any, str, bool], list[Any]]], ...
] = (
    (at.is_date, _dates),
    (at.is_timestamp, _moments),
    (at.is_duration, _spans),
    (at.is_floating, _floats),
    (at.is_decimal, _decimals),
    (_is_bytes, _blobs),
    (_is_uuid, _uuids),
)
