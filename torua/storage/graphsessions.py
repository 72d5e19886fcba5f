"""Read transactions of one view, and what is left of their answers."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from torua.core.graph.fragments import Fragment, Piece, Scan
from torua.core.graph.schema import Graph
from torua.errors import QueryTimeoutError, UnavailableError, UnprocessableError
from torua.storage import graphread
from torua.storage.held import Held, texts_of
from torua.storage.kuzu import Engine, EngineError, Session

IDLE_S = 30.0
"""A transaction that nobody reads in any more is ended."""

SESSIONS_MAX = 64
"""Open transactions of one view: each keeps old states of rows in memory."""

Results = tuple[tuple[int, bytes], ...]

_REFUSED = re.compile(
    r"(Binder|Parser|Catalog|Runtime|Conversion|Overflow|Function|Test|Interrupted|"
    r"Out of range|Divide by zero|parameter |one statement)",
    re.IGNORECASE,
)


class Opened:
    """One read transaction.

    The engine's begins when it is first read, or before anything is changed: until then
    it would show the same.

    Invariants: `ended` is set once nothing more can be read in it; what was read stays
    until it was handed on.

    Attributes:
        moment: at which it began; see `torua.storage.held`.
        seq: what it shows.
        graves: see `Piece`.
        ended: whether the transaction is closed.
        ahead: the pieces that are not handed on.
        used: when it was used last.
    """

    def __init__(self, engine: Engine, moment: int, seq: int, graves: bool) -> None:
        """Begin a transaction.

        Args:
            engine: to read.
            moment: of the view.
            seq: what it shows.
            graves: see `Piece`.
        """
        self._engine = engine
        self._session: Session | None = None
        self.moment = moment
        self.seq = seq
        self.graves = graves
        self.ended = False
        self.ahead: Iterator[Results] = iter(())
        self.used = time.monotonic()

    def begin(self) -> Session:
        """Return the engine's session, once its transaction has begun.

        Raises:
            EngineError: the process is to end.
        """
        if self._session is None:
            self._session = self._engine.begin_read()
        return self._session

    def end(self) -> None:
        """Close the transaction."""
        session, self._session = self._session, None
        self.ended = True
        if session is not None:
            self._engine.end_read(session)


class Sessions:
    """All of one view, and the tables that stand in memory for them.

    Invariants: a name is used once; a session that is ended and handed on is gone.

    Threading: the view's.

    Attributes:
        held: the tables.
    """

    def __init__(self, pool_bytes: int) -> None:
        """Begin with none.

        Args:
            pool_bytes: what the engine has for pages: answers have to fit into it.
        """
        self.held = Held()
        self._bytes_max = pool_bytes // 8
        self._opened: dict[str, Opened] = {}
        self._names = 0

    @property
    def some(self) -> bool:
        """Whether there are any."""
        return bool(self._opened)

    def open(self, engine: Engine, seq: int, graves: bool) -> str:
        """Begin a transaction, and name it.

        Args:
            engine: to read.
            seq: what it shows.
            graves: see `Piece`.

        Raises:
            UnavailableError: there are too many.
        """
        if len(self._opened) >= SESSIONS_MAX:
            raise UnavailableError("too many transactions read this graph")
        self._names += 1
        name = str(self._names)
        self._opened[name] = Opened(engine, self.held.moment, seq, graves)
        return name

    def change(self) -> None:
        """See that what is open goes on showing what it does; a change follows.

        Raises:
            EngineError: the process is to end.
        """
        for opened in self._opened.values():
            if not opened.ended:
                opened.begin()

    def at_once(
        self, name: str, graph: Graph, fragments: Sequence[Fragment]
    ) -> list[pa.Table] | None:
        """Answer fragments without the engine; None where it takes that.

        Args:
            name: of the transaction; empty for one that would begin now.
            graph: the schema of the view.
            fragments: what to read.
        """
        moment = self.opened(name).moment if name else self.held.moment
        tables = []
        for fragment in fragments:
            table = self.held.find(graph, fragment, moment)
            if table is None:
                return None
            tables.append(table)
        return tables

    def read(
        self, name: str, graph: Graph, fragments: Sequence[Fragment], deadline: float
    ) -> list[pa.Table]:
        """Answer fragments in one.

        Args:
            name: which.
            graph: the schema of the view.
            fragments: what to read.
            deadline: by `time.monotonic`.

        Raises:
            EngineError: the process is to end.
            ToruaError: there is no answer; the transaction is ended.
        """
        opened = self.opened(name)
        try:
            return [self._read(opened, graph, each, deadline) for each in fragments]
        except BaseException:
            self.release(name)
            raise

    def opened(self, name: str) -> Opened:
        """Return one that can be read in.

        Raises:
            UnavailableError: there is none.
        """
        found = self._opened.get(name)
        if found is None or found.ended:
            raise UnavailableError("that transaction is over")
        return found

    def answer(self, name: str, tables: Sequence[pa.Table], keep: bool) -> Piece:
        """Take what was read in one, and return its first piece.

        Args:
            name: which.
            tables: the answers.
            keep: whether it stays open.
        """
        opened = self._opened[name]
        opened.ahead = graphread.pieces(tables)
        if not keep:
            opened.end()
        return self.more(name)

    def more(self, name: str) -> Piece:
        """Return the next piece of what was read in one.

        Raises:
            UnavailableError: there is none.
        """
        opened = self._opened.get(name)
        if opened is None:
            raise UnavailableError("that answer is gone")
        opened.used = time.monotonic()
        results = next(opened.ahead, ())
        following = next(opened.ahead, None)
        if following is not None:
            opened.ahead = _chained(following, opened.ahead)
        elif opened.ended:
            del self._opened[name]
            name = ""
        return Piece(opened.seq, name, opened.graves, results, following is not None)

    def release(self, name: str) -> None:
        """End one; no error where there is none."""
        opened = self._opened.pop(name, None)
        if opened is not None:
            opened.end()

    def expire(self) -> None:
        """End those that nobody reads in any more."""
        now = time.monotonic()
        for name, opened in list(self._opened.items()):
            if now - opened.used > IDLE_S:
                self.release(name)

    def clear(self) -> None:
        """End all."""
        for name in list(self._opened):
            self.release(name)

    def _read(
        self, opened: Opened, graph: Graph, fragment: Fragment, deadline: float
    ) -> pa.Table:
        """Answer one fragment."""
        found = self.held.find(graph, fragment, opened.moment)
        if found is not None:
            return found
        began = time.monotonic()

        def left_s() -> float:
            """Tell how much time is left."""
            return max(0.001, deadline - time.monotonic())

        with _refused():
            session = opened.begin()
            table = graphread.answer(session, graph, fragment, left_s, self._bytes_max)
            took_s = time.monotonic() - began
            scan = self.held.spent(graph, fragment, took_s, opened.moment)
            if scan is not None:
                self._hold(session, graph, scan, left_s)
        return table

    def _hold(
        self, session: Session, graph: Graph, scan: Scan, left_s: Callable[[], float]
    ) -> None:
        """Read a table whole, if it is small, and hold it."""
        texts = texts_of(graph, scan) or []
        rows, letters = graphread.weighed(session, graph, scan, texts, left_s)
        if self.held.fits(scan, rows, letters):
            self.held.put(scan, graphread.run(session, graph, scan, left_s))


@contextmanager
def _refused() -> Iterator[None]:
    """Tell what the engine refused from what it failed at."""
    try:
        yield
    except EngineError as error:
        if error.timeout:
            raise QueryTimeoutError("the query took too long at a shard") from error
        if _REFUSED.match(error.message):
            raise UnprocessableError(error.message) from error
        raise


def _chained(first: Results, rest: Iterator[Results]) -> Iterator[Results]:
    """Put a piece back before the others."""
    yield first
    yield from rest
