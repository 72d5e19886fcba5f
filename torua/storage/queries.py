"""Runs jobs, one after the other, in a graph engine in memory.

What a job gathered is copied into an empty database of its graph's schema; its
statement is run there; the answer is spelled; of a write, what it changed is found by
looking.  The database is then thrown away.  One with the same schema is made in advance
when nobody waits, for the next job is most often of the same graph; a job that gathered
nothing and writes nothing leaves it as it was.  Of a statement that names its tables it
has only those: a node table takes the engine 0.4 ms to make.

Few rows for a read, or some nodes, are put in within a transaction that is rolled back:
the database is empty again, and of few rows the statements that put them in are
prepared already.
"""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
from msgspec.structs import replace

from torua.core.cypher.tokens import tokenize
from torua.core.graph.changes import Change
from torua.core.graph.jobs import Finished, Gathered, Job
from torua.core.graph.kinds import Kind
from torua.core.graph.schema import KEY_VALUE, MAIN_GRAPH, Graph
from torua.errors import (
    MalformedError,
    QueryTimeoutError,
    QueryTooLargeError,
    ToruaError,
    UnprocessableError,
)
from torua.storage.answers import Spelling, types
from torua.storage.differences import differences
from torua.storage.entities import Entities
from torua.storage.gathered import (
    Tables,
    are_few,
    are_few_nodes,
    assemble,
    create,
    fill,
    load,
    read_stream,
)
from torua.storage.kuzu import OF_NOW, Engine, EngineError, Limits, Session
from torua.storage.merging import merged
from torua.storage.spans import casting

_FULL = ("bad_alloc", "buffer pool is full", "bad allocation", "Unable to allocate")
"""How the engine says that there is no memory left."""

_WARM_S = 60.0

TRIALS_MAX = 200
"""After so many jobs a database is made anew, lest what the engine keeps of what was
rolled back grow."""


class Queries:
    """One engine in memory, and what is run in it.

    Invariants: a job sees nothing of another; once `broken`, no further job is run.
    """

    def __init__(self, engine: str, limits: Limits) -> None:
        """Load the engine, and make a database for the first job.

        Args:
            engine: the package.
            limits: what a database may take.
        """
        self._package = engine
        self._limits = limits
        self._graph: Graph = MAIN_GRAPH
        self._engine: Engine | None = None
        self._used = False
        self._named: Sequence[str] | None = None
        self._made: set[str] = set()
        self._trials = 0
        self._session: Session | None = None
        self.broken = False
        self._warm()

    def _warm(self) -> None:
        """Have every library do once what jobs will ask of it.

        What they load, start and reserve is there then, before memory is limited.
        """
        row = pa.table({"key": ["a"], "value": pa.array([b"a"]), "tv_born": [1]})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, row.schema) as writer:
            writer.write_table(row)
        part = sink.getvalue().to_pybytes()
        table = Gathered(KEY_VALUE, None, (part, part))
        text = f"MATCH (n:{KEY_VALUE}) RETURN n, n.key, count(*) ORDER BY n.key"
        self.run(Job(self._graph, text, tables=(table,)), _WARM_S)
        self.settle()

    def run(self, job: Job, timeout_s: float) -> Finished:
        """Do one job; `settle` must follow.

        Args:
            job: what to do.
            timeout_s: after so long the engine stops; what else takes long is for
                others to end.

        Raises:
            ToruaError: the statement is wrong, takes too long, or is too large.
        """
        assert not self.broken, "its process ends"
        deadline = time.monotonic() + timeout_s
        try:
            if job.merge is not None:
                return self._merge(job)
            return self._statement(job, deadline)
        except EngineError as error:
            raise self._explained(error) from error
        except (MemoryError, pa.ArrowMemoryError) as error:
            self.broken = True
            raise _too_large() from error

    def settle(self) -> None:
        """Throw away what the last job left, and prepare for the next.

        Where that fails the process ends: no statement is to blame for it.
        """
        if self._used and not self.broken:
            try:
                self._ready(self._graph, self._named)
            except EngineError:
                self.broken = True

    def _ready(self, graph: Graph, named: Sequence[str] | None) -> Engine:
        """Make an empty database with tables of a graph: those named, or all."""
        if self._engine is None or self._used or graph != self._graph:
            if self._engine is not None:
                self._forget_session()
                self._engine.close()
                # What still refers to it in a circle keeps its 8 GiB of addresses.
                self._engine = None
                gc.collect()
            self._engine = Engine(None, self._limits, self._package)
            self._graph, self._used, self._made = graph, False, set()
            self._trials, self._session = 0, None
        self._named = named
        wanted = _wanted(graph, named) - self._made
        if wanted:
            without = _wanted(graph, None) - wanted
            self._forget_session()
            self._engine.create(graph, hidden=False, without=without)
            self._made |= wanted
        return self._engine

    def _forget_session(self) -> None:
        """Let go of what was prepared for the tables that there were."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _known_session(self, engine: Engine) -> Session:
        """Return the session in which statements are prepared already."""
        if self._session is None:
            self._session = engine.session(reads=True)
        return self._session

    @contextmanager
    def _trial(self, session: Session) -> Iterator[None]:
        """See that nothing stays of what is done; unless all goes well, no engine.

        Args:
            session: in which it is done.
        """
        self._used = True
        session.do("BEGIN TRANSACTION")
        yield
        session.do("ROLLBACK")
        self._trials += 1
        self._used = self._trials >= TRIALS_MAX

    def _merge(self, job: Job) -> Finished:
        """Make one answer of several."""
        assert job.merge is not None, "it is a merge"
        parts = [read_stream(part) for part in job.partials]
        table = merged(job.merge, [p for p in parts if p.num_columns], job.parameters)
        return _finished(job, table, None)

    def _statement(self, job: Job, deadline: float) -> Finished:
        """Copy what was gathered, and run the statement."""
        named = job.named
        if named is not None:
            named = (*named, *(each.table for each in job.tables))
        engine = self._ready(job.graph, named)
        tables = assemble(job.graph, job.tables)
        if _is_plain(job) and are_few(job.graph, tables):
            session = self._known_session(engine)
            with self._trial(session):
                for place, table in tables.items():
                    tables[place] = create(session, job.graph, place, table)
                finished = _answer(session, job, tables, deadline)
            self._used = self._used or session.worn
            return finished
        if _is_plain(job) and are_few_nodes(tables):
            with engine.once() as session, self._trial(session):
                for place, table in tables.items():
                    fill(session, job.graph, place, table)
                return _answer(session, job, tables, deadline)
        self._used = bool(tables) or job.write
        for place, table in tables.items():
            load(engine, job.graph, place, table)
        finished = _answer(engine, job, tables, deadline)
        if not job.write:
            return finished
        return replace(finished, changes=_changes(engine, job, tables))

    def _explained(self, error: EngineError) -> ToruaError:
        """Say of the engine's error what the caller must do about it."""
        message = error.message
        if error.timeout:
            return _too_slow()
        if any(each in message for each in _FULL):
            self.broken = True
            return _too_large()
        self._used = True
        for prefix in ("Parser exception: ", "Binder exception: "):
            if message.startswith(prefix):
                kind = MalformedError if prefix[0] == "P" else UnprocessableError
                return kind(message.removeprefix(prefix))
        return UnprocessableError(message)


def _answer(
    engine: Engine | Session, job: Job, tables: Tables, deadline: float
) -> Finished:
    """Run a statement on what was put in."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise _too_slow()
    table = engine.run(job.text, job.parameters, left_s)
    if not job.write:
        table = _cast(engine, job, table)
    entities = Entities(engine, job.graph, tables, job.write)
    return _finished(job, table, entities)


def _is_plain(job: Job) -> bool:
    """Tell whether a statement gives the same on rows that are not committed.

    Where one pattern is of several tables, the engine does not read committed rows and
    others alike.
    """
    several = job.named is None or "|" in job.text
    return not (job.write or several or OF_NOW.search(job.text))


def _wanted(graph: Graph, named: Sequence[str] | None) -> set[str]:
    """Tell which tables are to be there: those named, and those at their ends."""
    if named is None:
        return {node.name for node in graph.nodes} | {rel.name for rel in graph.rels}
    nodes = {node.table_id: node.name for node in graph.nodes}
    rels = [rel for rel in graph.rels if rel.name in named]
    ends = {nodes[end] for rel in rels for pair in rel.pairs for end in pair}
    return ends | set(named)


def _cast(engine: Engine | Session, job: Job, table: pa.Table) -> pa.Table:
    """Run a statement again if it gave INTERVALs, which are text then.

    The engine is not always right about the rows of such a statement; then the first
    answer stands.
    """
    spelled = casting(job.text, table.column_names, types(table))
    if spelled is None:
        return table
    try:
        found = engine.run(spelled, job.parameters)
    except EngineError:
        return table
    kept = [at for at, kind in enumerate(types(table)) if kind != Kind.INTERVAL]
    same = all(found.column(at).equals(table.column(at)) for at in kept)
    if found.num_rows != table.num_rows or not same:
        return table
    schema = found.schema
    for at, old in enumerate(table.schema):
        schema = schema.set(at, schema.field(at).with_metadata(old.metadata))
    return found.cast(schema)


def _changes(engine: Engine, job: Job, tables: Tables) -> tuple[Change, ...]:
    """Find what a write did."""
    words = {token.word for token in tokenize(job.text)}
    return differences(engine, job.graph, tables, "DETACH" in words)


def _finished(job: Job, table: pa.Table, entities: Entities | None) -> Finished:
    """Spell an answer."""
    kept = table.slice(0, job.rows_max) if table.num_columns else table
    body = Spelling(job.format, job.bytes_max, entities).body(kept)
    return Finished(
        columns=tuple(table.column_names),
        types=tuple(types(table)),
        body=body,
        rows=kept.num_rows,
        truncated=kept.num_rows < table.num_rows,
    )


def _too_large() -> QueryTooLargeError:
    """Make the error of a statement that needs too much memory."""
    return QueryTooLargeError(
        "the query needs more memory than it is given; match, collect or return less"
    )


def _too_slow() -> QueryTimeoutError:
    """Make the error of a statement that takes too long."""
    return QueryTimeoutError("the query took longer than it was given")
