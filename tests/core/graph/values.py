"""Strategies: types, and values of them as clients may send."""

from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from torua.core.graph.types import INTEGERS, TICKS, Field, Kind, Type

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
PLAIN = [
    kind
    for kind in Kind
    if kind
    not in (
        Kind.LIST,
        Kind.ARRAY,
        Kind.STRUCT,
        Kind.MAP,
        Kind.UNION,
        Kind.DECIMAL,
        Kind.SERIAL,
    )
]

_FIELDS = st.lists(NAMES, min_size=1, max_size=3, unique=True)


def _nested(inner: "st.SearchStrategy[Type]") -> "st.SearchStrategy[Type]":
    """Build types of types."""
    fields = _FIELDS.flatmap(
        lambda names: st.tuples(*(st.builds(Field, st.just(n), inner) for n in names))
    )
    return st.one_of(
        st.builds(Type, st.just(Kind.LIST), inner),
        st.builds(Type, st.just(Kind.ARRAY), inner, size=st.integers(1, 3)),
        st.builds(Type, st.just(Kind.MAP), inner, inner),
        st.builds(Type, st.sampled_from([Kind.STRUCT, Kind.UNION]), fields=fields),
    )


decimals = st.integers(1, 38).flatmap(
    lambda size: st.builds(
        Type, st.just(Kind.DECIMAL), size=st.just(size), scale=st.integers(0, size)
    )
)
leaves = st.one_of(st.sampled_from(PLAIN).map(Type), decimals)
_SIMPLE = [kind for kind in PLAIN if kind not in (Kind.BOOL, Kind.INTERVAL)]
keys = st.sampled_from(_SIMPLE).map(Type) | decimals
types = st.recursive(leaves, _nested, max_leaves=4)


def values(kind: Type) -> "st.SearchStrategy[Any]":
    """Give values of a type, as Python, JSON and CBOR spell them."""
    return st.none() | _NESTED.get(kind.kind, _leaf)(kind)


def _leaf(kind: Type) -> "st.SearchStrategy[Any]":
    """Give values of a type that has no other in it."""
    if kind.kind in INTEGERS:
        return st.integers(*INTEGERS[kind.kind])
    if kind.kind in TICKS:
        moments = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
        return moments.map(lambda each: each.replace(microsecond=0))
    return _LEAVES[kind.kind]


def _decimal(kind: Type) -> "st.SearchStrategy[Any]":
    """Give numbers that fit."""
    most = 10**kind.size - 1
    return st.integers(-most, most).map(lambda n: f"{n}e-{kind.scale}")


def _struct(kind: Type) -> "st.SearchStrategy[Any]":
    """Give objects."""
    return st.fixed_dictionaries({each.name: values(each.type) for each in kind.fields})


def _union(kind: Type) -> "st.SearchStrategy[Any]":
    """Give one alternative, named."""
    return st.one_of(
        *(
            values(each.type).map(lambda value, name=each.name: {name: value})  # type: ignore[misc]
            for each in kind.fields
        )
    )


def _map(kind: Type) -> "st.SearchStrategy[Any]":
    """Give pairs of distinct keys."""
    assert kind.key is not None
    assert kind.item is not None
    keys = values(kind.key).filter(lambda key: key is not None)
    pairs = st.tuples(keys, values(kind.item)).map(list)
    return st.lists(pairs, max_size=1)


def _list(kind: Type) -> "st.SearchStrategy[Any]":
    """Give lists."""
    assert kind.item is not None
    if kind.kind is Kind.ARRAY:
        return st.lists(values(kind.item), min_size=kind.size, max_size=kind.size)
    return st.lists(values(kind.item), max_size=3)


_NESTED = {
    Kind.DECIMAL: _decimal,
    Kind.STRUCT: _struct,
    Kind.UNION: _union,
    Kind.MAP: _map,
    Kind.LIST: _list,
    Kind.ARRAY: _list,
}
_LEAVES = {
    Kind.BOOL: st.booleans(),
    Kind.FLOAT: st.floats(width=32, allow_nan=False),
    Kind.DOUBLE: st.floats(allow_nan=False),
    Kind.STRING: st.text(st.characters(codec="utf-8"), max_size=9),
    Kind.BLOB: st.binary(max_size=9),
    Kind.UUID: st.uuids() | st.uuids().map(str),
    Kind.DATE: st.dates() | st.dates().map(date.isoformat),
    Kind.INTERVAL: st.timedeltas(timedelta(-(10**6)), timedelta(10**6))
    | st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3).map(list),
}
