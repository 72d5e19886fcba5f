"""Graphs: statements of Cypher, schemas, and files that are loaded."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from msgspec import structs

from torua.client.entries import CBOR, Asked, Entries, Properties, spelled
from torua.client.errors import OutcomeUnknownError, UnprocessableError
from torua.client.rows import Result, Rows
from torua.client.session import Consistency
from torua.client.targets import fresh_key, segment
from torua.client.transport import Request
from torua.core.graph.importing import Report
from torua.core.graph.views import ExplainView, SchemaView

JSON = "application/json"
NDJSON = "application/x-ndjson"
TIMEOUT_MS_MAX = 300_000
"""The longest that nodes take for a statement."""

LOAD_TIMEOUT_S = 3600.0
"""A node takes no more of a file while a shard has no primary, up to a minute."""

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
    ".parquet": "application/vnd.apache.parquet",
}

_WRITING = re.compile(
    r"\b(?:CREATE|MERGE|SET|DELETE|REMOVE|DROP|ALTER|COPY|LOAD|CALL|COMMENT|EXPORT"
    r"|IMPORT|INSTALL|ATTACH|DETACH|USE|BEGIN|COMMIT|ROLLBACK|CHECKPOINT)\b",
    re.IGNORECASE,
)
"""A statement without any of these words, wherever they stand, changes nothing."""

_MORE_THAN_CREATING = re.compile(
    r"\b(?:MERGE|SET|DELETE|REMOVE|DROP|ALTER|TABLE|SEQUENCE|TYPE|MACRO)\b",
    re.IGNORECASE,
)
_UNPROMISED = "Idempotency-Key: it is kept"
OnDuplicate = Literal["fail", "skip", "replace"]


class Graph(Entries):
    """``client.graph()``: one graph, ``main`` if not named.

    Every method takes ``timeout_s``, for this call with all its attempts.

    Invariants: those of `Entries`.
    """

    def cypher(  # noqa: PLR0913
        self,
        statement: str,
        parameters: Properties | None = None,
        *,
        max_rows: int | None = None,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """Run a statement, and return all that it returns.

        What only reads is tried again whatever happens.  What only creates carries an
        idempotency key, where the nodes can keep one.  Any other write is tried again
        only if it certainly was not begun.

        Args:
            statement: of Cypher.
            parameters: a value for each ``$name``: what JSON has, bytes, dates, UUIDs.
            max_rows: the most that are taken; 100,000 if not given.
            consistency: how fresh; the client's own if not given.
            max_staleness_s: with ``bounded``: how old it may be.
            idempotency_key: one of the caller's own; it is then kept, or refused.
            timeout_s: for all attempts.

        Raises:
            OutcomeUnknownError: a write may or may not have happened.
            UnprocessableError: it is refused; `ClientError.code` says more.
            ClientError: see `torua.client.errors`.
        """
        request = self._statement(
            "/cypher",
            statement,
            parameters,
            self._asks(consistency, max_staleness_s, max_rows),
            timeout_s,
        )
        given = idempotency_key or _promise(statement)
        if given is None:
            return self._transport.ask(request).read(Result)
        try:
            return self._transport.ask(_promised(request, given)).read(Result)
        except UnprocessableError as error:
            if idempotency_key or _UNPROMISED not in error.detail:
                raise
            if error.uncertain:
                raise OutcomeUnknownError(error.problem) from error
        return self._transport.ask(request).read(Result)

    def stream(  # noqa: PLR0913
        self,
        statement: str,
        parameters: Properties | None = None,
        *,
        max_rows: int | None = None,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Rows:
        """Run a statement, and return its rows as they come.

        Args:
            statement: of Cypher.
            parameters: a value for each ``$name``.
            max_rows: the most that are taken.
            consistency: how fresh.
            max_staleness_s: with ``bounded``: how old it may be.
            timeout_s: until rows begin to come, with all attempts.

        Raises:
            ClientError: as for `cypher`; also while rows are read.
        """
        request = self._statement(
            "/cypher",
            statement,
            parameters,
            self._asks(consistency, max_staleness_s, max_rows),
            timeout_s,
            NDJSON,
        )
        return Rows(self._transport.open(request))

    def explain(
        self,
        statement: str,
        parameters: Properties | None = None,
        *,
        timeout_s: float | None = None,
    ) -> ExplainView:
        """Tell how a statement would run, without running it.

        Args:
            statement: of Cypher.
            parameters: a value for each ``$name``.
            timeout_s: for all attempts.
        """
        path = "/cypher/explain"
        request = self._statement(path, statement, parameters, ({}, {}), timeout_s)
        request = structs.replace(request, writes=False)
        return self._transport.ask(request).read(ExplainView)

    def schema(
        self,
        *,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> SchemaView:
        """Describe the tables, with how many rows they have.

        Args:
            consistency: how fresh the counts are.
            max_staleness_s: with ``bounded``: how old they may be.
            timeout_s: for all attempts.
        """
        fresh, headers = self._transport.session.asks(consistency, max_staleness_s)
        parameters = {**fresh, "graph": self.name}
        request = Request("GET", "/graph/schema", parameters, headers)
        request = structs.replace(request, timeout_s=timeout_s)
        return self._transport.ask(request).read(SchemaView)

    def load(  # noqa: PLR0913
        self,
        table: str,
        file: Path | str | BinaryIO,
        *,
        media_type: str | None = None,
        on_duplicate: OnDuplicate = "fail",
        max_errors: int = 0,
        import_id: str | None = None,
        options: Mapping[str, object] | None = None,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> Report:
        """Load a file into a table; return what became of it.

        It is sent again from its beginning where the connection breaks, under the same
        import id, so that no row goes in twice; such a report counts as ``unchanged``
        what earlier attempts wrote.

        Args:
            table: where the rows go.
            file: a path, or an open file that can be sought.
            media_type: of the file; by the suffix of its path if not given.
            on_duplicate: what a node is that exists already and differs.
            max_errors: how many bad rows are left out before the import stops.
            import_id: equal ones promise equal files; made if not given.
            options: others of docs/import.md, by name: ``delimiter``, ``columns`` …
            timeout_s: for all attempts.

        Raises:
            ValueError: nothing tells what kind of file it is.
            ClientError: it stopped; `ClientError.members` has the report.
        """
        kind = media_type or _media_type(file)
        if isinstance(file, str | Path):
            with open(file, "rb") as opened:
                return self.load(
                    table,
                    opened,
                    media_type=kind,
                    on_duplicate=on_duplicate,
                    max_errors=max_errors,
                    import_id=import_id,
                    options=options,
                    timeout_s=timeout_s,
                )
        parameters = {
            "graph": self.name,
            "on_duplicate": on_duplicate,
            "max_errors": max_errors,
            "import_id": import_id or fresh_key(),
            **(options or {}),
        }
        request = Request(
            "POST",
            f"/graph/import/{segment(table)}",
            parameters,
            {"Content-Type": kind, "Content-Length": str(_length(file))},
            file,
            writes=True,
            timeout_s=timeout_s,
            whole=True,
            told_ms_max=0,
        )
        return self._transport.ask(request).read(Report)

    def _statement(  # noqa: PLR0913, PLR0917
        self,
        path: str,
        statement: str,
        parameters: Properties | None,
        asked: Asked,
        timeout_s: float | None,
        accept: str = JSON,
    ) -> Request:
        """Make the request of a statement."""
        fresh, headers = asked
        body = {"query": statement, "parameters": dict(parameters or {})}
        return Request(
            "POST",
            path,
            {**fresh, "graph": self.name},
            {**headers, "Content-Type": CBOR, "Accept": accept},
            spelled(body),
            writes=_WRITING.search(statement) is not None,
            repeatable=False,
            timeout_s=timeout_s,
            whole=True,
            told_ms_max=TIMEOUT_MS_MAX,
        )

    def _asks(
        self,
        consistency: Consistency | None,
        max_staleness_s: float | None,
        max_rows: int | None,
    ) -> Asked:
        """Spell how fresh an answer must be, and how long it may be."""
        fresh, headers = self._transport.session.asks(consistency, max_staleness_s)
        return {**fresh, "max_rows": max_rows}, headers


def _promise(statement: str) -> str | None:
    """Make an idempotency key, where nodes may be able to keep it."""
    creates = re.search(r"\bCREATE\b", statement, re.IGNORECASE)
    if creates is None or _MORE_THAN_CREATING.search(statement):
        return None
    return fresh_key()


def _promised(request: Request, key: str) -> Request:
    """Have a request done once, however often it is sent."""
    headers = {**request.headers, "Idempotency-Key": key}
    return structs.replace(request, headers=headers, repeatable=True)


def _media_type(file: Path | str | BinaryIO) -> str:
    """Tell the type of a file by its name."""
    name = str(file if isinstance(file, str | Path) else getattr(file, "name", ""))
    suffix = Path(name).suffix.lower()
    if suffix not in MEDIA_TYPES:
        raise ValueError(f"media_type: {name or 'the file'} may be anything")
    return MEDIA_TYPES[suffix]


def _length(file: BinaryIO) -> int:
    """Return how many bytes of a file are left, and leave it where it was."""
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here
