"""Four engines that each hold a part, and plans run on them in the plainest way.

Nothing of the executor is used: what a plan means is done here step by step, as its
documentation says it, so that a difference from one engine is the planner's fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

import pyarrow as pa

from tests.graph.answers import Answer, answer_of
from tests.graph.oracle import Shape, State
from tests.graph.statements import Statement
from tests.graph.world import Content
from torua.core.cypher.plan import Anchor, Frontier, Literal, Parameter, Plan, Strategy
from torua.core.cypher.planner import plan
from torua.core.graph.ddl import parse_ddl
from torua.core.graph.defining import define
from torua.core.graph.fragments import Scan, Text
from torua.core.graph.jobs import Format, Gathered, Job
from torua.core.graph.schema import MAIN_GRAPH, Graph
from torua.errors import ToruaError
from torua.storage.kuzu import Engine, Limits
from torua.storage.queries import Queries

SHARDS = 4
LIMITS = Limits(128 << 20, 1 << 33, 1)
TIMEOUT_S = 20.0

Pair = tuple[str, str]


def graph_of(shape: Shape) -> Graph:
    """Make a graph of a schema's statements."""
    graph = MAIN_GRAPH
    for text in shape.ddl:
        ddl = parse_ddl(text)
        assert ddl is not None, text
        graph = define(graph, ddl)
    return graph


def home(key: object) -> int:
    """Tell on which engine a node lives."""
    return crc32(repr(key).encode()) % SHARDS


class Planned:
    """Runs reads by their plans; writes are not run.

    Invariants: each node is no ghost on its home; each relationship is where it begins.
    """

    def __init__(self, shape: Shape, content: Content) -> None:
        """Make and fill the engines.

        Args:
            shape: the schema.
            content: the rows.
        """
        self.graph = graph_of(shape)
        self.nodes = {
            table.name: tuple(column.name for column in table.columns)
            for table in self.graph.nodes
        }
        self.rels = shape.rels
        self.engines = [Engine(None, LIMITS) for _ in range(SHARDS)]
        for engine in self.engines:
            engine.create(self.graph, hidden=True)
        self.worker = Queries("ladybug", LIMITS)
        self.made = 0
        for table, rows in content.nodes.items():
            for row in rows:
                self._node(table, row)
        for (table, *pair), rows in content.rels.items():
            for row in rows:
                self._rel(table, (pair[0], pair[1]), row)

    def _node(self, table: str, row: Sequence[object]) -> None:
        """Make a node at its home."""
        cells, given = _cells(self.nodes[table], row)
        self.engines[home(row[0])].run(
            f"CREATE (:{table} {{{cells}, tv_ghost: false, tv_ver: 1, tv_born: 1}})",
            given,
        )

    def _rel(self, table: str, pair: Pair, row: Sequence[object]) -> None:
        """Make a relationship where it begins, and a ghost where that needs one."""
        engine = self.engines[home(row[0])]
        keys = [self.nodes[name][0] for name in pair]
        if home(row[1]) != home(row[0]):
            engine.run(
                f"MERGE (n:{pair[1]} {{{keys[1]}: $k}}) ON CREATE SET n.tv_ghost=true",
                {"k": row[1]},
            )
        self.made += 1
        cells, given = _cells(self.rels[(table, *pair)], row[2:])
        cells = ", ".join(filter(None, [cells, "tv_ver: 1, tv_born: 1, tv_id: $i"]))
        engine.run(
            f"MATCH (a:{pair[0]} {{{keys[0]}: $a}}), (b:{pair[1]} {{{keys[1]}: $b}})"
            f" CREATE (a)-[:{table} {{{cells}}}]->(b)",
            {**given, "a": row[0], "b": row[1], "i": str(self.made).encode()},
        )

    def run(self, statement: Statement) -> Answer:
        """Run a read by its plan."""
        if statement.write:
            return Answer(error="writes are not run here")
        try:
            made = plan(statement.text, statement.parameters, self.graph)
            job = self._job(made, statement.parameters)
            finished = self.worker.run(job, TIMEOUT_S)
        except ToruaError as error:
            return Answer(error=f"{error.code}: {error.detail}")
        finally:
            self.worker.settle()
        table = pa.ipc.open_stream(finished.body).read_all()
        return answer_of(table, str(made.strategy))

    def state(self) -> State:
        """Not needed: nothing is written."""
        raise AssertionError("nothing is written")

    def close(self) -> None:
        """Close all engines."""
        for engine in self.engines:
            engine.close()

    def _job(self, made: Plan, parameters: dict[str, object]) -> Job:
        """Gather what a plan says."""
        job = Job(
            self.graph, made.statement, parameters, format=Format.ARROW, rows_max=10**6
        )
        if made.strategy is Strategy.SCATTER and made.scatter is not None:
            parts = [
                _bytes(_answer(engine, made.scatter.fragment, parameters))
                for engine in self.engines
            ]
            return _with(job, partials=tuple(parts), merge=made.scatter.merge)
        tables: Iterable[Gathered]
        if made.strategy is Strategy.ROUTE and made.route is not None:
            columns = {scan.table: scan.columns for scan in made.gather}
            seen = self._anchored(made.route.anchors, parameters)
            tables = self._fetch(seen, columns)
        elif made.strategy is Strategy.FRONTIER and made.frontier is not None:
            tables = self._around(made.frontier, parameters)
        else:
            tables = [self._scan(scan, parameters) for scan in made.gather]
        return _with(job, tables=tuple(tables))

    def _scan(self, scan: Scan, parameters: Mapping[str, object]) -> Gathered:
        """Gather a table from all engines."""
        columns = self._columns(scan.table, scan.pair, scan.columns)
        where = f" AND ({scan.where})" if scan.where else ""
        text = self._text(scan.table, scan.pair, columns, "")
        text = text.replace(" RETURN", f"{where} RETURN", 1)
        parts = [_answer(engine, Text(text), parameters) for engine in self.engines]
        return Gathered(scan.table, scan.pair, tuple(map(_bytes, parts)))

    def _columns(
        self, table: str, pair: Pair | None, columns: Sequence[str] | None
    ) -> Sequence[str]:
        """Return which columns are wanted; a node's key always."""
        if pair is not None:
            every = self.rels[(table, *pair)]
            return every if columns is None else columns
        every = self.nodes[table]
        if columns is None:
            return every
        return tuple(dict.fromkeys([every[0], *columns]))

    def _text(
        self, table: str, pair: Pair | None, columns: Sequence[str], where: str
    ) -> str:
        """Write a read of one table or pair; ``$k`` stands for keys."""
        if pair is None:
            shown = ", ".join(f"n.{name} AS {name}" for name in columns)
            return (
                f"MATCH (n:{table}) WHERE n.tv_ghost = false{where} RETURN {shown},"
                " n.tv_ver AS tv_ver, n.tv_born AS tv_born"
            )
        shown = "".join(f", r.{name} AS {name}" for name in columns)
        keys = [self.nodes[name][0] for name in pair]
        return (
            f"MATCH (a:{pair[0]})-[r:{table}]->(b:{pair[1]})"
            f" WHERE a.tv_ghost = false{where}"
            f" RETURN a.{keys[0]} AS tv_from, b.{keys[1]} AS tv_to{shown},"
            " r.tv_id AS tv_id, r.tv_ver AS tv_ver, r.tv_born AS tv_born"
        )

    def _anchored(
        self, anchors: Iterable[Anchor], parameters: Mapping[str, object]
    ) -> dict[str, dict[object, None]]:
        """Look up the keys of anchors."""
        seen: dict[str, dict[object, None]] = {}
        for anchor in anchors:
            known = seen.setdefault(anchor.table, {})
            for key in anchor.keys:
                value: object = None
                if isinstance(key, Literal):
                    value = key.value
                elif isinstance(key, Parameter):
                    value = parameters[key.name]
                values = value if anchor.many else [value]
                assert isinstance(values, list)
                known.update(dict.fromkeys(values))
            known.pop(None, None)
        return seen

    def _fetch(
        self,
        seen: dict[str, dict[object, None]],
        columns: Mapping[str, tuple[str, ...] | None],
    ) -> list[Gathered]:
        """Fetch nodes at their homes."""
        found = []
        for table, keys in seen.items():
            names = self._columns(table, None, columns[table])
            primary = self.nodes[table][0]
            text = self._text(table, None, names, f" AND n.{primary} IN $k")
            parts = []
            for number, engine in enumerate(self.engines):
                mine = [key for key in keys if home(key) == number]
                if mine:
                    parts.append(_bytes(engine.run(text, {"k": mine})))
            found.append(Gathered(table, None, tuple(parts)))
        return found

    def _around(
        self, frontier: Frontier, parameters: Mapping[str, object]
    ) -> list[Gathered]:
        """Follow all rounds."""
        seen = self._anchored(frontier.anchors, parameters)
        done: dict[object, set[object]] = {}
        parts: dict[tuple[str, Pair], list[bytes]] = {}
        for some in frontier.rounds:
            before = {table: list(keys) for table, keys in seen.items()}
            for along in some:
                pair, out = along.pair, along.outgoing
                near, far = pair if out else pair[::-1]
                expanded = done.setdefault(along, set())
                new = [key for key in before.get(near, []) if key not in expanded]
                expanded.update(new)
                side = "a" if out else "b"
                where = f" AND {side}.{self.nodes[near][0]} IN $k"
                names = self._columns(along.table, pair, along.columns)
                text = self._text(along.table, pair, names, where)
                for number, engine in enumerate(self.engines):
                    keys = [key for key in new if not out or home(key) == number]
                    if keys:
                        rows = engine.run(text, {"k": keys})
                        parts.setdefault((along.table, pair), []).append(_bytes(rows))
                        ends = rows["tv_to" if out else "tv_from"].to_pylist()
                        seen.setdefault(far, {}).update(dict.fromkeys(ends))
        rels = [Gathered(name, pair, tuple(p)) for (name, pair), p in parts.items()]
        return [*self._fetch(seen, dict(frontier.nodes)), *rels]


def _answer(engine: Engine, text: Text, parameters: Mapping[str, object]) -> pa.Table:
    """Run what is meant for a shard, with those parameters that it names."""
    given = {
        name: value for name, value in parameters.items() if f"${name}" in text.text
    }
    return engine.run(text.text, given)


def _bytes(table: pa.Table) -> bytes:
    """Spell a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _with(job: Job, **changes: object) -> Job:
    """Return a job with some fields changed."""
    fields = {name: getattr(job, name) for name in job.__struct_fields__}
    return Job(**{**fields, **changes})


def _cells(
    columns: Sequence[str], row: Sequence[object]
) -> tuple[str, dict[str, object]]:
    """Spell properties, NULLs left out."""
    given = {
        name: value
        for name, value in zip(columns, row, strict=True)
        if value is not None and value != []
    }
    cells = [f"{name}: ${name}" for name in given]
    cells += [
        f"{name}: []" for name, value in zip(columns, row, strict=True) if value == []
    ]
    return ", ".join(cells), dict(given)
