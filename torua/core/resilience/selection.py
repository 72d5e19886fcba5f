"""Which copy to read at: where answers come soonest, in turn where that is equal.

Source: C3 (Suresh et al., *Cutting Tail Latency in Cloud Data Stores via Adaptive
Replica Selection*, NSDI 2015), without its rate control.  A node's rank grows with its
moving average of response times and with what is under way to it; a copy that lags
shows in the response times, for it waits before it answers a session.  What is under
way counts by its age as well: a node that stopped answering is left alone before its
first late answer has come.

A node that was slow is tried again with one read now and then, whose time replaces the
average: so it is found out when it is well again, and one read a while pays for it.
"""

from collections.abc import Sequence
from math import exp

from torua.core.ids import NodeId

MEMORY_S = 0.5
"""The older a response time, the less it counts: to a third in so long."""

EQUAL_S = 0.010
"""What is not worth a choice: less than what the reactors' turns make of it …"""

EQUAL_TIMES = 2.0
"""… and ranks that differ by no more than this factor."""

AGAIN_S = 2.0
"""How long a slow node is left alone before one read is tried there."""

PENDING_MAX = 1024
"""So many reads under way to one node are told apart by age; more are only counted."""


class _Pace:
    """How soon one node answers.

    Invariants: ``pending`` holds the beginnings of reads under way, oldest first;
    ``tried`` is when the last read began.
    """

    __slots__ = ("average", "measured", "pending", "tried")

    def __init__(self) -> None:
        """Begin without any answer: worth a try."""
        self.average = 0.0
        self.measured = 0.0
        self.pending: dict[int, float] = {}
        self.tried = 0.0


class Selection:
    """The nodes that reads go to.

    Invariants: an order has each node once; nodes of equal rank have their turn.
    """

    def __init__(self, me: NodeId) -> None:
        """Know nothing of anybody.

        Args:
            me: this node; its own copy goes first where ranks are equal.
        """
        self._me = me
        self._paces: dict[NodeId, _Pace] = {}
        self._number = 0

    def order(self, nodes: Sequence[NodeId], turn: int, now: float) -> list[NodeId]:
        """Bring nodes into the order in which a read should try them.

        Args:
            nodes: those with a copy.
            turn: counts reads; equal ones are rotated by it.
            now: the time, in seconds.
        """
        ranks = {node: self.rank(node, now) for node in nodes}
        bound = min(ranks.values(), default=0.0) * EQUAL_TIMES + EQUAL_S
        equal = [node for node in nodes if ranks[node] <= bound]
        slow = sorted(
            (node for node in nodes if ranks[node] > bound),
            key=lambda node: (ranks[node], node),
        )
        again = [node for node in slow if self._is_due(node, now)][:1]
        start = turn % len(equal) if equal else 0
        equal = equal[start:] + equal[:start]
        equal.sort(key=lambda node: node != self._me)
        return again + equal + [node for node in slow if node not in again]

    def began(self, node: NodeId, now: float) -> int:
        """Take note of a read that is sent.

        Args:
            node: to whom.
            now: the time.

        Returns:
            What to name it by when it ends.
        """
        self._number += 1
        pace = self._paces.setdefault(node, _Pace())
        pace.tried = now
        if len(pace.pending) < PENDING_MAX:
            pace.pending[self._number] = now
        return self._number

    def ended(self, node: NodeId, number: int, now: float, good: bool) -> None:
        """Take note of the end of a read.

        Args:
            node: to whom it was sent.
            number: as `began` returned it.
            now: the time.
            good: whether it was answered; a failure can only make a node look slower.
        """
        pace = self._paces[node]
        began = pace.pending.pop(number, None)
        if began is None or (not good and now - began <= pace.average):
            return
        passed_s = max(0.0, now - pace.measured)
        keep = exp(-passed_s / MEMORY_S) if pace.measured else 0.0
        pace.average = keep * pace.average + (1.0 - keep) * (now - began)
        pace.measured = now

    def rank(self, node: NodeId, now: float) -> float:
        """Tell how long an answer of a node would take, in seconds, about.

        Args:
            node: which.
            now: the time.
        """
        pace = self._paces.get(node)
        if pace is None:
            return 0.0
        oldest = next(iter(pace.pending.values()), now)
        return max(pace.average * (1 + len(pace.pending)), now - oldest)

    def _is_due(self, node: NodeId, now: float) -> bool:
        """Tell whether a slow node shall be tried again."""
        pace = self._paces[node]
        return not pace.pending and now - pace.tried >= AGAIN_S
