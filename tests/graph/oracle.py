"""One engine that holds everything: what it answers is what shards shall answer."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tests.graph.answers import Answer, answer_of, plain
from tests.graph.statements import Statement
from torua.storage.kuzu import Engine, EngineError, Limits

POOL_BYTES = 128 << 20
TIMEOUT_S = 20.0

State = dict[str, list[str]]
"""All rows by table, or by table and pair, each spelled, in order."""


class Shape(Struct, frozen=True):
    """What an oracle must know of a schema.

    Attributes:
        ddl: statements that make it.
        nodes: of each node table its columns, the primary key first.
        rels: of each relationship table and pair its columns.
    """

    ddl: tuple[str, ...]
    nodes: dict[str, tuple[str, ...]]
    rels: dict[tuple[str, str, str], tuple[str, ...]]


KEY_VALUE = (
    "CREATE NODE TABLE KeyValue(key STRING PRIMARY KEY, value BLOB,"
    " content_type STRING, version INT64, size INT64)"
)
"""It is in every main graph, and so among the properties of nodes of any label."""


class Oracle:
    """One database in memory.

    Invariants: a statement that failed changed nothing.
    """

    def __init__(self, shape: Shape, *, main: bool = True) -> None:
        """Make its tables.

        Args:
            shape: the schema.
            main: whether it is a main graph's, which has a table of keys and values.
        """
        self._shape = shape
        self._engine = Engine(None, Limits(POOL_BYTES, 1 << 34, 1))
        self._session = self._engine.session()
        for statement in (*((KEY_VALUE,) if main else ()), *shape.ddl):
            self._session.do(statement)

    def load(
        self,
        nodes: dict[str, Iterable[Sequence[object]]],
        rels: dict[tuple[str, str, str], Iterable[Sequence[object]]],
    ) -> None:
        """Fill its tables.

        Args:
            nodes: by table: values of its columns.
            rels: by table and pair: the keys of both ends, then values.
        """
        for table, rows in nodes.items():
            columns = self._shape.nodes[table]
            for row in rows:
                cells, given = _cells(columns, row)
                self._session.do(f"CREATE (:{table} {{{cells}}})", given)
        for (table, start, end), rows in rels.items():
            keys = self._shape.nodes[start][0], self._shape.nodes[end][0]
            for first, last, *row in rows:
                cells, given = _cells(self._shape.rels[(table, start, end)], row)
                self._session.do(
                    f"MATCH (a:{start} {{{keys[0]}: $a}}), (b:{end} {{{keys[1]}: $b}})"
                    f" CREATE (a)-[:{table} {{{cells}}}]->(b)",
                    {"a": first, "b": last, **given},
                )

    def run(self, statement: Statement) -> Answer:
        """Run a statement; an error is an answer, too."""
        try:
            table = self._session.run(statement.text, statement.parameters, TIMEOUT_S)
        except EngineError as error:
            return Answer(error=str(error))
        return answer_of(table)

    def state(self) -> State:
        """Return all that it holds."""
        found: State = {}
        for table, columns in self._shape.nodes.items():
            items = ", ".join(f"n.{name}" for name in columns)
            found[table] = self._rows(f"MATCH (n:{table}) RETURN {items}")
        for (table, start, end), columns in self._shape.rels.items():
            keys = self._shape.nodes[start][0], self._shape.nodes[end][0]
            items = ", ".join(
                [f"a.{keys[0]}", f"b.{keys[1]}", *(f"r.{name}" for name in columns)]
            )
            text = f"MATCH (a:{start})-[r:{table}]->(b:{end}) RETURN {items}"
            found[f"{start}-{table}-{end}"] = self._rows(text)
        return found

    def close(self) -> None:
        """Close the database."""
        self._session.close()
        self._engine.close()

    def _rows(self, text: str) -> list[str]:
        """Return rows, spelled, in order."""
        return sorted(spelled(row) for row in self._session.rows(text))


def spelled(values: Iterable[object]) -> str:
    """Spell a row as `Oracle.state` does."""
    return repr(tuple(plain(value) for value in values))


def _cells(
    columns: Sequence[str], row: Sequence[object]
) -> tuple[str, dict[str, object]]:
    """Spell properties as parameters, NULLs left out; return those, too."""
    given = {
        f"v{place}": value for place, value in enumerate(row) if value not in (None, [])
    }
    items = [f"{columns[int(name[1:])]}: ${name}" for name in given]
    items += [f"{columns[place]}: []" for place, value in enumerate(row) if value == []]
    return ", ".join(items), given


def changed_in(before: State, after: State) -> str:
    """Tell what two states do not share; empty if they are equal.

    Args:
        before: the oracle's.
        after: the shards'.
    """
    lines = []
    for table in before:
        left, right = list(before[table]), list(after[table])
        for row in before[table]:
            if row in right:
                left.remove(row)
                right.remove(row)
        lines += [f"  {table} only in one engine: {row}" for row in left[:4]]
        lines += [f"  {table} only in shards:     {row}" for row in right[:4]]
    return "\n".join(lines)
