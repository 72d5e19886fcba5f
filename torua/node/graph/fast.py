"""Writes that need no gather: what they touch is named by keys.

The rows that they name are looked up, many at once; then all that the statement does is
done to them in order, in memory, and what differs in the end is what is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torua.codec.plain import spell
from torua.core.cypher.plan import (
    CreateEdge,
    CreateNode,
    DeleteNode,
    FastWrite,
    FastWrites,
    Field,
    Literal,
    Parameter,
    SetNode,
    Source,
)
from torua.core.graph.cells import check
from torua.core.graph.changes import Change, EdgeChange, NodeChange
from torua.core.graph.keys import edge_key, node_key
from torua.core.graph.schema import (
    Graph,
    NodeTable,
    RelTable,
    column,
    node_table,
    rel_table,
)
from torua.core.graph.types import Cell
from torua.core.kv import Call
from torua.errors import DuplicateError, TooLargeError, UnprocessableError
from torua.node.graph.drafting import Found
from torua.node.graph.lookup import Lookup, Stored, together
from torua.node.graph.wanted import CHANGES_MAX, pair_of, writable

TURN = 500
"""So many steps are taken before others get a turn."""

MERGES_AT_ONCE = 100
"""So many pairs of nodes are looked at at once for relationships between them."""

MERGED_MAX = 10_000
"""So many relationships between two nodes are compared with what is merged."""

MERGE_ID_BYTES = 16

CELLS_MAX = 4_000_000
"""So many values may rows of different fields have once each has the fields of all."""

Cells = dict[str, Cell]


class Step(Struct, frozen=True):
    """One write for one row, its values at hand.

    Attributes:
        write: what it does.
        table: of the node or relationship.
        key: where the node stands; of a relationship, what the keys of all between its
            nodes begin with.
        pk: the node's primary key.
        cells: the values given.
        ends: of a relationship: its nodes, and where they stand.
    """

    write: FastWrite
    table: NodeTable | RelTable
    key: bytes
    pk: Cell
    cells: Cells
    ends: tuple[tuple[str, Cell, bytes], tuple[str, Cell, bytes]] | None = None

    def looks_at(self) -> Iterator[tuple[bytes, bool]]:
        """Tell which nodes are to be looked up, and whether their rows are needed."""
        if self.ends is not None:
            yield self.ends[0][2], False
            yield self.ends[1][2], True
        else:
            yield self.key, not isinstance(self.write, CreateNode)


class _Node:
    """A node while a statement is done in memory.

    Invariants: ``cells`` is None while it is absent; ``version`` is the one that it was
    looked up at, None where it was not there.
    """

    def __init__(self, stands: Stored | None, table: NodeTable) -> None:
        """Begin with a node as it stands.

        Args:
            stands: its row.
            table: its table.
        """
        self.version = stands.version if stands else None
        self.cells: Cells | None = None
        if stands is not None:
            row = stands.row.cells if stands.row else {}
            self.cells = {
                each.name: row.get(each.column_id, each.default)
                for each in table.columns
                if each.column_id in row or each.default is not None
            }
        self.detach = False
        self.changed = False


def steps(
    graph: Graph, writes: FastWrites, parameters: Mapping[str, object]
) -> Iterator[Step]:
    """List what a statement does, row by row, with values that fit their columns.

    Args:
        graph: the schema.
        writes: the statement.
        parameters: its parameters.

    Raises:
        UnprocessableError: a value is not what its column takes, or is missing.
    """
    for row in _rows(writes, parameters):
        for write in writes.each:
            step = _step(graph, write, _Values(parameters, row, writes.variable))
            if step is not None:
                yield step


class FastPath:
    """Turns statements that name all they touch into changes.

    Invariants: nothing is written here; a step sees what those before it did.

    Threading: the reactor's thread.
    """

    def __init__(self, lookup: Lookup, clock: IReactorTime) -> None:
        """Look rows up by ``lookup``.

        Args:
            lookup: finds rows.
            clock: the reactor.
        """
        self._lookup = lookup
        self._clock = clock

    async def changes(
        self,
        graph: Graph,
        writes: FastWrites,
        parameters: Mapping[str, object],
        call: Call,
    ) -> tuple[list[Change], Found]:
        """Find out what a statement changes.

        Args:
            graph: the schema.
            writes: the statement.
            parameters: its parameters.
            call: who asks.

        Returns:
            The changes, and the rows that were looked up for them.

        Raises:
            DuplicateError: what it makes exists already.
        """
        taken: list[Step] = []
        for step in steps(graph, writes, parameters):
            taken.append(step)
            if len(taken) > CHANGES_MAX:
                raise TooLargeError(f"a statement has at most {CHANGES_MAX} rows")
            if len(taken) % TURN == 0:
                await deferLater(self._clock, 0)
        looked = (each for step in taken for each in step.looks_at())
        found = await self._lookup.rows(looked, call)
        merging = await self._merging(taken, found, call)
        work = _Work(found, merging, promised=call.idempotency is not None)
        for number, step in enumerate(taken, 1):
            work.take(step)
            if number % TURN == 0:
                await deferLater(self._clock, 0)
        return work.changes(), found

    async def _merging(
        self, taken: Sequence[Step], found: Found, call: Call
    ) -> dict[bytes, list[Mapping[int, Cell]]]:
        """Look up what there is between the nodes that relationships are merged to."""
        pairs = {
            step.key: None
            for step in taken
            if isinstance(step.write, CreateEdge)
            and step.write.merge
            and all(found[key] is not None for key, _ in step.looks_at())
        }
        prefixes = list(pairs)
        between: dict[bytes, list[Mapping[int, Cell]]] = {}
        for start in range(0, len(prefixes), MERGES_AT_ONCE):
            part = prefixes[start : start + MERGES_AT_ONCE]
            rows = await together([self._between(prefix, call) for prefix in part])
            between |= dict(zip(part, rows, strict=True))
        return between

    async def _between(self, prefix: bytes, call: Call) -> list[Mapping[int, Cell]]:
        """Look up the relationships whose keys begin alike."""
        keys = await self._lookup.under(prefix, MERGED_MAX, call)
        rows = await self._lookup.rows(((key, True) for key in keys), call)
        return [each.row.cells for each in rows.values() if each and each.row]


class _Work:
    """A statement done in memory.

    Invariants: `changes` names each node and relationship once.
    """

    def __init__(
        self,
        found: Found,
        between: dict[bytes, list[Mapping[int, Cell]]],
        *,
        promised: bool,
    ) -> None:
        """Begin with what stands.

        Args:
            found: nodes by key.
            between: relationships by the beginning of their keys.
            promised: what stands may be this statement's own work, done before: that is
                for the shards to say, who remember.
        """
        self._promised = promised
        self._found = found
        self._between = between
        self._nodes: dict[bytes, tuple[NodeTable, Cell, _Node]] = {}
        self._edges: list[EdgeChange] = []

    def take(self, step: Step) -> None:
        """Do one step."""
        if isinstance(step.table, RelTable):
            self._relate(step, step.table)
            return
        node = self._node(step.table, step.key, step.pk)
        match step.write:
            case CreateNode():
                self._create(step, node)
            case SetNode() if node.cells is not None:
                node.cells |= step.cells
                node.changed = True
            case DeleteNode(detach=detach) if node.cells is not None:
                node.cells, node.detach, node.changed = None, detach, True

    def changes(self) -> list[Change]:
        """Return what differs from what stood."""
        nodes = [
            NodeChange(table.name, pk, node.cells, node.version, node.detach)
            for table, pk, node in self._nodes.values()
            if node.changed and not (node.cells is None and node.version is None)
        ]
        return [*nodes, *self._edges]

    def _node(self, table: NodeTable, key: bytes, pk: Cell) -> _Node:
        """Return a node as the steps before left it."""
        known = self._nodes.get(key)
        if known is None:
            known = (table, pk, _Node(self._found[key], table))
            self._nodes[key] = known
        return known[2]

    def _create(self, step: Step, node: _Node) -> None:
        """Make a node."""
        what = f"{step.table.name} {step.pk!r}"
        if node.cells is not None:
            if not self._promised or node.version is None or node.changed:
                raise DuplicateError(f"{what} exists already")
            node.version = None
        if node.version is not None:
            raise UnprocessableError(f"{what} is deleted by the same statement")
        node.cells, node.changed = _defaults(step.table) | step.cells, True

    def _relate(self, step: Step, rel: RelTable) -> None:
        """Make a relationship, where both nodes are there."""
        assert step.ends is not None, "a relationship"
        if not all(self._is_there(key) for _, _, key in step.ends):
            return
        cells, edge_id, merged = _defaults(rel) | step.cells, b"", False
        if isinstance(step.write, CreateEdge) and step.write.merge:
            given = {column(rel, n).column_id: cell for n, cell in step.cells.items()}
            between = self._between.setdefault(step.key, [])
            if any(_has(other, given) for other in between):
                return
            between.append({column(rel, n).column_id: c for n, c in cells.items()})
            edge_id, merged = _merge_id(given), True
        (source, source_pk, _), (target, target_pk, _) = step.ends
        self._edges.append(
            EdgeChange(
                rel.name,
                (source, source_pk),
                (target, target_pk),
                edge_id,
                cells,
                merged=merged,
            )
        )

    def _is_there(self, key: bytes) -> bool:
        """Tell whether a node is there, as the steps before left it."""
        known = self._nodes.get(key)
        if known is None:
            return self._found[key] is not None
        return known[2].cells is not None


class _Values:
    """Where the values of one row come from.

    Invariants: it changes nothing.
    """

    def __init__(
        self, parameters: Mapping[str, object], row: object, variable: str
    ) -> None:
        """Take them from a row.

        Args:
            parameters: of the statement.
            row: of its UNWIND; None without one.
            variable: the row's name, for messages.
        """
        self._parameters = parameters
        self._row = row
        self._variable = variable

    def of(self, source: Source) -> object:
        """Return a value."""
        match source:
            case Literal(value):
                return value
            case Parameter(name, path):
                return _follow(self._parameters.get(name), path, f"${name}")
            case Field(path):
                return _follow(self._row, path, self._variable)

    def cells(
        self, table: NodeTable | RelTable, sources: Sequence[tuple[str, Source]]
    ) -> Cells:
        """Return properties, as their columns take them.

        Args:
            table: whose.
            sources: by property, in order.
        """
        found: Cells = {}
        for name, source in sources:
            known = column(table, name)
            what = f"{table.name}.{known.name}"
            found[known.name] = check(known.type, self.of(source), what)
        return found

    def key(self, table: NodeTable, source: Source) -> Cell:
        """Return a primary key, as its column takes it.

        Args:
            table: whose.
            source: where it comes from.
        """
        return self.cells(table, ((table.primary_key, source),))[
            column(table, table.primary_key).name
        ]


def _rows(writes: FastWrites, parameters: Mapping[str, object]) -> Sequence[object]:
    """Return the rows that a statement is done for."""
    if writes.rows is None:
        return (None,)
    found = _Values(parameters, None, "").of(writes.rows)
    if found is None:
        return ()
    if not isinstance(found, list | tuple):
        raise UnprocessableError(f"${writes.rows.name} is no list")
    return _level(found)


def _level(rows: Sequence[object]) -> Sequence[object]:
    """Give all maps the fields of all, as an engine does: NULL where one has none."""
    maps = [row for row in rows if isinstance(row, Mapping)]
    blank: dict[object, object] = dict.fromkeys(chain.from_iterable(maps))
    if all(len(row) == len(blank) for row in maps):
        return rows
    if len(maps) * len(blank) > CELLS_MAX:
        raise TooLargeError("the maps in a list have too many different names")
    return [blank | row if isinstance(row, dict) else row for row in rows]


def _step(graph: Graph, write: FastWrite, values: _Values) -> Step | None:
    """Make one step; None where it matches nothing for sure."""
    match write:
        case CreateEdge():
            return _edge_step(graph, write, values)
        case CreateNode():
            table = writable(graph, write.table)
            cells = values.cells(table, write.cells)
            pk = cells.get(column(table, table.primary_key).name)
            return Step(write, table, node_key(graph, table, pk), pk, cells)
        case SetNode() | DeleteNode():
            table = writable(graph, write.table)
            pk = values.key(table, write.key)
            if pk is None:
                return None
            given = write.cells if isinstance(write, SetNode) else ()
            cells = values.cells(table, given)
            return Step(write, table, node_key(graph, table, pk), pk, cells)


def _edge_step(graph: Graph, write: CreateEdge, values: _Values) -> Step | None:
    """Make the step that relates two nodes; None where a key is NULL."""
    rel = rel_table(graph, write.table)
    ends: list[tuple[NodeTable, Cell]] = []
    for name, source in (write.source, write.target):
        table = node_table(graph, name)
        pk = values.key(table, source)
        if pk is None:
            return None
        ends.append((table, pk))
    source_end, target_end = ends
    pair_of(graph, rel, source_end[0], target_end[0])
    spelled = [(table.name, pk, node_key(graph, table, pk)) for table, pk in ends]
    return Step(
        write,
        rel,
        edge_key(graph, rel, source_end, target_end, b""),
        None,
        values.cells(rel, write.cells),
        (spelled[0], spelled[1]),
    )


def _follow(value: object, path: Sequence[str], what: str) -> object:
    """Return what stands at a path of fields; NULL has only NULLs."""
    for name in path:
        if value is None:
            return None
        if not isinstance(value, Mapping) or name not in value:
            raise UnprocessableError(f"{what} has no field {name}")
        value = value[name]
    return value


def _defaults(table: NodeTable | RelTable) -> Cells:
    """Return what new rows have where nothing is given."""
    return {
        each.name: each.default for each in table.columns if each.default is not None
    }


def _has(cells: Mapping[int, Cell], given: Mapping[int, Cell]) -> bool:
    """Tell whether a relationship has some properties; NULL is equal to nothing."""
    return all(cell is not None and cells.get(i) == cell for i, cell in given.items())


def _merge_id(given: Mapping[int, Cell]) -> bytes:
    """Return the id of what is merged: two at once come to the same one."""
    if not given:
        return b""
    spelled = spell([[i, given[i]] for i in sorted(given)])
    return blake2b(spelled, digest_size=MERGE_ID_BYTES).digest()
