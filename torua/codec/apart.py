"""Plain values with large strings of bytes: those stand before the CBOR, not in it.

::

    all of it CBOR, or
    ff | count u16 | size u32 of each | the large strings | CBOR, big-endian

In that CBOR the tag `TAG` on 0, 1, 2 … stands where each of them belongs.  So they are
never copied on the way out, and once on the way in; CBOR copies and grows them several
times over, which takes ten times as long.  No CBOR begins with `ff`.
"""

from collections.abc import Sequence
from struct import Struct, error
from typing import Any

from torua.codec.plain import decode, encode
from torua.codec.rope import Bytes, Rope
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

    def __init__(self, data: Bytes) -> None:
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


def spell_apart(value: object) -> Bytes:
    """Spell a plain value in which some strings stand apart.

    Args:
        value: maps, lists and scalars, and any number of `Apart`; without one it is
            CBOR.
    """
    large: list[Bytes] = []

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
    return Rope((_COUNT.pack(_MARK, len(large)) + sizes, *large, spelled))


def read_apart(data: Bytes) -> object:
    """Read what `spell_apart` spelled, from anybody.

    Args:
        data: all of it.

    Raises:
        ProtocolError: it is anything else.
    """
    return read_shared(data)[0]


def read_shared(data: Bytes) -> tuple[object, Bytes]:
    """Read what `spell_apart` spelled, and keep it as well.

    Args:
        data: all of it.

    Returns:
        The value; and ``data``, in which the large strings are those of the value.

    Raises:
        ProtocolError: it is anything else.
    """
    if data[:1] != _MARK:
        whole = data[:]
        return decode(whole), whole
    try:
        count = _COUNT.unpack(data[: _COUNT.size])[1]
        table = Struct(f">{count}I")
        place = _COUNT.size + table.size
        sizes = table.unpack(data[_COUNT.size : place])
    except error as wrong:
        raise ProtocolError(f"large strings are missing: {wrong}") from wrong
    if place + sum(sizes) > len(data):
        raise ProtocolError("large strings are cut short")
    head, large = data[:place], []
    for size in sizes:
        large.append(data[place : place + size])
        place += size
    spelled = data[place:]
    return _put_in(spelled, large), Rope((head, *large, spelled))


def _put_in(spelled: bytes, large: Sequence[bytes]) -> object:
    """Read CBOR, with large strings where they belong.

    Args:
        spelled: the CBOR.
        large: all of them, in order.
    """
    waiting = iter(enumerate(large))

    def put_in(tag: Any, _: bool) -> bytes:
        """Give the string that a tag stands for: each once, in order.

        Args:
            tag: as it was read.
        """
        found = next(waiting, None)
        if found is None or (tag.tag, tag.value) != (TAG, found[0]):
            raise ProtocolError("a tag stands for nothing")
        return found[1]

    value = decode(spelled, put_in)
    if next(waiting, None) is not None:
        raise ProtocolError("a large string belongs nowhere")
    return value


def is_apart(data: Bytes) -> bool:
    """Tell whether something is spelled with large strings apart: it is no CBOR."""
    return data[:1] == _MARK
