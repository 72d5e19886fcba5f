"""Which table a file goes to, and statements that make the tables that are missing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from torua.cli.failures import Failure
from torua.cli.files import TableFile

Pair = tuple[str, str]


class Tables(msgspec.Struct, frozen=True):
    """The tables of a graph, by their names in lower case.

    Attributes:
        nodes: node tables.
        rels: relationship tables, with the pairs of node tables that they go from and
            to.
    """

    nodes: dict[str, str]
    rels: dict[str, tuple[str, tuple[Pair, ...]]]


class Target(msgspec.Struct, frozen=True):
    """Where a file goes; ``pair`` is None for nodes."""

    file: TableFile
    table: str
    pair: Pair | None = None


def read_tables(schema: Mapping[str, Any]) -> Tables:
    """Read what ``GET /graph/schema`` answered."""
    return Tables(
        {each["name"].lower(): each["name"] for each in schema["nodes"]},
        {
            each["name"].lower(): (
                each["name"],
                tuple((pair["from"], pair["to"]) for pair in each["pairs"]),
            )
            for each in schema["relationships"]
        },
    )


def place(file: TableFile, tables: Tables) -> Target | None:
    """Find the table of a file by its name; None where there is none.

    Args:
        file: which.
        tables: those that are there.
    """
    stem = file.stem.lower()
    if not file.is_edges:
        table = tables.nodes.get(stem)
        return None if table is None else Target(file, table)
    for name, (table, pairs) in tables.rels.items():
        for pair in pairs:
            start, end = (each.lower() for each in pair)
            if stem == f"{start}_{name}_{end}":
                return Target(file, table, pair)
        if stem == name:
            return Target(file, table, _choose(file, pairs))
    return None


def missing(files: Sequence[TableFile], tables: Tables) -> list[str]:
    """Write the statements that make the tables that files have none of.

    Args:
        files: all that are to be loaded.
        tables: those that are there.

    Raises:
        Failure: it can't be told from which table to which a file goes.
    """
    nodes = dict(tables.nodes)
    statements: dict[str, str] = {}
    for file in files:
        if not file.is_edges and file.stem.lower() not in nodes:
            nodes[file.stem.lower()] = file.stem
            statements[file.stem] = (
                f"CREATE NODE TABLE {_quoted(file.stem)}({_columns(file, key=True)})"
            )
    rels: dict[str, tuple[list[Pair], str]] = {}
    for file in files:
        if file.is_edges and place(file, tables) is None:
            name, pair = _relationship(file, nodes)
            pairs, _ = rels.setdefault(name, ([], _columns(file, key=False)))
            if pair not in pairs:
                pairs.append(pair)
    for name, (pairs, columns) in rels.items():
        between = [f"FROM {_quoted(one)} TO {_quoted(other)}" for one, other in pairs]
        inside = ", ".join([*between, *([columns] if columns else [])])
        statements[name] = f"CREATE REL TABLE {_quoted(name)}({inside})"
    return list(statements.values())


def in_order(targets: Iterable[Target]) -> list[Target]:
    """Put nodes before relationships; those need them."""
    return sorted(targets, key=lambda each: each.pair is not None)


def _choose(file: TableFile, pairs: Sequence[Pair]) -> Pair:
    """Return the pair that a header names; the first where it names none."""
    wanted = tuple(each.lower() for each in file.ends)
    for pair in pairs:
        if tuple(each.lower() for each in pair) == wanted:
            return pair
    return pairs[0]


def _relationship(file: TableFile, nodes: Mapping[str, str]) -> tuple[str, Pair]:
    """Return a relationship's name and the tables of its ends, by its file's name."""
    words = file.stem.split("_")
    for first in range(1, len(words) - 1):
        for last in range(len(words) - 1, first, -1):
            ends = ("_".join(words[:first]), "_".join(words[last:]))
            if all(each.lower() in nodes for each in ends):
                name = "_".join(words[first:last])
                return name, (nodes[ends[0].lower()], nodes[ends[1].lower()])
    if all(each.lower() in nodes for each in file.ends):
        return file.stem, (nodes[file.ends[0].lower()], nodes[file.ends[1].lower()])
    raise Failure(
        f"{file.path.name}: it can't be told which nodes it connects; call it "
        "From_name_To, or give the tables with --schema"
    )


def _columns(file: TableFile, *, key: bool) -> str:
    """Spell the properties of a table."""
    return ", ".join(
        f"{_quoted(name)} {type_}{' PRIMARY KEY' if key and name == file.key else ''}"
        for name, type_ in file.properties
    )


def _quoted(name: str) -> str:
    """Spell a name in Cypher."""
    return name if name.isidentifier() and name.isascii() else f"`{name}`"
