"""One copy that this node is or was assigned, as its worker sees it."""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from torua.core.ids import AllocId, ShardId
from torua.core.resilience.cache import Caching
from torua.core.state import Copy, CopyState, Shard
from torua.core.views import CopyPosition
from torua.errors import CorruptionError
from torua.node.copy import OpenCopy
from torua.node.tally import Rates


class Is(Enum):
    """What a slot has of its copy."""

    NOTHING = "nothing"
    OPEN = "open"
    FAILED = "failed"


class Slot:
    """One copy that this node is or was assigned, and the worker that sees to it.

    Invariants: ``copy`` is there exactly in OPEN; ``failure`` says why in FAILED, and
    ``lost`` that its data are gone for good; at most one worker runs; ``told`` is what
    the copy was last told of the state; ``again`` says that it is to be looked at.
    """

    def __init__(self, shard: ShardId, alloc_id: AllocId) -> None:
        """Begin with nothing open.

        Args:
            shard: of which shard.
            alloc_id: which copy.
        """
        self.shard = shard
        self.alloc_id = alloc_id
        self.phase = Is.NOTHING
        self.copy: OpenCopy | None = None
        self.failure = ""
        self.lost = False
        self.told: Shard | None = None
        self.again = False
        self.work: Deferred[None] | None = None
        self.timer: IDelayedCall | None = None


def check_presence(state: CopyState, here: bool, logged: int) -> None:
    """Raise where a copy is not here that must be: it is never made anew.

    Args:
        state: what the cluster state says of it.
        here: whether its map is on the disk.
        logged: the newest record of it in the log; 0 for none.
    """
    if not here and (logged or state is not CopyState.INIT):
        raise CorruptionError("its map is missing from the data dir")
    if not logged and state is not CopyState.INIT:
        raise CorruptionError("the log of this node holds nothing of it")


def position_of(slot: Slot, shard: Shard, wanted: Copy) -> CopyPosition:
    """Tell how far a copy is.

    Args:
        slot: of it.
        shard: of which shard.
        wanted: it, as the cluster state has it.
    """
    copy = slot.copy
    rates = copy.tally.rates if copy else Rates()
    return CopyPosition(
        shard=slot.shard,
        alloc_id=slot.alloc_id,
        role="primary" if copy and copy.leads else "replica",
        state="failed" if slot.failure else str(wanted.state),
        position=copy.position if copy else 0,
        keys=copy.holding.view.keys if copy else 0,
        bytes=copy.holding.view.size_bytes if copy else 0,
        in_sync=slot.alloc_id in shard.in_sync,
        gcp=copy.machine.gcp if copy else 0,
        reads_per_s=rates.reads,
        writes_per_s=rates.writes,
        latency_s=rates.latency_s,
    )


def disarm(slot: Slot) -> None:
    """Do not open a failed copy again."""
    if slot.timer is not None:
        slot.timer.cancel()
        slot.timer = None


RATES = {
    "size_bytes": "What a shard copy of this node keeps",
    "reads_per_second": "Keys and pages read of a shard copy; fades in half a minute",
    "writes_per_second": "Operations written by a primary here; fades likewise",
    "value_bytes_per_second": "Of values read and written at a primary; fades likewise",
    "latency_seconds": "How long reads and writes took at a primary; fades likewise",
}
"""What is measured of the work of a copy, and how operators are told."""

READ: Mapping[str, Callable[[OpenCopy], float]] = {
    "size_bytes": lambda copy: copy.holding.view.size_bytes,
    "reads_per_second": lambda copy: copy.tally.rates.reads,
    "writes_per_second": lambda copy: copy.tally.rates.writes,
    "value_bytes_per_second": lambda copy: copy.tally.rates.bytes,
    "latency_seconds": lambda copy: copy.tally.rates.latency_s,
}


class _CacheMeters(Collector):
    """What caches of copies did; they count for themselves, at no cost a look-up.

    Invariants: none of its own.
    """

    def __init__(self, caching: Caching) -> None:
        """Read off ``caching``."""
        self._caching = caching

    def collect(self) -> Iterator[Metric]:
        """Tell what was counted."""
        now = self._caching
        for name, count, text in (
            ("hits", now.hits, "Reads of keys that were answered from memory"),
            ("misses", now.misses, "Reads of keys that had to be looked up"),
            ("evictions", now.evictions, "Keys dropped from memory for want of room"),
        ):
            yield CounterMetricFamily(f"torua_shards_cache_{name}", text, count)
        text = "What is kept in memory of what was read"
        yield GaugeMetricFamily("torua_shards_cache_bytes", text, now.bytes)


class CopyMeters:
    """What is measured of open copies.

    Invariants: declared once a registry; a shard has one copy on a node.
    """

    def __init__(self, registry: CollectorRegistry, caching: Caching) -> None:
        """Declare the metrics.

        Args:
            registry: of the node's metrics.
            caching: counts what caches do.
        """
        registry.register(_CacheMeters(caching))
        self._applied = Gauge(
            "torua_shards_applied_seq",
            "Last record applied by a shard copy of this node",
            ["shard"],
            registry=registry,
        )
        self._lag = Gauge(
            "torua_replication_lag_records",
            "Records in the log of a shard copy that are not applied",
            ["shard"],
            registry=registry,
        )
        self._rates = {
            name: Gauge(f"torua_shards_{name}", told, ["shard"], registry=registry)
            for name, told in RATES.items()
        }

    def follow(self, copy: OpenCopy) -> None:
        """Measure a copy from now on."""
        label, holding = str(copy.shard), copy.holding
        self._applied.labels(label).set_function(lambda: holding.view.applied_seq)
        self._lag.labels(label).set_function(lambda: holding.lag)
        for name, read in READ.items():
            gauge = self._rates[name].labels(label)
            gauge.set_function(partial(read, copy))

    def forget(self, copy: OpenCopy) -> None:
        """Measure it no more."""
        self._applied.remove(str(copy.shard))
        self._lag.remove(str(copy.shard))
        for gauge in self._rates.values():
            gauge.remove(str(copy.shard))
