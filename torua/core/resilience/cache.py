"""What a node was asked for of late, kept in memory: entries, and absent keys.

What is kept of a copy is what it showed at the position that it has applied.  Each
apply moves that position and drops the keys that it changes, in the same step; a
position that moved by anything else (a snapshot that was installed, a map opened anew)
drops everything.  So whatever a read must be as fresh as, a hit shows what the copy
itself would show, never more and never less.

All copies of a node share one bound, however many they are; least recently used keys go
first, whosever they are.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count

from torua.core.kv import Entry
from torua.core.records import Record

CACHE_BYTES = 64 << 20
"""For each node: what is read again and again is small; SQLite has the rest."""

ENTRY_BYTES_MAX = 64 << 10
"""A larger value drives out too much, and is dear to send in any case."""

COST_BYTES = 350
"""What a key costs beside its bytes, those of the dictionary included."""

Place = tuple[int, bytes]
"""A key, of the copy with a number."""


class Caching:
    """What is kept of all copies of a node.

    Invariants: the counts rise; ``bytes`` is what all that is kept costs, at most the
    bound; switched off, nothing is.

    Performance: constant time a look-up and a key that is dropped.

    Attributes:
        is_on: whether anything is kept.
        hits: look-ups that were answered, since the node began.
        misses: look-ups that were not.
        evictions: keys that went for want of room.
        bytes: what is kept, by estimate.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES) -> None:
        """Keep nothing yet.

        Args:
            bytes_max: how much is kept at most.
        """
        self.is_on = True
        self.hits = self.misses = self.evictions = self.bytes = 0
        self._bytes_max = bytes_max
        self._numbers = count()
        self._kept: OrderedDict[Place, Entry | None] = OrderedDict()

    def use(self, is_on: bool, bytes_max: int) -> None:
        """Keep what is read from now on, or not; and so much of it.

        Args:
            is_on: whether anything is kept.
            bytes_max: how much at most.
        """
        self.is_on, self._bytes_max = is_on, bytes_max
        self._shrink(bytes_max if is_on else 0)

    def number(self) -> int:
        """Number a copy; what is kept under no number any more goes for want of use."""
        return next(self._numbers)

    def look(self, place: Place) -> tuple[Entry | None] | None:
        """Look a key up; None where it is not known."""
        if place in self._kept:
            self.hits += 1
            self._kept.move_to_end(place)
            return (self._kept[place],)
        self.misses += self.is_on
        return None

    def keep(self, place: Place, entry: Entry | None) -> bool:
        """Keep what was found; False where it is too large.

        Args:
            place: which key, of which copy.
            entry: with its value; None for a key that is absent.
        """
        cost = _cost(place[1], entry)
        if not self.is_on or cost > min(ENTRY_BYTES_MAX, self._bytes_max):
            return False
        self.drop(place)
        self._kept[place] = entry
        self.bytes += cost
        self._shrink(self._bytes_max)
        return True

    def drop(self, place: Place) -> None:
        """Keep a key no longer; no error where it is not kept."""
        if place in self._kept:
            self.bytes -= _cost(place[1], self._kept.pop(place))

    def _shrink(self, most: int) -> None:
        """Let go of what was not used for longest, until the rest costs no more."""
        while self.bytes > most:
            place, entry = self._kept.popitem(last=False)
            self.bytes -= _cost(place[1], entry)
            self.evictions += 1


class ReadCache:
    """The cache of one copy.

    Invariants: what is kept under its number is what the copy shows at ``position``.

    Performance: constant time a look-up and a key that is dropped.
    """

    def __init__(self, caching: Caching) -> None:
        """Keep nothing yet.

        Args:
            caching: the node's.
        """
        self._all = caching
        self._position = 0
        self.clear()

    def look(self, key: bytes, position: int) -> tuple[Entry | None] | None:
        """Look a key up; None where it is not known.

        Args:
            key: which.
            position: what the copy has applied.

        Returns:
            The entry in a tuple; None in a tuple for a key that is absent.
        """
        self._follow(position)
        return self._all.look((self._number, key))

    def keep(self, key: bytes, entry: Entry | None, position: int) -> None:
        """Keep what a copy has just shown.

        Args:
            key: which.
            entry: with its value; None for a key that is absent.
            position: what the copy has applied.
        """
        self._follow(position)
        if self._all.keep((self._number, key), entry):
            self._used = True

    def applied(self, records: Sequence[Record]) -> None:
        """Follow the copy, which has just applied records.

        Args:
            records: in order; not empty.
        """
        self._follow(records[0].seq - 1)
        if any(each.moved is not None for each in records):
            self.clear()
        if self._used:
            for record in records:
                for effect in record.effects:
                    self._all.drop((self._number, effect.key))
        self._position = records[-1].seq

    def clear(self) -> None:
        """Let go of all that is kept: nobody will ask for it by its number."""
        self._number = self._all.number()
        self._used = False

    def _follow(self, position: int) -> None:
        """Know nothing any more where the copy moved by other means."""
        if position != self._position:
            self.clear()
            self._position = position


def _cost(key: bytes, entry: Entry | None) -> int:
    """Estimate what a key takes."""
    if entry is None:
        return COST_BYTES + len(key)
    return COST_BYTES + 2 * len(key) + len(entry.value or b"") + len(entry.content_type)
