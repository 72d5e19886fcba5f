"""Changes bundled: what is to be written, and what must hold then.

A node is set as it was read, or must not be there.  A relationship is set with the
birth of the node that it goes to; the node that it goes from must be there when it is
done, and so must the other one where it is on the same shard.
"""

from collections.abc import Callable, Mapping

from torua.codec.rows import Row
from torua.core.graph.keys import edges_prefix
from torua.core.graph.schema import Graph
from torua.core.graph.types import Cell
from torua.core.ids import ShardId
from torua.core.kv import Check, Condition
from torua.errors import ConflictError, DuplicateError, UnprocessableError
from torua.node.graph.bundles import (
    ABSENT,
    EXISTS,
    Again,
    Bundle,
    Pin,
    RowDelete,
    RowPut,
    Why,
)
from torua.node.graph.lookup import Stored
from torua.node.graph.wanted import Wanted, WantedEdge, WantedNode, spell_end

Found = Mapping[bytes, Stored | None]

ONE_TARGET = ("MANY_ONE", "ONE_ONE")
ONE_SOURCE = ("ONE_MANY", "ONE_ONE")


class Draft:
    """The bundles of a statement's changes, but for deletions of nodes.

    Invariants: what the changes rest on was looked up, and compared.

    Attributes:
        graph: the schema.
        wanted: the changes.
        found: what stands.
    """

    def __init__(
        self,
        graph: Graph,
        shard_of: Callable[[bytes], ShardId],
        wanted: Wanted,
        found: Found,
    ) -> None:
        """Draft some changes.

        Args:
            graph: the schema.
            shard_of: tells the shard of a key.
            wanted: the changes.
            found: what stands, as `compare` took it.
        """
        self.graph = graph
        self.wanted = wanted
        self.found = found
        self._shard_of = shard_of

    def nodes(self) -> list[Bundle]:
        """Bundle the nodes that are made or changed."""
        return [
            self._node(node, node.cells)
            for node in self.wanted.nodes.values()
            if node.cells is not None
        ]

    def _node(self, node: WantedNode, cells: dict[int, Cell]) -> Bundle:
        """Bundle one node that is made or changed."""
        shard = self._shard_of(node.key)
        if node.version is None:
            why = Why(f"{node.what} exists already")
            put = RowPut(node.key, Row(0, cells), (ABSENT,), why)
            return Bundle(shard, (), (put,), {"nodes_created": 1})
        stands = self._stands(node.key)
        why = Why(f"{node.what} was changed meanwhile")
        pinned = (Condition((node.version,), True),)
        put = RowPut(node.key, Row(stands.born, cells), pinned, why)
        return Bundle(shard, (), (put,), {"nodes_updated": 1})

    def edges(self) -> list[Bundle]:
        """Bundle all relationships."""
        return [
            self._new_edge(edge, edge.cells)
            if edge.version is None and edge.cells is not None
            else self._old_edge(edge)
            for edge in self.wanted.edges.values()
        ]

    def _old_edge(self, edge: WantedEdge) -> Bundle:
        """Bundle a relationship that is changed or deleted."""
        assert edge.version is not None, "it was read"
        shard = self._shard_of(edge.key)
        why = Why(f"{edge.what} was changed meanwhile")
        pinned = (Condition((edge.version,), True),)
        if edge.cells is None:
            gone = RowDelete(edge.key, pinned, why)
            return Bundle(shard, (), (gone,), {"edges_deleted": 1})
        stands = self._stands(edge.key)
        put = RowPut(edge.key, Row(stands.born, edge.cells), pinned, why)
        return Bundle(shard, (), (put,), {"edges_updated": 1})

    def _new_edge(self, edge: WantedEdge, cells: dict[int, Cell]) -> Bundle:
        """Bundle a relationship that is made, with what must hold of its nodes."""
        shard = self._shard_of(edge.key)
        pins: list[Pin] = []
        if not _makes(self.wanted, edge.source_key):
            why = Why(f"{spell_end(edge.source)} was deleted meanwhile")
            pins.append(Pin(Check(edge.source_key, (EXISTS,)), why))
        born, end = 0, None
        if _makes(self.wanted, edge.target_key):
            end = edge.target_key
        else:
            born = self._stands(edge.target_key).born
            pins += self._near(edge, shard)
        if edge.rel.multiplicity in ONE_TARGET:
            pins.append(_only(self.graph, edge))
        why = Why(f"{edge.what} exists already")
        put = RowPut(edge.key, Row(born, cells), (ABSENT,), why, end)
        return Bundle(shard, tuple(pins), (put,), {"edges_created": 1})

    def _near(self, edge: WantedEdge, shard: ShardId) -> list[Pin]:
        """Pin the far end of a relationship that is on the same shard, as it stands."""
        key = edge.target_key
        if key in self.wanted.nodes or self._shard_of(key) != shard:
            return []
        pinned = (Condition((self._stands(key).version,), True),)
        why = Why(f"{spell_end(edge.target)} was changed meanwhile", Again.LOOK)
        return [Pin(Check(key, pinned), why)]

    def uniques(self) -> list[WantedEdge]:
        """List new relationships that must be the only one to come to their nodes.

        There are such tables in graphs of one shard only.

        Raises:
            ConflictError: two of them come to one node.
        """
        targets: dict[tuple[bytes, int], WantedEdge] = {}
        for edge in self.wanted.edges.values():
            if edge.version is None and edge.rel.multiplicity in ONE_SOURCE:
                place = (edge.target_key, edge.rel.table_id)
                if place in targets:
                    raise second(edge)
                targets[place] = edge
        return list(targets.values())

    def touches(self) -> list[Bundle]:
        """Bundle the nodes of `uniques`, each written anew as it stands.

        So of two statements at once that both found nothing, the second one fails.
        """
        ends = {edge.target_key: edge for edge in self.uniques()}
        return [
            self._touch(edge)
            for key, edge in ends.items()
            if key not in self.wanted.nodes
        ]

    def _touch(self, edge: WantedEdge) -> Bundle:
        """Bundle a node that is written as it stands."""
        stands = self._stands(edge.target_key)
        assert stands.row is not None, "looked up whole"
        why = Why(f"{spell_end(edge.target)} was changed meanwhile", Again.LOOK)
        pinned = (Condition((stands.version,), True),)
        row = Row(stands.born, stands.row.cells)
        put = RowPut(edge.target_key, row, pinned, why)
        return Bundle(self._shard_of(edge.target_key), (), (put,), {})

    def _stands(self, key: bytes) -> Stored:
        """Return a row that is there."""
        stands = self.found[key]
        assert stands is not None, "compared"
        return stands


def compare(wanted: Wanted, found: Found, *, promised: bool) -> None:
    """Raise ConflictError where what stands is not what the changes rest on.

    Args:
        wanted: the changes.
        found: what stands.
        promised: it may be that the same was done before: that is for the shards to
            say, who remember.
    """
    rows: list[WantedNode | WantedEdge] = [*wanted.nodes.values()]
    for row in (*rows, *wanted.edges.values()):
        stands = found.get(row.key)
        if row.version is None:
            if stands is not None and not promised:
                raise DuplicateError(f"{row.what} exists already")
        elif stands is None:
            raise ConflictError(f"{row.what} was deleted meanwhile")
        elif stands.version != row.version and not promised:
            raise ConflictError(f"{row.what} was changed meanwhile")
    for edge in wanted.edges.values():
        if edge.version is None:
            _compare_end(edge.source_key, spell_end(edge.source), wanted, found)
            _compare_end(edge.target_key, spell_end(edge.target), wanted, found)


def _compare_end(key: bytes, what: str, wanted: Wanted, found: Found) -> None:
    """Raise where a node is not there that a relationship is to go from, or to."""
    node = wanted.nodes.get(key)
    if node is not None:
        if node.cells is None:
            raise UnprocessableError(f"{what} is deleted by the same statement")
    elif found[key] is None:
        raise ConflictError(f"{what} does not exist")


def _makes(wanted: Wanted, key: bytes) -> bool:
    """Tell whether a node is made by the same statement."""
    node = wanted.nodes.get(key)
    return node is not None and node.version is None


def _only(graph: Graph, edge: WantedEdge) -> Pin:
    """Check that a relationship is the only one of its type that goes from a node."""
    prefix = edges_prefix(graph, *edge.source, edge.rel)
    what = f"{spell_end(edge.source)} has a {edge.rel.name} already"
    return Pin(Check(prefix, most=1), Why(what))


def second(edge: WantedEdge) -> DuplicateError:
    """Make the refusal of a second relationship to a node."""
    what = f"a {edge.rel.name} comes to {spell_end(edge.target)} already"
    return DuplicateError(what)
