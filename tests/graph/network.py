"""The social network's schema, and the files that hold it or a small part of it.

The files beside this module (``sample/``) are forty persons of the LDBC social network
benchmark's data at scale factor 0.1, with what they touch.
"""

import csv
from pathlib import Path

from tests.graph.oracle import Oracle, Shape
from tests.graph.world import Content

SAMPLE = Path(__file__).parent / "sample"
"""Files as the benchmark's generator writes them, delimited by ``|``."""

_PERSON = (
    "id INT64 PRIMARY KEY, firstName STRING, lastName STRING, gender STRING,"
    " birthday INT64, creationDate INT64, locationIP STRING, browserUsed STRING"
)
NODES = {
    "Person": _PERSON,
    "Forum": "id INT64 PRIMARY KEY, title STRING, creationDate INT64",
    "Organisation": "id INT64 PRIMARY KEY, type STRING, name STRING, url STRING",
    "Place": "id INT64 PRIMARY KEY, name STRING, url STRING, type STRING",
    "Tag": "id INT64 PRIMARY KEY, name STRING, url STRING",
    "TagClass": "id INT64 PRIMARY KEY, name STRING, url STRING",
}
"""Columns of each node table, in the order of its file."""

RELS: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "knows": ((("Person", "Person"),), "creationDate INT64"),
    "hasInterest": ((("Person", "Tag"),), ""),
    "isLocatedIn": ((("Person", "Place"), ("Organisation", "Place")), ""),
    "studyAt": ((("Person", "Organisation"),), "classYear INT64"),
    "workAt": ((("Person", "Organisation"),), "workFrom INT64"),
    "hasModerator": ((("Forum", "Person"),), ""),
    "hasTag": ((("Forum", "Tag"),), ""),
    "isPartOf": ((("Place", "Place"),), ""),
    "hasType": ((("Tag", "TagClass"),), ""),
    "isSubclassOf": ((("TagClass", "TagClass"),), ""),
}
"""Pairs and columns of each relationship table."""


def ddl() -> list[str]:
    """Return the statements that make all tables."""
    nodes = [f"CREATE NODE TABLE {name}({columns})" for name, columns in NODES.items()]
    rels = [
        f"CREATE REL TABLE {name}("
        + ", ".join(f"FROM {start} TO {end}" for start, end in pairs)
        + (f", {columns})" if columns else ")")
        for name, (pairs, columns) in RELS.items()
    ]
    return nodes + rels


def node_rows(directory: Path, table: str) -> list[list[object]]:
    """Read the nodes of a table, in the order of its columns.

    Args:
        directory: where the files are.
        table: by name.
    """
    types = [column.split()[1] for column in NODES[table].split(", ")]
    return _typed(directory / f"{table}.csv", types)


def rel_rows(directory: Path, table: str, pair: tuple[str, str]) -> list[list[object]]:
    """Read the relationships of one pair of a table: both keys, then columns.

    Args:
        directory: where the files are.
        table: by name.
        pair: names of the node tables at both ends.
    """
    columns = RELS[table][1]
    types = ["INT64", "INT64"]
    types += [column.split()[1] for column in columns.split(", ") if column]
    start, end = pair
    paths = sorted(directory.glob(f"{start}_{table}_{end}*.csv"))
    assert paths, f"no file of {table} in {directory}"
    return [row for path in paths for row in _typed(path, types)]


def _typed(path: Path, types: list[str]) -> list[list[object]]:
    """Read a file behind its heading."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)
        next(lines)
        return [
            [
                int(text) if type_ == "INT64" else text
                for text, type_ in zip(line, types, strict=True)
            ]
            for line in lines
        ]


def shape() -> Shape:
    """Return what an oracle must know."""
    return Shape(
        tuple(ddl()),
        {name: _names(columns) for name, columns in NODES.items()},
        {
            (name, start, end): _names(columns)
            for name, (pairs, columns) in RELS.items()
            for start, end in pairs
        },
    )


def content(directory: Path) -> Content:
    """Read all files.

    Args:
        directory: where they are.
    """
    rels = shape().rels
    return Content(
        {table: node_rows(directory, table) for table in NODES},
        {
            (name, start, end): rel_rows(directory, name, (start, end))
            for name, start, end in rels
        },
    )


def _names(columns: str) -> tuple[str, ...]:
    """Return the names of columns as the schema spells them."""
    return tuple(column.split()[0] for column in columns.split(", ") if column)


def oracle(directory: Path) -> Oracle:
    """Hold files in one engine; the whole network takes a minute.

    Args:
        directory: where they are.
    """
    made = Oracle(shape())
    held = content(directory)
    made.load(dict(held.nodes), dict(held.rels))
    return made
