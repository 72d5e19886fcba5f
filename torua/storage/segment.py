"""One segment of the log as bytes: how entries are laid out, found and checked.

A segment is a header and entries without a gap, little-endian:

    header  magic(8) number(8) previous(8) salt(8) crc(4)
    entry   mark(4) length(4) kind(1) alloc(16) seq(8) term(8) head_crc(4) body_crc(4)
            payload(length) end(1)

``previous`` is the size of the segment before, so that none of its end can go missing
unseen; 0 where there is none.  Both checksums are CRC-32C.  ``head_crc`` covers the
fields before it, the entry's offset and the segment's header, whose salt is random: so
a copy of an entry that stands anywhere else, in another entry's payload too, is no
entry.  ``body_crc`` goes on from it over the payload.  ``end`` is not zero, so that an
entry whose last bytes were never written is not taken for one that ends in zeros.
"""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import count
from pathlib import Path
from typing import NamedTuple

from google_crc32c import extend, value

from torua.codec.apart import LARGE_BYTES
from torua.codec.rope import Bytes, pieces_of
from torua.core.ids import AllocId
from torua.errors import CorruptionError
from torua.storage.files import File

SECTOR_BYTES = 512
"""A disk writes whole sectors; after a crash one is as it was before or as after."""

PAYLOAD_BYTES_MAX = 64 << 20
"""A payload is held in memory; a bulk request of the most bytes fits in with room."""

SALT_BYTES = 8

_MAGIC = b"TORUALG1"
_HEADER = struct.Struct("<8sQQ8s")
_CRC = struct.Struct("<I")
_CRCS = struct.Struct("<II")
_MARK = b"\xf5TE\xa7"
_END = b"\xa5"
_FIELDS = struct.Struct("<4sIB16sQQ")
_HEAD = struct.Struct("<4sIB16sQQII")
_PLACED = struct.Struct("<4sIB16sQQQ")
"""An entry's fields and its offset: what ``head_crc`` covers."""

HEADER_BYTES = _HEADER.size + _CRC.size
OVERHEAD_BYTES = _HEAD.size + len(_END)


class Kind(IntEnum):
    """What an entry is; its term is always that of the record at ``seq``.

    RECORD: ``seq`` of the copy, with its payload.
    POSITION: stands at a segment's beginning; ``seq`` is the copy's last so far.
    FORGET: nobody needs the copy's entries any more.
    TRUNCATE: the copy's entries behind ``seq`` were never committed, and are void.
    START: the copy begins anew behind ``seq``, for a snapshot holds all up to there.
    """

    RECORD = 1
    POSITION = 2
    FORGET = 3
    TRUNCATE = 4
    START = 5


class Item(NamedTuple):
    """Entries to be written, one a payload, one behind the other.

    Only records are more than one; ``seq`` is the first's, the next have one more each.
    A payload is at most `PAYLOAD_BYTES_MAX`.
    """

    kind: Kind
    alloc: AllocId
    seq: int
    term: int
    payloads: Sequence[Bytes] = (b"",)

    @property
    def last(self) -> int:
        """The last one's seq."""
        return self.seq + len(self.payloads) - 1

    @property
    def size(self) -> int:
        """How many bytes they take in a segment."""
        return OVERHEAD_BYTES * len(self.payloads) + sum(map(len, self.payloads))


class Found(NamedTuple):
    """Entries as in an item, where they stand; ``sizes`` are those of the payloads."""

    kind: int
    alloc: AllocId
    seq: int
    term: int
    offset: int
    sizes: Sequence[int]

    @property
    def end(self) -> int:
        """The offset behind them."""
        return self.offset + OVERHEAD_BYTES * len(self.sizes) + sum(self.sizes)


class OpenSegment:
    """One open segment.

    Invariants: ``size`` is the end of the last true entry; ``used`` says whether any
    entry but positions stands here.
    """

    def __init__(self, number: int, path: Path, file: File, seed: int) -> None:
        """Hold a segment that was found, or that is being made.

        Args:
            number: which one.
            path: its file.
            file: the same, open.
            seed: what its checksums start from.
        """
        self.number = number
        self.path = path
        self.file = file
        self.seed = seed
        self.size = 0
        self.used = False


def spell_header(number: int, previous: int, salt: bytes) -> bytes:
    """Spell a segment's header.

    Args:
        number: the segment's, rising by one.
        previous: the size of the one before; 0 for the first.
        salt: random bytes, `SALT_BYTES`.
    """
    fields = _HEADER.pack(_MAGIC, number, previous, salt)
    return fields + _CRC.pack(value(fields))


def previous_of(header: bytes) -> int:
    """Return how large a header says the segment before is."""
    previous: int = _HEADER.unpack_from(header)[2]
    return previous


def seed_of(header: bytes) -> int:
    """Return what a segment's checksums start from."""
    seed: int = value(header)
    return seed


class Packer:
    """Spells entries one after the other, as they will stand in a segment.

    Invariants: ``end`` is the offset behind all that was packed so far; none of it has
    a payload of more than ``_largest`` bytes.
    """

    def __init__(self, seed: int, offset: int, header: bytes = b"") -> None:
        """Begin where the segment ends now.

        Args:
            seed: what `seed_of` says of its header.
            offset: where that is.
            header: what is to stand there before the entries.
        """
        self._seed = seed
        self._parts = [header]
        self._largest = 0
        self.end = offset + len(header)

    def pack(self, item: Item) -> Found:
        """Add entries, and tell where they stand.

        The loop is what a record costs the log's thread, which holds the interpreter's
        lock meanwhile: it makes no call for a record that it can make for all.
        """
        kind, alloc, first, term, payloads = item
        copy, parts, offset = bytes.fromhex(alloc), self._parts, self.end
        sizes = list(map(len, payloads))
        self._largest = max(self._largest, *sizes)
        assert self._largest <= PAYLOAD_BYTES_MAX
        for seq, size, payload in zip(count(first), sizes, payloads, strict=False):
            placed = _PLACED.pack(_MARK, size, kind, copy, seq, term, offset)
            body = head = extend(self._seed, placed)
            pieces = [payload[:]] if size < LARGE_BYTES else pieces_of(payload)
            for piece in pieces:
                body = extend(body, piece)
            parts += (placed[: _FIELDS.size], _CRCS.pack(head, body), *pieces, _END)
            offset += OVERHEAD_BYTES + size
        found = Found(kind, alloc, first, term, self.end, sizes)
        self.end = offset
        return found

    def pieces(self) -> Iterator[bytes]:
        """Give all that was packed, to be written in order; what is large as it is."""
        if self._largest < LARGE_BYTES:
            yield b"".join(self._parts)
            return
        waiting: list[bytes] = []
        for part in self._parts:
            if len(part) < LARGE_BYTES:
                waiting.append(part)
                continue
            yield b"".join(waiting)
            yield part
            waiting = []
        yield b"".join(waiting)


def unpack(data: bytes, offset: int, seed: int, at: int = 0) -> Found | None:
    """Read the entry at one place; None where no whole, true entry stands there.

    Args:
        data: bytes of the segment.
        offset: the entry's offset in the segment, which its checksum knows.
        seed: what `seed_of` says of the segment's header.
        at: where in ``data`` the entry is.
    """
    found = _unpack_head(data, offset, seed, at)
    if found is None:
        return None
    payload = payload_of(data, found, at)
    end = at + _HEAD.size + len(payload)
    head_crc, body_crc = _HEAD.unpack_from(data, at)[6:]
    if data[end : end + 1] != _END or extend(head_crc, payload) != body_crc:
        return None
    return found


def payload_of(data: bytes, found: Found, at: int = 0) -> bytes:
    """Take an entry's payload out of bytes in which it stands.

    Args:
        data: bytes of the segment.
        found: the entry.
        at: where in ``data`` the entry is.
    """
    begin = at + _HEAD.size
    return data[begin : begin + found.sizes[0]]


def _unpack_head(data: bytes, offset: int, seed: int, at: int) -> Found | None:
    """Read an entry's fields; None where they are not all there and true."""
    if len(data) < at + _HEAD.size:
        return None
    mark, size, kind, copy, seq, term, head_crc, _ = _HEAD.unpack_from(data, at)
    if mark != _MARK:
        return None
    placed = _PLACED.pack(mark, size, kind, copy, seq, term, offset)
    if extend(seed, placed) != head_crc:
        return None
    return Found(kind, AllocId(copy.hex()), seq, term, offset, (size,))


def scan(data: bytes, number: int, path: Path, newest: bool) -> tuple[list[Found], int]:
    """Find all entries of a segment.

    A torn tail, what a write that never returned may have left, is told from damage:
    only in the newest segment, with nothing true behind it, and either the file ends
    inside of an entry, or it holds only zeros from the entry's beginning or a sector
    boundary within it up to its end.

    Args:
        data: the whole segment.
        number: which one it should be.
        path: its file, to name it.
        newest: whether no other was begun after it.

    Returns:
        The entries, and the offset behind the last: less than the size if a torn tail
        is to be cut, 0 if even the header is torn.

    Raises:
        CorruptionError: anything else is wrong with it.
    """
    header = data[:HEADER_BYTES]
    if not _header_is_true(header, number):
        if newest and _torn_header(data, number):
            return [], 0
        raise damaged(path, 0)
    seed = seed_of(header)
    entries: list[Found] = []
    offset = HEADER_BYTES
    while (found := unpack(data, offset, seed, offset)) is not None:
        entries.append(found)
        offset = found.end
    if offset < len(data) and not (newest and _torn(data, offset, seed)):
        raise damaged(path, offset)
    return entries, offset


def damaged(
    path: Path, offset: int, why: str = "not what was written"
) -> CorruptionError:
    """Make the error that names a damaged place.

    Args:
        path: the file.
        offset: where in it.
        why: what is wrong there.
    """
    return CorruptionError(
        f"{path} is damaged at byte {offset}: {why}", file=str(path), offset=offset
    )


def _header_is_true(header: bytes, number: int) -> bool:
    """Tell whether a header is whole, true, and that of segment ``number``."""
    if len(header) < HEADER_BYTES:
        return False
    magic, found, *_ = _HEADER.unpack_from(header)
    crc = _CRC.pack(value(header[: _HEADER.size]))
    return magic == _MAGIC and found == number and header[_HEADER.size :] == crc


def _torn_header(data: bytes, number: int) -> bool:
    """Tell whether a file is one whose very first write never came to its end."""
    start = _HEADER.pack(_MAGIC, number, 0, b"")[:16]
    missing = len(data) < HEADER_BYTES and start.startswith(data[: len(start)])
    return missing or not data.strip(b"\0")


def _torn(data: bytes, offset: int, seed: int) -> bool:
    """Tell whether what stands at ``offset`` is a torn tail."""
    written = data[offset:].rstrip(b"\0")
    zeros_from = offset + len(written)
    found = _unpack_head(data, offset, seed, offset)
    if found is not None:
        torn = len(data) < found.end or _boundary(zeros_from) < found.end
    elif len(data) - offset < _HEAD.size:
        torn = _MARK.startswith(data[offset : offset + len(_MARK)])
    else:
        head_torn = _MARK.startswith(written[: len(_MARK)])
        torn = head_torn and zeros_from <= _boundary(offset) < offset + _HEAD.size
    return (torn or not written) and not _true_entry_after(data, offset, seed)


def _boundary(offset: int) -> int:
    """Return the first sector boundary at or behind ``offset``."""
    return -(-offset // SECTOR_BYTES) * SECTOR_BYTES


def _true_entry_after(data: bytes, offset: int, seed: int) -> bool:
    """Tell whether any true entry stands behind the bad one at ``offset``."""
    place = data.find(_MARK, offset + 1)
    while place >= 0:
        if unpack(data, place, seed, place) is not None:
            return True
        place = data.find(_MARK, place + 1)
    return False
