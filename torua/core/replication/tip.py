"""The tip of a shard's log: the committed view, and what is in flight above it.

A write is judged by the newest record appended, committed or not, for that is the state
that it will meet when its own record is applied (cluster.md, section 3, step 3).  No
answer may leave before the tip that it was judged by is committed (R8).
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from msgspec import Struct

from torua.core.kv import Entry
from torua.core.records import Answered, Effect, KvDelete, KvPut, Moved, Record

RECORD_COST = 64
"""Bytes that a record, an effect or an operation costs beside keys and values."""


class Position(Struct, frozen=True):
    """Where a copy's view stands: a record that is committed and applied.

    Attributes:
        seq: the record; 0 for none.
        term: its term; 0 for none.
        time_ns: its time; 0 for none.
    """

    seq: int = 0
    term: int = 0
    time_ns: int = 0


class View(Protocol):
    """The shard's map as the records up to the commit point made it."""

    def version(self, key: bytes) -> int | None:
        """Tell the version of a key; None where it is absent."""

    def get(self, key: bytes) -> Entry | None:
        """Read a key with its value, expired or not; None where it is absent."""

    def head(self, key: bytes) -> Entry | None:
        """Read a key without its value; None where it is absent."""

    def several(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """Read keys with their values, as far as these are small; any may be missing.

        It is faster than one after the other, and says nothing of those left out.
        """

    def keys_under(self, prefix: bytes, limit: int) -> Sequence[bytes]:
        """List keys that begin with a prefix, the first ones in byte order.

        Args:
            prefix: not empty.
            limit: at most so many, 1 or more.
        """

    def answered(self, key: str) -> Answered | None:
        """Return what an idempotency key was answered; None where it is unknown."""

    def due(self, now_ns: int, limit: int) -> Sequence[tuple[bytes, int]]:
        """Return keys whose expiry has come, with their versions, soonest first.

        Args:
            now_ns: the time to judge by (Unix, nanoseconds).
            limit: at most so many.
        """


def entry_of(effect: Effect, seq: int, value: bool) -> Entry | None:
    """Return the entry that an effect leaves behind; None where it removes the key.

    Args:
        effect: of the record at ``seq``.
        seq: the version that it gives.
        value: whether the value comes too.
    """
    if isinstance(effect, KvDelete):
        return None
    return Entry(
        key=effect.key,
        version=seq,
        size=len(effect.value),
        content_type=effect.content_type,
        value=effect.value if value else None,
        expires_ns=effect.expires_ns,
    )


def cost_of(record: Record) -> int:
    """Estimate what a record takes in memory and in the log, in bytes."""
    known: dict[str, int] = record.__dict__
    if "cost" not in known:
        answer = len(record.answered.answer) if record.answered else 0
        moved = moved_cost(record.moved) if record.moved else 0
        cost = RECORD_COST + answer + moved + sum(map(effect_cost, record.effects))
        known["cost"] = cost
    return known["cost"]


def moved_cost(moved: Moved) -> int:
    """Estimate what a split's part of a record takes, in bytes."""
    rows = len(moved.removed) + len(moved.entries) + len(moved.answers)
    size = sum(len(key) for key, _ in moved.removed)
    size += sum(len(each.key) + len(each.value) for each in moved.entries)
    size += sum(len(each.answered.answer) for each in moved.answers)
    return rows * RECORD_COST + size


def effect_cost(effect: Effect) -> int:
    """Estimate what one effect takes in memory and in the log, in bytes."""
    value = len(effect.value) if isinstance(effect, KvPut) else 0
    return RECORD_COST + len(effect.key) + value


def beginning(keys: Sequence[bytes], prefix: bytes) -> list[bytes]:
    """List those of some sorted keys that begin with a prefix.

    Args:
        keys: in byte order.
        prefix: any bytes.
    """
    start = end = bisect_left(keys, prefix)
    while end < len(keys) and keys[end].startswith(prefix):
        end += 1
    return list(keys[start:end])


class Tip:
    """The committed view with the records in flight laid over it.

    Invariants: records are contiguous, from ``committed + 1`` to ``seq``; their times
    rise by at least a nanosecond each; ``view`` holds exactly the records up to
    ``committed`` whenever the tip is asked, for what `commit` returns is applied before
    anything else is.

    Performance: O(1) a lookup beside the view's own; O(effects) a record.

    Attributes:
        seq: the newest record appended.
        time_ns: its time.
        at: the newest record that is committed, its term and time.
        cost: what the records in flight take, in bytes.
        moving: how many of them are of a split; what they do is not looked up here, for
            nobody asks for those keys meanwhile.
    """

    def __init__(self, view: View, at: Position) -> None:
        """Start with nothing in flight.

        Args:
            view: holds all records up to there.
            at: the newest record there is.
        """
        self.at = at
        self.seq = at.seq
        self.time_ns = at.time_ns
        self.cost = self.moving = 0
        self._view = view
        self._records: deque[Record] = deque()
        self._overlay: dict[bytes, tuple[int, Effect]] = {}
        self._sorted: list[bytes] | None = None

    @property
    def committed(self) -> int:
        """The newest record that is committed."""
        return self.at.seq

    def __len__(self) -> int:
        """Count the records in flight."""
        return len(self._records)

    def lookup(self, key: bytes) -> int | None:
        """Return the version of a key at the tip; None where it is absent."""
        above = self._overlay.get(key)
        if above is None:
            return self._view.version(key)
        seq, effect = above
        return None if isinstance(effect, KvDelete) else seq

    def read(self, key: bytes, value: bool = True) -> Entry | None:
        """Read a key at the tip; None where it is absent.

        Args:
            key: which.
            value: whether the value comes too.
        """
        above = self._overlay.get(key)
        if above is None:
            return self._view.get(key) if value else self._view.head(key)
        seq, effect = above
        return entry_of(effect, seq, value)

    def several(self, keys: Sequence[bytes]) -> Mapping[bytes, Entry]:
        """Read keys at the tip with their values, as far as the view has them at hand.

        Args:
            keys: any; what is said of none of them is to be read by itself.
        """
        below = [key for key in keys if key not in self._overlay]
        return self._view.several(below)

    def under(self, prefix: bytes, limit: int) -> list[bytes]:
        """List keys that begin with a prefix at the tip, in byte order.

        Args:
            prefix: not empty.
            limit: at most so many, 1 or more.
        """
        above = self._above(prefix)
        below = self._view.keys_under(prefix, limit + len(above))
        found = {key for key in below if key not in self._overlay}
        found |= {key for key in above if isinstance(self._overlay[key][1], KvPut)}
        return sorted(found)[:limit]

    def rise(self, now_ns: int) -> int:
        """Return the time for the next record: now, but later than the last."""
        return max(now_ns, self.time_ns + 1)

    def append(self, record: Record) -> None:
        """Lay the next record over all before it."""
        assert record.seq == self.seq + 1, "a gap in the log"
        assert record.time_ns > self.time_ns, "time stood still"
        self.seq, self.time_ns = record.seq, record.time_ns
        self.cost += cost_of(record)
        self.moving += record.moved is not None
        self._records.append(record)
        self._sorted = None
        for effect in record.effects:
            self._overlay[effect.key] = (record.seq, effect)

    def since(self, seq: int) -> tuple[Record, ...]:
        """Return the records in flight from ``seq`` on, in order."""
        count = max(0, self.seq - seq + 1)
        return tuple(islice(reversed(self._records), count))[::-1]

    def term_at(self, seq: int) -> int | None:
        """Return the term of a record from the checkpoint on; None where it is not."""
        if seq == self.at.seq:
            return self.at.term
        place = seq - self.committed - 1
        return self._records[place].term if 0 <= place < len(self._records) else None

    def some(self, after: int, records: int, size: int) -> tuple[Record, ...]:
        """Return records in flight from ``after + 1`` on: about a message full.

        Args:
            after: at least ``committed``.
            records: at most so many.
            size: about so many bytes, but a record at least.
        """
        found: list[Record] = []
        assert after >= self.committed, "no longer in flight"
        place = after - self.committed
        while place < len(self._records) and len(found) < records:
            record = self._records[place]
            size -= cost_of(record)
            if found and size < 0:
                break
            found.append(record)
            place += 1
        return tuple(found)

    def commit(self, seq: int) -> tuple[Record, ...]:
        """Take out the records up to ``seq``; the caller applies them to the view.

        Args:
            seq: the new commit point, at most the tip's.

        Returns:
            What is newly committed, in order.
        """
        assert self.committed <= seq <= self.seq, "committed what was never appended"
        done = [self._records.popleft() for _ in range(seq - self.committed)]
        for record in done:
            self._lift(record)
        if done:
            self.at = Position(done[-1].seq, done[-1].term, done[-1].time_ns)
        return tuple(done)

    def drop(self) -> None:
        """Forget all that is in flight, as if it had never been appended."""
        self.seq, self.time_ns = self.at.seq, self.at.time_ns
        self.cost = self.moving = 0
        self._records.clear()
        self._overlay.clear()
        self._sorted = None

    def _above(self, prefix: bytes) -> list[bytes]:
        """List keys that begin with a prefix and that records in flight touch."""
        if self._sorted is None:
            self._sorted = sorted(self._overlay)
        return beginning(self._sorted, prefix)

    def _lift(self, record: Record) -> None:
        """Take a record out of the overlay, where no later one covers it."""
        self.cost -= cost_of(record)
        self.moving -= record.moved is not None
        self._sorted = None
        for effect in record.effects:
            if self._overlay[effect.key][0] == record.seq:
                del self._overlay[effect.key]
