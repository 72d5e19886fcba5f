"""How far from nodes given by key a statement looks: strategy S3.

*Claim.* Let every MATCH, MERGE and subquery, in the order of the text, have in each
connected part of its patterns a node that is given by key in the same clause, or that a
clause before it has bound. Let the distance of a node pattern be 0 if it is given by
key, else the least, over ways to it within its clause, of the distance where the way
begins plus the lengths on the way (a variable length counts with its upper bound); a
variable bound before keeps its own. If each relationship pattern, whose ends have
distances d and e, and whose length is at most l, is followed (all pairs it may be of,
in the directions in which it may be walked) either from the end at d in rounds d + 1 to
d + l, or from both ends at once, in rounds d + 1 and e + 1 to (d + e + l + 1) / 2,
rounded down, then what is gathered has all nodes and relationships of all matches of
all clauses, and the statement gives on it what it gives on the whole graph.

*Argument.* By induction over clauses. Assume that up to some clause the rows on the
gathered graph are those on the whole one. Take a row and a match of the clause for it
in the whole graph. A node whose pattern has distance 0 has one of the anchors' keys. A
node with a distance d that another clause gave it is in the row, so by the assumption
it was seen before round d + 1 began. Along a way from one of these, a relationship from
a node seen before round d + 1 is found in round d + 1, for each round expands all keys
seen before it and not expanded along the same pair and direction yet, and those that
were have been found already; so its far end is seen before round d + 2, and so on up to
l steps. Followed from both ends, a walk of m steps has its i-th found in round d + i if
not later than in e + m - i + 1; the sum of the two is d + e + m + 1, so the lesser is
within the bound, and all steps before it, or all behind it, were found in rounds
before. So all nodes of the match are seen by the rounds of their distances, and each of
its relationships lies on such a way or was found from an end that it is followed from.
So the match is in the gathered graph. What is gathered is a part of the whole graph, so
it has no other matches. Thus the clause gives the same rows, also where it is OPTIONAL
or counted, or where its absence is asked for. All other clauses see nothing but rows.
The shortest paths between two nodes up to an upper bound are among the walks above, and
no shorter one is elsewhere.

What the claim does not cover is refused: a part without anchor, no upper bound,
a relationship's variable that is matched twice, deletions of nodes.
"""

from collections.abc import Container, Iterable, Sequence

from msgspec import Struct

from torua.core.cypher.plan import Along, Anchor, Frontier, Parameter, Source
from torua.core.cypher.syntax import Direction, Length
from torua.core.cypher.tables import Pair, Tables

ROUNDS_MAX = 8
"""Each round asks shards; what lies further away is sooner gathered whole."""

EDGES_MAX = 64
"""Distances are found by going over a clause's relationships again and again."""

Columns = set[str] | None
"""Names of columns; None for all."""


class Entity(Struct, eq=False):
    """What a variable of a node, a relationship or a path stands for.

    Invariants: the tables only become fewer, and only within the clause that makes it.

    Attributes:
        nodes: the tables that a node may be of.
        pairs: the pairs that a relationship may be of.
        parts: of a path.
        recursive: a relationship of variable length.
        distance: from a node given by key; None where that is not known.
    """

    nodes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    parts: "tuple[Entity, ...]" = ()
    recursive: bool = False
    distance: int | None = None


class Edge(Struct, eq=False):
    """A relationship pattern between two node patterns.

    Invariants: it is not changed.

    Attributes:
        left: its left end.
        right: its right end.
        direction: as it is drawn.
        length: if it is variable.
        pairs: that it may be of.
    """

    left: Entity
    right: Entity
    direction: Direction
    length: Length | None
    pairs: tuple[Pair, ...]


class Reach:
    """Collects anchors and rounds, pattern by pattern.

    Invariants: once `blocked` says why it can't be done, it stays.

    Attributes:
        blocked: why not; empty where it can be done.
        hops: whether relationships are followed.
        clauses: how many clauses and subqueries have patterns.
    """

    def __init__(self, tables: Tables) -> None:
        """Begin with nothing known, over the schema of ``tables``."""
        self.tables = tables
        self.blocked = ""
        self.hops = False
        self.clauses = 0
        self._anchors: dict[tuple[str, bool], dict[int, Source]] = {}
        self._rounds: list[dict[tuple[Pair, bool], None]] = []
        self._met = True

    def refuse(self, why: str) -> None:
        """Note that the strategy is not sound for the statement."""
        self.blocked = self.blocked or why

    def anchor(self, entity: Entity, name: str, value: Source, *, many: bool) -> None:
        """Note that a property of a node has a value, and use it if it is the key.

        Args:
            entity: the node.
            name: of the property.
            value: what it equals, or a list that it is in.
            many: it is a list.
        """
        keys = [self.tables.key(table) for table in entity.nodes]
        if not keys or any(key.lower() != name.lower() for key in keys):
            return
        if many and not (isinstance(value, Parameter) or _is_list(value)):
            return
        entity.distance = 0
        for table in entity.nodes:
            known = self._anchors.setdefault((table, many), {})
            known[len(known)] = value

    def add(
        self, nodes: Sequence[Entity], edges: Sequence[Edge], fresh: Container[int]
    ) -> None:
        """Take the patterns of one clause, whose anchors are known already.

        The subqueries within it come after it.

        Args:
            nodes: all that it has.
            edges: all relationships between them.
            fresh: which nodes (by `id`) it binds.
        """
        self.hops = self.hops or bool(edges)
        self.clauses += 1
        if len(edges) > EDGES_MAX:
            self.refuse(f"a clause has over {EDGES_MAX} relationships")
        if any(edge.length and edge.length.upper is None for edge in edges):
            self.refuse("a path has no upper bound")
        if self.blocked:
            return
        distances = _distances(nodes, edges)
        for node in nodes:
            if id(node) not in distances:
                self.refuse("a part of a pattern has no node given by its key")
                return
            if node.distance is None and id(node) in fresh:
                node.distance = distances[id(node)]
        for edge in edges:
            self._follow(edge, distances[id(edge.left)], distances[id(edge.right)])

    def _follow(self, edge: Edge, left: int, right: int) -> None:
        """Follow a relationship from the nearer of its ends, or both if that is less.

        Both ends of a long way meet in half of the rounds; each finds so much less.
        """
        nearer = min(left, right)
        alone, both = nearer + _length(edge), (left + right + _length(edge) + 1) // 2
        self._met = self._met and both < alone and left == right == 0
        if both < alone:
            self._walk(edge, Direction.OUT, left, both)
            self._walk(edge, Direction.IN, right, both)
        else:
            drawn = Direction.OUT if left <= right else Direction.IN
            self._walk(edge, drawn, nearer, alone)

    def _walk(self, edge: Edge, drawn: Direction, start: int, stop: int) -> None:
        """Follow a relationship from one of its ends.

        Args:
            edge: which.
            drawn: how the arrow points that leads away from that end.
            start: the end's distance.
            stop: the last round.
        """
        if stop > ROUNDS_MAX:
            self.refuse(f"it looks further than {ROUNDS_MAX} steps")
            return
        while len(self._rounds) < stop:
            self._rounds.append({})
        ways = [True, False]
        if edge.direction is not Direction.BOTH:
            ways = [edge.direction is drawn]
        for some in self._rounds[start:stop]:
            for pair in edge.pairs:
                some.update(dict.fromkeys((pair, way) for way in ways))

    def meets(self, count: int) -> bool:
        """Tell whether all that was followed was so from both ends, both anchors.

        Args:
            count: how many keys there are, all of one table.
        """
        single = len(self._anchors) == 1 and self._met
        return single and all(
            len(values) == count and not many
            for (_, many), values in self._anchors.items()
        )

    def anchors(self) -> tuple[Anchor, ...]:
        """Return the nodes given by key, table by table."""
        return tuple(
            Anchor(table, tuple(values.values()), many)
            for (table, many), values in self._anchors.items()
        )

    def frontier(
        self,
        nodes: Iterable[tuple[str, tuple[str, ...] | None]],
        columns: dict[Pair, tuple[str, ...] | None],
    ) -> Frontier:
        """Return what is to be followed.

        Args:
            nodes: tables, with the columns to fetch.
            columns: of relationships.
        """
        rounds = tuple(
            tuple(
                Along(pair[0], pair[1:], outgoing, columns.get(pair))
                for pair, outgoing in some
            )
            for some in self._rounds
        )
        return Frontier(self.anchors(), rounds, tuple(nodes))


def _distances(nodes: Sequence[Entity], edges: Sequence[Edge]) -> dict[int, int]:
    """Find the distance of each node that is within reach (Bellman and Ford)."""
    found = {id(node): node.distance for node in nodes if node.distance is not None}
    for _ in edges:
        before = dict(found)
        for edge in edges:
            for near, far in ((edge.left, edge.right), (edge.right, edge.left)):
                if id(near) in found:
                    way = found[id(near)] + _length(edge)
                    found[id(far)] = min(way, found.get(id(far), way))
        if found == before:
            break
    return found


def _length(edge: Edge) -> int:
    """Return how many steps a relationship pattern may take."""
    if edge.length is None:
        return 1
    assert edge.length.upper is not None, "a path without bound was refused"
    return edge.length.upper


def _is_list(value: Source) -> bool:
    """Tell whether a literal is a list."""
    return isinstance(getattr(value, "value", None), list)
