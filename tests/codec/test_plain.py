"""Tests for `torua.codec.plain`: plain values and what they spell."""

import pytest
from msgspec import Struct

from torua.codec.plain import decode, plain, shape
from torua.errors import ProtocolError


class _Left(Struct, frozen=True, array_like=True, tag="left"):
    """One of two."""

    number: int


class _Right(Struct, frozen=True, array_like=True, tag="right"):
    """The other."""

    words: tuple[str, ...]


_Either = _Left | _Right


@pytest.mark.parametrize("made", [_Left(1), _Right(("a", "b"))])
def test_a_union_comes_back_as_it_was(made: _Left | _Right) -> None:
    """Its tag says which it is."""
    assert shape(plain(made), _Either) == made


def test_what_is_wrong_is_named_by_its_place_in_the_value() -> None:
    """As the sender wrote it, whatever is put around it to read it."""
    with pytest.raises(ProtocolError, match=r"`\$\[1\]\[0\]`"):
        shape(["right", [1]], _Either)
    with pytest.raises(ProtocolError, match=r"`\$\[1\]`"):
        shape([1, "two"], list[int])


@pytest.mark.parametrize(
    "data",
    [
        "82d81c80d81d00",
        "d81c81d81d00",
        "d9010082656161616161d81900",
    ],
    ids=["shared", "in itself", "a text again"],
)
def test_nothing_is_meant_twice(data: str) -> None:
    """Else a few bytes could spell more than any memory holds, for ever."""
    with pytest.raises(ProtocolError):
        decode(bytes.fromhex(data))
