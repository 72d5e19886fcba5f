"""What an operator may set of allocation, as deciders and balance read it."""

from msgspec import Struct

from torua.core.state import ClusterState


class Watermark(Struct, frozen=True):
    """How full a disk may be: a share of it, from 0 to 1."""

    name: str
    share: float

    def is_reached(self, used: int, total: int) -> bool:
        """Tell whether a disk is so full; never where its size is not known.

        Args:
            used: bytes.
            total: bytes.
        """
        return total > 0 and total * self.share <= used

    def over(self, used: int, total: int) -> int:
        """Tell how many bytes a disk is above it; fewer than none where it is below.

        Args:
            used: bytes.
            total: bytes.
        """
        return used - int(total * self.share)


class Step(Struct, frozen=True):
    """What a change must save: a share of what the busier node has, and so much."""

    share: float
    least: float

    def of(self, weight: float) -> float:
        """Tell by how much a node must become lighter for a change to be worth it."""
        return max(self.least, self.share * weight)


class Limits(Struct, frozen=True):
    """The bounds that allocation keeps.

    Attributes:
        low: no copies are added to a fuller disk.
        high: copies move off a fuller disk.
        flood: no writes to the shards of a fuller disk.
        zones: that must be kept apart; empty: all that there are, as well as it goes.
        host_forced: whether two copies of a shard may never be on one host.
        recoveries: how many a node takes part in at once, in each direction.
        balance: whether copies and primaries move for the sake of balance.
        load: what a change for the sake of load must save, in requests a second.
        bytes: what a change for the sake of bytes must save.
    """

    low: Watermark
    high: Watermark
    flood: Watermark
    zones: tuple[str, ...]
    host_forced: bool
    recoveries: int
    balance: bool
    load: Step
    bytes: Step


def limits_of(state: ClusterState) -> Limits:
    """Return what is set of allocation.

    Args:
        state: the committed state.
    """
    given = state.configuration.allocation
    return Limits(
        low=Watermark("low", given.watermark_low_percent / 100),
        high=Watermark("high", given.watermark_high_percent / 100),
        flood=Watermark("flood", given.watermark_flood_percent / 100),
        zones=tuple(sorted(set(given.forced_zones))),
        host_forced=given.force_hosts,
        recoveries=given.recoveries_per_node,
        balance=given.rebalance,
        load=Step(given.balance_load_percent / 100, given.balance_load_least),
        bytes=Step(given.balance_bytes_percent / 100, given.balance_bytes_least),
    )
