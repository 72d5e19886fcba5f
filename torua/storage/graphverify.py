"""What a graph's database holds, compared with what the map says it should.

Each row is hashed, and the hashes of a table are added up, so that the order in which
rows stand does not matter.  Ghosts are left out: which there are says nothing.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import pyarrow as pa

from torua.core.graph.fragments import Scan
from torua.core.graph.keys import GRAPH_BYTE, graves_prefix
from torua.core.graph.schema import Graph, node_table, rel_table
from torua.core.graph.types import Type
from torua.storage.cells import cells
from torua.storage.exchange import column_types
from torua.storage.graphread import measure, run
from torua.storage.graphrows import Rows, edge_columns, node_columns
from torua.storage.kuzu import Engine
from torua.storage.layout import GHOST
from torua.storage.mapreader import MapReader, after

PAGE_ROWS = 5000
SLICE_BYTES = 16 << 20
"""So much of a table is read at once, by estimate."""

TIMEOUT_S = 60.0

Place = tuple[str, tuple[str, str] | None]
"""A table by name; of a relationship table, one of its pairs."""


class Digest:
    """The sums of all tables' rows.

    Invariants: equal content gives equal sums, in whatever order it was added.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sums: dict[str, int] = {}

    def add(self, place: Place, table: pa.Table, types: Mapping[str, Type]) -> None:
        """Add rows.

        Args:
            place: of which table.
            table: the rows; the order of the columns does not matter.
            types: of the columns, by name.
        """
        names = sorted(table.column_names)
        columns = [cells(table.column(name), types[name]) for name in names]
        total = self._sums.get(repr(place), 0)
        for row in zip(*columns, strict=True):
            data = repr(row).encode()
            total += int.from_bytes(blake2b(data, digest_size=8).digest())
        self._sums[repr(place)] = total % (1 << 64)

    def value(self) -> bytes:
        """Return 16 bytes that are equal where all content is."""
        sums = sorted((place, total) for place, total in self._sums.items() if total)
        return blake2b(repr(sums).encode(), digest_size=16).digest()


def of_engine(engine: Engine, graph: Graph) -> bytes:
    """Compute the digest of what a database holds.

    Args:
        engine: that has it.
        graph: its schema.

    Raises:
        EngineError: it failed.
    """
    digest = Digest()
    for place in _places(graph):
        with engine.once() as session:
            for scan in _slices(engine, graph, place):
                found = run(session, graph, scan, lambda: TIMEOUT_S)
                digest.add(place, found, column_types(graph, *place))
    return digest.value()


def _slices(engine: Engine, graph: Graph, place: Place) -> list[Scan]:
    """Cut a table into scans, for each stands in the pool as a whole."""
    name, pair = place
    found = rel_table(graph, name) if pair else node_table(graph, name)
    size = measure(engine, found)[1]
    count = 1 + size // SLICE_BYTES
    if count == 1:
        return [Scan(*place)]
    which = f"offset(id({'r' if pair else 'n'})) % {count}"
    return [Scan(*place, where=f"{which} = {number}") for number in range(count)]


def of_map(reader: MapReader, graph: Graph, keys: bool) -> bytes:
    """Compute the digest of what a database should hold.

    Args:
        reader: of the map.
        graph: its schema.
        keys: whether users' keys are nodes.

    Raises:
        UnavailableError: the map cannot be read.
    """
    digest = Digest()
    nodes = {t.table_id: t for t in graph.nodes}
    rels = {t.table_id: t for t in graph.rels}
    for rows in _pages(reader, graph, keys):
        for id, found in rows.nodes.items():
            arrow = node_columns(nodes[id], list(found.values())).drop([GHOST])
            place: Place = (nodes[id].name, None)
            digest.add(place, arrow, column_types(graph, *place))
        for pair, edges in rows.edges.items():
            ends = (pair[1], pair[2])
            arrow = edge_columns(graph, rels[pair[0]], ends, list(edges.values()))
            arrow = arrow.drop([n for n in ("tv_s", "tv_d") if n in arrow.column_names])
            place = (rels[pair[0]].name, (nodes[ends[0]].name, nodes[ends[1]].name))
            digest.add(place, arrow, column_types(graph, *place))
    return digest.value()


def _pages(reader: MapReader, graph: Graph, keys: bool) -> Iterator[Rows]:
    """Read all rows of a graph."""
    head = graves_prefix(graph)
    bounds = [(head[:1] + letter + head[2:]) for letter in (b"n", b"e")]
    ranges = [(prefix, after(prefix)) for prefix in bounds]
    if keys:
        ranges.append((b"", bytes((GRAPH_BYTE,))))
    for start, end in ranges:
        for page in reader.pages(start, end, PAGE_ROWS if start else 64):
            rows = Rows(graph, keys)
            rows.take(page)
            yield rows


def _places(graph: Graph) -> list[Place]:
    """List all tables, each pair of a relationship table by itself."""
    names = {t.table_id: t.name for t in graph.nodes}
    places: list[Place] = [(t.name, None) for t in graph.nodes]
    for rel in graph.rels:
        places += [(rel.name, (names[s], names[d])) for s, d in rel.pairs]
    return places
