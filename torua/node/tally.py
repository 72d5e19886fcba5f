"""What a shard copy does: counted as it goes, averaged now and then.

Counting is on the way of every request, and so is additions only; averages fade (EWMA),
so that an hour ago counts nothing and a burst of a second little.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from torua.core.kv import Entry, Operation, Put

FADES_S = 30.0
"""After so long what was before counts a third."""


class Rates(Struct, frozen=True):
    """Averages: of each a second; and how long a request took."""

    reads: float = 0.0
    writes: float = 0.0
    bytes: float = 0.0
    latency_s: float = 0.0


class Tally:
    """Counts the work of one copy.

    Invariants: what is counted only rises.

    Threading: the reactor's thread.

    Attributes:
        reads: keys and pages that were read, for whoever.
        writes: operations that were done, here as primary.
        bytes: of their values.
        requests: reads and batches of writes that were timed.
        busy_s: how long those took together.
        rates: the averages, as of the last `fade`.
    """

    __slots__ = ("_last", "busy_s", "bytes", "rates", "reads", "requests", "writes")

    def __init__(self) -> None:
        """Have counted nothing."""
        self.reads = 0
        self.writes = 0
        self.bytes = 0
        self.requests = 0
        self.busy_s = 0.0
        self.rates = Rates()
        self._last = (0, 0, 0, 0, 0.0)

    def wrote(self, operations: Sequence[Operation], seconds: float) -> None:
        """Count a batch of writes that was done.

        Args:
            operations: what was done.
            seconds: how long it took.
        """
        self.requests += 1
        self.busy_s += seconds
        self.writes += len(operations)
        for operation in operations:
            if isinstance(operation, Put):
                self.bytes += len(operation.value)

    def saw(self, entry: Entry | None) -> Entry | None:
        """Count a read of a key, and return what was found."""
        self.reads += 1
        if entry is not None:
            self.bytes += entry.size
        return entry

    def took(self, seconds: float) -> None:
        """Count how long a linearizable read took."""
        self.requests += 1
        self.busy_s += seconds

    def fade(self, seconds: float) -> None:
        """Take what was counted since the last time into the averages.

        Args:
            seconds: how long ago that was; more than 0.
        """
        now = (self.reads, self.writes, self.bytes, self.requests, self.busy_s)
        reads, writes, size, requests, busy_s = (
            new - old for new, old in zip(now, self._last, strict=True)
        )
        self._last = now
        old, new = self.rates, 1.0 - math.exp(-seconds / FADES_S)
        took = busy_s / requests if requests else old.latency_s
        self.rates = Rates(
            old.reads + new * (reads / seconds - old.reads),
            old.writes + new * (writes / seconds - old.writes),
            old.bytes + new * (size / seconds - old.bytes),
            old.latency_s + new * (took - old.latency_s),
        )
