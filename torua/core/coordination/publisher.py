"""What to send whom of a publication: the difference, or the whole."""

from torua.core.coordination.messages import Accepted, Position, Publish
from torua.core.ids import NodeId
from torua.core.state_diff import StateDiff, diff


class Publisher:
    """The last publication, and what each node is known to have accepted.

    Invariants: a difference goes only to whoever is believed to have its parent; it
    asks for the whole where that is wrong.

    Attributes:
        positions: what each node accepted last, as far as it said.
    """

    def __init__(self) -> None:
        """Know of no node, and have published nothing."""
        self.positions: dict[NodeId, Position] = {}
        self._published = Accepted()
        self._parent = Accepted()
        self._diff = StateDiff()

    def begin(self, published: Accepted, parent: Accepted) -> None:
        """Publish this from now on.

        Args:
            published: the value.
            parent: what the coordinator had accepted before.
        """
        self._published, self._parent = published, parent
        self._diff = diff(parent.state, published.state)

    def message(self, node: NodeId, *, has_parent: bool) -> Publish:
        """Return what a node needs in order to accept the publication.

        Args:
            node: who.
            has_parent: whether it is this node, which has the parent for certain.
        """
        value, parent = self._published, self._parent.position
        in_part = has_parent or self.positions.get(node) == parent
        return Publish(
            value.term,
            value.version,
            value.voters,
            value.committed_voters,
            parent=parent,
            whole=None if in_part else value.state,
            diff=self._diff if in_part else None,
        )
