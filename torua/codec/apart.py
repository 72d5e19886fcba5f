"""Plain values with large strings of bytes: those stand before the CBOR, not in it.

::

    all of it CBOR, or
    ff | count u16 | size u32 of each | the large strings | CBOR, big-endian

In that CBOR the tag `TAG` on 0, 1, 2 … stands where each of them belongs.  So they are
copied once, in one piece; CBOR copies and grows them several times over, which takes
ten times as long.  No CBOR begins with `ff`.
"""

from collections.abc import Sequence
from struct import Struct, error
from typing import Any

from torua.codec.plain import decode, encode
from torua.errors import ProtocolError

LARGE_BYTES = 128 << 10
"""From here on it pays: a memory page is more than all that is spelled around it."""

TAG = 0x546F

FEW = 16
"""Of so many items each is looked at; where there are more, most are small."""

_MARK = b"\xff"
_COUNT = Struct(">cH")


class Apart:
    """A large string of bytes in a plain value, to be spelled apart from it.

    Invariants: it is what it was made with.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        """Have ``data`` stand apart."""
        self.data = data


def set_apart(value: Any) -> object:
    """Find the large strings of bytes in a plain value, and have them stand apart.

    Args:
        value: maps, lists and scalars; it is not changed.
    """
    kind = type(value)
    if kind is bytes:
        return Apart(value) if len(value) >= LARGE_BYTES else value
    if (kind is list or kind is tuple) and len(value) <= FEW:
        return [set_apart(each) for each in value]
    if kind is dict and len(value) <= FEW:
        return {key: set_apart(each) for key, each in value.items()}
    return value


def spell_apart(value: object) -> bytes:
    """Spell a plain value in which some strings stand apart.

    Args:
        value: maps, lists and scalars, and any number of `Apart`; without one it is
            CBOR.
    """
    large: list[bytes] = []

    def refer(encoder: Any, found: object) -> None:
        """Spell where a large string belongs.

        Args:
            encoder: of the CBOR.
            found: what CBOR does not know.
        """
        if not isinstance(found, Apart):
            raise TypeError(f"{type(found)} is no plain value")
        encoder.encode_semantic(TAG, len(large))
        large.append(found.data)

    spelled = encode(value, refer)
    if not large:
        return spelled
    sizes = Struct(f">{len(large)}I").pack(*map(len, large))
    return b"".join((_COUNT.pack(_MARK, len(large)), sizes, *large, spelled))


def read_apart(data: bytes) -> object:
    """Read what `spell_apart` spelled, from anybody.

    Args:
        data: all of it.

    Raises:
        ProtocolError: it is anything else.
    """
    if data[:1] != _MARK:
        return decode(data)
    try:
        count = _COUNT.unpack_from(data)[1]
        table = Struct(f">{count}I")
        sizes = table.unpack_from(data, _COUNT.size)
    except error as wrong:
        raise ProtocolError(f"large strings are missing: {wrong}") from wrong
    begin = _COUNT.size + table.size
    if begin + sum(sizes) > len(data):
        raise ProtocolError("large strings are cut short")
    return _read(data, begin, sizes)


def _read(data: bytes, begin: int, sizes: Sequence[int]) -> object:
    """Read the CBOR behind the large strings, and put them in.

    Args:
        data: all of it.
        begin: where the first large string is.
        sizes: of all of them.
    """
    large: list[bytes] = []
    for size in sizes:
        large.append(data[begin : begin + size])
        begin += size
    waiting = iter(enumerate(large))

    def put_in(tag: Any, _: bool) -> bytes:
        """Give the string that a tag stands for: each once, in order.

        Args:
            tag: as it was read.
        """
        number, found = next(waiting, (-1, b""))
        if (tag.tag, tag.value) != (TAG, number):
            raise ProtocolError("a tag stands for nothing")
        return found

    value = decode(data[begin:], put_in)
    if next(waiting, None) is not None:
        raise ProtocolError("a large string belongs nowhere")
    return value


def is_apart(data: bytes) -> bool:
    """Tell whether something is spelled with large strings apart: it is no CBOR."""
    return data[:1] == _MARK
