"""Messages between a node and a process of its own: a CBOR header, then raw bytes.

    length of the header (4 bytes) · CBOR [header, [length of each blob]] · blobs

Blobs are megabytes of Arrow; they are never copied into the header, nor read as CBOR.
Both ends are ours, so lengths are trusted up to `HEADER_BYTES_MAX`, a check against a
library that prints to our pipe.
"""

from collections.abc import Sequence
from struct import Struct

from torua.codec.plain import decode, encode, shape
from torua.errors import ProtocolError

HEADER_BYTES_MAX = 1 << 30
"""A header holds parameters and changes; what is longer is no header."""

_LENGTH = Struct(">I")


def spell_message(header: object, blobs: Sequence[bytes] = ()) -> list[bytes]:
    """Spell a message, as pieces to be sent one after the other.

    Args:
        header: a plain value.
        blobs: what follows it, as it is.
    """
    spelled = encode([header, [len(blob) for blob in blobs]])
    return [_LENGTH.pack(len(spelled)) + spelled, *blobs]


class MessageReader:
    """Finds the messages in a stream of bytes.

    Invariants: what has arrived is copied at most once; `_waiting` is less than is
    `_wanted`.
    """

    def __init__(self) -> None:
        """Wait for the first message."""
        self._waiting = bytearray()
        self._wanted = _LENGTH.size
        self._header: object = None
        self._sizes: list[int] = []
        self._blobs: list[bytes] = []
        self._step = self._length

    def feed(self, data: bytes) -> list[tuple[object, list[bytes]]]:
        """Take bytes that arrived; return the messages that are whole with them.

        Args:
            data: in order, cut anywhere.

        Raises:
            ProtocolError: this is no such stream.
        """
        self._waiting += data
        found: list[tuple[object, list[bytes]]] = []
        while len(self._waiting) >= self._wanted:
            piece = bytes(memoryview(self._waiting)[: self._wanted])
            del self._waiting[: self._wanted]
            if self._step(piece):
                found.append((self._header, self._blobs))
                self._blobs, self._step = [], self._length
                self._wanted = _LENGTH.size
        return found

    def _length(self, piece: bytes) -> bool:
        """Read the header's length."""
        (length,) = _LENGTH.unpack(piece)
        if length > HEADER_BYTES_MAX:
            raise ProtocolError("a header that long is none")
        self._wanted, self._step = length, self._head
        return False

    def _head(self, piece: bytes) -> bool:
        """Read the header; return whether that was all."""
        match decode(piece):
            case [header, [*sizes]]:
                self._header, self._sizes = header, shape(sizes, list[int])
            case _:
                raise ProtocolError("not a header")
        return self._next()

    def _blob(self, piece: bytes) -> bool:
        """Keep a blob; return whether it was the last."""
        self._blobs.append(piece)
        return self._next()

    def _next(self) -> bool:
        """Go on to the next blob; return whether there is none."""
        if len(self._blobs) == len(self._sizes):
            return True
        self._wanted, self._step = self._sizes[len(self._blobs)], self._blob
        return False
