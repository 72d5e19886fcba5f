"""Whom to ask: each endpoint in its turn, but for those that lately did not answer.

Every node serves every request, so endpoints are alike.  One that breaks is put aside,
for longer each time; when that is over, one request tries it again.
"""

from collections.abc import Container, Sequence
from random import Random
from threading import Lock

ASIDE_S = 1.0
"""How long an endpoint is put aside at first; it doubles with each failure in a row."""

ASIDE_S_MAX = 30.0
"""A node that came back is asked again after this, and half of it on the average."""


class _Standing:
    """How one endpoint fares.

    Invariants: `failures` are those in a row; before `until` others are chosen first.
    """

    def __init__(self) -> None:
        """Begin in good standing."""
        self.failures = 0
        self.until = 0.0


class Endpoints:
    """Chooses whom to ask; any thread may call it.

    Invariants: what was told of an endpoint stays until it is told otherwise; where all
    are put aside, the one that was so the longest is chosen.
    """

    def __init__(self, names: Sequence[str], random: Random) -> None:
        """Begin with all in good standing, at any of them.

        Args:
            names: of the endpoints, at least one.
            random: draws where to begin, and for how long one is put aside.
        """
        self.names = tuple(dict.fromkeys(names))
        self._standing = {name: _Standing() for name in self.names}
        self._random = random
        self._turn = random.randrange(len(self.names))
        self._lock = Lock()

    def choose(self, now: float, tried: Container[str]) -> str:
        """Return the next endpoint in turn.

        Args:
            now: the time.
            tried: those that come last, since this very request failed there.
        """
        with self._lock:
            self._turn += 1
            turns = range(self._turn, self._turn + len(self.names))
            order = [self.names[turn % len(self.names)] for turn in turns]
            chosen = min(order, key=lambda name: self._rank(name, now, tried))
            standing = self._standing[chosen]
            if standing.failures and standing.until <= now:
                self._put_aside(standing, now)
            return chosen

    def has_other(self, now: float, tried: Container[str]) -> bool:
        """Tell whether an endpoint in good standing was not tried yet.

        Args:
            now: the time.
            tried: those that were.
        """
        with self._lock:
            return any(
                name not in tried and self._standing[name].until <= now
                for name in self.names
            )

    def answered(self, name: str) -> None:
        """Note that an endpoint answered, whatever it said."""
        standing = self._standing[name]
        if standing.failures:
            with self._lock:
                standing.failures, standing.until = 0, 0.0

    def broke(self, name: str, now: float) -> None:
        """Note that an endpoint did not answer.

        Args:
            name: which.
            now: the time.
        """
        with self._lock:
            standing = self._standing[name]
            standing.failures += 1
            self._put_aside(standing, now)

    def _put_aside(self, standing: _Standing, now: float) -> None:
        """Have others asked first for a while."""
        bound = min(ASIDE_S_MAX, ASIDE_S * 2.0 ** min(standing.failures - 1, 10))
        standing.until = now + self._random.uniform(bound / 2, bound)

    def _rank(
        self, name: str, now: float, tried: Container[str]
    ) -> tuple[bool, bool, float]:
        """Rank an endpoint: good before put aside, untried before tried, by time."""
        until = self._standing[name].until
        aside = until > now
        return (aside, name in tried, until if aside else 0.0)
