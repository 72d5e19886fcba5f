"""Read transactions of one view, and what is left of their answers."""

import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from torua.core.graph.fragments import Piece
from torua.errors import UnavailableError
from torua.storage.graphread import pieces
from torua.storage.kuzu import Engine

IDLE_S = 30.0
"""A transaction that nobody reads in any more is ended."""

SESSIONS_MAX = 64
"""Open transactions of one view: each keeps old states of rows in memory."""

Results = tuple[tuple[int, bytes], ...]


class Opened:
    """One read transaction.

    Invariants: `ended` is set once nothing more can be read in it; what was read stays
    until it was handed on.

    Attributes:
        session: it is read in.
        seq: what it shows.
        graves: see `Piece`.
        ended: whether the transaction is closed.
        ahead: the pieces that are not handed on.
        used: when it was used last.
    """

    def __init__(self, engine: Engine, seq: int, graves: bool) -> None:
        """Begin a transaction.

        Args:
            engine: to read.
            seq: what it shows.
            graves: see `Piece`.

        Raises:
            EngineError: the process is to end.
        """
        self._engine = engine
        self.session = engine.begin_read()
        self.seq = seq
        self.graves = graves
        self.ended = False
        self.ahead: Iterator[Results] = iter(())
        self.used = time.monotonic()

    def end(self) -> None:
        """Close the transaction."""
        if not self.ended:
            self.ended = True
            self._engine.end_read(self.session)


class Sessions:
    """All of one view.

    Invariants: a name is used once; a session that is ended and handed on is gone.

    Threading: the view's.
    """

    def __init__(self) -> None:
        """Begin with none."""
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
            EngineError: the process is to end.
            UnavailableError: there are too many.
        """
        if len(self._opened) >= SESSIONS_MAX:
            raise UnavailableError("too many transactions read this graph")
        self._names += 1
        name = str(self._names)
        self._opened[name] = Opened(engine, seq, graves)
        return name

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
        opened.ahead = pieces(tables)
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


def _chained(first: Results, rest: Iterator[Results]) -> Iterator[Results]:
    """Put a piece back before the others."""
    yield first
    yield from rest
