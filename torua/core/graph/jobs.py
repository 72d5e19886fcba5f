"""What a query worker is asked to do, and what it answers.

A job stands for itself: it has the schema, the rows that the statement may touch, the
statement, and how the answer is to be spelled.  A worker needs nothing else, changes
nothing outside, and may be killed at any moment; so every job may be done twice.
"""

from enum import StrEnum

from msgspec import Struct

from torua.core.cypher.plan import Merge
from torua.core.graph.changes import Change
from torua.core.graph.schema import Graph


class Format(StrEnum):
    """How the rows of an answer are spelled.

    JSON: one array of arrays, ``[[…],…]``.
    NDJSON: an array a line, each with its line end.
    CBOR: one array of arrays.
    ARROW: one whole IPC stream.
    """

    JSON = "json"
    NDJSON = "ndjson"
    CBOR = "cbor"
    ARROW = "arrow"


class Gathered(Struct, frozen=True):
    """Rows of one node table, or of one pair of a relationship table.

    Attributes:
        table: by name.
        pair: names of the node tables it goes from and to; None for a node table.
        parts: Arrow IPC streams, with columns as `torua.core.graph.fragments` names
            them; a subset of the table's is fine where nothing is written.  What
            stands in several parts is one row.
    """

    table: str
    pair: tuple[str, str] | None
    parts: tuple[bytes, ...]


class Job(Struct, frozen=True):
    """One statement to run, or one merge to make.

    Attributes:
        graph: its schema; tables of which nothing was gathered are there, and empty.
        named: of these only the tables that it names, and those between which they go;
            None for all.
        text: the statement; of a merge, for the record only.
        parameters: a value for each ``$name`` in it.
        tables: what was gathered.  Relationships of which an end is not there, or was
            born again (``tv_born``), are left out by the worker.
        merge: how to make one answer of `partials`, instead of running anything.
        partials: the shards' answers, Arrow IPC streams.
        write: the statement changes something: say what (`Finished.changes`).
        format: how to spell the answer.
        rows_max: more rows are cut off, and `Finished.truncated` says so.
        bytes_max: an answer with a longer body is refused.
    """

    graph: Graph
    text: str
    parameters: dict[str, object] = {}
    tables: tuple[Gathered, ...] = ()
    merge: Merge | None = None
    partials: tuple[bytes, ...] = ()
    write: bool = False
    format: Format = Format.JSON
    named: tuple[str, ...] | None = None
    rows_max: int = 100_000
    bytes_max: int = 64 << 20

    @property
    def size(self) -> int:
        """How many bytes were gathered for it."""
        parts = sum(len(part) for each in self.tables for part in each.parts)
        return parts + sum(map(len, self.partials))


class Finished(Struct, frozen=True):
    """What a job came to.

    Attributes:
        columns: names of the answer's columns; none for a statement without RETURN.
        types: theirs, as the engine names them.
        body: the rows, in the format that was asked for.
        rows: how many.
        truncated: there were more rows than `Job.rows_max`.
        changes: of a write: what it did, deletions first.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    body: bytes
    rows: int
    truncated: bool = False
    changes: tuple[Change, ...] = ()
