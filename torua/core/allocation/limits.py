"""What an operator may set of allocation, in one value that all deciders read."""

from msgspec import Struct

from torua.core.state import ClusterState

GIB = 1 << 30


class Watermark(Struct, frozen=True):
    """How full a disk may be: a share of it, or, of a large one, what must be free.

    Attributes:
        name: what operators call it.
        share: of the disk, from 0 to 1.
        headroom: as many free bytes are enough, whatever the share.
    """

    name: str
    share: float
    headroom: int

    def is_reached(self, used: int, total: int) -> bool:
        """Tell whether a disk is so full; never where its size is not known.

        Args:
            used: bytes.
            total: bytes.
        """
        return 0 < total * self.share <= used and total - used < self.headroom

    def over(self, used: int, total: int) -> int:
        """Tell how many bytes a disk is above it.

        Args:
            used: bytes.
            total: bytes.
        """
        return used - max(int(total * self.share), total - self.headroom)


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
        load_gain: the share of the busier node's load that a move must save.
        load_least: requests a second that are worth a move.
        bytes_gain: the share of the fuller node's bytes that a move must save.
        bytes_least: bytes that are worth a move.
    """

    low: Watermark = Watermark("low", 0.85, 200 * GIB)
    high: Watermark = Watermark("high", 0.90, 150 * GIB)
    flood: Watermark = Watermark("flood", 0.95, 100 * GIB)
    zones: tuple[str, ...] = ()
    host_forced: bool = False
    recoveries: int = 2
    balance: bool = True
    load_gain: float = 0.2
    load_least: float = 100.0
    bytes_gain: float = 0.1
    bytes_least: int = GIB


def limits_of(state: ClusterState) -> Limits:
    """Return what is set of allocation.

    Args:
        state: the committed state.
    """
    return Limits()
