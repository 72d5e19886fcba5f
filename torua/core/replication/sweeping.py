"""Which keys a primary proposes to remove because their time is up (R19)."""

from torua.core.records import KvDelete
from torua.core.replication.batch import TIME_NS_MAX
from torua.core.replication.messages import Limits
from torua.core.replication.tip import Tip, View
from torua.core.routing import holds, slot_of
from torua.core.state import Spans

SWEEP_PERIOD_S = 0.25
"""An expired key is gone within a second, the log's and the request's time included."""

SWEEP_AGAIN_S = 0.01
"""Until the next sweep where one did not suffice."""

SWEEP_KEYS_MAX = 1000
"""One sweep is one record, of at most a thousand keys of a kibibyte."""


class Sweeps:
    """When to look for keys whose time is up, and which there are.

    Invariants: none is due once it was stopped, before it is armed again.

    Attributes:
        at: when the next look is due; None while no key has a time to live.
    """

    def __init__(self, tip: Tip, view: View, limits: Limits) -> None:
        """Have nothing to look for.

        Args:
            tip: by which a key is judged.
            view: knows the keys with a time to live.
            limits: how crowded the tip may be for a sweep: half as full.
        """
        self.at: float | None = None
        self._tip = tip
        self._view = view
        self._limits = limits

    def arm(self, now: float) -> None:
        """See to it that there is a look to come."""
        if self.at is None:
            self.begin(now)

    def begin(self, now: float) -> None:
        """Look again in a while."""
        self.at = now + SWEEP_PERIOD_S

    def due(self, now_ns: int, now: float, leaving: Spans) -> tuple[KvDelete, ...]:
        """List the keys that are due, and unchanged at the tip.

        Args:
            now_ns: the wall clock.
            now: the monotonic clock.
            leaving: the slots whose keys are another shard's, or about to be.
        """
        limits, tip = self._limits, self._tip
        crowded = 2 * tip.cost > limits.bytes or 2 * len(tip) > limits.records
        if crowded or tip.moving:
            return ()
        time_ns = max(now_ns, tip.time_ns)
        due = self._view.due(time_ns, SWEEP_KEYS_MAX)
        if len(due) >= SWEEP_KEYS_MAX:
            self.at = now + SWEEP_AGAIN_S
        elif not due and not tip and not self._view.due(TIME_NS_MAX, 1):
            self.at = None
        return tuple(
            KvDelete(key)
            for key, version in due
            if tip.lookup(key) == version
            and not (leaving and holds(leaving, slot_of(key)))
        )
