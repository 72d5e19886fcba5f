"""Another single engine, filled in another order: what differs there is not defined."""

from random import Random
from typing import TypeVar

from tests.graph.answers import Answer
from tests.graph.oracle import Oracle, Shape, State
from tests.graph.statements import Statement
from tests.graph.world import Content
from torua.core.ids import ShardId

T = TypeVar("T")


class Shuffled:
    """One engine whose tables were filled in another order.

    Invariants: as `Oracle`'s.
    """

    def __init__(self, shape: Shape, content: Content, order: int = 0) -> None:
        """Make and fill it.

        Args:
            shape: its schema.
            content: what it shall hold.
            order: which of many.
        """
        self._oracle = Oracle(shape)
        dice = Random(order)
        nodes = {name: _shuffled(dice, rows) for name, rows in content.nodes.items()}
        rels = {name: _shuffled(dice, rows) for name, rows in content.rels.items()}
        self._oracle.load(dict(nodes), dict(rels))

    def run(self, statement: Statement) -> Answer:
        """Run a statement."""
        return self._oracle.run(statement)

    def state(self) -> State:
        """Return all that it holds."""
        return self._oracle.state()

    def verify(self) -> list[ShardId]:
        """Find nothing: it follows nobody."""
        return []

    def close(self) -> None:
        """Close it."""
        self._oracle.close()


def _shuffled(dice: Random, items: list[T]) -> list[T]:
    """Return items in another order."""
    return dice.sample(items, len(items))
