"""Which relationships the shortest ways between two nodes are made of.

*Shape.* One MATCH of one path: two nodes of one table, each given by its key, and
between them one relationship pattern ``* SHORTEST 1..n`` or ``* ALL SHORTEST 1..n``
without direction, filter and properties, of one table that leads from that node table
to itself.  Then one RETURN.

*Claim.* Let the two nodes differ, and let some rounds have expanded both of them, and
what was found, in both directions.  If the relationships found have a way between the
two, and the shortest such is no longer than twice the rounds, then the statement gives
on the relationships of all ways so short, with the nodes at their ends, what it gives
on the whole graph.  If there is none after n / 2 rounds, rounded up, it gives on the
two nodes alone what it gives on the whole graph.

*Argument.* Step i of a way of m steps begins i - 1 steps from the one node, and ends
m - i from the other.  The lesser of the two is less than m / 2, so a way of up to twice
the rounds was found whole.  So no shorter way is elsewhere, and no other one as short;
and ways that are longer are none of the pattern's.
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from torua.core.cypher.footprint import Footprint
from torua.core.cypher.syntax import Direction, Match
from torua.core.cypher.tables import Pair

_ENDS = 2

Node = TypeVar("Node", bound=Hashable)


def shortest(footprint: Footprint) -> Pair | None:
    """Tell which relationships lie on the way, if a statement is of the shape.

    Args:
        footprint: of the statement, which has nodes given by key.
    """
    shape = footprint.match_and_return()
    if shape is None:
        return None
    match, _ = shape
    if match.optional or match.hint or footprint.reach.clauses != 1:
        return None
    return _pair(footprint, match)


def _pair(footprint: Footprint, match: Match) -> Pair | None:
    """Return the pair of the only relationship of a MATCH, if that is of the shape."""
    path = match.paths[0]
    if len(match.paths) != 1 or len(path.rels) != 1:
        return None
    rel, (left, right) = path.rels[0], path.nodes
    length, pairs = rel.length, footprint.tables.pairs(rel.types)
    if length is None or not (length.shortest and length.plain and length.lower == 1):
        return None
    if rel.properties or rel.direction is not Direction.BOTH or len(pairs) != 1:
        return None
    labels = [footprint.tables.node_names(node.labels) for node in (left, right)]
    same = labels == [pairs[0][1:2], pairs[0][2:3]] and labels[0] == labels[1]
    if not same or left.variable == right.variable != "":
        return None
    return pairs[0] if footprint.reach.meets(_ENDS) else None


def ways_between(
    edges: Sequence[tuple[Node, Node]], start: Node, stop: Node, most: int
) -> list[int] | None:
    """List the relationships of the shortest ways between two nodes, by their places.

    Args:
        edges: both ends of each.
        start: the one node.
        stop: the other.
        most: a way may be so long.

    Returns:
        None where there is no way, or none so short.
    """
    near: dict[Node, list[Node]] = {}
    for one, other in edges:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    ahead, back = _distances(near, start, most), _distances(near, stop, most)
    if stop not in ahead:
        return None
    whole = ahead[stop] - 1
    return [
        place
        for place, (one, other) in enumerate(edges)
        if whole in (_sum(ahead, one, back, other), _sum(ahead, other, back, one))
    ]


def _distances(near: dict[Node, list[Node]], start: Node, most: int) -> dict[Node, int]:
    """Find how far nodes are from one, up to so far."""
    found, last = {start: 0}, [start]
    for distance in range(1, most + 1):
        following = dict.fromkeys(each for one in last for each in near.get(one, ()))
        last = [each for each in following if each not in found]
        found.update(dict.fromkeys(last, distance))
    return found


def _sum(
    ahead: dict[Node, int], one: Node, back: dict[Node, int], other: Node
) -> int | None:
    """Add two distances; None where one is not known."""
    if one not in ahead or other not in back:
        return None
    return ahead[one] + back[other]
