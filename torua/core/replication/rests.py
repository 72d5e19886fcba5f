"""How long a copy that was dropped rests before it may be tracked again.

A copy that comes and goes would stall the shard for a second each time; so each drop
doubles its rest, and only a long stay makes that forgotten.
"""

from msgspec import Struct

from torua.core.ids import NodeId

REST_FIRST_S = 1.0
REST_LAST_S = 60.0
"""The first rest, and the longest."""

DROPS_MAX = 16
"""Beyond so many drops the rest grows no more, and neither does the count."""


class _Node(Struct):
    """What the copies of one node did.

    Invariants: ``until`` is after the last drop.
    """

    drops: int = 0
    until: float = 0.0
    tracked_at: float | None = None


class Rests:
    """The rests of all nodes, in one term.

    Invariants: a node that was never dropped does not rest.
    """

    def __init__(self) -> None:
        """Let nobody rest."""
        self._nodes: dict[NodeId, _Node] = {}

    def until(self, node: NodeId) -> float | None:
        """Tell until when a node's copy rests; None where it was never dropped."""
        found = self._nodes.get(node)
        return found.until if found else None

    def tracked(self, node: NodeId, now: float) -> None:
        """Note that a node's copy is tracked from now on.

        Args:
            node: whose copy.
            now: the monotonic clock.
        """
        if node in self._nodes:
            self._nodes[node].tracked_at = now

    def dropped(self, node: NodeId, now: float) -> None:
        """Let a node's copy rest: longer, unless it had stayed for twice its rest.

        Args:
            node: whose copy.
            now: the monotonic clock.
        """
        found = self._nodes.setdefault(node, _Node())
        rest = min(REST_LAST_S, REST_FIRST_S * 2.0**found.drops)
        if found.tracked_at is not None and now - found.tracked_at > 2 * rest:
            found.drops, rest = 0, REST_FIRST_S
        found.drops = min(found.drops + 1, DROPS_MAX)
        found.until, found.tracked_at = now + rest, None
