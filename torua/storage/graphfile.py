"""One graph of one shard copy, as the engine's file, with what that knows of itself.

    graph-<id>.<engine>            the database; beside it the engine's own WAL
    new-graph-<id>.<engine>        one that is not finished

In the database stands one row of `State`, written in every transaction that changes
anything else.  A file that has none, or of another kind, is built anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from torua.codec.plain import read, spell
from torua.core.graph.schema import Graph
from torua.errors import ProtocolError
from torua.storage.kuzu import Engine, EngineError, Limits, Session

FORMAT = 1
"""Files of another are built anew."""

_TABLE = "tv_state"
_CREATE = f"CREATE NODE TABLE {_TABLE} (id INT64, state BLOB, PRIMARY KEY (id))"
_PUT = f"CREATE (s:{_TABLE} {{id: 0, state: $state}})"
_SET = f"MATCH (s:{_TABLE}) WHERE s.id = 0 SET s.state = $state"
_GET = f"MATCH (s:{_TABLE}) WHERE s.id = 0 RETURN s.state"


class State(Struct, frozen=True):
    """What a database knows of itself.

    Attributes:
        graph: the schema of its tables.
        applied: the record up to which the journal was taken up.
        built: rows made up to this record may be there since it was built.
        keys: whether users' keys are nodes in it.
        garbage: how many of its rows are of no more use.
        format: of the file.
    """

    graph: Graph
    applied: int
    built: int
    keys: bool = False
    garbage: int = 0
    format: int = FORMAT


def path_of(place: Path, graph_id: int, engine: str) -> Path:
    """Name a graph's file.

    Args:
        place: the copy's directory.
        graph_id: which graph.
        engine: whose file.
    """
    return place / f"graph-{graph_id}.{engine}"


def remove(path: Path) -> None:
    """Remove a database with all that belongs to it; there may be none."""
    for found in (path, *path.parent.glob(f"{path.name}.*")):
        found.unlink(missing_ok=True)


class GraphFile:
    """An open database of one graph.

    Invariants: `state` is what stands in it.

    Threading: one thread.
    """

    def __init__(self, path: Path, engine: str, limits: Limits) -> None:
        """Open a database, or make an empty one, whose state is not known yet.

        Args:
            path: its file.
            engine: the package that drives it.
            limits: what it may take.

        Raises:
            EngineError: it cannot be opened.
        """
        self.path = path
        self.engine = Engine(path, limits, engine)
        self.state: State

    def load(self) -> bool:
        """Read what it knows of itself; return whether it is of any use."""
        try:
            found = self.engine.rows(_GET)
            self.state = read(bytes(found[0][0]), State)
        except (EngineError, ProtocolError, IndexError):
            return False
        return self.state.format == FORMAT

    def create(self, state: State) -> None:
        """Make all tables, in an empty database.

        Args:
            state: the first.

        Raises:
            EngineError: it failed.
        """
        self.engine.create(state.graph, hidden=True)
        self.engine.rows(_CREATE)
        self.engine.rows(_PUT, {"state": spell(state)})
        self.state = state

    def pool_share(self) -> float:
        """Tell how much of its pool is in use, from 0 to 1."""
        found = self.engine.rows("CALL bm_info() RETURN mem_limit, mem_usage")
        return float(found[0][1] / found[0][0])

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction that writes; all of it holds, or none.

        Raises:
            EngineError: nobody knows what became of it.
        """
        with self.engine.once() as session:
            session.do("BEGIN TRANSACTION")
            yield session
            session.do("COMMIT")

    def put(self, session: Session, state: State) -> None:
        """Write its state.

        Args:
            session: of the transaction.
            state: what it is once that is committed.
        """
        session.do(_SET, {"state": spell(state)})
        if state.graph != self.state.graph:
            self.engine.altered()
        self.state = state
