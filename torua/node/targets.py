"""The nodes that errands go to: whom to leave alone, where to read, what to repeat.

The decisions are those of `torua.core.resilience`: a breaker and a budget for each
other node, and one rank of all copies for reads that any of them may serve.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.core.ids import NodeId
from torua.core.resilience.breaker import Breaker, Circuit
from torua.core.resilience.budget import RetryBudget
from torua.core.resilience.policies import Policies
from torua.core.resilience.selection import Selection
from torua.errors import OutcomeUnknownError, ToruaError, UnavailableError

log = Logger()

TIMEOUT_MIN_S = 1.0
"""Who waits for less and has no answer says more of himself than of the other node."""


class Rest(Struct, frozen=True):
    """A node that is left alone.

    Attributes:
        wait_s: in how many seconds it is worth another look.
        patience_s: for how long it is worth waiting at all.
    """

    wait_s: float
    patience_s: float


class _Meter:
    """Counts what became of the decisions.

    Invariants: none of its own.
    """

    def __init__(self, registry: CollectorRegistry, open_now: Callable[[], float]):
        """Declare the metrics.

        Args:
            registry: where.
            open_now: counts the breakers that are open.
        """
        self.openings = Counter(
            "torua_node_breaker_openings",
            "Nodes that are left alone because they did not answer.",
            registry=registry,
        )
        self.refused = Counter(
            "torua_node_breaker_refusals",
            "Errands that were not sent to a node that is left alone.",
            registry=registry,
        )
        Gauge(
            "torua_node_breakers_open",
            "Nodes that are left alone now.",
            registry=registry,
        ).set_function(open_now)
        self.retries = Counter(
            "torua_node_retries",
            "Errands sent again, by what became of the wish: at once, late, denied.",
            ("grant",),
            registry=registry,
        )
        self.reads = Counter(
            "torua_node_copy_reads",
            "Reads at any copy, by where the first attempt went: here, or elsewhere.",
            ("where",),
            registry=registry,
        )


class Targets:
    """Decides to whom errands go, and learns from what becomes of them.

    Invariants: this node is never left alone and never refused; a node that answers,
    whatever it says, is not left alone.

    Threading: the reactor's thread only.
    """

    def __init__(
        self,
        me: NodeId,
        clock: IReactorTime,
        registry: CollectorRegistry,
        *,
        is_live: Callable[[NodeId], bool],
    ) -> None:
        """Know nothing of anybody, and make all decisions until `use` says otherwise.

        Args:
            me: this node.
            clock: the reactor.
            registry: for the metrics.
            is_live: tells whether membership believes a node alive.
        """
        self._me = me
        self._clock = clock
        self._is_live = is_live
        self._policies = Policies()
        self._breakers: dict[NodeId, Breaker] = {}
        self._budgets: dict[NodeId, RetryBudget] = {}
        self._selection = Selection(me)
        self._meter = _Meter(registry, self._open_now)
        self._callbacks: list[Callable[[], None]] = []

    def use(self, policies: Policies) -> None:
        """Make these decisions from now on; without breakers, nobody is left alone."""
        self._policies = policies
        if not policies.breakers and self._breakers:
            self._breakers.clear()
            self._tell()

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call back whenever a node may be asked again that was left alone."""
        self._callbacks.append(callback)

    def connected(self, node: NodeId) -> None:
        """Hear that there is a connection to a node: it may be asked at once."""
        breaker = self._breakers.get(node)
        if breaker is not None and breaker.circuit is not Circuit.CLOSED:
            breaker.connected(self._clock.seconds())
            self._tell()

    def _tell(self) -> None:
        """Tell those who wait for a node."""
        for callback in self._callbacks:
            callback()

    def order(self, nodes: Sequence[NodeId], turn: int) -> list[NodeId]:
        """Bring the nodes with a copy into the order in which a read tries them.

        Args:
            nodes: all of them.
            turn: counts reads.
        """
        now = self._clock.seconds()
        if self._policies.selection:
            found = self._selection.order(nodes, turn, now)
        else:
            start = turn % len(nodes) if nodes else 0
            found = [*nodes[start:], *nodes[:start]]
            found.sort(key=lambda node: node != self._me)
        return sorted(found, key=lambda node: self.rest(node) is not None)

    def rest(self, node: NodeId) -> Rest | None:
        """Tell whether, and how, a node is left alone now; None where it is not."""
        breaker = self._heard(node)
        now = self._clock.seconds()
        if breaker is None or breaker.lets(now):
            return None
        return Rest(breaker.waits_s(now), breaker.patience_s(now))

    def is_well(self, node: NodeId) -> bool:
        """Tell whether there is nothing at all against asking a node."""
        breaker = self._heard(node)
        return breaker is None or breaker.circuit is Circuit.CLOSED

    def is_answered(self, node: NodeId) -> None:
        """Take note of an answer to what was asked without `asking`."""
        self._answered(node)

    def first(self, node: NodeId, at_any: bool, many: int = 1) -> None:
        """Take note of errands that are sent for the first time.

        Args:
            node: to whom.
            at_any: whether any copy could have done them.
            many: how many.
        """
        if at_any:
            where = "here" if node == self._me else "elsewhere"
            self._meter.reads.labels(where).inc(many)
        if node != self._me:
            self._budget(node).asked(self._clock.seconds(), many)

    def retry_s(self, node: NodeId, within_s: float) -> float | None:
        """Ask whether an errand may be sent again by the same route.

        Args:
            node: to whom.
            within_s: how long its caller could wait.

        Returns:
            How many seconds to wait before it; None where that is too long.
        """
        if node == self._me or not self._policies.retry_budget:
            return 0.0
        wait_s = self._budget(node).spend(self._clock.seconds(), within_s)
        grant = "denied" if wait_s is None else "late" if wait_s else "at-once"
        self._meter.retries.labels(grant).inc()
        return wait_s

    @contextmanager
    def asking(self, node: NodeId, left_s: float, *, measured: bool) -> Iterator[None]:
        """Have an errand done within this, and learn from what becomes of it.

        Args:
            node: who does it.
            left_s: how long it may take.
            measured: whether the time that it takes tells how well the node is.

        Raises:
            UnavailableError: the node is left alone; nothing was sent.
        """
        if node == self._me and not measured:
            yield
            return
        self._check(node)
        began = self._clock.seconds()
        number = self._selection.began(node, began) if measured else 0
        good = False
        try:
            yield
            good = True
            self._answered(node)
        except ToruaError as error:
            self._judge(node, error, began, left_s)
            raise
        finally:
            if number:
                now = self._clock.seconds()
                self._selection.ended(node, number, now, good)

    def _check(self, node: NodeId) -> None:
        """Raise where a node is left alone."""
        breaker = self._heard(node)
        now = self._clock.seconds()
        if breaker is not None and not breaker.take(now):
            self._meter.refused.inc()
            raise UnavailableError(f"node {node} did not answer of late")

    def _judge(
        self, node: NodeId, error: ToruaError, began: float, left_s: float
    ) -> None:
        """Tell an answer that is trouble from none at all."""
        now = self._clock.seconds()
        cause = error.__cause__
        if error.told or (isinstance(cause, ToruaError) and cause.told):
            self._answered(node)
        elif not isinstance(error, UnavailableError | OutcomeUnknownError):
            return
        elif now - began >= left_s * 0.99:
            if left_s >= TIMEOUT_MIN_S:
                self._failed(node, error)
        elif not isinstance(cause, DeferredTimeout | CancelledError):
            self._failed(node, error)

    def _answered(self, node: NodeId) -> None:
        """Note that a node answers."""
        breaker = self._breaker(node)
        if breaker is None:
            return
        was_open = breaker.circuit is not Circuit.CLOSED
        breaker.answered(self._clock.seconds())
        if was_open:
            log.info("node {node} answers again", node=node)
            self._tell()

    def _failed(self, node: NodeId, error: ToruaError) -> None:
        """Note that a node did not answer."""
        breaker = self._breaker(node)
        if breaker is not None and breaker.failed(self._clock.seconds()):
            self._opened(node, error.detail)

    def _heard(self, node: NodeId) -> Breaker | None:
        """Return a node's breaker, having told it what membership believes."""
        breaker = self._breaker(node)
        if breaker is not None:
            now = self._clock.seconds()
            if breaker.believe(self._is_live(node), now):
                self._opened(node, "membership believes it dead")
        return breaker

    def _opened(self, node: NodeId, why: str) -> None:
        """Say that a node is left alone from now on."""
        self._meter.openings.inc()
        why = why.replace(f"node {node}", "it")
        log.warn("node {node} is left alone: {why}", node=node, why=why)

    def _breaker(self, node: NodeId) -> Breaker | None:
        """Return the breaker of another node, where there are any."""
        if node == self._me or not self._policies.breakers:
            return None
        found = self._breakers.get(node)
        if found is None:
            found = self._breakers[node] = Breaker()
        return found

    def _budget(self, node: NodeId) -> RetryBudget:
        """Return what may be sent again to a node."""
        found = self._budgets.get(node)
        if found is None:
            found = self._budgets[node] = RetryBudget(self._clock.seconds())
        return found

    def _open_now(self) -> float:
        """Count the nodes that are left alone."""
        return sum(
            breaker.circuit is not Circuit.CLOSED for breaker in self._breakers.values()
        )
