"""What a shard copy was asked for of late, kept in memory: entries, and absent keys.

What is kept is what the copy showed at the position that it has applied.  Each apply
moves that position and drops the keys that it changes, in the same step; a position
that moved by anything else (a snapshot that was installed, a map opened anew) drops
everything.  So whatever a read must be as fresh as, a hit shows what the copy itself
would show, never more and never less.

Least recently used keys go first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from torua.core.kv import Entry
from torua.core.records import Record

CACHE_BYTES = 4 << 20
"""For each copy: what is read again and again is small; SQLite has the rest."""

ENTRY_BYTES_MAX = 64 << 10
"""A larger value drives out too much, and is dear to send in any case."""

COST_BYTES = 300
"""What a key costs beside its bytes, those of the dictionary included."""


class Caching(Struct):
    """What all caches of a node share.

    Invariants: the counts rise; ``bytes`` is what is kept now.

    Attributes:
        is_on: whether anything is kept.
        copy_bytes_max: how much each copy keeps at most.
        hits: look-ups that were answered, since the node began.
        misses: look-ups that were not.
        evictions: keys that went for want of room.
        bytes: what is kept, by estimate.
    """

    is_on: bool = True
    copy_bytes_max: int = CACHE_BYTES
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    bytes: int = 0


class ReadCache:
    """The cache of one copy.

    Invariants: what is kept is what the copy shows at ``position``; its cost is at
    most its bound, and counted.  Switched off, it shows nothing, and lets go of what is
    kept as soon as it is used; so it does of what a lower bound has no room for.

    Performance: constant time a look-up and a key that is dropped.
    """

    def __init__(self, caching: Caching) -> None:
        """Keep nothing yet.

        Args:
            caching: the node's.
        """
        self._all = caching
        self._bytes = 0
        self._position = 0
        self._kept: OrderedDict[bytes, Entry | None] = OrderedDict()

    def look(self, key: bytes, position: int) -> tuple[Entry | None] | None:
        """Look a key up; None where it is not known.

        Args:
            key: which.
            position: what the copy has applied.

        Returns:
            The entry in a tuple; None in a tuple for a key that is absent.
        """
        if not self._all.is_on:
            self.clear()
            return None
        if position == self._position and key in self._kept:
            self._all.hits += 1
            self._kept.move_to_end(key)
            return (self._kept[key],)
        self._all.misses += 1
        return None

    def keep(self, key: bytes, entry: Entry | None, position: int) -> None:
        """Keep what a copy has just shown.

        Args:
            key: which.
            entry: with its value; None for a key that is absent.
            position: what the copy has applied.
        """
        if position != self._position:
            self.clear()
            self._position = position
        cost = _cost(key, entry)
        most = self._all.copy_bytes_max
        if not self._all.is_on or cost > min(ENTRY_BYTES_MAX, most):
            return
        self._drop(key)
        self._kept[key] = entry
        self._account(cost)
        while self._bytes > most:
            old, shown = self._kept.popitem(last=False)
            self._account(-_cost(old, shown))
            self._all.evictions += 1

    def applied(self, records: Sequence[Record]) -> None:
        """Follow the copy, which has just applied records.

        Args:
            records: in order; not empty.
        """
        if records[0].seq != self._position + 1 or not self._all.is_on:
            self.clear()
        elif self._kept:
            self._forget(effect.key for each in records for effect in each.effects)
        self._position = records[-1].seq

    def clear(self) -> None:
        """Let go of all that is kept."""
        if self._kept:
            self._kept.clear()
            self._account(-self._bytes)

    def _forget(self, keys: Iterable[bytes]) -> None:
        """Drop keys that changed."""
        for key in keys:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        """Drop a key, if it is kept."""
        if key in self._kept:
            self._account(-_cost(key, self._kept.pop(key)))

    def _account(self, cost: int) -> None:
        """Keep the sums."""
        self._bytes += cost
        self._all.bytes += cost


def _cost(key: bytes, entry: Entry | None) -> int:
    """Estimate what a key takes."""
    if entry is None:
        return COST_BYTES + len(key)
    return COST_BYTES + 2 * len(key) + len(entry.value or b"") + len(entry.content_type)
