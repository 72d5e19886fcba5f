"""A small graph, and the entries of a map that are its rows."""

from pathlib import Path

from msgspec.structs import replace

from torua.codec.rows import Row, spell_row, spell_schema
from torua.core.graph.keys import edge_key, grave_key, node_key, schema_key
from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import parse_type
from torua.core.records import Effect, KvDelete, KvPut, Record
from torua.storage.map import Map

PERSON = NodeTable(
    16,
    "Person",
    (
        Column(0, "id", parse_type("INT64")),
        Column(1, "name", parse_type("STRING")),
        Column(2, "since", parse_type("INTERVAL")),
    ),
    "id",
)
CITY = NodeTable(17, "City", (Column(0, "n", parse_type("STRING")),), "n")
KNOWS = RelTable(
    18, "KNOWS", ((16, 16), (16, 17)), (Column(0, "r", parse_type("DECIMAL(9, 2)")),)
)
GRAPH = Graph(graph_id=5, name="people", nodes=(PERSON, CITY), rels=(KNOWS,))
WIDER = replace(
    GRAPH,
    version=2,
    nodes=(
        replace(PERSON, columns=(*PERSON.columns, Column(3, "b", parse_type("DATE")))),
        CITY,
    ),
)
"""The same with one column more."""


class Copy:
    """A map that is written record by record.

    Invariants: each record is applied at once.
    """

    def __init__(self, path: Path) -> None:
        """Make an empty one at ``path``, with the schema in it."""
        self.view = Map.open(path)
        self.write(schema(GRAPH))

    def write(self, *effects: Effect) -> None:
        """Apply one record."""
        seq = self.view.applied_seq + 1
        record = Record(shard=0, seq=seq, term=1, time_ns=seq, effects=effects)  # type: ignore[arg-type]
        self.view.apply([record])


def schema(graph: Graph) -> Effect:
    """Write a schema."""
    return KvPut(schema_key(graph.graph_id), spell_schema(graph), "")


def person(id: int, name: str, born: int = 0, **more: object) -> Effect:
    """Write a person.

    Args:
        id: the key.
        name: a property.
        born: see `Row`.
        more: ``b``, a property of `WIDER`.
    """
    cells: dict[int, object] = {0: id, 1: name, 2: [1, 2, id], 3: more.get("b")}
    return KvPut(node_key(GRAPH, PERSON, id), spell_row(Row(born, cells)), "")


def no_person(id: int) -> Effect:
    """Delete a person."""
    return KvDelete(node_key(GRAPH, PERSON, id))


def city(name: str) -> Effect:
    """Write a city."""
    return KvPut(node_key(GRAPH, CITY, name), spell_row(Row(0, {0: name})), "")


def grave(id: int, born: int) -> Effect:
    """Write down that a person was deleted.

    Args:
        id: the key.
        born: the version at which it was made.
    """
    return KvPut(grave_key(GRAPH, PERSON, id, born), b"", "")


def _place(source: int, target: int | str, edge: bytes) -> bytes:
    """Tell where a relationship stands."""
    end = (PERSON if isinstance(target, int) else CITY, target)
    return edge_key(GRAPH, KNOWS, (PERSON, source), end, edge)


def knows(
    source: int, target: int | str, r: str = "-1.50", edge: bytes = b""
) -> Effect:
    """Write a relationship from a person to a person or a city.

    Args:
        source: a person's key.
        target: a person's key, or a city's.
        r: a property.
        edge: tells it from others between the same two.
    """
    place = _place(source, target, edge)
    return KvPut(place, spell_row(Row(1, {0: r})), "")


def knows_not(source: int, target: int | str, edge: bytes = b"") -> Effect:
    """Delete a relationship.

    Args:
        source: a person's key.
        target: a person's key, or a city's.
        edge: tells it from others between the same two.
    """
    return KvDelete(_place(source, target, edge))
