"""The only door to the embedded graph engine: ladybug, or kuzu, which it continues.

Both speak the same Cypher through the same Python interface, and can't both be loaded
into one process.  They are loaded when first opened.  What stands here was measured
(docs/decisions/0007-graph-engine.md):

- the defaults take 80 % of memory and 8 TiB of addresses each, hence `Limits`;
- an unbound parameter is NULL, silently, hence the check in `Session.run`;
- ``LOAD FROM $arrow`` leaks on a long-lived connection, hence `Engine.once`;
- COPY skips a key that is there already, and says so only in its answer;
- after an error of the engine nothing of it is certain: exit, open again.

How values go in and out as Arrow is said in `torua.storage.exchange`.
"""

import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
from msgspec import Struct

from torua.core.graph.schema import Graph
from torua.storage import exchange
from torua.storage.alarm import Alarm
from torua.storage.exchange import quote
from torua.storage.given import SKIPPED, prepared
from torua.storage.layout import node_ddl, rel_ddl

ENGINES = ("ladybug", "kuzu")
"""The packages that can be driven, the default first."""

POOL_BYTES_MIN = 64 << 20
"""With less, a full pool comes before a checkpoint can."""

CHUNK_ROWS = 1 << 16
"""The engine makes room for a whole chunk before it fills it: by default for millions
of rows, at 30 ms and 370 MB of addresses a statement; it crashes if there is none."""

INTERNAL_TYPE = b"torua_type"
"""Under this, a result's field says in its metadata which type the engine gave it."""

TEXTS_MAX = 200
"""A connection remembers each statement that it prepared, which is what makes it four
times as fast as a new one: after so many it is closed, lest it remember too much."""

IDLE_MAX = 2
"""So many connections that nobody reads with wait to be read with again."""

OF_NOW = re.compile(r"current_|rand|uuid|timestamp\s*\(\s*\)|nextval", re.IGNORECASE)
"""What the engine may work out once, when it prepares a statement."""

_ALARM = Alarm()
_PARAMETER = re.compile(r"\$([A-Za-z_0-9]+)")
_INTERRUPTED = "Interrupted"

_LOADING = Lock()


class EngineError(Exception):
    """The engine refused a statement, or failed at it.

    Invariants: `timeout` is set only where it was the time that it was given.
    """

    def __init__(self, message: str, timeout: bool = False) -> None:
        """Say what it said.

        Args:
            message: the engine's own, in one line.
            timeout: whether the statement took longer than it was given.
        """
        super().__init__(message)
        self.message = message
        self.timeout = timeout


class Limits(Struct, frozen=True):
    """What one open database may take.

    Attributes:
        pool_bytes: memory for pages.
        db_bytes: addresses for its file; a power of two.
        threads: for one statement.
    """

    pool_bytes: int = 256 << 20
    db_bytes: int = 1 << 36
    threads: int = 2


def missing(engine: str) -> str:
    """Tell in one line what is missing for an engine; empty if nothing."""
    if find_spec(engine) is not None:
        return ""
    extra = "torua[kuzu]" if engine == "kuzu" else engine
    return f"the graph engine {engine} is not installed (pip install {extra})"


def load(engine: str) -> Any:
    """Import an engine's package, with its native part, once whoever calls.

    Ladybug takes a native part that another thread is just loading for one that is
    missing, and then looks for a library that its package does not bring.

    Args:
        engine: the package.
    """
    with _LOADING:
        module = importlib.import_module(engine)
        native = getattr(module, "get_pybind_module", None)
        if native is not None:
            native()
        return module


class Session:
    """One connection: at most one transaction at a time, one statement at a time.

    Invariants: nothing is run once it is closed; it is worn once a statement failed,
    or was given an Arrow table, which the connection then holds for ever.

    Attributes:
        worn: whether it is to be closed instead of being used for something else.
        age: how many schemas the database had before the one that it was opened with.
    """

    def __init__(
        self,
        connection: Any,
        age: int = 0,
        prepare: Callable[[Any, str], Any] | None = None,
    ) -> None:
        """Hold a connection of the engine's.

        Args:
            connection: with nothing run.
            age: see above.
            prepare: prepares statements for it, which only read: one that writes, and
                is run again and again, fills the pool.
        """
        self._connection = connection
        self._prepare = prepare
        self._prepared: dict[str, Any] = {}
        self._texts: set[str] = set()
        self._timeout_ms = 0
        self.worn = False
        self.age = age

    def run(
        self,
        text: str,
        parameters: Mapping[str, object] | None = None,
        timeout_s: float = 0.0,
    ) -> pa.Table:
        """Run one statement to its end.

        Args:
            text: the statement.
            parameters: a value for each ``$name`` in it; plain values, or Arrow tables
                to ``LOAD FROM``.
            timeout_s: it is interrupted after so long; 0 for never.

        Returns:
            Its rows; each field's metadata names the engine's type.

        Raises:
            EngineError: it was refused, or failed.
        """
        with self._execute(text, parameters, timeout_s) as result:
            types = result.get_column_data_types()
            count = result.get_num_tuples()
            if count == 0 and not types:
                return pa.table({})
            with _speaking():
                table = result.get_as_arrow(min(max(count, 1), CHUNK_ROWS))
        fields = [
            field.with_metadata({INTERNAL_TYPE: kind.encode()})
            for field, kind in zip(table.schema, types, strict=True)
        ]
        columns = [exchange.mend(column) for column in table.columns]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    def rows(
        self, text: str, parameters: Mapping[str, object] | None = None
    ) -> list[list[Any]]:
        """Run a statement with few and plain rows; ten times faster there than `run`.

        Args:
            text: the statement.
            parameters: as in `run`.

        Raises:
            EngineError: it was refused, or failed.
        """
        with self._execute(text, parameters, 0.0) as result, _speaking():
            found: list[list[Any]] = result.get_all()
        return found

    def do(self, text: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run a statement whose rows nobody wants.

        Args:
            text: the statement.
            parameters: as in `run`.

        Raises:
            EngineError: it was refused, or failed.
        """
        with self._execute(text, parameters, 0.0):
            return

    def close(self) -> None:
        """Let go of the connection; a transaction that is open is rolled back."""
        self._connection.close()

    @contextmanager
    def _execute(
        self, text: str, parameters: Mapping[str, object] | None, timeout_s: float
    ) -> Iterator[Any]:
        """Run a statement, and hold its result meanwhile."""
        given = dict(parameters or {})
        wanted = set(_PARAMETER.findall(SKIPPED.sub(" ", text)))
        if unbound := wanted - set(given):
            raise EngineError(f"parameter ${min(unbound)} has no value")
        for name in set(given) - wanted:
            del given[name]
        try:
            text, given = prepared(text, given)
        except ValueError as error:
            raise EngineError(f"parameter: {error}") from error
        worn, self.worn = self.worn, True
        with _speaking(), self._limited(timeout_s):
            result = self._connection.execute(self._known(text, given), given)
        if isinstance(result, list):
            raise EngineError("one statement at a time")
        try:
            yield result
        finally:
            result.close()
        self._texts.add(text)
        kept = any(isinstance(value, pa.Table) for value in given.values())
        self.worn = worn or kept or len(self._texts) >= TEXTS_MAX

    def _known(self, text: str, given: Mapping[str, object]) -> Any:
        """Return a statement as it was prepared before, once it comes again.

        The connection itself does that for statements with parameters only.
        """
        again = text in self._texts and not OF_NOW.search(text)
        if given or self._prepare is None or not again:
            return text
        if text not in self._prepared:
            self._prepared[text] = self._prepare(self._connection, text)
        return self._prepared[text]

    def _limited(self, timeout_s: float) -> AbstractContextManager[None]:
        """See that the next statement takes no longer."""
        interrupt = getattr(self._connection, "interrupt", None)
        if interrupt is not None:
            return _ALARM.within(timeout_s, interrupt)
        timeout_ms = max(1, int(timeout_s * 1000)) if timeout_s else 0
        if timeout_ms != self._timeout_ms:
            self._connection.set_query_timeout(timeout_ms)
            self._timeout_ms = timeout_ms
        return nullcontext()


class Engine:
    """One open database, in a file or in memory.

    Invariants: a file is open once, in one process.

    Threading: several threads may each use a session of their own.
    """

    def __init__(
        self,
        path: Path | None,
        limits: Limits | None = None,
        engine: str = ENGINES[0],
    ) -> None:
        """Open a database, or make an empty one.

        Args:
            path: its file; None for one in memory.
            limits: what it may take.
            engine: the package, one of `ENGINES`.

        Raises:
            EngineError: it cannot be opened.
        """
        limits = limits or Limits()
        with _speaking():
            self._module = load(engine)
            self._database = self._module.Database(
                str(path) if path else ":memory:",
                buffer_pool_size=max(limits.pool_bytes, POOL_BYTES_MIN),
                max_num_threads=limits.threads,
                max_db_size=limits.db_bytes,
                auto_checkpoint=False,
            )
        self._age = 0
        self._idle: list[Session] = []
        self._own = self.session()

    def session(self, reads: bool = False) -> Session:
        """Open another connection.

        Args:
            reads: whether it is for reading only.

        Raises:
            EngineError: there is none to be had.
        """
        with _speaking():
            connection = self._module.Connection(self._database, num_threads=1)
        prepare = self._module.PreparedStatement if reads else None
        return Session(connection, self._age, prepare)

    def begin_read(self) -> Session:
        """Begin a transaction that reads; `end_read` ends it.

        Raises:
            EngineError: there is none to be had.
        """
        session = self._idle.pop() if self._idle else self.session(reads=True)
        session.do("BEGIN TRANSACTION READ ONLY")
        return session

    def end_read(self, session: Session) -> None:
        """End a transaction of `begin_read`; its connection may be used for another.

        Raises:
            EngineError: it failed.
        """
        old = session.worn or session.age != self._age
        if old or len(self._idle) >= IDLE_MAX:
            session.close()
        else:
            session.do("COMMIT")
            self._idle.append(session)

    def altered(self) -> None:
        """Have nothing that was prepared for the tables as they were used again."""
        self._age += 1
        for session in self._idle:
            session.close()
        self._idle.clear()

    @contextmanager
    def once(self) -> Iterator[Session]:
        """Open a connection for one thing, such as ``LOAD FROM $arrow``."""
        session = self.session()
        try:
            yield session
        finally:
            session.close()

    def run(
        self,
        text: str,
        parameters: Mapping[str, object] | None = None,
        timeout_s: float = 0.0,
    ) -> pa.Table:
        """Run one statement on the engine's own session; see `Session.run`.

        Args:
            text: the statement.
            parameters: a value for each ``$name`` in it.
            timeout_s: it is interrupted after so long; 0 for never.

        Raises:
            EngineError: it was refused, or failed.
        """
        return self._own.run(text, parameters, timeout_s)

    def rows(
        self, text: str, parameters: Mapping[str, object] | None = None
    ) -> list[list[Any]]:
        """Run a statement with few and plain rows; see `Session.rows`.

        Args:
            text: the statement.
            parameters: a value for each ``$name`` in it.

        Raises:
            EngineError: it was refused, or failed.
        """
        return self._own.rows(text, parameters)

    def create(self, graph: Graph, hidden: bool, without: Collection[str] = ()) -> None:
        """Make the tables of a graph, in a database that has none of them.

        Args:
            graph: whose.
            hidden: whether they have the columns whose names begin with ``tv_``.
            without: tables that are not made, by name.

        Raises:
            EngineError: one was refused.
        """
        for node in graph.nodes:
            if node.name not in without:
                self._own.do(node_ddl(node, hidden))
        for rel in graph.rels:
            if rel.name not in without:
                self._own.do(rel_ddl(graph, rel, hidden))

    def load(
        self,
        graph: Graph,
        table: str,
        pair: tuple[str, str] | None,
        arrow: pa.Table,
    ) -> None:
        """Copy rows into a table; much faster than creating them.

        Args:
            graph: its schema.
            table: by name.
            pair: of a relationship table: from where to where; both ends must be there.
            arrow: named as in `torua.core.graph.fragments`, of the types of
                `exchange.arrow_type`; columns that the table has not are left out.

        Raises:
            EngineError: it was refused; then nothing was copied.
        """
        if arrow.num_rows == 0:
            return
        with self.once() as session:
            copy(session, graph, table, pair, arrow)

    def close(self) -> None:
        """Close the database; never after an error of it."""
        self.altered()
        self._own.close()
        self._database.close()


def copy(
    session: Session,
    graph: Graph,
    table: str,
    pair: tuple[str, str] | None,
    arrow: pa.Table,
) -> None:
    """Copy rows into a table over a session; see `Engine.load`.

    Args:
        session: to be closed soon, for what it reads from stays in memory till then.
        graph: the table's schema.
        table: by name.
        pair: of a relationship table.
        arrow: the rows; at least one.

    Raises:
        EngineError: it was refused.
    """
    there = {
        row[0] for row in session.rows(f"CALL table_info({_text(table)}) RETURN name")
    }
    ends = ("tv_from", "tv_to") if pair else ()
    types = exchange.column_types(graph, table, pair)
    names = [name for name in arrow.column_names if name in there and name not in ends]
    shown = [exchange.write(quote(name), types[name]) for name in (*ends, *names)]
    into = f"({', '.join(map(quote, names))})" if names else ""
    options = f" (from={_text(pair[0])}, to={_text(pair[1])})" if pair else ""
    source = f"(LOAD FROM $arrow RETURN {', '.join(shown)})"
    text = f"COPY {quote(table)}{into} FROM {source}{options}"
    sent = exchange.sendable(arrow.select([*ends, *names]), types)
    answer = session.rows(text, {"arrow": sent})
    if answer and len(answer[0]) > 1 and answer[0][1]:
        raise EngineError(f"table {table} has some of the copied keys already")


def _text(name: str) -> str:
    """Spell a name as a string literal."""
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def _speaking() -> Iterator[None]:
    """Turn whatever the engine raises into an `EngineError`."""
    try:
        yield
    except EngineError:
        raise
    except (TypeError, ValueError) as error:
        message = "parameter: the values of a list are not of one type"
        raise EngineError(message) from error
    except Exception as error:
        message = " ".join(str(error).split())
        timeout = message.startswith(_INTERRUPTED)
        raise EngineError(message or repr(error), timeout) from error
