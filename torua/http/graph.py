"""Nodes and relationships, one at a time, by key."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from torua.core.graph.cells import check, show
from torua.core.graph.entries import EdgeSpot, NodeSpot, RowRead, RowWritten
from torua.core.graph.schema import (
    MAIN,
    Graph,
    NodeTable,
    RelTable,
    column,
    node_table,
    node_table_by_id,
    rel_table,
)
from torua.core.graph.types import Cell
from torua.core.kv import VALUE_BYTES_MAX, Condition, Served
from torua.errors import (
    MalformedError,
    NotFoundError,
    PreconditionError,
    StaleSchemaError,
    UnprocessableError,
)
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.messages import Answer, Ask, spelled
from torua.http.routes import Route
from torua.http.seams import Entries

T = TypeVar("T")

SCHEMAS_MAX = 3
"""How often a schema may change before a request is done with it."""

ID_HEX_MAX = 128
"""An id has up to 64 bytes."""

Headers = tuple[tuple[str, str], ...]


class EntryHandlers:
    """Answers ``/graph/nodes`` and ``/graph/edges``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, entries: Entries) -> None:
        """Serve from ``entries``."""
        self._entries = entries

    async def get_node(self, ask: Ask) -> Answer:
        """Answer GET and HEAD of a node; 304 where the caller has it already."""
        graph, spot = await self._by_schema(ask, _node)
        conditions = parameters.conditions(ask.headers)
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, reading=parameters.reading(ask))
        read, served = await self._entries.node(graph, spot, call)
        if read is None:
            raise NotFoundError(f"there is no {_what(spot)}", shard=served.shard)
        key = shown_key(spot)
        shown = {"table": spot.table.name, "key": key}
        return _row(ask, spot.table, shown, read, served, conditions)

    async def put_node(self, ask: Ask) -> Answer:
        """Answer PUT of a node: it is there, with these properties and no others."""
        return await self._put_node(ask, merge=False)

    async def patch_node(self, ask: Ask) -> Answer:
        """Answer PATCH of a node: properties that are not named stay."""
        return await self._put_node(ask, merge=True)

    async def _put_node(self, ask: Ask, *, merge: bool) -> Answer:
        """Set a node."""

        async def put(graph: Graph, spot: NodeSpot) -> RowWritten:
            """Set it by one schema.

            Args:
                graph: the schema.
                spot: which.
            """
            return await self._entries.put_node(
                graph,
                spot,
                _node_cells(spot, ask),
                ask.call(timeout_s, promise),
                conditions=conditions,
                merge=merge,
            )

        conditions = parameters.conditions(ask.headers)
        timeout_s, promise = (
            parameters.timeout_s(ask.query),
            parameters.idempotency(ask),
        )
        return _written(await self._with_schema(ask, _node, put))

    async def delete_node(self, ask: Ask) -> Answer:
        """Answer DELETE of a node, there or not.

        One that has relationships is a conflict, unless ``detach`` takes them along.
        """

        async def delete(graph: Graph, spot: NodeSpot) -> RowWritten:
            """Delete it by one schema.

            Args:
                graph: the schema.
                spot: which.
            """
            return await self._entries.delete_node(
                graph,
                spot,
                ask.call(timeout_s, promise),
                conditions=conditions,
                detach=detach,
            )

        conditions = parameters.conditions(ask.headers)
        detach = parameters.boolean(ask.query, "detach")
        timeout_s, promise = (
            parameters.timeout_s(ask.query),
            parameters.idempotency(ask),
        )
        return _written(await self._with_schema(ask, _node, delete))

    async def get_edge(self, ask: Ask) -> Answer:
        """Answer GET and HEAD of a relationship; 304 where the caller has it.

        Where there are several between two nodes, ``id`` says which.
        """
        graph, spot = await self._by_schema(ask, _edge)
        conditions = parameters.conditions(ask.headers)
        call = ask.call(parameters.timeout_s(ask.query))
        read, served = await self._entries.edge(graph, spot, call)
        if read is None:
            what = f"{spot.rel.name} from {_what(spot.source)} to {_what(spot.target)}"
            raise NotFoundError(f"there is no {what}", shard=served.shard)
        shown = {
            "table": spot.rel.name,
            "from": {"table": spot.source.table.name, "key": shown_key(spot.source)},
            "to": {"table": spot.target.table.name, "key": shown_key(spot.target)},
            "id": read.edge_id.hex(),
        }
        return _row(ask, spot.rel, shown, read, served, conditions)

    async def put_edge(self, ask: Ask) -> Answer:
        """Answer PUT of a relationship: it is there, with these properties.

        It is made where there is none; its nodes are not.
        """

        async def put(graph: Graph, spot: EdgeSpot) -> RowWritten:
            """Set it by one schema.

            Args:
                graph: the schema.
                spot: which.
            """
            cells = _cells(spot.rel, _properties(spot.rel, ask))
            call = ask.call(timeout_s, promise)
            return await self._entries.put_edge(graph, spot, cells, call, conditions)

        conditions = parameters.conditions(ask.headers)
        timeout_s, promise = (
            parameters.timeout_s(ask.query),
            parameters.idempotency(ask),
        )
        return _written(await self._with_schema(ask, _edge, put))

    async def delete_edge(self, ask: Ask) -> Answer:
        """Answer DELETE of a relationship, there or not.

        Where there are several between two nodes, ``id`` says which.
        """

        async def delete(graph: Graph, spot: EdgeSpot) -> RowWritten:
            """Delete it by one schema.

            Args:
                graph: the schema.
                spot: which.
            """
            call = ask.call(timeout_s, promise)
            return await self._entries.delete_edge(graph, spot, call, conditions)

        conditions = parameters.conditions(ask.headers)
        timeout_s, promise = (
            parameters.timeout_s(ask.query),
            parameters.idempotency(ask),
        )
        return _written(await self._with_schema(ask, _edge, delete))

    async def _by_schema(
        self, ask: Ask, spot: Callable[[Graph, Ask], T]
    ) -> tuple[Graph, T]:
        """Return the schema of the graph that is meant, and what is meant in it."""
        name = ask.query.get("graph", MAIN)
        return await self._entries.by_schema(
            name, lambda graph: (graph, spot(graph, ask))
        )

    async def _with_schema(
        self,
        ask: Ask,
        spot: Callable[[Graph, Ask], T],
        work: Callable[[Graph, T], Awaitable[RowWritten]],
    ) -> RowWritten:
        """Do something by a schema, anew where that has changed."""
        for _ in range(SCHEMAS_MAX - 1):
            try:
                return await work(*await self._by_schema(ask, spot))
            except StaleSchemaError:
                continue
        return await work(*await self._by_schema(ask, spot))


def routes(entries: Entries) -> tuple[Route, ...]:
    """List what serves nodes and relationships."""
    handlers = EntryHandlers(entries)
    nodes = "/graph/nodes/<table>/<rest:key>"
    edges = "/graph/edges/<table>/<from>/<to>"
    return (
        Route(nodes, "GET", handlers.get_node),
        Route(nodes, "PUT", handlers.put_node, VALUE_BYTES_MAX),
        Route(nodes, "PATCH", handlers.patch_node, VALUE_BYTES_MAX),
        Route(nodes, "DELETE", handlers.delete_node),
        Route(edges, "GET", handlers.get_edge),
        Route(edges, "PUT", handlers.put_edge, VALUE_BYTES_MAX),
        Route(edges, "DELETE", handlers.delete_edge),
    )


def spot_of(table: NodeTable, key: object) -> NodeSpot:
    """Name a node by what a client calls its key.

    Args:
        table: its table.
        key: a value, or the text of one.

    Raises:
        UnprocessableError: it is no key of the table.
    """
    primary = column(table, table.primary_key)
    what = f"{table.name}.{primary.name}"
    cell = check(primary.type, key, what)
    if cell is None:
        raise UnprocessableError(f"{what}: a key can't be null")
    return NodeSpot(table, cell)


def _node(graph: Graph, ask: Ask) -> NodeSpot:
    """Read which node is meant."""
    return spot_of(node_table(graph, ask.variables["table"]), ask.variables["key"])


def _edge(graph: Graph, ask: Ask) -> EdgeSpot:
    """Read which relationship is meant."""
    rel = rel_table(graph, ask.variables["table"])
    source, target = _pair(graph, rel, ask.query)
    return EdgeSpot(
        rel,
        spot_of(source, ask.variables["from"]),
        spot_of(target, ask.variables["to"]),
        _id(ask.query.get("id")),
    )


def _pair(
    graph: Graph, rel: RelTable, query: Mapping[str, str]
) -> tuple[NodeTable, NodeTable]:
    """Read between which tables a relationship is; the only ones need not be named."""
    pairs = [
        (node_table_by_id(graph, source), node_table_by_id(graph, target))
        for source, target in rel.pairs
    ]
    for place, name in enumerate(("from_table", "to_table")):
        wanted = query.get(name)
        if wanted is not None:
            table = node_table(graph, wanted)
            pairs = [pair for pair in pairs if pair[place] == table]
    if len(pairs) == 1:
        return pairs[0]
    known = ", ".join(
        f"{node_table_by_id(graph, source).name} to {node_table_by_id(graph, to).name}"
        for source, to in rel.pairs
    )
    raise UnprocessableError(
        f"from_table, to_table: {rel.name} goes from {known}; say which"
    )


def _id(text: str | None) -> bytes | None:
    """Read a relationship's id; None where none is given."""
    if text is None:
        return None
    try:
        if len(text) <= ID_HEX_MAX:
            return bytes.fromhex(text)
    except ValueError:
        pass
    raise MalformedError(f"id: up to {ID_HEX_MAX} hexadecimal digits")


def _node_cells(spot: NodeSpot, ask: Ask) -> dict[str, Cell]:
    """Read a node's properties; its key may be among them, if it is the same."""
    cells = _cells(spot.table, _properties(spot.table, ask))
    name = column(spot.table, spot.table.primary_key).name
    if cells.setdefault(name, spot.key) != spot.key:
        raise UnprocessableError(f"{name}: the path names another key")
    return cells


def _properties(table: NodeTable | RelTable, ask: Ask) -> Mapping[str, object]:
    """Read properties from a body: a map of them, or what GET answers."""
    if not ask.body:
        return {}
    body = read_body(ask, dict[str, object])
    inner = body.get("properties")
    names = {each.name.casefold() for each in table.columns}
    if "properties" in names or not isinstance(inner, Mapping):
        return body
    return inner


def _cells(
    table: NodeTable | RelTable, properties: Mapping[str, object]
) -> dict[str, Cell]:
    """Turn properties into cells of their columns' types."""
    cells: dict[str, Cell] = {}
    for name, value in properties.items():
        try:
            known = column(table, name)
        except NotFoundError as error:
            raise UnprocessableError(error.detail) from error
        if known.name in cells:
            raise UnprocessableError(f"{known.name} stands there twice")
        cells[known.name] = check(known.type, value, f"{table.name}.{known.name}")
    return cells


def shown_key(spot: NodeSpot) -> object:
    """Show a node's key."""
    return show(column(spot.table, spot.table.primary_key).type, spot.key)


def _what(spot: NodeSpot) -> str:
    """Name a node for people."""
    return f"{spot.table.name} {shown_key(spot)!r}"


def _row(  # noqa: PLR0913, PLR0917
    ask: Ask,
    table: NodeTable | RelTable,
    shown: Mapping[str, object],
    read: RowRead,
    served: Served,
    conditions: tuple[Condition, ...],
) -> Answer:
    """Answer with a row, or with 304 where the caller has it already."""
    failed = [each for each in conditions if not each.holds(read.version)]
    if any(each.match for each in failed):
        raise PreconditionError("If-Match does not hold", version=read.version)
    headers = _headers(served, read.version)
    if failed:
        return Answer(304, headers)
    properties = {
        each.name: show(each.type, read.cells.get(each.name)) for each in table.columns
    }
    body = {**shown, "version": read.version, "properties": properties}
    return spelled(ask, body, headers)


def _written(written: RowWritten) -> Answer:
    """Answer a write with the version that the row has now."""
    return Answer(204, _headers(written.served, written.version))


def _headers(served: Served, version: int | None) -> Headers:
    """Say in headers who served what."""
    headers = [("Torua-Shard", str(served.shard)), ("Torua-Served-By", served.node)]
    if served.token:
        headers.append(("Torua-Token", served.token))
    if version is not None:
        headers.append(("ETag", parameters.etag(version)))
    return tuple(headers)
