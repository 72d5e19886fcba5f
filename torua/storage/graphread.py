"""Fragments answered by the graph engine, as Arrow tables.

Few keys of plain types go as parameters, more as an Arrow table to join with; figures
are in docs/decisions/0007.  What a relationship's ends are it says itself, where its
table has ``tv_s`` and ``tv_d``: to look at the ends takes two to five times as long.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from msgspec.structs import replace

from torua.core.graph.fragments import Expand, Fetch, Fragment, Scan, Text
from torua.core.graph.schema import (
    KEY_VALUE,
    KEY_VALUE_TABLE,
    Graph,
    NodeTable,
    RelTable,
    node_table,
    rel_table,
)
from torua.core.graph.types import Cell, Kind, Type
from torua.errors import QueryTooLargeError, TooLargeError, UnprocessableError
from torua.storage.columns import column
from torua.storage.exchange import column_types, key_type, quote, read, write
from torua.storage.graphapply import SIMPLE, loaded
from torua.storage.kuzu import Engine, Session
from torua.storage.layout import GHOST, end_types
from torua.storage.mapreader import VALUE_BYTES_MAX

PIECE_BYTES = 4 << 20
"""An answer is handed on in pieces of about this size."""

ANSWER_BYTES_MAX = 256 << 20
"""What one fragment may come to; a query may gather much less."""

IN_MAX = {Kind.STRING: 30}
IN_MAX_OTHERWISE = 500
"""So many ends of relationships are looked for in one pass over their nodes: it takes
8 ns a node, and a quarter of a nanosecond more for each key, 4 where they are text.
More, or nodes alone, are looked up one by one in the index."""

_INDEXED = SIMPLE - {Kind.BOOL}
_LISTED = frozenset({Kind.INT64, Kind.STRING})
"""Types that the values of a list parameter have by themselves."""

SAMPLE_ROWS = 200
"""How large rows are is estimated by so many."""

_VALUE = re.compile(r"\bvalue\b", re.IGNORECASE)

_NODE_HIDDEN = ("tv_ver", "tv_born")
_REL_HIDDEN = ("tv_id", "tv_ver", "tv_born")


def answer(
    session: Session,
    graph: Graph,
    fragment: Fragment,
    left_s: Callable[[], float],
    bytes_max: int,
) -> pa.Table:
    """Answer one fragment of a statement.

    Args:
        session: in the transaction to read in.
        graph: the schema that it was made with, and that the engine has.
        fragment: what to read.
        left_s: tells how much time is left.
        bytes_max: what it may come to.

    Raises:
        EngineError: the engine refused it, or failed.
        ToruaError: it asks for what there is not, for too much, or for a value that is
            not shown.
    """
    _check_values(session, fragment)
    if isinstance(fragment, Scan) and fragment.where:
        _check_size(session, graph, fragment, left_s, bytes_max)
    return run(session, graph, fragment, left_s)


def run(
    session: Session,
    graph: Graph,
    fragment: Fragment,
    left_s: Callable[[], float],
) -> pa.Table:
    """Read what a fragment names, whether or not all of it is shown.

    Args:
        session: as in `answer`, as are the others.
        graph: likewise.
        fragment: likewise.
        left_s: likewise.

    Raises:
        EngineError: likewise.
        ToruaError: it asks for what there is not, or for too much.
    """
    match fragment:
        case Text(text=text, parameters=parameters):
            given: dict[str, object] = dict(parameters)
        case Fetch():
            text, given = _fetch(graph, fragment)
        case Scan():
            text, given = _scan(graph, fragment)
        case Expand(both=True):
            return _both(session, graph, fragment, left_s)
        case Expand():
            text, given = _expand(graph, fragment)
    table = session.run(text, given, left_s())
    if table.nbytes > ANSWER_BYTES_MAX:
        raise TooLargeError(f"a shard would answer with {table.nbytes} bytes")
    return table


def weighed(
    session: Session,
    graph: Graph,
    scan: Scan,
    texts: Sequence[str],
    left_s: Callable[[], float],
) -> tuple[int, int]:
    """Count the rows that a scan gives, and the letters of some of their columns.

    Args:
        session: as in `answer`, as are the others.
        graph: likewise.
        scan: what would be read.
        texts: columns of STRINGs that it gives.
        left_s: likewise.

    Raises:
        EngineError: likewise.
        ToruaError: it asks for what there is not.
    """
    text, given = _scan(graph, scan)
    rows = " WITH ".join(text.rsplit(" RETURN ", 1))
    sums = "".join(f", sum(size({quote(name)}))" for name in texts)
    found = session.run(f"{rows} RETURN count(*){sums}", given, left_s())
    count, *letters = (each[0].as_py() or 0 for each in found.columns)
    return int(count), int(sum(letters))


def pieces(tables: Sequence[pa.Table]) -> Iterator[tuple[tuple[int, bytes], ...]]:
    """Cut answers into pieces: numbers of fragments, and Arrow IPC streams.

    Args:
        tables: in the fragments' order.
    """
    piece: list[tuple[int, bytes]] = []
    size = 0
    for number, table in enumerate(tables):
        rows = max(1, PIECE_BYTES * table.num_rows // max(1, table.nbytes))
        for start in range(0, max(1, table.num_rows), rows):
            stream = spelled(table.slice(start, rows))
            if piece and size + len(stream) > PIECE_BYTES:
                yield tuple(piece)
                piece, size = [], 0
            piece.append((number, stream))
            size += len(stream)
    yield tuple(piece)


def measured(engine: Engine, graph: Graph) -> dict[str, tuple[int, int]]:
    """Count the rows of all tables, and estimate their bytes.

    Args:
        engine: that has them.
        graph: their schema.

    Raises:
        EngineError: it failed.
    """
    found = {table.name: measure(engine, table) for table in graph.nodes}
    return found | {table.name: measure(engine, table) for table in graph.rels}


def measure(engine: Engine, table: NodeTable | RelTable) -> tuple[int, int]:
    """Count a table's rows, and estimate their bytes by some of them.

    Args:
        engine: that has it.
        table: which.

    Raises:
        EngineError: it failed.
    """
    name = quote(table.name)
    pattern = f"(n:{name}) WHERE n.{GHOST} = false"
    if isinstance(table, RelTable):
        pattern = f"()-[n:{name}]->()"
    count: int = engine.rows(f"MATCH {pattern} RETURN count(*)")[0][0]
    if not count:
        return 0, 0
    shown = _shown("n", {c.name: c.type for c in table.columns}, ("tv_ver",))
    sample = engine.run(f"MATCH {pattern} RETURN {shown} LIMIT {SAMPLE_ROWS}")
    return count, count * sample.nbytes // max(1, sample.num_rows)


def spelled(table: pa.Table) -> bytes:
    """Spell a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _check_values(session: Session, fragment: Fragment) -> None:
    """Refuse to read the value of a key where it is too large to be shown.

    It stands as NULL, and whatever is made of that would be wrong; so may be a filter
    that looks at it.  A `Text` reads no values: the planner sees to that.
    """
    pattern, given = f"MATCH (n:{KEY_VALUE})", dict[str, object]()
    start = f"{pattern} WHERE true"
    match fragment:
        case Fetch(table=table, keys=keys, columns=columns):
            if table == KEY_VALUE:
                start, given = _by_key("n", KEY_VALUE_TABLE, keys, pattern)
        case Scan(table=table, pair=None, columns=columns, where=where):
            if where and not _VALUE.search(where):
                start, given = f"{start} AND ({where})", dict(fragment.parameters)
        case _:
            return
    if table != KEY_VALUE or not (columns is None or "value" in columns):
        return
    large = f"n.size > {VALUE_BYTES_MAX} AND n.{GHOST} = false"
    for (key,) in session.rows(f"{start} AND {large} RETURN n.key LIMIT 1", given):
        raise TooLargeError(
            f"the value of key {key!r} has more than {VALUE_BYTES_MAX} bytes, which no "
            f"statement reads: read it by /kv, or leave out {KEY_VALUE}.value"
        )


def _check_size(
    session: Session,
    graph: Graph,
    scan: Scan,
    left_s: Callable[[], float],
    bytes_max: int,
) -> None:
    """Refuse what a filter leaves too much of, by estimate, before it is read.

    The engine keeps an answer in its pool; where that is full its process ends.
    """
    text, given = _scan(graph, scan)
    matched = text[: text.rindex(" RETURN ")]
    counted = session.run(f"{matched} RETURN count(*)", given, left_s())
    rows: int = counted.column(0)[0].as_py()
    if rows <= SAMPLE_ROWS:
        return
    sample = session.run(f"{text} LIMIT {SAMPLE_ROWS}", given, left_s())
    estimate = rows * sample.nbytes // max(1, sample.num_rows)
    if estimate > bytes_max:
        raise QueryTooLargeError(
            f"a shard would answer with about {estimate} bytes, and may {bytes_max}",
            estimate=estimate,
            limit=bytes_max,
        )


def _fetch(graph: Graph, fetch: Fetch) -> tuple[str, dict[str, object]]:
    """Spell how nodes are found by their keys."""
    table = node_table(graph, fetch.table)
    shown = _node_columns(table, fetch.columns)
    found = f"n.{GHOST} = false RETURN {shown}"
    start, given = _by_key("n", table, fetch.keys, f"MATCH (n:{quote(table.name)})")
    return f"{start} AND {found}", given


def _scan(graph: Graph, scan: Scan) -> tuple[str, dict[str, object]]:
    """Spell how a table is read."""
    where = f"({scan.where})" if scan.where else ""
    if scan.pair is None:
        table = node_table(graph, scan.table)
        wanted = " AND ".join(filter(None, (f"n.{GHOST} = false", where)))
        shown = _node_columns(table, scan.columns)
        text = f"MATCH (n:{quote(table.name)}) WHERE {wanted} RETURN {shown}"
    else:
        pattern, ends, rest = _hop(graph, scan.table, scan.pair, scan.columns, set())
        shown = ", ".join((*ends, rest))
        text = f"MATCH {pattern} {f'WHERE {where}' if where else ''} RETURN {shown}"
    return text, dict(scan.parameters)


def _both(
    session: Session, graph: Graph, expand: Expand, left_s: Callable[[], float]
) -> pa.Table:
    """Read the relationships of some nodes in both directions."""
    found = [
        run(session, graph, replace(expand, both=False, outgoing=outgoing), left_s)
        for outgoing in (True, False)
    ]
    if not expand.ends:
        return pa.concat_tables(found, promote_options="permissive")
    parts = [part.rename_columns(["tv_to"]) for part in found]
    column = pa.concat_tables(parts, promote_options="permissive").column(0)
    return pa.table({"tv_to": column.unique()})


def _expand(graph: Graph, expand: Expand) -> tuple[str, dict[str, object]]:
    """Spell how relationships of some nodes are found."""
    near = 0 if expand.outgoing else 1
    table = node_table(graph, expand.pair[near])
    pattern, ends, rest = _hop(
        graph, expand.table, expand.pair, expand.columns, {"ab"[near]}
    )
    shown = f"DISTINCT {ends[1 - near]}" if expand.ends else ", ".join((*ends, rest))
    variable = "ab"[near]
    kind = key_type(table).kind
    if kind in _INDEXED and len(set(expand.keys)) > IN_MAX.get(kind, IN_MAX_OTHERWISE):
        alone = f"MATCH ({variable}:{quote(table.name)})"
        start, given = _by_key(variable, table, expand.keys, alone)
        return f"{start} WITH {variable} MATCH {pattern} RETURN {shown}", given
    start, given = _among(variable, table, expand.keys, f"MATCH {pattern}")
    return f"{start} RETURN {shown}", given


def _among(
    variable: str, table: NodeTable, keys: tuple[Cell, ...], match: str
) -> tuple[str, dict[str, object]]:
    """Spell a match that looks at all nodes, and keeps those with some keys."""
    unique = list(dict.fromkeys(keys))
    few = len(unique) <= IN_MAX_OTHERWISE
    if key_type(table).kind not in SIMPLE or len(unique) <= 1 or not few:
        return _by_key(variable, table, keys, match)
    place = f"{variable}.{quote(table.primary_key)}"
    return f"{match} WHERE {place} IN $tv_keys", {"tv_keys": unique}


def _by_key(
    variable: str, table: NodeTable, keys: tuple[Cell, ...], match: str
) -> tuple[str, dict[str, object]]:
    """Spell a match of nodes by their keys, up to and with its first condition."""
    type = key_type(table)
    place = f"{variable}.{quote(table.primary_key)}"
    unique = list(dict.fromkeys(keys))
    if not unique:
        return f"{match} WHERE false", {}
    if type.kind in SIMPLE and len(unique) == 1:
        return f"{match} WHERE {place} = $tv_key", {"tv_key": unique[0]}
    if type.kind in _INDEXED:
        key = "tv_key" if type.kind in _LISTED else f"CAST(tv_key AS {type.kind})"
        text = f"UNWIND $tv_keys AS tv_key {match} WHERE {place} = {key}"
        return text, {"tv_keys": unique}
    arrow, names = loaded(pa.table({"key": column(type, unique)}))
    start = f"LOAD FROM $tv_arrow {match} WHERE {place} = {write(names['key'], type)}"
    return start, {"tv_arrow": arrow}


def _node_columns(table: NodeTable, columns: tuple[str, ...] | None) -> str:
    """Spell what is returned of a node."""
    types = {c.name: c.type for c in table.columns}
    names = _named(table, columns)
    if table.primary_key not in names:
        names = [table.primary_key, *names]
    return _shown("n", {n: types[n] for n in names}, _NODE_HIDDEN)


def _hop(
    graph: Graph,
    name: str,
    pair: tuple[str, str],
    columns: tuple[str, ...] | None,
    near: set[str],
) -> tuple[str, list[str], str]:
    """Spell the pattern of a relationship, its ends' keys, and what else it has."""
    table = rel_table(graph, name)
    ends = [node_table(graph, end) for end in pair]
    ids = (ends[0].table_id, ends[1].table_id)
    if ids not in table.pairs:
        raise UnprocessableError(f"{name} does not go from {pair[0]} to {pair[1]}")
    known = end_types(graph, table)
    types = column_types(graph, name, pair)
    shown = []
    for variable, end, inner, outer in zip(
        "ab", ends, ("tv_s", "tv_d"), ("tv_from", "tv_to"), strict=True
    ):
        place = f"{variable}.{quote(end.primary_key)}"
        if inner in known and variable not in near:
            place = f"r.{inner}"
        shown.append(f"{read(place, types[outer])} AS {outer}")
    rest = {n: types[n] for n in _named(table, columns)}
    a, b = (f"({v}:{quote(end.name)})" for v, end in zip("ab", ends, strict=True))
    return f"{a}-[r:{quote(name)}]->{b}", shown, _shown("r", rest, _REL_HIDDEN)


def _named(table: NodeTable | RelTable, columns: tuple[str, ...] | None) -> list[str]:
    """Tell which columns are asked for; UnprocessableError where there is none such."""
    there = [c.name for c in table.columns]
    if columns is None:
        return there
    if strange := set(columns) - set(there):
        raise UnprocessableError(f"{table.name} has no property {min(strange)}")
    return list(dict.fromkeys(columns))


def _shown(variable: str, types: dict[str, Type], hidden: Sequence[str]) -> str:
    """Spell properties under their names, in Arrow's form, then hidden ones."""
    shown = [
        f"{read(f'{variable}.{quote(name)}', type)} AS {quote(name)}"
        for name, type in types.items()
    ]
    shown += [f"{variable}.{name} AS {name}" for name in hidden]
    return ", ".join(shown)
