"""Files that are imported into tables of a graph."""

import re
from typing import Protocol

from msgspec import json, structs, to_builtins

from torua.core.graph import importing
from torua.core.graph.importing import ERRORS_MAX, Report, Wanted
from torua.core.graph.schema import MAIN
from torua.core.kv import Call
from torua.errors import MalformedError, from_wire
from torua.http import parameters
from torua.http.limits import STREAM_BYTES_MAX
from torua.http.messages import Answer, Ask, Taken, spelled
from torua.http.problems import MediaTypeError, problem
from torua.http.routes import Route

SKIP_MAX = 1 << 48
FORMS = {
    "text/csv": importing.CSV,
    "application/csv": importing.CSV,
    "text/tab-separated-values": importing.CSV,
    "application/x-ndjson": importing.NDJSON,
    "application/ndjson": importing.NDJSON,
    "application/jsonl": importing.NDJSON,
    "application/vnd.apache.parquet": importing.PARQUET,
}
"""Which formats are taken, by the types of their bodies."""

DUPLICATES = (importing.FAIL, importing.SKIP, importing.REPLACE)
TAB = "text/tab-separated-values"
_IMPORT_ID = re.compile(r"[\x20-\x7e]{1,128}")
_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "pipe": "|", "semicolon": ";"}


class Imports(Protocol):
    """Does imports."""

    async def run(self, wanted: Wanted, stream: Taken, call: Call) -> Report:
        """Import one file; tells also where it stopped early.

        Args:
            wanted: where, and how it is to be read.
            stream: the file.
            call: who asks; its time is for each request to a shard.
        """


class ImportHandler:
    """Answers ``/graph/import``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, imports: Imports) -> None:
        """Have imports done by ``imports``."""
        self._imports = imports

    async def post(self, ask: Ask) -> Answer:
        """Answer POST of a file, once it is in, or as much of it as can be.

        A file that is not in whole is a problem with all that the report says.
        """
        assert ask.stream is not None, "the route streams"
        wanted = read_wanted(ask)
        call = ask.call(parameters.timeout_s(ask.query))
        report = await self._imports.run(wanted, ask.stream, call)
        if not report.stopped:
            return spelled(ask, told(report))
        answer = problem(from_wire(report.code, report.stopped, {}), ask.request_id)
        body = json.encode(told(report) | json.decode(answer.body))
        return structs.replace(answer, body=body)


def told(report: Report) -> dict[str, object]:
    """Spell what became of an import."""
    facts: dict[str, object] = to_builtins(report)
    del facts["code"]
    return facts


def read_wanted(ask: Ask) -> Wanted:
    """Read what an import is to do.

    Raises:
        MalformedError: a parameter is none.
        MediaTypeError: the body is of a type that is not imported.
    """
    query, given = ask.query, _media_type(ask)
    tab = given == TAB
    on_duplicate = query.get("on_duplicate", importing.FAIL)
    if on_duplicate not in DUPLICATES:
        raise MalformedError(f"on_duplicate: one of {', '.join(DUPLICATES)}")
    import_id = query.get("import_id", "")
    if import_id and not _IMPORT_ID.fullmatch(import_id):
        raise MalformedError("import_id: 1 to 128 printable ASCII characters")
    columns = query.get("columns", "")
    length = ask.headers.get("content-length", "")
    return Wanted(
        graph=query.get("graph", MAIN),
        table=ask.variables["table"],
        form=FORMS[given],
        delimiter=_character(ask, "delimiter", "\t" if tab else ","),
        quote=_character(ask, "quote", '"', none=True),
        escape=_character(ask, "escape", "", none=True),
        header="header" not in query or parameters.boolean(query, "header"),
        null=query.get("null", ""),
        columns=tuple(columns.split(",")) if columns else (),
        from_table=query.get("from_table", ""),
        to_table=query.get("to_table", ""),
        on_duplicate=on_duplicate,
        max_errors=parameters.whole(query, "max_errors", 0, range(ERRORS_MAX + 1)),
        skip=parameters.whole(query, "skip", 0, range(SKIP_MAX)),
        import_id=import_id,
        bytes_total=int(length) if length.isdecimal() else 0,
    )


def _media_type(ask: Ask) -> str:
    """Return the type of the body, without parameters."""
    given = ask.headers.get("content-type", "").split(";")[0].strip().lower()
    if given not in FORMS:
        known = ", ".join(FORMS)
        raise MediaTypeError(f"{given or 'no Content-Type'}: one of {known} is wanted")
    return given


def _character(ask: Ask, name: str, default: str, *, none: bool = False) -> str:
    """Read a parameter that is one character.

    Args:
        ask: the request.
        name: the parameter.
        default: where it is not there.
        none: whether it may be empty.
    """
    text = ask.query.get(name)
    if text is None:
        return default
    text = _NAMED.get(text, text)
    if (none and not text) or (len(text) == 1 and text not in "\r\n\0"):
        return text
    raise MalformedError(f"{name}: one character is wanted")


def routes(imports: Imports) -> tuple[Route, ...]:
    """List what serves imports."""
    post = ImportHandler(imports).post
    return (
        Route("/graph/import/<table>", "POST", post, STREAM_BYTES_MAX, streams=True),
    )
