"""Where the entries of copies are in the segments of the log, and their terms."""

from array import array
from bisect import bisect_left

from torua.core.ids import AllocId
from torua.storage.segment import OVERHEAD_BYTES, Found, Kind
from torua.storage.terms import Terms

_OFFSET_BITS = 40
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1


class CopyIndex:
    """The places, sizes and terms of a copy's entries.

    Invariants: entry ``first + i`` stands at ``places[i]`` (segment and offset) with a
    payload of ``sizes[i]`` bytes; the segments of places never fall; ``needed`` is the
    first entry that a view may still have to read, and never below ``first``.

    Performance: 12 bytes an entry.
    """

    def __init__(self, base: int = 0, term: int = 0) -> None:
        """Begin without an entry.

        Args:
            base: the seq before the first entry.
            term: of the record at ``base``; 0 where there is none.
        """
        self.terms = Terms(base, term)
        self.needed = base + 1
        self._places = array("Q")
        self._sizes = array("I")

    @property
    def first(self) -> int:
        """The oldest entry's seq; `last` and one where there is none."""
        return self.terms.base + 1

    @property
    def last(self) -> int:
        """The newest entry's seq, `first` less one where there is none."""
        return self.terms.last

    def append(self, found: Found, number: int) -> bool:
        """Note the next entries; False where they cannot stand there.

        Args:
            found: where and what they are.
            number: of their segment.
        """
        if found.seq != self.terms.last + 1 or found.term < self.terms.newest:
            return False
        self.terms.append(found.seq, found.term, len(found.sizes))
        self._sizes.extend(found.sizes)
        place = number << _OFFSET_BITS | found.offset
        for size in found.sizes:
            self._places.append(place)
            place += OVERHEAD_BYTES + size
        return True

    def truncate(self, after: int) -> None:
        """Forget the entries behind ``after``, which is `first` less one or more."""
        self.terms.truncate(after)
        del self._places[after + 1 - self.first :]
        del self._sizes[after + 1 - self.first :]
        self.needed = min(self.needed, after + 1)

    def release(self, through: int) -> None:
        """Note that no view needs the entries up to ``through``."""
        self.needed = max(self.needed, min(through, self.last) + 1)

    def drop_segment(self, number: int) -> None:
        """Forget the entries in a segment, the oldest of all."""
        count = bisect_left(self._places, number + 1 << _OFFSET_BITS)
        if count:
            del self._places[:count]
            del self._sizes[:count]
            self.terms.cut(self.terms.base + count)
            self.needed = max(self.needed, self.first)

    def holds_back(self, number: int) -> bool:
        """Tell whether an entry that is needed stands in a segment or before it."""
        return self.needed <= self.last and self.place(self.needed)[0] <= number

    def place(self, seq: int) -> tuple[int, int]:
        """Return the segment and offset of an entry."""
        place = self._places[seq - self.first]
        return place >> _OFFSET_BITS, place & _OFFSET_MASK

    def size(self, seq: int) -> int:
        """Return how many bytes the payload of an entry has."""
        return self._sizes[seq - self.first]


def take(copies: dict[AllocId, CopyIndex], number: int, found: Found) -> bool:
    """Note entries that are on the disk; False where they cannot stand there.

    Args:
        copies: all that the log knows; it is changed.
        number: of the segment that they stand in.
        found: next in the order of writing.
    """
    copy = copies.get(found.alloc)
    if found.kind == Kind.RECORD:
        if copy is None:
            copy = copies[found.alloc] = CopyIndex()
        return copy.append(found, number)
    if _begins(copy, found):
        copies[found.alloc] = CopyIndex(found.seq, found.term)
        return True
    if copy is None or copy.terms.at(found.seq) != found.term:
        return False
    if found.kind == Kind.TRUNCATE:
        copy.truncate(found.seq)
    if found.kind == Kind.FORGET:
        del copies[found.alloc]
    return found.seq == copy.last


def _begins(copy: CopyIndex | None, found: Found) -> bool:
    """Tell whether an entry lets a copy begin behind it.

    A truncation does where all that it leaves stood in segments that are gone.
    """
    match found.kind:
        case Kind.START:
            return True
        case Kind.POSITION:
            return copy is None
        case Kind.TRUNCATE:
            return copy is not None and found.seq < copy.terms.base
    return False
