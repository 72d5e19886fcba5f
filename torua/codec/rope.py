"""Bytes in pieces that are never put together: what holds large values on their way.

To put 16 MiB together takes as long as to read them from memory, and as much of it
again.
"""

from collections.abc import Iterable


class Rope:
    """Pieces of bytes, one behind the other.

    Invariants: none of the pieces is empty; ``len`` is the sum of theirs.

    Attributes:
        pieces: in order.
    """

    __slots__ = ("_size", "pieces")

    def __init__(self, pieces: "Iterable[Bytes]") -> None:
        """Hold some pieces; those of another rope one by one."""
        self.pieces: list[bytes] = []
        for piece in pieces:
            self.pieces += pieces_of(piece)
        self._size = sum(map(len, self.pieces))

    def __len__(self) -> int:
        """Tell how many bytes there are."""
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """Copy a part, without a step; what is one whole piece is that piece."""
        begin, end, _ = part.indices(self._size)
        found: list[memoryview] = []
        for piece in self.pieces:
            if end <= 0:
                break
            if begin == 0 and end == len(piece):
                return piece
            if begin < len(piece):
                found.append(memoryview(piece)[max(begin, 0) : end])
            begin -= len(piece)
            end -= len(piece)
        return b"".join(found)


Bytes = bytes | Rope
"""A string of bytes, in one piece or in some."""


def pieces_of(data: Bytes) -> list[bytes]:
    """List the pieces of a string of bytes; an empty one has none."""
    if isinstance(data, Rope):
        return data.pieces
    return [data] if data else []
