"""A torn tail is told from damage."""

from pathlib import Path

import pytest

from torua.codec.apart import LARGE_BYTES
from torua.codec.rope import Bytes, Rope
from torua.core.ids import AllocId
from torua.errors import CorruptionError
from torua.storage.segment import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    Item,
    Kind,
    Packer,
    payload_of,
    scan,
    seed_of,
    spell_header,
)

A = AllocId("a" * 32)
PATH = Path("/log/1")
HEADER = spell_header(1, 0, b"saltsalt")


def a_segment(*payloads: bytes) -> tuple[bytes, list[int]]:
    """Spell a segment, and tell where its entries begin."""
    packer = Packer(seed_of(HEADER), 0, HEADER)
    places = [
        packer.pack(Item(Kind.RECORD, A, seq, 1, [payload])).offset
        for seq, payload in enumerate(payloads, 1)
    ]
    return b"".join(packer.pieces()), places


def test_what_is_large_is_never_copied() -> None:
    """Among what is small it is written as it is, piece by piece."""
    large = [b"1" * LARGE_BYTES, b"2" * LARGE_BYTES]
    payloads: list[Bytes] = [
        b"a",
        Rope([large[0], b"b"]),
        b"",
        Rope([b"c", b"d"]),
        large[1],
    ]
    packer = Packer(seed_of(HEADER), 0, HEADER)
    packed = packer.pack(Item(Kind.RECORD, A, 7, 3, payloads))
    pieces = list(packer.pieces())
    assert [each for each in pieces if each in large] == large
    assert pieces[1] is large[0] and pieces[3] is large[1] and len(pieces) == 5
    data = b"".join(pieces)
    found, end = scan(data, 1, PATH, newest=True)
    assert end == packer.end == packed.end == len(data)
    assert [each[:4] for each in found] == [(1, A, seq, 3) for seq in range(7, 12)]
    assert packed.sizes == [each.sizes[0] for each in found]
    assert [payload_of(data, each, each.offset) for each in found] == [
        payload[:] for payload in payloads
    ]


def zeroed(data: bytes, start: int) -> bytes:
    """Return data that is zero from a place on.

    Args:
        data: as it was written.
        start: the place.
    """
    return data[:start] + bytes(len(data) - start)


WHOLE, (FIRST, SECOND, THIRD) = a_segment(b"1" * 400, b"2" * 1500, b"3" * 300)
ENDS_IN_ZEROS, (_, LAST) = a_segment(b"1" * 10, bytes(2000))
INNER = WHOLE[SECOND : SECOND + 1500 + OVERHEAD_BYTES]
HOLDS_ENTRY, (_, HOLDER) = a_segment(b"1" * 400, INNER + b"2" * 50)


@pytest.mark.parametrize(
    ("data", "entries", "end"),
    [
        pytest.param(WHOLE, 3, len(WHOLE), id="whole"),
        pytest.param(HEADER, 0, HEADER_BYTES, id="only a header"),
        pytest.param(WHOLE[:-1], 2, THIRD, id="last byte missing"),
        pytest.param(WHOLE[: THIRD + 1], 2, THIRD, id="one byte of the last"),
        pytest.param(WHOLE[: THIRD + 20], 2, THIRD, id="half a head"),
        pytest.param(WHOLE[:SECOND] + bytes(9), 1, SECOND, id="a few zeros"),
        pytest.param(WHOLE + bytes(5000), 3, len(WHOLE), id="zeros behind all"),
        pytest.param(zeroed(WHOLE, 512), 1, SECOND, id="zero from a boundary"),
        pytest.param(zeroed(WHOLE, 1024), 1, SECOND, id="zero from the next boundary"),
        pytest.param(zeroed(WHOLE, THIRD), 2, THIRD, id="zero from the last's begin"),
        pytest.param(
            zeroed(ENDS_IN_ZEROS, 512), 1, LAST, id="an entry of zeros without its end"
        ),
        pytest.param(HOLDS_ENTRY[:-9], 1, HOLDER, id="a torn entry that holds another"),
        pytest.param(HEADER[:9], 0, 0, id="part of a header"),
        pytest.param(b"", 0, 0, id="empty"),
        pytest.param(bytes(4096), 0, 0, id="all zero"),
    ],
)
def test_a_torn_tail_is_cut(data: bytes, entries: int, end: int) -> None:
    """What a crash may leave of the last write is not part of the segment."""
    found, where = scan(data, 1, PATH, newest=True)
    assert (len(found), where) == (entries, end)
    if end < len(data):
        with pytest.raises(CorruptionError):
            scan(data, 1, PATH, newest=False)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        pytest.param(zeroed(WHOLE[:THIRD], 1600), SECOND, id="zero off a boundary"),
        pytest.param(
            WHOLE[:1024] + bytes(512) + WHOLE[1536:], SECOND, id="a hole before data"
        ),
        pytest.param(
            WHOLE[:FIRST] + bytes(SECOND - FIRST) + WHOLE[SECOND:],
            FIRST,
            id="an entry zeroed before others",
        ),
        pytest.param(WHOLE[:FIRST] + WHOLE[SECOND:], FIRST, id="an entry taken out"),
        pytest.param(WHOLE[:-1] + b"\0", THIRD, id="last byte zero off a boundary"),
        pytest.param(WHOLE + b"garbage", len(WHOLE), id="garbage behind all"),
        pytest.param(WHOLE + b"g" * 99, len(WHOLE), id="much garbage behind all"),
        pytest.param(WHOLE + WHOLE[THIRD:], len(WHOLE), id="the last entry twice"),
        pytest.param(b"garbage", 0, id="garbage alone"),
        pytest.param(spell_header(2, 0, b"saltsalt"), 0, id="another segment's header"),
        pytest.param(HEADER[:-1] + b"?", 0, id="a header with a wrong checksum"),
    ],
)
def test_anything_else_is_damage(data: bytes, offset: int) -> None:
    """It is refused, with the file and the byte."""
    with pytest.raises(CorruptionError) as caught:
        scan(data, 1, PATH, newest=True)
    assert caught.value.members == {"file": "/log/1", "offset": offset}
