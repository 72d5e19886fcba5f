"""Statements of Cypher."""

from collections.abc import Callable

from msgspec import Struct, json, structs

from torua import codec
from torua.core.configuration import Limits
from torua.core.graph.schema import MAIN
from torua.core.graph.statement import (
    ROWS_LIMIT,
    TEXT_CHARS_MAX,
    TIMEOUT_S_MAX,
    Answered,
    Statement,
)
from torua.core.kv import Call
from torua.errors import MalformedError, TooLargeError
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.messages import CBOR, JSON, Answer, Ask, spelled
from torua.http.routes import Route
from torua.http.seams import Statements

BODY_BYTES_MAX = 16 << 20
"""A statement with its parameters is held in memory, and copied to a worker."""

TOLD_BYTES_MAX = 8 << 10
"""What is told of rows in a header; longer ones clients refuse."""

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
_FORMATS = {
    JSON: "json",
    "application/*": "json",
    "*/*": "json",
    NDJSON: "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    CBOR: "cbor",
    ARROW: "arrow",
}
_TYPES = {"json": JSON, "ndjson": NDJSON, "cbor": CBOR, "arrow": ARROW}


class CypherBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /cypher`` and ``/cypher/explain``."""

    query: str
    parameters: dict[str, object] | None = None
    graph: str | None = None
    consistency: str | None = None
    max_staleness: int | None = None
    timeout_ms: int | None = None
    max_rows: int | None = None


class CypherHandlers:
    """Answers ``/cypher``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(
        self, statements: Statements, node_name: str, limits: Callable[[], Limits]
    ) -> None:
        """Have statements run.

        Args:
            statements: runs them.
            node_name: this node's, which puts answers together.
            limits: tells what holds of those that say nothing else.
        """
        self._statements = statements
        self._node_name = node_name
        self._limits = limits

    async def run(self, ask: Ask) -> Answer:
        """Answer POST of a statement, in the format that the caller accepts."""
        statement, call = read_statement(ask, self._limits())
        answered = await self._statements.run(statement, call)
        return rows_answer(statement.format, answered, self._node_name)

    async def explain(self, ask: Ask) -> Answer:
        """Answer POST of a statement with how it would run."""
        statement, call = read_statement(ask, self._limits())
        return spelled(ask, await self._statements.explain(statement, call))


def routes(
    statements: Statements, node_name: str, limits: Callable[[], Limits] = Limits
) -> tuple[Route, ...]:
    """List what serves statements.

    Args:
        statements: runs them.
        node_name: this node's.
        limits: tells what holds of those that say nothing else.
    """
    handlers = CypherHandlers(statements, node_name, limits)
    return (
        Route("/cypher", "POST", handlers.run, BODY_BYTES_MAX),
        Route("/cypher/explain", "POST", handlers.explain, BODY_BYTES_MAX),
    )


def read_statement(ask: Ask, limits: Limits) -> tuple[Statement, Call]:
    """Read a statement, and how its caller wants it run.

    What the body says goes before what the query string says.

    Args:
        ask: the request.
        limits: hold where it says nothing else.

    Raises:
        MalformedError: it is not what the body must be.
        MediaTypeError: the body is of another type.
    """
    body = read_body(ask, CypherBody)
    if len(body.query) > TEXT_CHARS_MAX:
        raise TooLargeError(f"query: up to {TEXT_CHARS_MAX} characters; use parameters")
    given = {
        name: str(value)
        for name in ("consistency", "max_staleness", "timeout_ms", "max_rows", "graph")
        if (value := getattr(body, name)) is not None
    }
    asked = structs.replace(ask, query={**ask.query, **given})
    statement = Statement(
        body.query,
        body.parameters or {},
        asked.query.get("graph", MAIN),
        wanted_format(ask),
        parameters.whole(
            asked.query, "max_rows", limits.query_rows, range(1, ROWS_LIMIT + 1)
        ),
    )
    if not statement.text.strip():
        raise MalformedError("query: a statement of Cypher")
    reading = parameters.reading(asked)
    promise = parameters.idempotency(ask)
    return statement, asked.call(_timeout_s(asked, limits), promise, reading)


def wanted_format(ask: Ask) -> str:
    """Return the format of rows that a caller accepts, the first that is known."""
    accepted = ask.headers.get("accept", "")
    for part in accepted.split(","):
        kind = part.split(";")[0].strip().lower()
        if kind in _FORMATS:
            return _FORMATS[kind]
    return "json"


def _timeout_s(ask: Ask, limits: Limits) -> float:
    """Return how long the statement may take."""
    most, usual = round(TIMEOUT_S_MAX * 1000), round(limits.query_timeout_s * 1000)
    bounds = range(1, most + 1)
    return parameters.whole(ask.query, "timeout_ms", usual, bounds) / 1000


def rows_answer(form: str, answered: Answered, node_name: str) -> Answer:
    """Spell an answer; its rows are spelled already.

    Args:
        form: of the rows.
        answered: by the statement.
        node_name: this node's.
    """
    headers = [("Vary", "Accept"), ("Torua-Served-By", node_name)]
    if answered.tokens:
        headers.append(("Torua-Token", answered.tokens))
    if form == "json":
        return _whole(answered, headers, _json(answered), JSON)
    if form == "cbor":
        return _whole(answered, headers, _cbor(answered), CBOR)
    told = {
        "Torua-Columns": answered.columns,
        "Torua-Types": answered.types,
        "Torua-Stats": answered.stats,
    }
    for name, value in told.items():
        text = _ascii(value)
        if len(text) <= TOLD_BYTES_MAX:
            headers.append((name, text))
    return _whole(answered, headers, answered.body, _TYPES[form])


def _whole(
    answered: Answered, headers: list[tuple[str, str]], body: bytes, kind: str
) -> Answer:
    """Make an answer, that may be withheld where it only reads."""
    reads = "nodes_created" not in answered.stats
    return Answer(200, tuple(headers), body, kind, repeatable=reads)


def _json(answered: Answered) -> bytes:
    """Put the parts of an answer in JSON together."""
    parts = (
        b'{"columns":',
        json.encode(answered.columns),
        b',"types":',
        json.encode(answered.types),
        b',"rows":',
        answered.body,
        b',"stats":',
        json.encode(answered.stats),
        b"}",
    )
    return b"".join(parts)


def _cbor(answered: Answered) -> bytes:
    """Put the parts of an answer in CBOR together: a map of four."""
    parts = (
        b"\xa4",
        codec.encode("columns"),
        codec.encode(list(answered.columns)),
        codec.encode("types"),
        codec.encode(list(answered.types)),
        codec.encode("rows"),
        answered.body,
        codec.encode("stats"),
        codec.encode(answered.stats),
    )
    return b"".join(parts)


def _ascii(value: object) -> str:
    """Spell a value as JSON of ASCII only, as headers take it."""
    text = json.encode(value).decode()
    return "".join(each if each < "\x7f" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    """Spell a character as JSON escapes it."""
    units = character.encode("utf-16-be")
    return "".join(
        f"\\u{units[start]:02x}{units[start + 1]:02x}"
        for start in range(0, len(units), 2)
    )
