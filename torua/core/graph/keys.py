"""Under which keys of a shard's map the rows of graphs stand.

Every one begins with a byte that UTF-8 has not, so that no user's key is among them.
Then a letter says what it is, and a byte whether the graph is of one shard:

    node    FF 'n' placement graph table pk
    edge    FF 'e' placement graph source-table source-pk rel target-table target-pk id
    grave   FF 'g' placement graph table pk born
    schema  FF 's' 00 graph
    sweep   FF 'w' 00 graph version

Ids are of four bytes, a primary key (pk) has its length before it in two.  So all rows
of a table, and all relationships of one node, stand together.  A row's slot is that of
its node, or of its source node; the nodes of KEY_VALUE are where their keys are.
"""

import struct
from collections.abc import Callable
from uuid import UUID

from msgspec import Struct

from torua.core.graph.kinds import INTEGERS, TICKS, Cell, Kind, Type
from torua.core.graph.schema import (
    KEY_VALUE_TABLE,
    MAIN_GRAPH,
    Graph,
    NodeTable,
    Placement,
    RelTable,
    column,
)
from torua.core.kv import Check
from torua.errors import CorruptionError, UnprocessableError

GRAPH_BYTE = 0xFF
"""What keys of graphs begin with."""

PK_BYTES_MAX = 1024
"""A primary key stands in the keys of all relationships of its node."""

EDGE_ID_BYTES_MAX = 64
"""What tells parallel relationships apart is a UUID or the like."""

_ID = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_WIDE = struct.Struct(">Q")
_DOUBLE = struct.Struct(">d")
_HEAD_BYTES = 7


class NodeKey(Struct, frozen=True):
    """Where a node stands."""

    graph_id: int
    table_id: int
    pk: bytes


class EdgeKey(Struct, frozen=True):
    """Where a relationship stands."""

    graph_id: int
    rel_id: int
    source_id: int
    source_pk: bytes
    target_id: int
    target_pk: bytes
    edge_id: bytes


class SchemaKey(Struct, frozen=True):
    """Where a graph's schema stands, in each shard."""

    graph_id: int


class GraveKey(Struct, frozen=True):
    """Where it stands that a node, made at ``born``, was deleted."""

    graph_id: int
    table_id: int
    pk: bytes
    born: int


class SweepKey(Struct, frozen=True):
    """Where it stands which rows are of nothing since a version of the schema."""

    graph_id: int
    version: int


GraphKey = NodeKey | EdgeKey | SchemaKey | GraveKey | SweepKey

SCHEMAS = bytes((GRAPH_BYTE,)) + b"s\0"
"""What the keys of all schemas begin with."""

SWEEPS = bytes((GRAPH_BYTE,)) + b"w\0"
"""What the keys of all sweeps begin with."""


def node_key(graph: Graph, table: NodeTable, key: Cell) -> bytes:
    """Spell where a node stands.

    Args:
        graph: its graph.
        table: its table.
        key: its primary key, a cell.

    Raises:
        UnprocessableError: the key is NULL or too long.
    """
    return _head(b"n", graph) + _end(table, key)


def edge_key(
    graph: Graph,
    rel: RelTable,
    source: tuple[NodeTable, Cell],
    target: tuple[NodeTable, Cell],
    edge_id: bytes,
) -> bytes:
    """Spell where a relationship stands.

    Args:
        graph: its graph.
        rel: its table.
        source: the node that it goes from.
        target: the node that it goes to.
        edge_id: tells it from others of its type between the same nodes.

    Raises:
        UnprocessableError: an end's key is NULL or too long.
    """
    if len(edge_id) > EDGE_ID_BYTES_MAX:
        raise UnprocessableError(
            f"a relationship's id has up to {EDGE_ID_BYTES_MAX} bytes"
        )
    return edges_prefix(graph, *source, rel) + _end(*target) + edge_id


def node_keys(graph: Graph, table: NodeTable) -> Callable[[Cell], bytes]:
    """Return what spells where nodes of one table stand, for many of them.

    Args:
        graph: its graph.
        table: the table.
    """
    prefix = nodes_prefix(graph, table)
    type_ = column(table, table.primary_key).type
    short = type_.kind in INTEGERS and type_.kind is not Kind.INT128
    before = prefix + _LENGTH.pack(_WIDE.size)
    bias = _bias(type_.kind) if short else 0

    def spell(key: Cell) -> bytes:
        """Spell where one stands."""
        if short and type(key) is int:
            return before + (key + bias).to_bytes(_WIDE.size)
        pk = spell_pk(type_, key)
        return prefix + _LENGTH.pack(len(pk)) + pk

    return spell


def edge_between(rel: RelTable, source: bytes, target: bytes, edge_id: bytes) -> bytes:
    """Spell where a relationship stands, by the keys of both its nodes.

    Args:
        rel: its table.
        source: where the node stands that it goes from.
        target: where the node stands that it goes to.
        edge_id: tells it from others of its type between the same nodes.
    """
    begun = source[:1] + b"e" + source[2:] + _ID.pack(rel.table_id)
    return begun + target[_HEAD_BYTES:] + edge_id


def edges_prefix(
    graph: Graph, table: NodeTable, key: Cell, rel: RelTable | None = None
) -> bytes:
    """Spell what the keys of all relationships that go from a node begin with.

    Args:
        graph: the graph.
        table: the node's table.
        key: the node's primary key.
        rel: only those of one type; None for all.
    """
    prefix = _head(b"e", graph) + _end(table, key)
    return prefix if rel is None else prefix + _ID.pack(rel.table_id)


def schema_key(graph_id: int) -> bytes:
    """Spell where a graph's schema stands, in each shard."""
    return SCHEMAS + _ID.pack(graph_id)


def sweep_key(graph_id: int, version: int) -> bytes:
    """Spell where it stands which rows are of nothing any more.

    Args:
        graph_id: of the graph.
        version: of the schema that dropped them.
    """
    return SWEEPS + _ID.pack(graph_id) + _WIDE.pack(version)


def schema_check(graph: Graph) -> Check:
    """Check that a shard has the schema that a write was planned with."""
    return Check(schema_key(graph.graph_id), begins=_WIDE.pack(graph.version))


def grave_key(graph: Graph, table: NodeTable, key: Cell, born: int) -> bytes:
    """Spell where it stands that a node was deleted.

    Args:
        graph: its graph.
        table: its table.
        key: its primary key.
        born: the version at which it was made.
    """
    return _head(b"g", graph) + _end(table, key) + _WIDE.pack(born)


def rows_prefix(graph: Graph, letter: str, table_id: int | None = None) -> bytes:
    """Spell what the keys of all rows of one sort begin with.

    Args:
        graph: the graph.
        letter: ``n`` for nodes, ``g`` for graves, ``e`` for relationships.
        table_id: only those of one node table, or that go from it; None for all.
    """
    prefix = _head(letter.encode(), graph)
    return prefix if table_id is None else prefix + _ID.pack(table_id)


def nodes_prefix(graph: Graph, table: NodeTable) -> bytes:
    """Spell what the keys of all nodes of a table begin with.

    Args:
        graph: the graph.
        table: the table.
    """
    return rows_prefix(graph, "n", table.table_id)


def graves_prefix(graph: Graph) -> bytes:
    """Spell what the keys of all graves of a graph begin with."""
    return rows_prefix(graph, "g")


def is_graph_key(key: bytes) -> bool:
    """Tell whether a key is one of these, and no user's."""
    return key[:1] == b"\xff"


def read_key(key: bytes) -> GraphKey:
    """Read a key.

    Args:
        key: that stands in a shard's map.

    Raises:
        CorruptionError: it is none of these.
    """
    try:
        if key[0] != GRAPH_BYTE:
            raise CorruptionError(f"{key!r} is no key of a graph")
        graph_id = _id(key, 3)
        match key[1:2]:
            case b"s":
                return SchemaKey(graph_id)
            case b"w":
                (version,) = _WIDE.unpack_from(key, _HEAD_BYTES)
                return SweepKey(graph_id, version)
            case b"n":
                return NodeKey(
                    graph_id, _id(key, _HEAD_BYTES), _pk(key, _HEAD_BYTES)[0]
                )
            case b"g":
                pk, end = _pk(key, _HEAD_BYTES)
                (born,) = _WIDE.unpack_from(key, end)
                return GraveKey(graph_id, _id(key, _HEAD_BYTES), pk, born)
            case b"e":
                return _edge(key, graph_id)
    except (IndexError, struct.error) as error:
        raise CorruptionError(f"{key!r} is no key of a graph") from error
    raise CorruptionError(f"{key!r} is no key of a graph")


def routing_part(key: bytes) -> bytes:
    """Return what decides where a row lives: its node, or its graph if that is single.

    Args:
        key: begins with `GRAPH_BYTE`.
    """
    if key[2:3] == b"\x01" or len(key) <= _HEAD_BYTES:
        return key[3:_HEAD_BYTES]
    _, end = _pk(key, _HEAD_BYTES)
    return key[3:end]


def user_key(key: bytes) -> bytes | None:
    """Return the user's key that a row is of, as a node; None where it is of another.

    Args:
        key: begins with `GRAPH_BYTE`.
    """
    if key[3 : _HEAD_BYTES + 4] != _KEY_VALUES or key[1:2] in b"sw":
        return None
    return _pk(key, _HEAD_BYTES)[0]


def spell_pk(type: Type, cell: Cell) -> bytes:
    """Spell a primary key, equal ones alike.

    Args:
        type: of the column.
        cell: not NULL.

    Raises:
        UnprocessableError: it is NULL or too long, or nothing that can be a key.
    """
    if cell is None:
        raise UnprocessableError("a primary key can't be NULL")
    spelled = _spell_pk(type.kind, cell)
    if len(spelled) > PK_BYTES_MAX:
        raise UnprocessableError(
            f"a primary key has up to {PK_BYTES_MAX} bytes, this {len(spelled)}"
        )
    return spelled


def read_pk(type: Type, spelled: bytes) -> Cell:
    """Read a primary key; the reverse of `spell_pk`.

    Args:
        type: of the column.
        spelled: what `spell_pk` spelled.
    """
    kind = type.kind
    if kind in (Kind.STRING, Kind.DECIMAL):
        return spelled.decode()
    if kind is Kind.BLOB:
        return spelled
    if kind is Kind.UUID:
        return str(UUID(bytes=spelled))
    if kind in (Kind.FLOAT, Kind.DOUBLE):
        (number,) = _DOUBLE.unpack(spelled)
        return number
    return int.from_bytes(spelled) - _bias(kind)


def _spell_pk(kind: Kind, cell: Cell) -> bytes:
    """Spell a primary key of any length."""
    match cell:
        case bool():
            pass
        case str() if kind in (Kind.STRING, Kind.DECIMAL):
            return cell.encode()
        case str() if kind is Kind.UUID:
            return UUID(cell).bytes
        case bytes() if kind is Kind.BLOB:
            return cell
        case float() | int() if kind in (Kind.FLOAT, Kind.DOUBLE):
            return _DOUBLE.pack(cell + 0.0)
        case int() if kind in INTEGERS or kind in TICKS or kind is Kind.DATE:
            return (cell + _bias(kind)).to_bytes(16 if kind is Kind.INT128 else 8)
    raise UnprocessableError(f"no primary key: {cell!r} as {kind}")


def _bias(kind: Kind) -> int:
    """Return what makes the integers of a kind positive, so that they sort."""
    if kind in TICKS or kind is Kind.DATE:
        return 1 << 63
    least, _ = INTEGERS[kind]
    if least == 0:
        return 0
    return 1 << 127 if kind is Kind.INT128 else 1 << 63


def _head(letter: bytes, graph: Graph) -> bytes:
    """Spell what all keys of one sort and one graph begin with."""
    placement = b"\x01" if graph.placement is Placement.SINGLE else b"\0"
    return bytes((GRAPH_BYTE,)) + letter + placement + _ID.pack(graph.graph_id)


def _end(table: NodeTable, key: Cell) -> bytes:
    """Spell one node: its table, and its key with the length before it."""
    pk = spell_pk(column(table, table.primary_key).type, key)
    return _ID.pack(table.table_id) + _LENGTH.pack(len(pk)) + pk


def _id(key: bytes, start: int) -> int:
    """Read an id."""
    (found,) = _ID.unpack_from(key, start)
    assert isinstance(found, int), "an id"
    return found


def _pk(key: bytes, start: int) -> tuple[bytes, int]:
    """Read the primary key of the node spelled at ``start``, and where it ends."""
    (length,) = _LENGTH.unpack_from(key, start + 4)
    end = start + 6 + length
    if end > len(key):
        raise IndexError
    return key[start + 6 : end], end


def _edge(key: bytes, graph_id: int) -> EdgeKey:
    """Read a relationship's key."""
    source_pk, end = _pk(key, _HEAD_BYTES)
    target_pk, last = _pk(key, end + 4)
    return EdgeKey(
        graph_id=graph_id,
        rel_id=_id(key, end),
        source_id=_id(key, _HEAD_BYTES),
        source_pk=source_pk,
        target_id=_id(key, end + 4),
        target_pk=target_pk,
        edge_id=key[last:],
    )


_KEY_VALUES = _ID.pack(MAIN_GRAPH.graph_id) + _ID.pack(KEY_VALUE_TABLE.table_id)
