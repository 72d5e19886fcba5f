"""A CBOR array of flat maps, read without trusting its size.

A few bytes of CBOR can ask for a great many objects.  Counts are looked at before
anything is built, and nothing nests but what is empty, so that what is built is within
a small factor of what came in.
"""

from collections.abc import Iterator
from io import BytesIO

import cbor2

from torua.errors import ProtocolError, TooLargeError

PAIRS_MAX = 8
_ARRAY = 4
_MAP = 5
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}


def flat_maps(data: bytes, count_max: int) -> Iterator[dict[object, object]]:
    """Read exactly one array of maps of scalars, each of up to `PAIRS_MAX` pairs.

    Args:
        data: CBOR, from anybody.
        count_max: how many maps there may be.

    Raises:
        ProtocolError: it is anything else.
        TooLargeError: there are more maps.
    """
    stream = BytesIO(data)
    count = _header(stream, _ARRAY)
    if count > count_max:
        raise TooLargeError(f"{count} items, up to {count_max} are taken")
    for index in range(count):
        yield _flat_map(stream, index)
    if stream.read(1):
        raise ProtocolError("bytes after the end")


def _flat_map(stream: BytesIO, index: int) -> dict[object, object]:
    """Read one map."""
    start = stream.tell()
    if _header(stream, _MAP) > PAIRS_MAX:
        raise ProtocolError(f"item {index}: a map of over {PAIRS_MAX} pairs")
    stream.seek(start)
    reader = cbor2.CBORDecoder(
        stream,
        read_size=1,
        max_depth=1,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    )
    try:
        value = reader.decode()
    except Exception as error:
        raise ProtocolError(f"item {index}: not CBOR: {error}") from error
    assert isinstance(value, dict)
    return value


def _header(stream: BytesIO, major: int) -> int:
    """Read the head of an array or a map, and return its count."""
    first = stream.read(1)
    if not first or first[0] >> 5 != major:
        raise ProtocolError("an array of maps is wanted")
    low = first[0] & 0x1F
    if low < 24:
        return low
    width = _WIDTHS.get(low)
    count = stream.read(width or 0)
    if not width or len(count) < width:
        raise ProtocolError("an array of maps of known length is wanted")
    return int.from_bytes(count)
