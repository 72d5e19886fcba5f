"""Writes of one turn, which a primary is given together, as `torua.node.requests`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torua.core.replication import messages as m

if TYPE_CHECKING:
    from tests.simulation.cluster_copy import Errand
    from tests.simulation.cluster_node import DataNode

TURN_S = 0.0005
"""Writes that come within so long are handed over together."""


class Gathered:
    """The writes that one copy was asked for in this turn.

    Invariants: each is handed over once, in order, in the life in which it came.
    """

    def __init__(self, node: "DataNode", tell: Callable[[m.Writes], None]) -> None:
        """Begin with none.

        Args:
            node: where the copy is.
            tell: hands them to its machine.
        """
        self._node = node
        self._tell = tell
        self._waiting: list[m.Write] = []

    def add(self, number: int, errand: "Errand") -> None:
        """Hand another over at the end of the turn.

        Args:
            number: of the request.
            errand: what to write.
        """
        if not self._waiting:
            self._node.world.at(TURN_S, self._node.entry(self.end))
        asked = (errand.operations, self._node.wall_ns, errand.idempotency)
        self._waiting.append(m.Write(number, *asked))

    def end(self) -> None:
        """Hand all over, if there are any."""
        writes, self._waiting = tuple(self._waiting), []
        if writes:
            self._tell(m.Writes(writes))
