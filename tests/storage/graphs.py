"""Small graphs, and rows of them as shards give them."""

from collections.abc import Sequence

import pyarrow as pa

from torua.core.graph.jobs import Gathered
from torua.core.graph.kinds import Kind, Type
from torua.core.graph.schema import Column, Graph, NodeTable, RelTable

INT = Type(Kind.INT64)
TEXT = Type(Kind.STRING)

_PERSON = (Column(0, "name", TEXT), Column(1, "age", INT))
_CITY = (Column(0, "id", INT), Column(1, "name", TEXT))

PEOPLE = Graph(
    1,
    "people",
    nodes=(
        NodeTable(16, "Person", _PERSON, "name"),
        NodeTable(17, "City", _CITY, "id"),
    ),
    rels=(
        RelTable(18, "Knows", ((16, 16),), (Column(0, "since", INT),)),
        RelTable(19, "Likes", ((16, 16), (16, 17)), (Column(0, "much", INT),)),
    ),
)


def stream(table: pa.Table) -> bytes:
    """Spell a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    spelled: bytes = sink.getvalue().to_pybytes()
    return spelled


def nodes(
    table: str, columns: dict[str, Sequence[object]], types: dict[str, pa.DataType]
) -> Gathered:
    """Make nodes that were all born by record 1.

    Args:
        table: by name.
        columns: values by name of the column.
        types: theirs in Arrow.
    """
    count = len(next(iter(columns.values())))
    made = {name: pa.array(values, types[name]) for name, values in columns.items()}
    made |= {name: pa.array([1] * count, pa.int64()) for name in ("tv_ver", "tv_born")}
    return Gathered(table, None, (stream(pa.table(made)),))


def edges(
    table: str,
    pair: tuple[str, str],
    rows: Sequence[tuple[object, object, int | None]],
    name: str,
    key: pa.DataType,
) -> Gathered:
    """Make relationships with one property; ids are their numbers.

    Args:
        table: by name.
        pair: of node tables.
        rows: from, to, and the property.
        name: of the property.
        key: the type of the far end's key.
    """
    sources, targets, values = [list(column) for column in zip(*rows, strict=True)]
    ids = [b"%08d" % at for at in range(len(rows))]
    made = {
        "tv_from": pa.array(sources, pa.string()),
        "tv_to": pa.array(targets, key),
        name: pa.array(values, pa.int64()),
        "tv_id": pa.array(ids, pa.binary()),
        "tv_ver": pa.array([1] * len(rows), pa.int64()),
        "tv_born": pa.array([1] * len(rows), pa.int64()),
    }
    return Gathered(table, pair, (stream(pa.table(made)),))


def people() -> tuple[Gathered, ...]:
    """Return three people, two cities, and what is between them.

    Ada knows Bob twice, Bob knows Cyd, and Bob likes Ada; Ada likes Ur, Cyd likes Rome.
    """
    person: dict[str, Sequence[object]] = {
        "name": ["Ada", "Bob", "Cyd"],
        "age": [36, None, 20],
    }
    city: dict[str, Sequence[object]] = {"id": [1, 2], "name": ["Ur", "Rome"]}
    knows = [("Ada", "Bob", 1), ("Ada", "Bob", 2), ("Bob", "Cyd", None)]
    likes = [("Ada", 1, 5), ("Cyd", 2, 3)]
    return (
        nodes("Person", person, {"name": pa.string(), "age": pa.int64()}),
        nodes("City", city, {"id": pa.int64(), "name": pa.string()}),
        edges("Knows", ("Person", "Person"), knows, "since", pa.string()),
        edges("Likes", ("Person", "Person"), [("Bob", "Ada", 9)], "much", pa.string()),
        edges("Likes", ("Person", "City"), likes, "much", pa.int64()),
    )
