"""The configuration as it is in effect on this node, and who acts upon it.

Each state that this node applies may bring another.  Whoever uses a value is told of
every one, in the turn in which it is applied, and only then does the version count as
acknowledged.  What this node was started without stays off here, whatever the cluster
is configured to do.
"""

from collections.abc import Callable

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.core.configuration import Configuration, values
from torua.core.resilience.policies import Policies
from torua.core.state import ClusterState
from torua.node.dispatch import States

Use = Callable[[Configuration], None]

log = Logger()


class LiveConfiguration:
    """What holds now.

    Invariants: whoever subscribed was told of ``current``; ``version`` is the one that
    all of them have taken.

    Threading: the reactor's thread only.

    Attributes:
        current: every value, less the parts that this node was started without.
        version: which version of the cluster's configuration that is.
        without: the parts that this node was started without.
    """

    def __init__(
        self,
        states: States,
        clock: IReactorTime,
        started: Policies,
        registry: CollectorRegistry,
    ) -> None:
        """Begin with what was last committed.

        Args:
            states: the applied cluster state.
            clock: the reactor.
            started: the parts of the resilience that this node may use at all.
            registry: of the node's metrics.
        """
        self._clock = clock
        self._started = started
        self._users: list[Use] = []
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self.without = started.off
        self._committed = states.state.configuration
        self.version = self._committed.version
        self.current = self._here(self._committed)
        states.subscribe(self._on_state)
        Gauge(
            "torua_node_configuration_version",
            "The version of the configuration that is in effect on this node.",
            registry=registry,
        ).set_function(lambda: self.version)

    def subscribe(self, use: Use) -> None:
        """Have every configuration used, beginning with this one, now.

        Args:
            use: takes what it needs of it; it must not fail.
        """
        self._users.append(use)
        use(self.current)

    async def reach(self, version: int, within_s: float) -> None:
        """Wait until a version, or a newer one, is in effect; not for longer than told.

        Args:
            version: which.
            within_s: how long to wait at most.
        """
        if self.version >= version or within_s <= 0:
            return
        reached: Deferred[None] = Deferred()
        waiting = (version, reached)
        self._waiting.append(waiting)
        reached.addTimeout(within_s, self._clock)
        try:
            await reached
        except DeferredTimeout:
            return
        finally:
            self._waiting.remove(waiting)

    def _on_state(self, state: ClusterState) -> None:
        """Put a new configuration into effect."""
        committed, before = state.configuration, self._committed
        if committed == before:
            return
        self._committed, self.current = committed, self._here(committed)
        old, new = values(before), values(committed)
        log.info(
            "configuration {version} is in effect: {changes}",
            version=committed.version,
            changes=", ".join(f"{k}={new[k]}" for k in new if new[k] != old[k]),
        )
        for use in self._users:
            use(self.current)
        self.version = committed.version
        for version, reached in list(self._waiting):
            if version <= self.version:
                reached.callback(None)

    def _here(self, committed: Configuration) -> Configuration:
        """Return what holds on this node."""
        used = committed.resilience.both(self._started)
        return replace(committed, resilience=used)
