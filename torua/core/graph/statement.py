"""One statement of Cypher as a client sends it, and what it gets for it."""

from msgspec import Struct

from torua.core.graph.schema import MAIN

ROWS_MAX = 100_000
"""How many rows an answer has, unless its caller asks for another bound."""

ROWS_LIMIT = 10_000_000
"""So many rows nobody may ask for; the bytes end it before."""

ANSWER_BYTES_MAX = 64 << 20
"""An answer is held in memory by the node that gives it."""

TIMEOUT_S = 30.0
"""How long a statement may take, unless its caller says otherwise."""

TIMEOUT_S_MAX = 300.0
"""A statement that takes longer holds a worker that others wait for."""

TEXT_CHARS_MAX = 256 << 10
"""Values belong into parameters."""


class Statement(Struct, frozen=True):
    """What is asked.

    Attributes:
        text: Cypher.
        parameters: plain values by name, without the ``$``.
        graph: by name.
        format: of the rows: json, ndjson, cbor or arrow.
        rows_max: an answer with more is refused.
    """

    text: str
    parameters: dict[str, object] = {}
    graph: str = MAIN
    format: str = "json"
    rows_max: int = ROWS_MAX


class Answered(Struct, frozen=True):
    """What came of it.

    Attributes:
        columns: names, in order.
        types: the engine's names of their types.
        body: the rows, spelled as they were asked for.
        stats: how it was answered, and what it changed.
        tokens: what a session passes back.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    body: bytes
    stats: dict[str, object]
    tokens: str = ""
