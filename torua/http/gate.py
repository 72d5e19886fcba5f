"""Which requests are taken while the node has too much to do, and how others go.

What is decided by `torua.core.resilience.admission` is done here: turns of the reactor
are measured while there are requests, and refusals leave at their pace.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torua.core.configuration import Configuration
from torua.core.resilience.admission import Admission, Rank
from torua.core.resilience.stays import Stays

_QUERY = ("/graph", "/cypher")
"""What takes many rows or shards at once, by how its path begins."""

_BULK = Rank.BULK  # looked up once, see `torua.core.resilience.admission`


class Gate:
    """The door of the site.

    Invariants: a turn is measured while something was taken or given back in it, and
    only then is a timer armed; where it is off, nothing is refused or
    measured, but all is counted, so that it can be turned on.
    """

    def __init__(
        self,
        clock: IReactorTime,
        registry: CollectorRegistry,
        *,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        """Take everything, until `use` says otherwise.

        Args:
            clock: the reactor.
            registry: for the metrics.
            spent: tells how many seconds of a processor the reactor's thread has had.
        """
        self._clock = clock
        self._spent = spent
        self._is_on = False
        self._admission = Admission()
        self._stays = Stays()
        self._turn_began: float | None = None
        Gauge(
            "torua_http_admission_limit",
            "Requests that may be at work at once.",
            registry=registry,
        ).set_function(lambda: self._admission.limit)
        Gauge(
            "torua_http_admission_at_work",
            "Requests that count against that limit.",
            registry=registry,
        ).set_function(lambda: float(self._admission.total))
        Gauge(
            "torua_http_admission_bulk_limit_bytes",
            "Bytes of bulk requests that may be at work at once.",
            registry=registry,
        ).set_function(lambda: self._stays.limit)
        self._turn = Gauge(
            "torua_http_turn_seconds",
            "The length of the last turn of the reactor with requests in it.",
            registry=registry,
        )
        self._refused = Counter(
            "torua_http_admission_refused",
            "Requests that were refused because there was too much to do, by lane.",
            ("lane",),
            registry=registry,
        )

    def use(self, now: Configuration) -> None:
        """Refuse what is too much, as is configured from now on; or nothing."""
        self._is_on = now.resilience.admission
        self._admission.bound(now.limits.requests, now.limits.turn_s)

    def has_room(self, rank: Rank, size: int) -> bool:
        """Tell whether a request would be taken; if not, it is refused by that.

        Args:
            rank: its lane, see `rank_of`.
            size: of its body, in bytes.
        """
        room = not self._is_on or (
            self._admission.has_room(rank)
            and (rank is not _BULK or self._stays.has_room(size))
        )
        if not room:
            self._refused.labels(rank.name.lower()).inc()
        return room

    def take(self, rank: Rank, size: int = 0) -> bool:
        """Take a request, or not; what was taken must be given back.

        Args:
            rank: its lane, see `rank_of`.
            size: of its body, in bytes.
        """
        if self._is_on:
            if self._turn_began is None:
                self._measure()
            if not self.has_room(rank, size):
                return False
        self._admission.take(rank)
        if rank is _BULK:
            self._stays.take(size)
        return True

    def give_back(self, rank: Rank, size: int = 0, stayed_s: float = 0.0) -> None:
        """Hear that a request that was taken is answered.

        Args:
            rank: its lane.
            size: as it was taken.
            stayed_s: how long it was at work.
        """
        self._admission.give_back(rank, at_once=not self._is_on)
        if rank is _BULK:
            self._stays.give_back(size, stayed_s, self._clock.seconds())
        if self._is_on and self._turn_began is None:
            self._measure()

    def pace(self) -> "Deferred[None]":
        """Return what fires when the next refusal may leave."""
        waiting: Deferred[None] = Deferred()
        now = self._clock.seconds()
        delay_s = self._admission.refusal_s(now, self._spent())
        if delay_s > 0:
            self._clock.callLater(delay_s, waiting.callback, None)
        else:
            waiting.callback(None)
        return waiting

    def _measure(self) -> None:
        """Have the length of this turn taken."""
        self._turn_began = self._clock.seconds()
        self._clock.callLater(0, self._turned)

    def _turned(self) -> None:
        """Learn from the turn that ended."""
        assert self._turn_began is not None
        length_s = self._clock.seconds() - self._turn_began
        self._turn_began = None
        self._turn.set(length_s)
        self._admission.turned(length_s)


def rank_of(method: str, path: str) -> Rank:
    """Tell how urgent a request is.

    Args:
        method: of the request.
        path: of its route.
    """
    if path.startswith(_QUERY):
        return Rank.QUERY
    if path == "/bulk":
        return Rank.BULK
    if path.startswith(("/kv", "/changes")):
        return Rank.READ if method == "GET" else Rank.WRITE
    return Rank.CONTROL
