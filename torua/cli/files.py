"""Files to be loaded: which tables they are of, and what these look like.

A node table's file has the table's name (``Person.csv``); a relationship table's file
has the names of all three (``Person_knows_Person.csv``).  A number at the end tells
parts of one table apart (``Person_knows_Person_1.csv``).  Types stand in the header
(``name:STRING``), or are guessed from the first rows; in Parquet they are known.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from torua.cli.failures import ExitCode, Failure
from torua.core.graph.layout import Heading, read_heading

CSV_TYPE = "text/csv"
JSON_TYPE = "application/x-ndjson"
PARQUET_TYPE = "application/vnd.apache.parquet"
SUFFIXES = {
    ".csv": CSV_TYPE,
    ".tsv": CSV_TYPE,
    ".ndjson": JSON_TYPE,
    ".jsonl": JSON_TYPE,
    ".parquet": PARQUET_TYPE,
}
SCHEMA_FILE = "schema.cypher"

SAMPLE_ROWS = 1000
"""Types are guessed from so many rows."""

_DELIMITERS = "|\t;,"
_PART = re.compile(r"_\d+$")
_NAMED = {
    "STRING": "STRING",
    "CHAR": "STRING",
    "BYTE": "INT64",
    "SHORT": "INT64",
    "INT": "INT64",
    "INTEGER": "INT64",
    "LONG": "INT64",
    "INT64": "INT64",
    "FLOAT": "DOUBLE",
    "DOUBLE": "DOUBLE",
    "BOOLEAN": "BOOL",
    "BOOL": "BOOL",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "LOCALDATETIME": "TIMESTAMP",
    "TIMESTAMP": "TIMESTAMP",
}
_PATTERNS = (
    ("INT64", re.compile(r"[+-]?\d{1,18}")),
    ("DOUBLE", re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")),
    ("BOOL", re.compile(r"(?i:true|false)")),
    ("DATE", re.compile(r"\d{4}-\d\d-\d\d")),
    (
        "TIMESTAMP",
        re.compile(
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?"
        ),
    ),
)
_ENDS = {"START_ID", "END_ID"}
_PLAIN_ENDS = {"from", "to", "_from", "_to"}


class TableFile(msgspec.Struct, frozen=True):
    """One file, and what it is of.

    Attributes:
        path: where it is.
        media_type: what it is uploaded as.
        delimiter: of CSV; empty else.
        stem: its name without suffix and number.
        is_edges: whether it has relationships.
        key: the property that is a node's primary key; empty for relationships.
        properties: names and types.
        ends: what its header says of the tables of a relationship's ends.
    """

    path: Path
    media_type: str
    delimiter: str
    stem: str
    is_edges: bool
    key: str
    properties: tuple[tuple[str, str], ...]
    ends: tuple[str, str] = ("", "")


def find_files(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """List the files to be loaded, and the schema that lies beside them.

    Args:
        paths: files and directories.

    Raises:
        Failure: there is nothing to be loaded, or a file is of no known kind.
    """
    found: list[Path] = []
    schema: Path | None = None
    for path in paths:
        if path.is_dir():
            inside = sorted(path.iterdir())
            found += [each for each in inside if each.suffix.lower() in SUFFIXES]
            beside = path / SCHEMA_FILE
            schema = beside if beside.is_file() else schema
        elif path.suffix.lower() in SUFFIXES:
            found.append(path)
        else:
            known = ", ".join(SUFFIXES)
            raise Failure(f"{path}: only {known} are loaded", ExitCode.USAGE)
    if not found:
        raise Failure("there is nothing to be loaded", ExitCode.USAGE)
    return found, schema


def stem_of(path: Path) -> str:
    """Return a file's name without suffix and number."""
    return _PART.sub("", path.stem)


def look(path: Path, delimiter: str | None) -> TableFile:
    """Look at the beginning of a file.

    Args:
        path: which.
        delimiter: of CSV; None to guess it.
    """
    media_type = SUFFIXES[path.suffix.lower()]
    if media_type == CSV_TYPE:
        delimiter, names, rows = _csv(path, delimiter)
    else:
        delimiter = ""
        names, rows = _parquet(path) if media_type == PARQUET_TYPE else _json(path)
    headings = [read_heading(name) for name in names]
    stem = stem_of(path)
    is_edges = any(each.role in _ENDS for each in headings) or (
        {"from", "to"} <= {each.name.lower().strip("_") for each in headings}
    )
    key = "" if is_edges else _key(headings, stem)
    types = [
        _type(heading, column) for heading, column in zip(headings, rows, strict=True)
    ]
    properties = [
        (_property(heading), type_)
        for heading, type_ in zip(headings, types, strict=True)
        if not _is_end(heading, is_edges) and heading.role not in ("TYPE", "IGNORE")
    ]
    ends = (_space(headings, "START_ID"), _space(headings, "END_ID"))
    return TableFile(
        path, media_type, delimiter, stem, is_edges, key, tuple(properties), ends
    )


def _csv(path: Path, delimiter: str | None) -> tuple[str, list[str], list[list[Any]]]:
    """Read the header and the first rows of a CSV file, column by column."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
        if delimiter is None:
            delimiter = max(_DELIMITERS, key=first.count)
            delimiter = delimiter if delimiter in first else ","
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        names = next(reader, [])
        rows = list(islice(reader, SAMPLE_ROWS))
    if not names:
        raise Failure(f"{path}: there is no header in the first line")
    columns = [[row[i] for row in rows if i < len(row)] for i in range(len(names))]
    return delimiter, names, columns


def _json(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Read the names and the first values of a file of JSON lines."""
    values: dict[str, list[Any]] = {}
    with path.open("rb") as file:
        for line in islice(file, SAMPLE_ROWS):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise Failure(f"{path}: not JSON lines: {error}") from None
            for name, value in row.items():
                values.setdefault(name, []).append(value)
    return list(values), list(values.values())


def _parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Read the names and the first values of a Parquet file."""
    # It takes a while to load, and only this format needs it.
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            batch = next(file.iter_batches(batch_size=SAMPLE_ROWS), None)
    except (pyarrow.ArrowException, OSError) as error:
        raise Failure(f"{path}: not a Parquet file: {error}") from None
    if batch is None:
        return names, [[] for _ in names]
    return names, [column.to_pylist() for column in batch.columns]


def _key(headings: Sequence[Heading], stem: str) -> str:
    """Guess the primary key: what says so, what is called so, or the first."""
    for heading in headings:
        if heading.role == "ID":
            return _property(heading)
    names = {heading.name.lower(): heading.name for heading in headings}
    for guess in ("id", f"{stem.lower()}_id", f"{stem.lower()}id", "key"):
        if guess in names:
            return names[guess]
    return _property(headings[0])


def _property(heading: Heading) -> str:
    """Return the name of the property that a field is."""
    if heading.name:
        return heading.name
    return {"ID": "id", "LABEL": "type"}.get(heading.role, "")


def _is_end(heading: Heading, is_edges: bool) -> bool:
    """Tell whether a field is an end of a relationship."""
    plain = is_edges and heading.name.lower() in _PLAIN_ENDS
    return heading.role in _ENDS or plain


def _space(headings: Sequence[Heading], role: str) -> str:
    """Return what a header says of the table of an end."""
    return next((each.space for each in headings if each.role == role), "")


def _type(heading: Heading, values: Iterable[Any]) -> str:
    """Return the type of a property: as the header says, or guessed."""
    if heading.role in _NAMED:
        return _NAMED[heading.role]
    given = [value for value in values if value is not None and value != ""]
    if all(isinstance(value, str) for value in given):
        return _type_of_texts(given) if given else "STRING"
    kinds = {type(value) for value in given}
    if kinds <= {bool}:
        return "BOOL"
    if kinds <= {int}:
        return "INT64"
    if kinds <= {int, float}:
        return "DOUBLE"
    return _type_of_values(kinds, given)


def _type_of_texts(texts: Sequence[str]) -> str:
    """Guess the type of texts: the first that fits all of them."""
    for name, pattern in _PATTERNS:
        if all(pattern.fullmatch(text) for text in texts):
            return name
    return "STRING"


def _type_of_values(kinds: set[type], values: Sequence[Any]) -> str:
    """Guess the type of values that are neither texts nor numbers."""
    names = {kind.__name__ for kind in kinds}
    if names == {"date"}:
        return "DATE"
    if names <= {"datetime", "Timestamp", "date"}:
        return "TIMESTAMP"
    if names == {"bytes"}:
        return "BLOB"
    if names == {"list"}:
        inner = [item for value in values for item in value]
        return f"{_type(Heading('', '', ''), inner)}[]"
    return "STRING"
