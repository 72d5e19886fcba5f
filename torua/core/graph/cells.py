"""From values that clients send to cells, and from cells to values that JSON has.

What would be changed on the way is refused: 1.5 is no INT64, 300 no INT8.  Text is
taken where it spells a value of the type, as the engine takes it.  `show` gives what
`check` takes:

| type | shown as |
|---|---|
| integers, FLOAT, DOUBLE | a number; text where JSON has none (2^70, ``NaN``) |
| DECIMAL, UUID; BLOB | text; base64 |
| DATE, TIMESTAMP… | ISO 8601, in UTC |
| INTERVAL | ``1 year 2 months 3 days 04:05:06.789`` |
| T[], T[n]; STRUCT | a list; an object |
| MAP | an object where its keys are STRINGs, else a list of [key, value] |
| UNION | an object with the alternative's name and its value |
"""

import math
import re
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import NoReturn
from uuid import UUID

from torua.core.graph.kinds import INTEGERS, TICKS, Cell, Kind, Type
from torua.core.graph.spelling import spell_type
from torua.errors import UnprocessableError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?"
    r"\s*(Z|[+-]\d\d(?::?\d\d)?)?"
)
_SPAN = re.compile(
    r"\s*(?:([+-]?\d+)\s*([a-z]+)|(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)"
)
_DIGITS = Context(prec=60)
_INT64 = INTEGERS[Kind.INT64]
_DAY_S = 86_400
_SECOND = 1_000_000

_UNITS: dict[str, tuple[int, int]] = {
    "year": (0, 12),
    "month": (0, 1),
    "day": (1, 1),
    "week": (1, 7),
    "hour": (2, 3600 * _SECOND),
    "minute": (2, 60 * _SECOND),
    "second": (2, _SECOND),
    "millisecond": (2, 1000),
    "microsecond": (2, 1),
}
_SHORT = {
    "y": "year",
    "yr": "year",
    "mon": "month",
    "d": "day",
    "w": "week",
    "h": "hour",
    "hr": "hour",
    "m": "minute",
    "min": "minute",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "us": "microsecond",
}


def check(type: Type, value: object, what: str) -> Cell:
    """Turn a value from JSON, CBOR or Python into a cell of a type.

    Args:
        type: what it shall be.
        value: None is NULL, of any type.
        what: what the value is of, for the error: a column's name.

    Raises:
        UnprocessableError: it is no value of the type, or would be changed.
    """
    if value is None:
        return None
    try:
        return _CHECKS[type.kind](type, value, what)
    except (ValueError, OverflowError, TypeError, InvalidOperation) as error:
        raise _wrong(type, value, what) from error


def show(type: Type, cell: Cell) -> object:
    """Turn a cell into a value that JSON has; `check` takes it back.

    Args:
        type: of the cell.
        cell: as `check` makes them.
    """
    if cell is None:
        return None
    shower = _SHOWS.get(type.kind)
    return cell if shower is None else shower(type, cell)


def _wrong(kind: Type, value: object, what: str) -> UnprocessableError:
    """Make the error of a value that is none of its type."""
    shown = repr(value)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return UnprocessableError(f"{what}: {shown} is not {spell_type(kind)}")


def _bool(_kind: Type, value: object, _what: str) -> Cell:
    """Take true and false."""
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else _refuse()


def _refuse() -> NoReturn:
    """Refuse a value; the caller knows which."""
    raise ValueError


def _integer(kind: Type, value: object, _what: str) -> Cell:
    """Take whole numbers in bounds."""
    text = isinstance(value, str) and _INTEGER.fullmatch(value.strip())
    if text or (isinstance(value, float | Decimal) and value == int(value)):
        value = int(value)  # type: ignore[call-overload]
    if isinstance(value, bool) or not isinstance(value, int):
        return _refuse()
    least, most = INTEGERS[kind.kind]
    return value if least <= value <= most else _refuse()


def _float(kind: Type, value: object, _what: str) -> Cell:
    """Take numbers; FLOAT keeps 32 bits of them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return _refuse()
    number = float(value)
    if math.isinf(number) and isinstance(value, int | Decimal):
        return _refuse()
    if kind.kind is Kind.FLOAT:
        (number,) = struct.unpack("<f", struct.pack("<f", number))
    return number


def _decimal(kind: Type, value: object, _what: str) -> Cell:
    """Take numbers that need no more digits than there are."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return _refuse()
    number = Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        return _refuse()
    made = number.quantize(Decimal(1).scaleb(-kind.scale), context=_DIGITS)
    whole = abs(int(made.scaleb(kind.scale, context=_DIGITS)))
    if made != number or whole >= 10**kind.size:
        return _refuse()
    return f"{abs(made) if not whole else made:f}"


def _string(_kind: Type, value: object, _what: str) -> Cell:
    """Take text that UTF-8 can spell."""
    if not isinstance(value, str):
        return _refuse()
    value.encode()
    return value


def _blob(_kind: Type, value: object, _what: str) -> Cell:
    """Take bytes, or base64 of them."""
    if isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except Base64Error:
            return _refuse()
    return bytes(value) if isinstance(value, bytes | bytearray) else _refuse()


def _uuid(_kind: Type, value: object, _what: str) -> Cell:
    """Take UUIDs in the usual spelling."""
    return str(value if isinstance(value, UUID) else UUID(_text(value)))


def _text(value: object) -> str:
    """Return text; ValueError where it is none."""
    if not isinstance(value, str):
        raise ValueError
    return value.strip()


def _date(_kind: Type, value: object, _what: str) -> Cell:
    """Take ISO 8601 dates from the year 1 on."""
    if isinstance(value, datetime):
        return _refuse()
    day = value if isinstance(value, date) else date.fromisoformat(_text(value))
    return day.toordinal() - _EPOCH_DAY


def _timestamp(kind: Type, value: object, _what: str) -> Cell:
    """Take ISO 8601 moments; without an offset they are in UTC."""
    digits = TICKS[kind.kind]
    text = value.isoformat() if isinstance(value, date) else _text(value)
    found = _MOMENT.fullmatch(text)
    if found is None:
        return _refuse()
    day, time, fraction, offset = found.groups()
    fraction = (fraction or "").ljust(9, "0")
    if fraction[digits:].strip("0"):
        return _refuse()
    moment = datetime.fromisoformat(f"{day}T{time or '00:00'}{offset or 'Z'}")
    since = moment - _EPOCH
    ticks = (since.days * _DAY_S + since.seconds) * 10**digits
    ticks += int(fraction[:digits] or "0")
    return ticks if _INT64[0] <= ticks <= _INT64[1] else _refuse()


def _interval(_kind: Type, value: object, _what: str) -> Cell:
    """Take ``1 year 2 days 03:04:05``, and [months, days, microseconds]."""
    if isinstance(value, timedelta):
        return [0, value.days, value.seconds * _SECOND + value.microseconds]
    if isinstance(value, str):
        parts = _spans(value.strip().lower())
    elif isinstance(value, list | tuple):
        parts = [each for each in value if type(each) is int]
    else:
        return _refuse()
    bounds = (INTEGERS[Kind.INT32], INTEGERS[Kind.INT32], _INT64)
    for part, (least, most) in zip(parts, bounds, strict=True):
        if not least <= part <= most:
            return _refuse()
    return parts


def _spans(text: str) -> list[int]:
    """Read an interval's text."""
    parts, place = [0, 0, 0], 0
    while place < len(text):
        found = _SPAN.match(text, place)
        if found is None:
            raise ValueError
        count, unit, minus, hours, minutes, seconds, fraction = found.groups()
        if unit is not None:
            unit = _SHORT.get(unit, unit.removesuffix("s"))
            index, factor = _UNITS.get(unit) or _refuse()
            parts[index] += int(count) * factor
        else:
            span = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
            span = span * _SECOND + int((fraction or "").ljust(6, "0"))
            parts[2] += -span if minus else span
        place = found.end()
    return parts if text else _refuse()


def _list(kind: Type, value: object, what: str) -> Cell:
    """Take lists of items, as many as an ARRAY has."""
    assert kind.item is not None, "a list of nothing"
    if not isinstance(value, list | tuple):
        return _refuse()
    if kind.kind is Kind.ARRAY and len(value) != kind.size:
        return _refuse()
    item = kind.item
    return [check(item, each, f"{what}[{i}]") for i, each in enumerate(value)]


def _struct(kind: Type, value: object, what: str) -> Cell:
    """Take objects; a field that is not there is NULL, one too many is refused."""
    if not isinstance(value, Mapping):
        return _refuse()
    known = {each.name.lower(): each for each in kind.fields}
    given: dict[str, object] = {}
    for name, each in value.items():
        if not isinstance(name, str) or name.lower() not in known:
            raise UnprocessableError(f"{what}: there is no field {name!r}")
        given[name.lower()] = each
    return {
        each.name: check(each.type, given.get(name), f"{what}.{each.name}")
        for name, each in known.items()
    }


def _map(kind: Type, value: object, what: str) -> Cell:
    """Take objects, and lists of [key, value]; each key once, none NULL."""
    assert kind.key is not None, "a map without keys"
    assert kind.item is not None, "a map of nothing"
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list | tuple):
        return _refuse()
    made: list[list[Cell]] = []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or pair[0] is None:
            return _refuse()
        key = check(kind.key, pair[0], f"{what}, key {index}")
        made.append([key, check(kind.item, pair[1], f"{what}[{pair[0]!r}]")])
    if len({repr(key) for key, _ in made}) < len(made):
        raise UnprocessableError(f"{what}: a key stands twice")
    return made


def _union(kind: Type, value: object, what: str) -> Cell:
    """Take an object or a pair that names the alternative, else the first that fits."""
    named = {each.name.lower(): each for each in kind.fields}
    pair: Sequence[object] = ()
    if isinstance(value, Mapping) and len(value) == 1:
        pair = next(iter(value.items()))
    elif isinstance(value, list | tuple) and len(value) == 2:
        pair = value
    if pair and isinstance(pair[0], str) and pair[0].lower() in named:
        field = named[pair[0].lower()]
        return [field.name, check(field.type, pair[1], f"{what}.{field.name}")]
    for field in kind.fields:
        try:
            return [field.name, check(field.type, value, what)]
        except UnprocessableError:
            continue
    return _refuse()


def _show_integer(_kind: Type, cell: Cell) -> object:
    """Show a number; as text where it has over 64 bits."""
    assert isinstance(cell, int), "an integer"
    return cell if _INT64[0] <= cell < 1 << 64 else str(cell)


def _show_float(_kind: Type, cell: Cell) -> object:
    """Show a number; as text where JSON has none."""
    assert isinstance(cell, float | int), "a number"
    if math.isfinite(cell):
        return cell
    return "NaN" if math.isnan(cell) else "Infinity" if cell > 0 else "-Infinity"


def _show_blob(_kind: Type, cell: Cell) -> object:
    """Show bytes as base64."""
    assert isinstance(cell, bytes), "bytes"
    return b64encode(cell).decode()


def _show_date(_kind: Type, cell: Cell) -> object:
    """Show a day."""
    assert isinstance(cell, int), "days"
    return date.fromordinal(cell + _EPOCH_DAY).isoformat()


def _show_timestamp(kind: Type, cell: Cell) -> object:
    """Show a moment, with as many digits as its type keeps."""
    assert isinstance(cell, int), "ticks"
    digits = TICKS[kind.kind]
    seconds, fraction = divmod(cell, 10**digits)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    text = text.rjust(19, "0")
    return f"{text}.{fraction:0{digits}}Z" if fraction else f"{text}Z"


def _show_interval(_kind: Type, cell: Cell) -> object:
    """Show an interval as the engine prints it."""
    assert isinstance(cell, list), "months, days, microseconds"
    months, days, micros = cell
    sign = -1 if months < 0 else 1
    years, months = divmod(abs(months), 12)
    named = ((sign * years, "year"), (sign * months, "month"), (days, "day"))
    words = [f"{n} {unit}{'' if abs(n) == 1 else 's'}" for n, unit in named if n]
    if micros or not words:
        seconds, fraction = divmod(abs(micros), _SECOND)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        tail = f".{fraction:06}".rstrip("0") if fraction else ""
        words.append(f"{'-' if micros < 0 else ''}{clock}{tail}")
    return " ".join(words)


def _show_list(kind: Type, cell: Cell) -> object:
    """Show a list."""
    assert isinstance(cell, list | tuple), "a list"
    assert kind.item is not None, "a list of nothing"
    item = kind.item
    return [show(item, each) for each in cell]


def _show_struct(kind: Type, cell: Cell) -> object:
    """Show a struct."""
    assert isinstance(cell, dict), "by field"
    return {each.name: show(each.type, cell.get(each.name)) for each in kind.fields}


def _show_map(kind: Type, cell: Cell) -> object:
    """Show a map."""
    assert isinstance(cell, list | tuple), "pairs"
    assert kind.key is not None, "a map without keys"
    assert kind.item is not None, "a map of nothing"
    pairs = [[show(kind.key, key), show(kind.item, each)] for key, each in cell]
    if kind.key.kind is Kind.STRING:
        return {str(key): each for key, each in pairs}
    return pairs


def _show_union(kind: Type, cell: Cell) -> object:
    """Show which alternative it is, and its value."""
    assert isinstance(cell, list | tuple), "an alternative and its value"
    tag, value = cell
    types = {each.name: each.type for each in kind.fields}
    return {tag: show(types[tag], value)}


_CHECKS: dict[Kind, Callable[[Type, object, str], Cell]] = {
    **dict.fromkeys(INTEGERS, _integer),
    **dict.fromkeys(TICKS, _timestamp),
    Kind.BOOL: _bool,
    Kind.FLOAT: _float,
    Kind.DOUBLE: _float,
    Kind.DECIMAL: _decimal,
    Kind.STRING: _string,
    Kind.BLOB: _blob,
    Kind.UUID: _uuid,
    Kind.DATE: _date,
    Kind.INTERVAL: _interval,
    Kind.LIST: _list,
    Kind.ARRAY: _list,
    Kind.STRUCT: _struct,
    Kind.MAP: _map,
    Kind.UNION: _union,
}

_SHOWS: dict[Kind, Callable[[Type, Cell], object]] = {
    **dict.fromkeys(INTEGERS, _show_integer),
    **dict.fromkeys(TICKS, _show_timestamp),
    Kind.FLOAT: _show_float,
    Kind.DOUBLE: _show_float,
    Kind.BLOB: _show_blob,
    Kind.DATE: _show_date,
    Kind.INTERVAL: _show_interval,
    Kind.LIST: _show_list,
    Kind.ARRAY: _show_list,
    Kind.STRUCT: _show_struct,
    Kind.MAP: _show_map,
    Kind.UNION: _show_union,
}
