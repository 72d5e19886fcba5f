"""What is told of graphs: schemas as people see them, and how statements would run."""

from msgspec import Struct


class GraphView(Struct, frozen=True):
    """One graph in a list."""

    name: str
    placement: str
    version: int
    node_tables: int
    rel_tables: int


class PropertyView(Struct, frozen=True):
    """One property; ``default`` as JSON has it, None for NULL."""

    name: str
    type: str
    default: object = None


class NodeTableView(Struct, frozen=True):
    """One node table; ``count`` is None where it was not counted."""

    name: str
    primary_key: str
    properties: tuple[PropertyView, ...]
    count: int | None = None


class PairView(Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """Node tables that a relationship table goes from and to."""

    source: str
    target: str


class RelTableView(Struct, frozen=True):
    """One relationship table."""

    name: str
    pairs: tuple[PairView, ...]
    multiplicity: str
    properties: tuple[PropertyView, ...]
    count: int | None = None


class SchemaView(Struct, frozen=True):
    """One graph's schema."""

    graph: str
    placement: str
    version: int
    nodes: tuple[NodeTableView, ...]
    relationships: tuple[RelTableView, ...]


class ExplainView(Struct, frozen=True):
    """How a statement would run.

    Attributes:
        strategy: route, scatter, frontier, gather, none, ddl; fast for a write that
            needs no gather.
        why: sentences.
        write: it changes something.
        shards: that it would touch first.
        pushed: fragments that shards would be asked for.
        gathered: tables that would be gathered if the strategy did not hold, or by
            it: with columns (None: all) and filter.
        writes: what is written without a gather.
    """

    strategy: str
    why: tuple[str, ...]
    write: bool
    shards: tuple[int, ...]
    pushed: tuple[str, ...] = ()
    gathered: tuple[dict[str, object], ...] = ()
    writes: tuple[str, ...] = ()
