"""What goes with a node that is deleted: its relationships, wherever they stand.

Those that go from it stand with it, and go in the same group, which also checks that no
others came meanwhile.  Those that come to it stand with their sources, on any shard;
they are found by the engines.  What of them is not yet removed is hidden, for its
``born`` is not that of any node, and a *grave* names it until the sweeper was there.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from torua.core.graph.keys import edge_key, edges_prefix, grave_key, node_key
from torua.core.graph.schema import Graph, NodeTable, RelTable
from torua.core.graph.types import Cell
from torua.core.kv import Call, Check, Condition
from torua.errors import RelatedError
from torua.node.graph.bundles import Again, Bundle, Pin, RowDelete, Why
from torua.node.graph.lookup import Lookup, Store, Stored, together
from torua.node.graph.wanted import NodeEnd, Wanted, WantedNode, spell_end

OUTGOING_MAX = 100_000
"""A node with more relationships than this is deleted after some of them are."""


class Incoming(Struct, frozen=True):
    """A relationship as an engine shows it.

    Attributes:
        rel: its table.
        source: the node that it goes from.
        target: the node that it goes to.
        edge_id: tells it from others of its type between the same nodes.
        version: of its row.
        born: its far end's, as it was when the relationship was made.
    """

    rel: RelTable
    source: NodeEnd
    target: NodeEnd
    edge_id: bytes
    version: int
    born: int

    def key(self, graph: Graph) -> bytes:
        """Spell where it stands."""
        return edge_key(graph, self.rel, self.source, self.target, self.edge_id)

    def source_key(self, graph: Graph) -> bytes:
        """Spell where the node stands that it goes from."""
        return node_key(graph, *self.source)

    def target_key(self, graph: Graph) -> bytes:
        """Spell where the node stands, or stood, that it goes to."""
        return node_key(graph, *self.target)

    @property
    def what(self) -> str:
        """The relationship, for people."""
        return f"{self.rel.name} from {spell_end(self.source)}"


class Finder(Protocol):
    """Finds relationships by the nodes that they go to, on all shards."""

    async def incoming(
        self, graph: Graph, table: NodeTable, keys: Sequence[Cell], call: Call
    ) -> Sequence[Incoming]:
        """Find relationships that come to some nodes, there or not, linearizable.

        Args:
            graph: the schema.
            table: of the nodes.
            keys: their primary keys.
            call: who asks, and how long it waits.
        """


def is_target(graph: Graph, table: NodeTable) -> bool:
    """Tell whether any relationship may come to a table's nodes.

    Args:
        graph: the schema.
        table: of nodes.
    """
    return any(table.table_id == to for rel in graph.rels for _, to in rel.pairs)


def is_source(graph: Graph, table: NodeTable) -> bool:
    """Tell whether any relationship may go from a table's nodes.

    Args:
        graph: the schema.
        table: of nodes.
    """
    return any(table.table_id == from_ for rel in graph.rels for from_, _ in rel.pairs)


class Removal:
    """Finds what goes with nodes that are deleted.

    Invariants: it changes nothing; relationships that the same statement deletes are
    not counted against it.

    Threading: the reactor's thread.
    """

    def __init__(self, store: Store, finder: Finder) -> None:
        """Look in ``store`` for what goes from nodes, by ``finder`` for what comes."""
        self._store = store
        self._lookup = Lookup(store)
        self._finder = finder

    async def incoming(
        self, graph: Graph, nodes: Iterable[WantedNode], call: Call
    ) -> list[Incoming]:
        """Find the relationships that come to some nodes.

        Args:
            graph: the schema.
            nodes: any.
            call: who asks.
        """
        tables: dict[int, tuple[NodeTable, list[Cell]]] = {}
        for node in nodes:
            if is_target(graph, node.table):
                found = tables.setdefault(node.table.table_id, (node.table, []))
                found[1].append(node.pk)
        parts = [
            self._incoming(graph, table, keys, call) for table, keys in tables.values()
        ]
        return [each for part in await together(parts) for each in part]

    async def bundle(
        self,
        graph: Graph,
        node: WantedNode,
        found: Stored,
        wanted: Wanted,
        call: Call,
    ) -> Bundle:
        """Make the bundle that deletes a node with what goes from it.

        Args:
            graph: the schema.
            node: to be deleted.
            found: its row.
            wanted: all that the statement does.
            call: who asks.

        Raises:
            RelatedError: there are relationships, and it is not to detach.
        """
        shard = self._store.shard_of_key(node.key)
        pins: tuple[Pin, ...] = ()
        outgoing: list[bytes] = []
        if is_source(graph, node.table):
            prefix = edges_prefix(graph, node.table, node.pk)
            outgoing = await self._lookup.under(prefix, OUTGOING_MAX, call)
            why = Why(f"{node.what} has got more relationships", Again.LOOK)
            pins = (Pin(Check(prefix, most=0), why),)
        others = [key for key in outgoing if not _deletes(wanted, key)]
        if others and not node.detach:
            raise still_related(node, "relationships go from it")
        why = Why(f"{node.what} was changed meanwhile")
        gone = Why(f"a relationship of {node.what} was changed meanwhile", Again.LOOK)
        writes = [RowDelete(node.key, (Condition((found.version,), True),), why)]
        writes += [RowDelete(key, (), gone) for key in others]
        if is_target(graph, node.table):
            place = grave_key(graph, node.table, node.pk, found.born)
            writes.append(RowDelete(place, (), why, grave=True))
        counts = {"nodes_deleted": 1, "edges_deleted": len(others)}
        return Bundle(shard, pins, tuple(writes), counts)

    def detached(self, graph: Graph, found: Iterable[Incoming]) -> list[Bundle]:
        """Make the bundles that remove relationships that came to deleted nodes.

        Args:
            graph: the schema.
            found: what came to them.
        """
        bundles = []
        for each in found:
            key = each.key(graph)
            why = Why(f"{each.what} was changed meanwhile", Again.LOOK)
            write = RowDelete(key, (Condition((each.version,), True),), why)
            shard = self._store.shard_of_key(key)
            bundles.append(Bundle(shard, (), (write,), {"edges_deleted": 1}))
        return bundles

    async def _incoming(
        self, graph: Graph, table: NodeTable, keys: Sequence[Cell], call: Call
    ) -> Sequence[Incoming]:
        """Find what comes to nodes of one table."""
        return await self._finder.incoming(graph, table, keys, call)


def _deletes(wanted: Wanted, key: bytes) -> bool:
    """Tell whether a statement deletes a relationship by itself."""
    edge = wanted.edges.get(key)
    return edge is not None and edge.cells is None


def still_related(node: WantedNode, how: str) -> RelatedError:
    """Make the refusal to delete a node that still has relationships.

    Args:
        node: which.
        how: of which sort they are.
    """
    detail = f"{node.what} can't be deleted: {how}; delete them first, or DETACH DELETE"
    return RelatedError(detail)
