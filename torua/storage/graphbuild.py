"""A graph's database built from the map, by COPY, while the map moves on.

The map is read page by page, each as it is when it is read.  What changes meanwhile
stands in the journal and is taken up afterwards, over what was copied: so the database
is right once it has followed the journal from where the map stood at first.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from torua.core.graph.keys import GRAPH_BYTE, graves_prefix
from torua.core.graph.schema import Graph, NodeTable
from torua.core.graph.types import Cell
from torua.errors import UnavailableError
from torua.storage.graphfile import GraphFile, State, remove
from torua.storage.graphrows import (
    Pair,
    Rows,
    edge_columns,
    ends_of,
    ghost_columns,
    node_columns,
)
from torua.storage.kuzu import EngineError, Limits
from torua.storage.mapreader import Entry, MapReader, after

PAGE_ROWS = 10_000
"""Copied at once."""

POOL_FULL = "buffer pool is full"
"""So the engine says that it has too little memory."""

FULL_S = 60.0
"""So long after a graph did not fit into memory it is not tried again."""

POOL_SHARE_MAX = 0.25
"""Past it what was copied is written into the file: till then it pins the pool."""


class Builder:
    """Builds one database.

    Invariants: `_known` are the nodes and ghosts that were copied.

    Performance: the keys of all nodes are held in memory meanwhile.
    """

    def __init__(
        self, reader: MapReader, state: State, on_page: Callable[[], None]
    ) -> None:
        """Begin.

        Args:
            reader: of the map.
            state: what the database is to be; ``applied`` is where the map stood.
            on_page: is called between pages, and may raise.
        """
        self._reader = reader
        self._state = state
        self._on_page = on_page
        self._known: dict[int, set[Cell]] = {}

    def build(self, path: Path, engine: str, limits: Limits) -> None:
        """Build it, and put it in place of what was there.

        Args:
            path: where it is to be; nobody has it open.
            engine: the package that drives it.
            limits: what it may take.

        Raises:
            EngineError: it failed.
            UnavailableError: the map cannot be read, or it failed lately for want of
                memory.
        """
        full = path.with_suffix(".full")
        _check(full, limits)
        try:
            self._build(path, engine, limits)
        except EngineError as error:
            if POOL_FULL in error.message:
                full.write_text(str(limits.pool_bytes))
            raise
        full.unlink(missing_ok=True)

    def _build(self, path: Path, engine: str, limits: Limits) -> None:
        """Build it, whether or not there is memory enough."""
        new = path.with_name(f"new-{path.name}")
        remove(new)
        file = GraphFile(new, engine, limits)
        file.create(self._state)
        for rows in self._read():
            self._copy(file, rows)
            if file.pool_share() > POOL_SHARE_MAX:
                file.engine.rows("CHECKPOINT")
            self._on_page()
        built = self._reader.look(-1).applied
        with file.writing() as session:
            file.put(session, _built(self._state, built))
        file.engine.rows("CHECKPOINT")
        file.engine.close()
        remove(path)
        new.rename(path)

    def _read(self) -> Iterator[Rows]:
        """Read all nodes, then all relationships."""
        graph = self._state.graph
        head = graves_prefix(graph)
        for letter in (b"n", b"e"):
            prefix = head[:1] + letter + head[2:]
            pages = self._reader.pages(prefix, after(prefix), PAGE_ROWS)
            yield from self._rows(pages)
            if letter == b"n" and self._state.keys:
                users = self._reader.pages(b"", bytes((GRAPH_BYTE,)), PAGE_ROWS)
                yield from self._rows(users)

    def _rows(self, pages: Iterable[list[Entry]]) -> Iterator[Rows]:
        """Sort entries by table."""
        for page in pages:
            rows = Rows(self._state.graph, self._state.keys)
            rows.take(page)
            yield rows

    def _copy(self, file: GraphFile, rows: Rows) -> None:
        """Copy a page."""
        graph = rows.graph
        tables = {t.table_id: t for t in graph.nodes}
        rels = {t.table_id: t for t in graph.rels}
        for id, nodes in rows.nodes.items():
            self._known.setdefault(id, set()).update(n.key for n in nodes.values())
            arrow = node_columns(tables[id], list(nodes.values()))
            file.engine.load(graph, tables[id].name, None, arrow)
        for pair, edges in rows.edges.items():
            found = list(edges.values())
            self._ghosts(file, graph, tables, ends_of(pair, found))
            names = _names(tables, pair)
            arrow = edge_columns(graph, rels[pair[0]], (pair[1], pair[2]), found)
            file.engine.load(graph, rels[pair[0]].name, names, arrow)

    def _ghosts(
        self,
        file: GraphFile,
        graph: Graph,
        tables: dict[int, NodeTable],
        ends: Iterable[tuple[int, Cell]],
    ) -> None:
        """Copy ghosts of nodes that are not there."""
        missing: dict[int, list[Cell]] = {}
        for id, key in ends:
            known = self._known.setdefault(id, set())
            if key not in known:
                known.add(key)
                missing.setdefault(id, []).append(key)
        for id, keys in missing.items():
            arrow = ghost_columns(tables[id], keys)
            file.engine.load(graph, tables[id].name, None, arrow)


def _check(full: Path, limits: Limits) -> None:
    """Raise UnavailableError where it was tried lately with no more memory in vain.

    Each time costs the process its life, and all that read in it their transactions.
    """
    if not full.exists() or time.time() - full.stat().st_mtime > FULL_S:
        return
    if limits.pool_bytes <= int(full.read_text() or 0):
        raise UnavailableError(
            f"the graph's rows do not fit into {limits.pool_bytes >> 20} MiB: give the "
            "node more --graph-memory, or the cluster more shards",
            retry_after=round(FULL_S),
        )


def _names(tables: dict[int, NodeTable], pair: Pair) -> tuple[str, str]:
    """Name the node tables that a relationship goes from and to."""
    return tables[pair[1]].name, tables[pair[2]].name


def _built(state: State, seq: int) -> State:
    """Note up to where the map was read."""
    return State(state.graph, state.applied, seq, state.keys)
