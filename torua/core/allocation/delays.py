"""Since when nodes are lost or live: what a coordinator remembers beside the state."""

from collections.abc import Collection, Mapping

from torua.core.ids import NodeId
from torua.core.state import NodeEntry

SETTLED_S = 10.0
"""A node that is up so long has opened its copies and can lead them at once."""

JOINS_S = 5.0
"""How long balance gives a node nothing that joined: those that join within that time
of each other are then balanced with together, and nothing moves twice."""


class Delays:
    """How long each node has been lost, or in its present life.

    It belongs to one coordinator in one term; the next begins with a new one, and all
    delays begin anew.

    Invariants: a node is either lost or lives; times only rise while nothing changes.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._lost: dict[NodeId, float] = {}
        self._lives: dict[NodeId, tuple[int, float]] = {}
        self._joined: dict[NodeId, float] | None = None

    def note(
        self, nodes: Mapping[NodeId, NodeEntry], lost: Collection[NodeId], now: float
    ) -> None:
        """Take note of who belongs and who is lost now.

        Args:
            nodes: all that belong.
            lost: those that are lost.
            now: the coordinator's monotonic clock, in seconds.
        """
        self._lost = {node: self._lost.get(node, now) for node in nodes if node in lost}
        known = self._joined
        if known is None:
            known = dict.fromkeys(nodes, float("-inf"))
        self._joined = {node: known.get(node, now) for node in nodes}
        lives = {}
        for node, entry in nodes.items():
            if node not in lost:
                held = self._lives.get(node)
                same = held is not None and held[0] == entry.boot_epoch
                lives[node] = held if same and held else (entry.boot_epoch, now)
        self._lives = lives

    def lost_for(self, node: NodeId, now: float) -> float:
        """Return for how many seconds a node has been lost; 0 where it is not.

        Args:
            node: which.
            now: the clock that `note` was told.
        """
        return now - self._lost.get(node, now)

    def is_joining(self, node: NodeId, now: float) -> bool:
        """Tell whether a node belongs only since a short while ago.

        Those that belonged when this coordinator began do not.

        Args:
            node: which.
            now: the clock that `note` was told.
        """
        return now - (self._joined or {}).get(node, now) < JOINS_S

    def is_settled(self, node: NodeId, now: float) -> bool:
        """Tell whether a node has lived long enough to lead without delay.

        Args:
            node: which.
            now: the clock that `note` was told.
        """
        known = self._lives.get(node)
        return known is not None and now - known[1] >= SETTLED_S
