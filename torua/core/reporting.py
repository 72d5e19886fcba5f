"""What a node tells of its disk and of the work of its shard copies.

A coordinator keeps the last report of every node in memory; none is ever committed.
"""

from msgspec import Struct

from torua.core.ids import AllocId, ShardId


class CopyReport(Struct, frozen=True):
    """One shard copy and what it did lately, as averages that fade (EWMA).

    Attributes:
        shard: which shard.
        alloc_id: which copy.
        bytes: what it keeps.
        reads: how many keys and pages were read of it, a second.
        writes: how many operations were written to it as primary, a second.
        bytes_per_s: of values, read and written.
        latency_s: how long a read or a write took here, on average.
    """

    shard: ShardId
    alloc_id: AllocId
    bytes: int = 0
    reads: float = 0.0
    writes: float = 0.0
    bytes_per_s: float = 0.0
    latency_s: float = 0.0

    @property
    def load(self) -> float:
        """Tell how busy it is, in requests a second."""
        return self.reads + self.writes


class NodeReport(Struct, frozen=True):
    """One node's disk, and all its copies.

    Attributes:
        boot_epoch: the life that tells it.
        disk_used: bytes in use where the data dir stands, by whatever.
        disk_total: bytes that there are; 0 where nobody knows.
        copies: what it holds.
    """

    boot_epoch: int
    disk_used: int = 0
    disk_total: int = 0
    copies: tuple[CopyReport, ...] = ()


class Wait(Struct, frozen=True):
    """For how many seconds more a node gets no copy of a shard, for it failed there."""

    shard: ShardId
    node: str
    seconds: float
    failures: int


class Sight(Struct, frozen=True):
    """What a coordinator knows beside the state, as it tells those who ask."""

    reports: dict[str, NodeReport] = {}
    waits: tuple[Wait, ...] = ()
