"""Gathered rows, made ready for an engine in memory.

What shards answered is put together: each row once, and no relationship of which an end
is missing, or was born again after the relationship was made.  The engine numbers rows
in the order in which they are copied, so a row's place here is its offset there; by
that, what the engine answers leads back to keys and versions.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from torua.core.graph.jobs import Gathered
from torua.core.graph.schema import Graph
from torua.core.graph.types import Kind, Type
from torua.errors import MalformedError, UnprocessableError
from torua.storage.exchange import column_types, quote, sendable, write
from torua.storage.kuzu import Engine, Session

Place = tuple[str, tuple[str, str] | None]
"""A table by name; of a relationship table, one of its pairs."""

Tables = dict[Place, pa.Table]
"""What was gathered, node tables first."""

_FEW_ROWS = 2000
"""So many nodes are created in the 6 ms that the engine's COPY of one takes."""

_LISTED_ROWS = 500
"""So many rows are compared one by one."""

_CREATED_ROWS = 400
"""So many rows are created, at 30 µs each, in the time that it takes to copy them."""

_CREATED = frozenset({Kind.INT64, Kind.STRING, Kind.DOUBLE, Kind.BOOL})
"""Types whose values are parameters as they are."""

_ENDS = ("tv_from", "tv_to")


def assemble(graph: Graph, gathered: Iterable[Gathered]) -> Tables:
    """Put together what was gathered.

    Args:
        graph: its schema.
        gathered: in any order; parts of one table may come in several.

    Returns:
        Tables in the schema's order, each row once.

    Raises:
        UnprocessableError: a table is not of the graph.
        MalformedError: a part is not an Arrow stream.
    """
    parts: dict[Place, list[pa.Table]] = {}
    for each in gathered:
        found = parts.setdefault((each.table, each.pair), [])
        found += (read_stream(part) for part in each.parts)
    places = _places(graph)
    if strange := parts.keys() - set(places):
        raise UnprocessableError(f"graph {graph.name} has no table {min(strange)[0]}")
    keys = {node.name: node.primary_key for node in graph.nodes}
    tables: Tables = {}
    for place in places:
        if rows := [part for part in parts.get(place, ()) if part.num_columns]:
            table = pa.concat_tables(rows, promote_options="default")
            tables[place] = _clean(place, table, keys, tables)
    return tables


def read_stream(data: bytes) -> pa.Table:
    """Read an Arrow IPC stream without copying it.

    Args:
        data: the stream.

    Raises:
        MalformedError: it is none.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            return reader.read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise MalformedError(f"not an Arrow stream: {error}") from error


def _places(graph: Graph) -> list[Place]:
    """Return all node tables, then all pairs of the relationship tables."""
    names = {node.table_id: node.name for node in graph.nodes}
    places: list[Place] = [(node.name, None) for node in graph.nodes]
    for rel in graph.rels:
        places += [(rel.name, (names[s], names[d])) for s, d in rel.pairs]
    return places


def _clean(
    place: Place, table: pa.Table, keys: Mapping[str, str], tables: Tables
) -> pa.Table:
    """Keep each row once, and relationships only between nodes that are there."""
    name, pair = place
    if pair is None:
        return _once(table, [keys[name]])
    table = _once(table, [*_ENDS, "tv_id"])
    for end, side in zip(pair, _ENDS, strict=True):
        nodes = tables.get((end, None))
        if nodes is None:
            return table.slice(0, 0)
        table = _joined(table, side, nodes, keys[end])
    return table


def _once(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Keep the first of all rows that agree in some columns."""
    columns = [name for name in columns if name in table.column_names]
    if table.num_rows <= _LISTED_ROWS:
        return _few_once(table, columns)
    if pc.count_distinct(table.column(columns[-1])).as_py() == table.num_rows:
        return table
    numbers = pa.array(range(table.num_rows), pa.int64())
    marked = table.select(columns).append_column("", numbers)
    groups = marked.group_by(columns, use_threads=False).aggregate([("", "min")])
    return table.take(groups.column("_min").sort())


def _few_once(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Do the same by hand: Arrow takes a millisecond to begin a grouping."""
    rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
    first: dict[tuple[object, ...], int] = {}
    for number, row in enumerate(rows):
        first.setdefault(row, number)
    if len(first) == table.num_rows:
        return table
    return table.take(pa.array(first.values(), pa.int64()))


def _joined(table: pa.Table, side: str, nodes: pa.Table, key: str) -> pa.Table:
    """Keep relationships whose end on one side is there, and is the one it was."""
    at = pc.index_in(table.column(side), value_set=nodes.column(key).combine_chunks())
    keep = at.is_valid()
    if side == "tv_to" and "tv_born" in table.column_names:
        born = nodes.column("tv_born").take(at)
        same = pc.equal(born, table.column("tv_born"))
        keep = pc.and_(keep, pc.fill_null(same, False))
    return table if pc.all(keep).as_py() else table.filter(keep)


def load(engine: Engine, graph: Graph, place: Place, table: pa.Table) -> None:
    """Put rows into an empty table of an engine, numbered in their order.

    Args:
        engine: in memory; it has the tables of the graph.
        graph: the schema.
        place: which table.
        table: at least one row, else nothing is done.

    Raises:
        EngineError: the rows do not fit.
    """
    if place[1] is not None or not 0 < table.num_rows <= _FEW_ROWS:
        engine.load(graph, *place, table)
        return
    with engine.once() as session:
        fill(session, graph, place, table)


def are_few_nodes(tables: Tables) -> bool:
    """Tell whether `fill` does for tables: not too many nodes, and nothing else.

    Args:
        tables: what is to be put in.
    """
    rows = sum(table.num_rows for table in tables.values())
    return 0 < rows <= _FEW_ROWS and all(pair is None for _, pair in tables)


def fill(session: Session, graph: Graph, place: Place, table: pa.Table) -> None:
    """Put nodes into an empty table, numbered in their order.

    Args:
        session: that is used for nothing later; of an engine in memory.
        graph: the schema.
        place: which table.
        table: its rows.

    Raises:
        EngineError: the rows do not fit.
    """
    if not table.num_rows:
        return
    name = place[0]
    types = column_types(graph, name, None)
    names = _shown(table)
    cells = [f"{quote(each)}: {write(quote(each), types[each])}" for each in names]
    text = f"LOAD FROM $arrow CREATE (:{quote(name)} {{{', '.join(cells)}}})"
    session.do(text, {"arrow": sendable(table.select(names), types)})


def are_few(graph: Graph, tables: Tables) -> bool:
    """Tell whether `create` does for tables: few rows, of types that it knows.

    Args:
        graph: the schema.
        tables: what is to be put in; something.
    """
    if not tables or sum(table.num_rows for table in tables.values()) > _CREATED_ROWS:
        return False
    return all(
        types[name].kind in _CREATED
        for (table, pair), rows in tables.items()
        for types in (column_types(graph, table, pair),)
        for name in (*_shown(rows), *(_ENDS if pair else ()))
    )


def create(session: Session, graph: Graph, place: Place, table: pa.Table) -> pa.Table:
    """Put rows in as `load` does, within a transaction, by a statement that is known.

    Args:
        session: in a transaction, of an engine in memory with the tables of the graph.
        graph: the schema.
        place: which table; after those at the ends of its relationships.
        table: some for which `are_few` holds.

    Returns:
        The rows in the order in which the engine numbers them: it joins relationships
        with their ends in an order of its own.

    Raises:
        EngineError: the rows do not fit.
    """
    if not table.num_rows:
        return table
    name, pair = place
    types = column_types(graph, name, pair)
    names = _shown(table)
    cells = ", ".join(f"{quote(each)}: {_cell(each, types)}" for each in names)
    if pair is None:
        text = f"UNWIND $tv_rows AS tv_row CREATE (:{quote(name)} {{{cells}}})"
        session.do(text, {"tv_rows": table.select(names).to_pylist()})
        return table
    keys = {node.name: node.primary_key for node in graph.nodes}
    (a, b), (start, stop) = map(quote, pair), (quote(keys[end]) for end in pair)
    text = (
        f"UNWIND $tv_rows AS tv_row MATCH (a:{a}), (b:{b})"
        f" WHERE a.{start} = {_cell('tv_from', types)}"
        f" AND b.{stop} = {_cell('tv_to', types)}"
        f" CREATE (a)-[r:{quote(name)} {{{cells}}}]->(b)"
        f" RETURN offset(id(r)), tv_row.tv_number"
    )
    rows = table.select([*_ENDS, *names]).to_pylist()
    given = [row | {"tv_number": number} for number, row in enumerate(rows)]
    made = sorted(session.rows(text, {"tv_rows": given}))
    order = [number for _, number in made]
    return table if order == list(range(len(rows))) else table.take(pa.array(order))


def _cell(name: str, types: Mapping[str, Type]) -> str:
    """Spell a value of a row that is being put in."""
    return f"CAST(tv_row.{quote(name)} AS {types[name].kind})"


def _shown(table: pa.Table) -> list[str]:
    """List the columns that the engine's table has too."""
    return [name for name in table.column_names if not name.startswith("tv_")]


def match(place: Place) -> str:
    """Spell the MATCH of all rows, as ``n``; relationships go from ``a`` to ``b``.

    Args:
        place: which table, and which pair of it.
    """
    name, pair = place
    if pair is None:
        return f"MATCH (n:{quote(name)})"
    source, target = map(quote, pair)
    return f"MATCH (a:{source})-[n:{quote(name)}]->(b:{target})"
