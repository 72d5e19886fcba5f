"""Parameters as the graph engine takes them.

It has no integers of more than 64 bits, takes empty lists as literals only, and gives
all maps of a list the names of one of them: a value of another map's then stands under
a name that is not its own.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

SKIPPED = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|//[^\n]*|/\*.*?\*/""", re.DOTALL
)
"""What is no name of a parameter, though it may look like one."""

CELLS_MAX = 4_000_000
"""So many values may a list of maps have once each has the names of all."""

_SPELLED = re.compile(f"({SKIPPED.pattern})", re.DOTALL)
_INT64 = range(-(1 << 63), 1 << 63)
_INT128_MAX = (1 << 127) - 1
_DECIMAL_MAX = 10**38


def prepared(text: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Turn parameters into what the engine takes; some are spelled out in the text.

    Args:
        text: a statement.
        parameters: a value for each of its names.

    Returns:
        The statement, and the parameters that it has left.

    Raises:
        ValueError: the engine has nothing for such a value.
    """
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        spelled = _literal(value)
        if spelled:
            text = _replaced(text, name, spelled)
        else:
            given[name] = _level([value])[0]
    return text, given


def _literal(value: Any) -> str:
    """Spell a value that is taken as a literal only; empty for others."""
    if isinstance(value, list | tuple) and not value:
        return "[]"
    if not isinstance(value, int) or value in _INT64:
        return ""
    if abs(value) > _INT128_MAX:
        raise ValueError("an integer has more than 128 bits")
    return f"({value})"


def _replaced(text: str, name: str, literal: str) -> str:
    """Put a literal where a parameter stands."""
    parts = _SPELLED.split(text)
    named = rf"\${re.escape(name)}(?![A-Za-z_0-9])"
    parts[::2] = [re.sub(named, literal, part) for part in parts[::2]]
    return "".join(parts)


def _level(values: Sequence[Any]) -> list[Any]:
    """Give all maps among values of one place the same names, at any depth."""
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, dict) for value in there):
        return _level_maps(values, list(dict.fromkeys(chain.from_iterable(there))))
    if there and all(isinstance(value, list | tuple) for value in there):
        inside = iter(_level(list(chain.from_iterable(there))))
        return [v if v is None else [next(inside) for _ in v] for v in values]
    return [_plain(value) for value in values]


def _level_maps(values: Sequence[Any], names: list[str]) -> list[Any]:
    """Give maps the same names, and each name's values the same form."""
    if len(values) * len(names) > CELLS_MAX:
        raise ValueError("the maps in a list have too many different names")
    there = [value for value in values if value is not None]
    columns = {name: _level([v.get(name) for v in there]) for name in names}
    made = iter([{n: columns[n][i] for n in names} for i in range(len(there))])
    return [value if value is None else next(made) for value in values]


def _plain(value: Any) -> Any:
    """Turn one value into what the engine takes."""
    match value:
        case int() if value not in _INT64:
            if abs(value) >= _DECIMAL_MAX:
                raise ValueError("an integer in a list or map has more than 38 digits")
            return Decimal(value)
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
    return value
