"""Whom to leave alone: a node that does not answer costs one opening, not each request.

Source: the circuit breaker (Nygard, *Release It!*)::

    CLOSED ──failures, or membership's word── OPEN ──rest over── HALF_OPEN
      ^                                        ^                   │ (one probe)
      └────────── any answer ──────────────────┴──── it fails ─────┘

A failure is a connection that there was not, or an answer that did not come in a time
that is long enough; whatever the other node says, trouble too, is an answer.  A probe
is a request like any other; while it is out no other is sent, until it took as long as
a rest: so a node that is back is asked within one rest, whatever became of the probe.
"""

from collections import deque
from enum import Enum

FAILURES_MAX = 5
"""So many failures in a row open it."""

WINDOW = 20
"""Of so many last answers and failures …"""

WINDOW_S = 10.0
"""… none of them older than this, more than half may not be failures."""

REST_S = 1.0
"""How long nobody is sent between two probes: what a node's return may cost."""

LOOK_S = 0.05
"""While a probe is out: how soon to look what became of it."""

PATIENCE_S = 5.0
"""For so long after an opening somebody else may take over what the node led: it is
waited for.  Later it is better said at once that nobody does."""


class Circuit(Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """One other node, as far as it answers.

    Invariants: the rest is over at the latest `REST_S` after the last failure or probe;
    while open nothing is let through but probes, one in `REST_S`; any answer closes it.
    """

    def __init__(self) -> None:
        """Begin closed."""
        self.circuit = Circuit.CLOSED
        self.openings = 0
        self._opened_at = 0.0
        self._rests_until = 0.0
        self._row = 0
        self._recent: deque[tuple[float, bool]] = deque(maxlen=WINDOW)
        self._live = True

    def lets(self, now: float) -> bool:
        """Tell whether a request would be let through, and take nothing."""
        return self.circuit is Circuit.CLOSED or now >= self._rests_until

    def take(self, now: float) -> bool:
        """Let a request through or not; where the breaker rested, it is the probe."""
        if self.circuit is Circuit.CLOSED:
            return True
        if now < self._rests_until:
            return False
        self.circuit = Circuit.HALF_OPEN
        self._rests_until = now + REST_S
        return True

    def answered(self, now: float) -> None:
        """Take note of an answer: it closes."""
        self.circuit = Circuit.CLOSED
        self._row = 0
        self._recent.append((now, True))

    def failed(self, now: float) -> bool:
        """Take note of a failure.

        Args:
            now: the time, in seconds.

        Returns:
            Whether that opened it.
        """
        self._row += 1
        self._recent.append((now, False))
        if self.circuit is not Circuit.CLOSED:
            self.circuit = Circuit.OPEN
            self._rests_until = now + REST_S
            return False
        if self._row >= FAILURES_MAX or self._is_bad(now):
            self._open(now)
            return True
        return False

    def believe(self, live: bool, now: float) -> bool:
        """Hear what membership believes; only a change of it counts.

        A death opens the breaker, a return ends its rest.

        Args:
            live: whether the node is believed alive.
            now: the time.

        Returns:
            Whether that opened it.
        """
        before, self._live = self._live, live
        if live and not before:
            self.connected(now)
        if before and not live and self.circuit is Circuit.CLOSED:
            self._open(now)
            return True
        return False

    def connected(self, now: float) -> None:
        """Hear that the node can be reached again: its rest is over."""
        self._rests_until = min(self._rests_until, now)

    def waits_s(self, now: float) -> float:
        """Tell in how many seconds it is worth another look; 0 where it lets through.

        Args:
            now: the time, in seconds.
        """
        if self.lets(now):
            return 0.0
        left_s = self._rests_until - now
        return min(left_s, LOOK_S) if self.circuit is Circuit.HALF_OPEN else left_s

    def patience_s(self, now: float) -> float:
        """Tell for how long it is worth waiting.

        A takeover may come, since it opened; and so may the answer to a probe.

        Args:
            now: the time, in seconds.
        """
        probing = self.circuit is Circuit.HALF_OPEN
        until = self._rests_until if probing else 0.0
        return max(0.0, self._opened_at + PATIENCE_S - now, until - now)

    def _open(self, now: float) -> None:
        """Let nothing through for a while."""
        self.circuit = Circuit.OPEN
        self.openings += 1
        self._opened_at = now
        self._rests_until = now + REST_S
        self._recent.clear()

    def _is_bad(self, now: float) -> bool:
        """Tell whether too many of the last ones failed."""
        recent = [good for at, good in self._recent if now - at <= WINDOW_S]
        return len(recent) == WINDOW and recent.count(False) * 2 > WINDOW
