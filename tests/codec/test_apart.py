"""Large strings of bytes stand beside the CBOR, and come back where they belong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torua.codec.apart import (
    LARGE_BYTES,
    TAG,
    Apart,
    read_apart,
    read_shared,
    set_apart,
    spell_apart,
)
from torua.codec.plain import decode, encode
from torua.codec.rope import Rope
from torua.errors import ProtocolError

LEAVES = st.one_of(st.none(), st.integers(0, 1 << 40), st.text(max_size=4), st.binary())
VALUES = st.recursive(
    st.one_of(LEAVES, st.binary(max_size=40).map(Apart)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=12,
)
LARGE = bytes(range(256)) * (LARGE_BYTES // 256)


def put_together(value: Any) -> object:
    """Return a value as it is with nothing apart."""
    if isinstance(value, Apart):
        return value.data
    if isinstance(value, list):
        return [put_together(each) for each in value]
    if isinstance(value, dict):
        return {key: put_together(each) for key, each in value.items()}
    return value


@given(value=VALUES)
def test_whatever_stands_apart_comes_back_in_its_place(value: object) -> None:
    """Reading reverses spelling, however many strings are apart, and where."""
    spelled = spell_apart(value)
    assert read_apart(spelled) == read_apart(spelled[:]) == put_together(value)


def test_large_strings_are_set_apart_and_no_others() -> None:
    """One byte less, and it stands in the CBOR as ever."""
    value = {"a": [1, LARGE], "b": (LARGE[1:], b"", None)}
    apart: Any = set_apart(value)
    assert isinstance(apart["a"][1], Apart)
    assert apart["a"][1].data is LARGE
    assert apart["b"] == [LARGE[1:], b"", None]
    assert value["a"][1] is LARGE


def test_without_a_large_string_it_is_plain_cbor() -> None:
    """What other programs read stays what they can read."""
    value = [1, b"small", {"k": None}]
    assert spell_apart(set_apart(value)) == encode(value)
    assert read_apart(encode(value)) == value


def test_a_large_string_is_copied_as_it_is() -> None:
    """It stands whole before the CBOR, which is short."""
    spelled = spell_apart([1, Apart(LARGE)])
    assert isinstance(spelled, Rope)
    assert any(piece is LARGE for piece in spelled.pieces)
    assert len(spelled) < len(LARGE) + 20


def test_what_is_read_and_kept_is_held_once() -> None:
    """The large string of the value is that of what goes on, byte for byte."""
    spelled = spell_apart([1, Apart(LARGE)])[:]
    value, kept = read_shared(spelled)
    assert isinstance(kept, Rope) and isinstance(value, list)
    assert any(piece is value[1] for piece in kept.pieces)
    assert kept[:] == spelled


def test_a_struct_is_no_plain_value() -> None:
    """What CBOR cannot spell is our mistake, and no placeholder."""
    with pytest.raises(TypeError):
        spell_apart([object()])


@given(data=st.binary(max_size=60))
def test_anything_else_is_refused(data: bytes) -> None:
    """No bytes raise anything but the error that says so."""
    try:
        read_apart(b"\xff" + data)
    except ProtocolError:
        return


@pytest.mark.parametrize("end", range(len(spell_apart([Apart(b"xyz"), 1]))))
def test_what_was_cut_short_is_refused(end: int) -> None:
    """No beginning of it is taken for the whole."""
    with pytest.raises(ProtocolError):
        read_apart(spell_apart([Apart(b"xyz"), 1])[:end])


def reference(number: object) -> bytes:
    """Spell a tag that refers to a large string."""
    return b"\xd9" + TAG.to_bytes(2, "big") + encode(number)


@pytest.mark.parametrize(
    "cbor",
    [
        b"\x80",
        b"\x82" + reference(0) * 2,
        b"\x81" + reference(1),
        b"\x81" + reference("0"),
        b"\x81\xd8\x2a\x00",
        b"\x81" + reference(0) + b"\x00",
        b"\x82" + reference(0) + reference(-1),
    ],
    ids=["none", "twice", "other", "no number", "other tag", "and more", "below"],
)
def test_each_large_string_belongs_in_one_place(cbor: bytes) -> None:
    """None is left over, none is used twice, and no other tag is taken."""
    head = b"\xff\x00\x01\x00\x00\x00\x03xyz"
    assert read_apart(head + b"\x81" + reference(0)) == [b"xyz"]
    with pytest.raises(ProtocolError):
        read_apart(head + cbor)


def test_clients_cannot_set_anything_apart() -> None:
    """What is CBOR by its name is CBOR."""
    with pytest.raises(ProtocolError):
        decode(spell_apart([Apart(b"xyz")])[:])
