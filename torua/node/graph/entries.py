"""Nodes and relationships read and written one at a time, by key; no engine is asked.

A write reads what stands, says what shall be, and has the shard check that it still
stands so; where others changed it in between it begins anew.
"""

from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Protocol, TypeVar

from msgspec import Struct

from torua.core.graph.changes import Change, Changed, EdgeChange, NodeChange
from torua.core.graph.entries import EdgeSpot, NodeSpot, RowRead, RowWritten
from torua.core.graph.keys import EdgeKey, edge_key, node_key, read_key
from torua.core.graph.schema import Graph, NodeTable, RelTable
from torua.core.graph.types import Cell
from torua.core.kv import Call, Condition, Served
from torua.errors import (
    ConflictError,
    MovedError,
    NotFoundError,
    PreconditionError,
    RelatedError,
    StaleSchemaError,
    ToruaError,
    UnprocessableError,
)
from torua.node.graph.bundles import Demand
from torua.node.graph.lookup import Lookup, Store, Stored, bare
from torua.node.graph.schemas import NEWS_S
from torua.node.graph.wanted import pair_of, spell_end, writable
from torua.node.graph.writes import Writes

T = TypeVar("T")

ATTEMPTS_MAX = 8
"""How often others may change a row before a write of it gives up."""

PARALLEL_MAX = 8
"""So many relationships between two nodes are named where one was meant."""

NEVER = -1
"""No version."""

Conditions = tuple[Condition, ...]


class Attempt(Struct, frozen=True):
    """One attempt at a write.

    Attributes:
        key: where the row stands.
        change: what to do; None: nothing.
        found: rows that were looked up for it.
        version: of the row that it rests on; None: absent.
        demand: what the caller demands of it.
        further: the write itself is yet to come.
    """

    key: bytes
    change: Change | None
    found: Mapping[bytes, Stored | None]
    version: int | None
    demand: Demand | None = None
    further: bool = False


class Schemas(Protocol):
    """The schemas of all graphs."""

    def graph(self, name: str) -> Graph:
        """Return one by name; NotFoundError where there is none."""

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return a schema once it is applied here, of a version at least.

        Args:
            name: which.
            version: at least.
            timeout_s: how long to wait.
        """


class Entries:
    """Reads and writes single rows.

    Invariants: a relationship is shown only while both of its nodes are there, and are
    those that it was made between.

    Threading: the reactor's thread.
    """

    def __init__(
        self, store: Store, schemas: Schemas, writes: Writes, node_name: str
    ) -> None:
        """Read from ``store``, and write by ``writes``.

        Args:
            store: the shards.
            schemas: of all graphs.
            writes: writes changes.
            node_name: this node's, which has writes done.
        """
        self._store = store
        self._lookup = Lookup(store)
        self._writes = writes
        self._schemas = schemas
        self._node_name = node_name

    async def by_schema(self, name: str, read: Callable[[Graph], T]) -> T:
        """Read something by a graph's schema; by the next one if that is just coming.

        Who was told by another node that a table is there may ask this one for it
        before it has heard of it.

        Args:
            name: the graph's.
            read: its `NotFoundError` or `UnprocessableError` may be mended
                by a newer schema.

        Raises:
            NotFoundError: there is no such graph.
        """
        graph = self._schemas.graph(name)
        try:
            return read(graph)
        except (NotFoundError, UnprocessableError):
            newer = await self._schemas.wait(name, graph.version + 1, NEWS_S)
            if newer.version == graph.version:
                raise
        return read(newer)

    async def node(
        self, graph: Graph, spot: NodeSpot, call: Call
    ) -> tuple[RowRead | None, Served]:
        """Read a node, as fresh as the call asks; None where it is absent.

        Args:
            graph: its graph.
            spot: which.
            call: who asks, and how fresh it must be.
        """
        writable(graph, spot.table.name)
        key = node_key(graph, spot.table, spot.key)
        stands, served = await self._lookup.one(key, call)
        return _read(spot.table, stands), served

    async def put_node(  # noqa: PLR0913
        self,
        graph: Graph,
        spot: NodeSpot,
        cells: Mapping[str, Cell],
        call: Call,
        *,
        conditions: Conditions,
        merge: bool,
    ) -> RowWritten:
        """Make a node or set all its properties; or set some of one that is there.

        Args:
            graph: its graph.
            spot: which.
            cells: its properties, by name.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.
            merge: properties that are not named stay, and it must be there.

        Raises:
            NotFoundError: it is not there.
            PreconditionError: a condition does not hold.
        """
        key = node_key(graph, spot.table, spot.key)
        demand = Demand(key, conditions, count())

        async def attempt() -> Attempt:
            """Read the node, and say what it shall be."""
            found = await self._lookup.rows(((key, True),), call)
            stands = found[key]
            if stands is None and merge:
                raise _absent(spot)
            before = _named(spot.table, stands) if merge else _defaults(spot.table)
            version = stands.version if stands else None
            after = before | dict(cells)
            change = NodeChange(spot.table.name, spot.key, after, version)
            return Attempt(key, change, found, version, demand)

        return await self._done(graph, attempt, call)

    async def delete_node(
        self,
        graph: Graph,
        spot: NodeSpot,
        call: Call,
        *,
        conditions: Conditions,
        detach: bool,
    ) -> RowWritten:
        """Delete a node; no error where it is not there.

        Args:
            graph: its graph.
            spot: which.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.
            detach: its relationships go with it; else there may be none.

        Raises:
            RelatedError: it has relationships.
            PreconditionError: a condition does not hold.
        """
        writable(graph, spot.table.name)
        key = node_key(graph, spot.table, spot.key)

        async def attempt() -> Attempt:
            """Read the node."""
            found = await self._lookup.rows(((key, True),), call)
            stands = found[key]
            version = stands.version if stands else None
            demand_now(conditions, version)
            change = NodeChange(spot.table.name, spot.key, None, version, detach)
            return Attempt(key, change if stands else None, found, version)

        return await self._done(graph, attempt, call)

    async def edge(
        self, graph: Graph, spot: EdgeSpot, call: Call
    ) -> tuple[RowRead | None, Served]:
        """Read a relationship; None where there is none to be seen.

        Args:
            graph: its graph.
            spot: which.
            call: who asks.

        Raises:
            ConflictError: there are several, and it is not said which.
        """
        key, stands, _ = await self._edge(graph, spot, call)
        served = Served(self._store.shard_of_key(key), self._node_name)
        read = _read(spot.rel, stands)
        if read is None:
            return None, served
        return RowRead(read.cells, read.version, _id_of(key)), served

    async def put_edge(
        self,
        graph: Graph,
        spot: EdgeSpot,
        cells: Mapping[str, Cell],
        call: Call,
        conditions: Conditions,
    ) -> RowWritten:
        """Make a relationship, or set all its properties.

        Args:
            graph: its graph.
            spot: which; where there is none between its nodes, one is made.
            cells: its properties, by name.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.

        Raises:
            NotFoundError: a node of it is not there.
            ConflictError: there are several, and it is not said which.
            PreconditionError: a condition does not hold.
        """
        numbers = count()
        after = _defaults(spot.rel) | dict(cells)

        async def attempt() -> Attempt:
            """Read the relationship, and say what it shall be."""
            key, stands, hidden = await self._edge(graph, spot, call)
            found = {key: stands or hidden}
            if hidden is not None:
                demand_now(conditions, None)
                gone = _edge_change(spot, key, None, hidden)
                return Attempt(key, gone, found, hidden.version, further=True)
            await self._ends(graph, spot, call)
            demand = Demand(key, conditions, numbers)
            change = _edge_change(spot, key, after, stands)
            version = stands.version if stands else None
            return Attempt(key, change, found, version, demand)

        return await self._done(graph, attempt, call)

    async def delete_edge(
        self, graph: Graph, spot: EdgeSpot, call: Call, conditions: Conditions
    ) -> RowWritten:
        """Delete a relationship; no error where there is none.

        Args:
            graph: its graph.
            spot: which.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.

        Raises:
            ConflictError: there are several, and it is not said which.
            PreconditionError: a condition does not hold.
        """
        numbers = count()

        async def attempt() -> Attempt:
            """Read the relationship."""
            key, stands, _ = await self._edge(graph, spot, call)
            if stands is None:
                demand_now(conditions, None)
                return Attempt(key, None, {}, None)
            demand = Demand(key, conditions, numbers)
            change = _edge_change(spot, key, None, stands)
            return Attempt(key, change, {key: stands}, stands.version, demand)

        return await self._done(graph, attempt, call)

    async def _done(
        self, graph: Graph, attempt: Callable[[], Awaitable[Attempt]], call: Call
    ) -> RowWritten:
        """Have a write done, anew where others changed the row in between."""
        before: int | None = NEVER
        last: ToruaError
        for _ in range(ATTEMPTS_MAX):
            try:
                tried = await attempt()
            except MovedError as error:
                last = error
                continue
            try:
                changed = await self._tried(graph, tried, call)
            except MovedError as error:
                last = error
                continue
            except (StaleSchemaError, RelatedError):
                raise
            except ConflictError as error:
                if tried.version == before:
                    raise
                before, last = tried.version, error
                continue
            if not tried.further:
                shard = self._store.shard_of_key(tried.key)
                served = Served(shard, self._node_name, changed.tokens)
                kept = tried.change is not None and tried.change.cells is not None
                return RowWritten(changed.version if kept else None, served)
        raise ConflictError(last.detail)

    async def _tried(self, graph: Graph, tried: Attempt, call: Call) -> Changed:
        """Have an attempt done."""
        if tried.change is None:
            return Changed()
        who = bare(call) if tried.further else call
        changes = (tried.change,)
        return await self._writes.apply(graph, changes, who, tried.found, tried.demand)

    async def _edge(
        self, graph: Graph, spot: EdgeSpot, call: Call
    ) -> tuple[bytes, Stored | None, Stored | None]:
        """Find a relationship: its key, its row, or else a row that nobody may see."""
        pair_of(graph, spot.rel, spot.source.table, spot.target.table)
        source = (spot.source.table, spot.source.key)
        target = (spot.target.table, spot.target.key)
        key = edge_key(graph, spot.rel, source, target, spot.edge_id or b"")
        keys = [key]
        if spot.edge_id is None:
            keys = await self._lookup.under(key, PARALLEL_MAX, call) or keys
        end = node_key(graph, *target)
        found = await self._lookup.rows([(each, True) for each in (*keys, end)], call)
        seen = [each for each in keys if _is_seen(found[each], found[end])]
        if len(seen) > 1:
            ids = ", ".join(f"'{_id_of(each).hex()}'" for each in seen)
            raise ConflictError(f"there are several: say which one by its id: {ids}")
        if seen:
            return seen[0], found[seen[0]], None
        return key, None, found.get(key)

    async def _ends(self, graph: Graph, spot: EdgeSpot, call: Call) -> None:
        """Raise NotFoundError where a node of a relationship is not there."""
        keys = {
            node_key(graph, end.table, end.key): end
            for end in (spot.source, spot.target)
        }
        found = await self._lookup.rows([(key, False) for key in keys], call)
        for key, end in keys.items():
            if found[key] is None:
                raise _absent(end)


def demand_now(conditions: Conditions, version: int | None) -> None:
    """Raise PreconditionError where a condition does not hold.

    Args:
        conditions: all of them must hold.
        version: of what is seen; None: nothing is.
    """
    if not all(each.holds(version) for each in conditions):
        stands = "it is absent" if version is None else f"it is at version {version}"
        raise PreconditionError(f"the condition does not hold: {stands}")


def _absent(spot: NodeSpot) -> NotFoundError:
    """Make the error of a node that is not there."""
    return NotFoundError(f"there is no {spell_end((spot.table, spot.key))}")


def _is_seen(edge: Stored | None, target: Stored | None) -> bool:
    """Tell whether a relationship goes to a node as it is now."""
    return edge is not None and target is not None and edge.born == target.born


def _id_of(key: bytes) -> bytes:
    """Return the id of a relationship."""
    spot = read_key(key)
    assert isinstance(spot, EdgeKey), "a relationship"
    return spot.edge_id


def _edge_change(
    spot: EdgeSpot, key: bytes, cells: dict[str, Cell] | None, stands: Stored | None
) -> EdgeChange:
    """Say what a relationship shall be."""
    return EdgeChange(
        spot.rel.name,
        (spot.source.table.name, spot.source.key),
        (spot.target.table.name, spot.target.key),
        _id_of(key),
        cells,
        stands.version if stands else None,
        merged=True,
    )


def _named(table: NodeTable | RelTable, stands: Stored | None) -> dict[str, Cell]:
    """Return the properties of a row by name."""
    cells = stands.row.cells if stands is not None and stands.row else {}
    return {
        each.name: cells.get(each.column_id, each.default)
        for each in table.columns
        if each.column_id in cells or each.default is not None
    }


def _defaults(table: NodeTable | RelTable) -> dict[str, Cell]:
    """Return what new rows have where nothing is given."""
    return {
        each.name: each.default for each in table.columns if each.default is not None
    }


def _read(table: NodeTable | RelTable, stands: Stored | None) -> RowRead | None:
    """Return a row as it is shown."""
    if stands is None:
        return None
    return RowRead(_named(table, stands), stands.version)
