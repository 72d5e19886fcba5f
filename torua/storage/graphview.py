"""One graph of one shard copy, followed and read: the engine's view of the map.

    CLOSED --open--> there is a file that the journal leads on from: FOLLOWING
                     else: built anew from the map, then FOLLOWING
    FOLLOWING --a schema beyond ALTER, users' keys wanted, garbage--> built anew

Whatever the engine does but refuse a statement, its process is to end: what the file
holds is known again once it is opened, and where that fails the file is thrown away.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from torua.codec.rows import read_schema
from torua.core.graph.fragments import CopyRead, Fragment, Piece, wants_keys
from torua.core.graph.schema import Graph
from torua.errors import StaleSchemaError, UnavailableError
from torua.storage import graphread
from torua.storage.graphapply import apply
from torua.storage.graphbuild import Builder
from torua.storage.graphdiff import statements
from torua.storage.graphfile import GraphFile, State, path_of, remove
from torua.storage.graphrows import Rows
from torua.storage.graphsessions import Sessions
from torua.storage.graphverify import of_engine, of_map
from torua.storage.kuzu import EngineError, Limits
from torua.storage.mapreader import Look, MapReader

WAL_BYTES_MAX = 4 << 20
UPDATES_MAX = 2000
POOL_SHARE_MAX = 0.5
"""Past any of these, updates are written into the file: they pin the pool."""

GARBAGE_MIN = 50_000
"""With less, it is not worth building anew."""

SEEN_MAX = 10_000
"""So many records without a change of this graph are noted in the file."""

_WAIT_S = 0.005
_CHECKPOINTS = threading.Lock()
"""Two at once would fight for the disk: a node does one after the other."""

_TRIES_MAX = 3
"""A file that was opened so often and not followed to the end is thrown away."""


class Place(NamedTuple):
    """Where a copy stands, and what drives its graphs.

    Attributes:
        map_path: its map.
        directory: for the engine's files.
        engine: the package.
        limits: of each database.
    """

    map_path: Path
    directory: Path
    engine: str
    limits: Limits


class Counts(Struct):
    """What a view did since it was asked last.

    Invariants: they only rise.
    """

    rebuilds: int = 0
    rows: int = 0
    checkpoints: int = 0
    checkpoint_s: float = 0.0


class GraphView:
    """The view of one graph.

    Invariants: what is read was up to the map at one moment; the file holds all of the
    journal up to `_seen`.

    Threading: one thread.

    Attributes:
        counts: what it did.
        lag: how many records the map was ahead when it was last looked at.
    """

    def __init__(self, place: Place, graph: Graph, on_step: Callable[[], None]) -> None:
        """Open it, or what is needed to build it.

        Args:
            place: where it is.
            graph: its schema, as the asker knows it.
            on_step: is called between steps of long work, and may raise to end it.

        Raises:
            UnavailableError: it is in use, or the map cannot be read.
        """
        self.counts = Counts()
        self._place = place
        self._graph = graph
        self._on_step = on_step
        self._path = path_of(place.directory, graph.graph_id, place.engine)
        self._reader = MapReader(place.map_path, graph.graph_id)
        self._lock = _lock(self._path.with_suffix(".lock"))
        self._file: GraphFile | None = None
        self._seen = 0
        self._graves = False
        self._updates = 0
        self._sessions = Sessions(place.limits.pool_bytes)
        self.lag = 0
        self._tries = self._path.with_suffix(".tries")
        if self._path.exists():
            self._open()

    @property
    def applied(self) -> int:
        """Up to where the journal is needed no more."""
        return self._file.state.applied if self._file else 0

    @property
    def is_read(self) -> bool:
        """Whether a transaction is open, or an answer not yet handed on."""
        return self._sessions.some

    def read(
        self,
        graph: Graph,
        at_least: int,
        fragments: tuple[Fragment, ...],
        deadline: float,
        keep: bool,
    ) -> Piece:
        """Answer fragments in one new transaction, of the map as it is or was lately.

        Args:
            graph: the schema that they were made with.
            at_least: the record that must be shown.
            fragments: what to read.
            deadline: by `time.monotonic`.
            keep: whether the transaction stays open.

        Raises:
            EngineError: the process is to end.
            ToruaError: there is no answer.
        """
        self._catch_up_to(graph, at_least, wants_keys(fragments), deadline)
        file = self._ready()
        if file.state.graph.version > graph.version:
            version = file.state.graph.version
            detail = f"the schema of graph {graph.name} is at version {version}"
            raise StaleSchemaError(detail, version=version)
        name = self._sessions.open(file.engine, self._seen, self._graves)
        return self.read_on(name, fragments, deadline, keep)

    def read_on(
        self, name: str, fragments: tuple[Fragment, ...], deadline: float, keep: bool
    ) -> Piece:
        """Answer fragments in a transaction that is open.

        Args:
            name: which.
            fragments: what to read.
            deadline: by `time.monotonic`.
            keep: whether it stays open.

        Raises:
            EngineError: the process is to end.
            ToruaError: there is no answer; the transaction is ended.
        """
        graph = self._ready().state.graph
        tables = self._sessions.read(name, graph, fragments, deadline)
        return self._sessions.answer(name, tables, keep)

    def read_at_once(self, graph: Graph, read: CopyRead) -> Piece | None:
        """Answer fragments without the engine and the map; None where it takes them.

        Args:
            graph: the schema that the fragments were made with.
            read: what to read.

        Raises:
            EngineError: the process is to end.
            ToruaError: there is no answer.
        """
        file, fragments = self._file, read.fragments
        if file is None or file.state.graph.version != graph.version:
            return None
        shows = self._shows(graph, read.at_least, wants_keys(fragments))
        if not (read.session or shows):
            return None
        tables = self._sessions.at_once(read.session, file.state.graph, fragments)
        if tables is None:
            return None
        name = read.session
        if not name:
            name = self._sessions.open(file.engine, self._seen, self._graves)
        return self._sessions.answer(name, tables, read.keep)

    def more(self, name: str) -> Piece:
        """Return the next piece of an answer.

        Args:
            name: of the transaction.

        Raises:
            UnavailableError: there is none.
        """
        return self._sessions.more(name)

    def release(self, name: str) -> None:
        """End a transaction; no error where there is none."""
        self._sessions.release(name)

    def rest(self) -> None:
        """Do what can wait: follow the map, write updates back, end old transactions.

        Raises:
            EngineError: the process is to end.
            ToruaError: not now.
        """
        self._sessions.expire()
        if self._file is None:
            return
        if self._file.state.garbage > GARBAGE_MIN and not self._sessions.some:
            self._tidy()
        self.catch_up(self._graph, False)
        if self._updates and not self._sessions.some:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write updates into the file.

        Raises:
            EngineError: the process is to end.
        """
        began = time.monotonic()
        with _CHECKPOINTS:
            self._ready().engine.rows("CHECKPOINT")
        self._updates = 0
        self.counts.checkpoints += 1
        self.counts.checkpoint_s += time.monotonic() - began

    @property
    def held_bytes(self) -> int:
        """What the tables take that stand in memory besides."""
        return self._sessions.held.size

    def pool_share(self) -> float:
        """Tell how much of its pool is in use, from 0 to 1."""
        if self._file is None:
            return 0.0
        return self._file.pool_share()

    def rows(self, graph: Graph, deadline: float) -> dict[str, tuple[int, int]]:
        """Count rows and estimated bytes by table.

        Args:
            graph: its schema.
            deadline: by `time.monotonic`.

        Raises:
            EngineError: the process is to end.
            ToruaError: they can't be counted now.
        """
        self._catch_up_to(graph, 0, False, deadline)
        file = self._ready()
        return graphread.measured(file.engine, file.state.graph)

    def verify(self, graph: Graph, deadline: float) -> tuple[bytes, bool | None]:
        """Compare the database with the map; where it differs it is built anew.

        Args:
            graph: its schema.
            deadline: by `time.monotonic`.

        Returns:
            The digest of its content, and whether it was what the map says; None where
            the map moved meanwhile.

        Raises:
            EngineError: the process is to end.
            ToruaError: it can't be done now.
        """
        self._catch_up_to(graph, 0, False, deadline)
        file = self._ready()
        known, keys = file.state.graph, file.state.keys
        mine = of_engine(file.engine, known)
        wanted = of_map(self._reader, known, keys)
        if self._reader.look(self._seen).changes:
            return mine, None
        if mine != wanted:
            self._build(known, keys)
        return mine, mine == wanted

    def catch_up(self, graph: Graph, keys: bool) -> None:
        """Take up whatever stands in the journal.

        Args:
            graph: its schema, as the asker knows it.
            keys: whether users' keys are wanted as nodes.

        Raises:
            EngineError: the process is to end.
            ToruaError: the map cannot be read, or keeps no journal yet.
        """
        while True:
            self._on_step()
            if self._file is None:
                self._build(graph, keys)
            state = self._ready().state
            look = self._reader.look(self._seen, 100 if state.keys else 1000)
            newest = self._newest(graph, state.graph, look)
            self.lag = look.applied - look.seq
            if not self._follows(look, keys) or not self._take(look, newest):
                self._build(newest, keys or state.keys)
                continue
            self._graves = look.graves
            if look.last:
                self._tries.unlink(missing_ok=True)
                return

    def close(self) -> None:
        """Let go of everything."""
        self._sessions.clear()
        if self._file is not None:
            self._file.engine.close()
            self._file = None
        self._reader.close()
        os.close(self._lock)

    def _catch_up_to(
        self, graph: Graph, at_least: int, keys: bool, deadline: float
    ) -> None:
        """Follow the map until a record is shown, and the schema, and users' keys."""
        while not self._shows(graph, at_least, keys):
            self.catch_up(graph, keys)
            if self._seen >= at_least:
                return
            if time.monotonic() > deadline:
                raise UnavailableError("the copy is behind")
            time.sleep(_WAIT_S)

    def _shows(self, graph: Graph, at_least: int, keys: bool) -> bool:
        """Tell whether a record is shown without a look at the map."""
        file = self._file
        return (
            file is not None
            and self._seen >= at_least > 0
            and (file.state.keys or not keys)
            and file.state.graph.version >= graph.version
        )

    def _ready(self) -> GraphFile:
        """Return the open file."""
        assert self._file is not None, "a view that was not built"
        return self._file

    def _newest(self, asked: Graph, known: Graph, look: Look) -> Graph:
        """Return the newest schema that anybody knows of."""
        graphs = [known, asked]
        if look.schema is not None:
            graphs.append(read_schema(look.schema))
        return max(graphs, key=lambda graph: graph.version)

    def _follows(self, look: Look, keys: bool) -> bool:
        """Tell whether the journal leads on from the file."""
        state, begun = self._ready().state, look.begun
        if begun.rows_from is None or not begun.rows_from <= self._seen <= look.applied:
            return False
        if not state.keys:
            return not keys
        return begun.keys_from is not None and begun.keys_from <= self._seen

    def _take(self, look: Look, graph: Graph) -> bool:
        """Take up what was seen; return False where it is better built anew."""
        file = self._ready()
        state = file.state
        changed = graph.version != state.graph.version
        ddl = statements(state.graph, graph) if changed else []
        if ddl is None:
            return False
        rows = Rows(graph, state.keys)
        rows.take(look.changes, max(self._seen, state.built))
        if rows.count or changed or look.seq - state.applied > SEEN_MAX:
            self._sessions.change()
            with file.writing() as session:
                for statement in ddl:
                    session.do(statement)
                garbage = state.garbage + apply(session, rows)
                taken = replace(state, graph=graph, applied=look.seq, garbage=garbage)
                file.put(session, taken)
            self._changed(rows, graph, altered=changed)
            self._updates += 1
            self.counts.rows += rows.count
            self._write_back()
        self._seen = look.seq
        self._graph = graph
        return True

    def _changed(self, rows: Rows, graph: Graph, *, altered: bool) -> None:
        """Let go of what stands in memory of tables that were changed."""
        if altered:
            self._sessions.held.clear()
        else:
            ids = {*rows.nodes, *(pair[0] for pair in rows.edges)}
            names = [each.name for each in graph.nodes if each.table_id in ids]
            names += [each.name for each in graph.rels if each.table_id in ids]
            self._sessions.held.changed(names)

    def _write_back(self) -> None:
        """Checkpoint where much was updated."""
        wal = self._path.with_name(f"{self._path.name}.wal")
        large = wal.exists() and wal.stat().st_size > WAL_BYTES_MAX
        if large or self._updates >= UPDATES_MAX or self.pool_share() > POOL_SHARE_MAX:
            self.checkpoint()

    def _open(self) -> None:
        """Open the file that there is; it is removed where it is of no use."""
        tries = int(self._tries.read_text() or 0) if self._tries.exists() else 0
        if tries >= _TRIES_MAX:
            remove(self._path)
            self._tries.unlink()
            return
        self._tries.write_text(str(tries + 1))
        try:
            file = GraphFile(self._path, self._place.engine, self._place.limits)
        except EngineError:
            remove(self._path)
            return
        if not file.load():
            file.engine.close()
            remove(self._path)
            return
        self._file = file
        self._seen = file.state.applied

    def _build(self, graph: Graph, keys: bool) -> None:
        """Build the database anew."""
        look = self._reader.look(-1)
        newest = self._newest(graph, graph, look)
        if look.begun.rows_from is None or (keys and look.begun.keys_from is None):
            raise UnavailableError("the map keeps no journal yet")
        self._sessions.clear()
        self._sessions.held.clear()
        if self._file is not None:
            self._file.engine.close()
            self._file = None
        self.counts.rebuilds += 1
        builder = Builder(
            self._reader, State(newest, look.applied, 0, keys), self._on_step
        )
        builder.build(self._path, self._place.engine, self._place.limits)
        self._open()
        self._updates = 0

    def _tidy(self) -> None:
        """Build it anew where garbage passes half."""
        file = self._ready()
        measured = graphread.measured(file.engine, file.state.graph)
        live = sum(rows for rows, _ in measured.values())
        if file.state.garbage > live:
            self._build(self._graph, file.state.keys)


def _lock(path: Path) -> int:
    """Take a view's lock: the engine's own is dropped by a second handle.

    Raises:
        UnavailableError: another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UnavailableError(f"{path} is in use") from error
    return descriptor
