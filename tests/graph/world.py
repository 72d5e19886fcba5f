"""A small graph with everything that is awkward, and its schema, for the grammar.

Several labels share property names; relationship tables have several pairs; there are
NULLs, self-loops, and several relationships of one type between the same nodes.
"""

from collections.abc import Callable
from datetime import date, datetime
from random import Random

from msgspec import Struct

from tests.graph.oracle import Shape

Row = list[object]


class Table(Struct, frozen=True):
    """A node table: its columns with their types, the primary key first."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """The primary key's name."""
        return self.columns[0][0]


class Rel(Struct, frozen=True):
    """A relationship table: its pairs, and its columns with their types."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...] = ()


NODES = (
    Table(
        "Person",
        (
            ("id", "INT64"),
            ("name", "STRING"),
            ("age", "INT64"),
            ("height", "DOUBLE"),
            ("tags", "STRING[]"),
            ("born", "DATE"),
            ("ok", "BOOL"),
        ),
    ),
    Table(
        "City",
        (
            ("name", "STRING"),
            ("size", "INT64"),
            ("area", "DOUBLE"),
            ("marks", "INT64[]"),
        ),
    ),
    Table(
        "Thing",
        (
            ("id", "INT64"),
            ("name", "STRING"),
            ("weight", "DOUBLE"),
            ("made", "TIMESTAMP"),
        ),
    ),
)
RELS = (
    Rel("knows", (("Person", "Person"),), (("since", "INT64"), ("note", "STRING"))),
    Rel("livesIn", (("Person", "City"),), (("since", "INT64"),)),
    Rel(
        "likes",
        (
            ("Person", "Thing"),
            ("Person", "City"),
            ("City", "Thing"),
            ("Thing", "Thing"),
        ),
        (("rank", "INT64"), ("w", "DOUBLE")),
    ),
    Rel("partOf", (("Thing", "Thing"),)),
)
TABLES = {table.name: table for table in NODES}
REL_TABLES = {rel.name: rel for rel in RELS}

NAMES = ["a", "b", "Ann", "Bob", "ann", "", "zoë", "a b", "x'y", None]
CITIES = ["Rome", "Oslo", "Bern", "Lima", "a/b", "Ürümqi"]
TAGS: list[Row | None] = [None, [], ["a"], ["b", "a"], ["a", "a", "b"], ["zoë"]]
PERSONS = 24
THINGS = 16


def ddl() -> list[str]:
    """Return the statements that make all tables."""
    nodes = []
    for table in NODES:
        columns = ", ".join(f"{name} {type_}" for name, type_ in table.columns)
        nodes.append(
            f"CREATE NODE TABLE {table.name}({columns}, PRIMARY KEY ({table.key}))"
        )
    rels = []
    for rel in RELS:
        parts = [f"FROM {start} TO {end}" for start, end in rel.pairs]
        parts += [f"{name} {type_}" for name, type_ in rel.columns]
        rels.append(f"CREATE REL TABLE {rel.name}({', '.join(parts)})")
    return nodes + rels


class Content(Struct, frozen=True):
    """Rows of all tables.

    Attributes:
        nodes: by table, in the order of its columns.
        rels: by table and pair: the keys of both ends, then the columns.
    """

    nodes: dict[str, list[Row]]
    rels: dict[tuple[str, str, str], list[Row]]


def content(dice: Random) -> Content:
    """Fill the tables.

    Args:
        dice: decides with what.
    """
    nodes: dict[str, list[Row]] = {
        "Person": [_person(dice, number) for number in range(PERSONS)],
        "City": [_city(dice, name) for name in CITIES],
        "Thing": [_thing(dice, number) for number in range(THINGS)],
    }
    keys = {name: [row[0] for row in rows] for name, rows in nodes.items()}
    rels = {}
    for rel in RELS:
        for start, end in rel.pairs:
            rows: list[Row] = []
            for _ in range(12 if len(rel.pairs) > 1 else 30):
                ends: Row = [dice.choice(keys[start]), dice.choice(keys[end])]
                cells = [value(dice, type_) for _, type_ in rel.columns]
                rows += [ends + cells] * (2 if dice.random() < 0.05 else 1)
            if start == end:
                rows.append([keys[start][1]] * 2 + [None] * len(rel.columns))
            rels[(rel.name, start, end)] = rows
    return Content(nodes, rels)


def value(dice: Random, type_: str) -> object:
    """Make a value of a type, or NULL.

    Args:
        dice: decides.
        type_: as the schema spells it.
    """
    return None if dice.random() < 0.15 else MAKERS[type_](dice)


MAKERS: dict[str, Callable[[Random], object]] = {
    "INT64": lambda dice: dice.choice([dice.randint(-3, 9), dice.randint(1, 60)]),
    "DOUBLE": lambda dice: dice.randint(-8, 40) / 4,
    "STRING": lambda dice: dice.choice(NAMES),
    "BOOL": lambda dice: dice.random() < 0.5,
    "DATE": lambda dice: date(1970 + dice.randint(0, 60), dice.randint(1, 12), 3),
    "TIMESTAMP": lambda dice: datetime(2000 + dice.randint(0, 30), 5, 7, 3, 30),
    "STRING[]": lambda dice: dice.choice(TAGS),
    "INT64[]": lambda dice: [dice.randint(0, 5) for _ in range(dice.randint(0, 4))],
}


def _person(dice: Random, number: int) -> Row:
    """Make a person."""
    return [number, *(value(dice, type_) for _, type_ in TABLES["Person"].columns[1:])]


def _city(dice: Random, name: str) -> Row:
    """Make a city."""
    return [name, *(value(dice, type_) for _, type_ in TABLES["City"].columns[1:])]


def _thing(dice: Random, number: int) -> Row:
    """Make a thing; some have the ids of persons, some are negative."""
    columns = TABLES["Thing"].columns[1:]
    return [number - 4, *(value(dice, type_) for _, type_ in columns)]


def shape() -> Shape:
    """Return what an oracle must know."""
    nodes = {table.name: tuple(name for name, _ in table.columns) for table in NODES}
    rels = {
        (rel.name, start, end): tuple(name for name, _ in rel.columns)
        for rel in RELS
        for start, end in rel.pairs
    }
    return Shape(tuple(ddl()), nodes, rels)
