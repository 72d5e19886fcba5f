"""Whom to probe next: round robin over a shuffled list (SWIM, section 4.3).

So the time until a dead member is first probed has a bound, which picking at random
would not give.
"""

from collections.abc import Collection
from random import Random

from torua.core.ids import NodeId


class ProbeOrder:
    """The live others, in an order that is drawn anew after each round.

    Invariants: each stands in it once; those before the cursor were probed this round.

    Performance: `add` and `discard` are O(n), `next` is O(1) but once a round.
    """

    def __init__(self, rng: Random) -> None:
        """Start with nobody; ``rng`` draws the order."""
        self._rng = rng
        self._ids: list[NodeId] = []
        self._cursor = 0

    def __len__(self) -> int:
        """Count the live others."""
        return len(self._ids)

    def add(self, node_id: NodeId) -> None:
        """Take up a member, at a random place."""
        index = self._rng.randrange(len(self._ids) + 1)
        self._ids.insert(index, node_id)
        self._cursor += index < self._cursor

    def discard(self, node_id: NodeId) -> None:
        """Leave out a member."""
        if node_id in self._ids:
            index = self._ids.index(node_id)
            del self._ids[index]
            self._cursor -= index < self._cursor

    def next(self) -> NodeId | None:
        """Tell whom to probe now; None where there is nobody."""
        if self._cursor >= len(self._ids):
            self._rng.shuffle(self._ids)
            self._cursor = 0
        if not self._ids:
            return None
        self._cursor += 1
        return self._ids[self._cursor - 1]

    def sample(self, count: int, without: Collection[NodeId] = ()) -> list[NodeId]:
        """Draw members.

        Args:
            count: how many, where there are so many.
            without: who is not to be drawn.
        """
        drawn = min(len(self._ids), count + len(without))
        chosen = self._rng.sample(self._ids, drawn)
        return [node_id for node_id in chosen if node_id not in without][:count]
