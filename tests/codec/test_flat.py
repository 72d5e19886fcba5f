"""A CBOR array of flat maps."""

import cbor2
import pytest

from torua.codec.flat import PAIRS_MAX, flat_maps
from torua.errors import ProtocolError, TooLargeError


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 5000])
def test_maps_come_one_by_one(count: int) -> None:
    """Whatever the count, and however it is spelled, each map is read once."""
    maps = [{"a": number, "b": b"x" * (number % 9000)} for number in range(count)]
    assert list(flat_maps(cbor2.dumps(maps), 5000)) == maps


def test_a_count_over_the_limit_is_refused() -> None:
    """It is refused before any map is read."""
    with pytest.raises(TooLargeError):
        next(flat_maps(cbor2.dumps([{}, {}]), 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x00",
        b"\x81\x01",
        b"\x99\x00",
        b"\x9c",
        b"\x81\xbf\xff",
        b"\x81\xa2\x61a\x00\x61a\x00",
        cbor2.dumps([{"a": {"b": 1}}]),
        cbor2.dumps([{"a": [1]}]),
        cbor2.dumps([dict.fromkeys(range(PAIRS_MAX + 1))]),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Other shapes, unknown lengths, twice the same key, more bytes than one array."""
    with pytest.raises(ProtocolError):
        list(flat_maps(data, 10))
