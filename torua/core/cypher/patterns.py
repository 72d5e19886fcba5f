"""What the patterns of one clause stand for, and of which tables that can be."""

from msgspec import Struct

from torua.core.cypher.frontier import Entity
from torua.core.cypher.syntax import Direction, NodePattern, RelPattern
from torua.core.cypher.tables import Pair

MadeEdge = tuple[RelPattern, Entity, Entity, Entity]
"""A relationship pattern, what its left and right ends are, and what it is."""


class Made(Struct, eq=False):
    """What the patterns of one clause stand for.

    Invariants: lists are in the order of the text.

    Attributes:
        nodes: each node pattern, with what it stands for.
        edges: likewise.
        fresh: which nodes (by `id`) no clause before has bound.
    """

    nodes: list[tuple[NodePattern, Entity]]
    edges: list[MadeEdge]
    fresh: set[int]


def narrow(made: Made) -> None:
    """Leave out the tables that can't be at an end of a relationship.

    Only nodes that this clause has made are narrowed: what was bound before may be
    of tables that this clause does not match.  Paths of variable length narrow
    nothing.

    Args:
        made: the patterns of one clause, whose matches have all of them.
    """
    for _ in range(2):
        for rel, left, right, entity in made.edges:
            if rel.length is not None:
                continue
            ends = [(pair, *_fits(rel, pair, left, right)) for pair in entity.pairs]
            entity.pairs = tuple(pair for pair, lefts, _ in ends if lefts)
            for node, at in ((left, 1), (right, 2)):
                if id(node) in made.fresh:
                    allowed = {name for each in ends for name in each[at]}
                    node.nodes = tuple(name for name in node.nodes if name in allowed)


def _fits(
    rel: RelPattern, pair: Pair, left: Entity, right: Entity
) -> tuple[list[str], list[str]]:
    """Return what a pair may have at the left and at the right of a pattern."""
    _, source, target = pair
    lefts, rights = [], []
    for at_left, at_right, against in (
        (source, target, Direction.IN),
        (target, source, Direction.OUT),
    ):
        fits = at_left in left.nodes and at_right in right.nodes
        if fits and rel.direction is not against:
            lefts.append(at_left)
            rights.append(at_right)
    return lefts, rights
