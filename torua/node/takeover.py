"""Who waits here until a shard is served: its primary takes over, or hands over.

What is asked of it meanwhile is not sent back only to come again.  A refusal would cost
both nodes a message for each attempt, and the asker's budget of retries, which is made
for nodes that do not answer; this one knows in a moment whether it serves.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from torua.core.ids import ShardId

HELD_MAX = 512
"""Half of what one other node may have at work here, so that what it asks of other
shards is served meanwhile; more is refused, and tried again at its leisure."""

HELD_BYTES_MAX = 64 << 20
"""Four of the largest values, or as much in small ones."""

LOOK_S = 0.02
"""How often the copies are looked at: little beside the seconds of a failover."""

MARGIN = 0.9
"""So much of what a caller waits may pass here: where it was in vain he is told that
nothing was done, before his own node has to say that it does not know."""


class Takeovers:
    """Waits for the primaries of this node.

    Invariants: at most `HELD_MAX` wait, with `HELD_BYTES_MAX`; each is told once; a
    timer is armed exactly while anybody waits.

    Threading: the reactor's thread only.
    """

    def __init__(
        self,
        clock: IReactorTime,
        is_between: Callable[[ShardId], bool],
        registry: CollectorRegistry,
    ) -> None:
        """Have nobody waiting.

        Args:
            clock: the reactor.
            is_between: tells whether a shard is not served here, but soon is, or is
                led by another node.
            registry: for the metrics.
        """
        self._clock = clock
        self._is_between = is_between
        self._waiting: list[tuple[ShardId, float, Deferred[None]]] = []
        self._bytes = 0
        self._timer: IDelayedCall | None = None
        Gauge(
            "torua_node_takeover_waiting",
            "Requests that wait for a primary here that takes over or hands over.",
            registry=registry,
        ).set_function(lambda: len(self._waiting))

    async def over(self, shard: ShardId, size: int, within_s: float) -> bool:
        """Wait until a shard is served here, or led by another node.

        Args:
            shard: which.
            size: of what is asked, in bytes.
            within_s: how long its caller waits.

        Returns:
            Whether it was waited for, and is over: asking anew may help.
        """
        crowded = len(self._waiting) >= HELD_MAX or self._bytes + size > HELD_BYTES_MAX
        if crowded or within_s <= LOOK_S or not self._is_between(shard):
            return False
        over: Deferred[None] = Deferred()
        until = self._clock.seconds() + within_s * MARGIN
        self._waiting.append((shard, until, over))
        self._bytes += size
        if self._timer is None:
            self._timer = self._clock.callLater(LOOK_S, self._look)
        try:
            await over
        finally:
            self._bytes -= size
        return not self._is_between(shard)

    def _look(self) -> None:
        """Tell those whose time is up, or whose shard need not be waited for."""
        now = self._clock.seconds()
        shards = dict.fromkeys(shard for shard, _, _ in self._waiting)
        between = {shard for shard in shards if self._is_between(shard)}
        waiting, self._waiting = self._waiting, []
        ripe: list[tuple[ShardId, float, Deferred[None]]] = []
        for each in waiting:
            ends = each[0] not in between or each[1] <= now
            (ripe if ends else self._waiting).append(each)
        again = bool(self._waiting)
        self._timer = self._clock.callLater(LOOK_S, self._look) if again else None
        for _, _, over in ripe:
            over.callback(None)
