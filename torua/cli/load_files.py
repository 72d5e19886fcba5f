"""``torua load``: files into tables, made where they are missing, and a demo."""

import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from torua.cli import samples
from torua.cli.answers import ask_statement
from torua.cli.failures import ExitCode, Failure
from torua.cli.files import TableFile, find_files, look, stem_of
from torua.cli.http import Answer, Client, problem_line, with_query
from torua.cli.output import format_option, print_json, print_table
from torua.cli.statements import split_statements
from torua.cli.tables import Tables, Target, in_order, missing, place, read_tables

ATTEMPTS = 10
"""How often a file is sent that breaks off; what is in is not done again."""

PAUSE_S = 1.0
"""A failover takes a few of these."""

UPLOAD_TIMEOUT_S = 300.0
"""A node takes no more of a file while a shard has no primary, up to a minute."""

ERRORS_SHOWN = 10
DEMO_QUERIES = (
    (
        "Whom most people know",
        "MATCH (a:Person)-[:knows]->(b:Person) "
        "RETURN b.firstName, b.lastName, count(*) AS known ORDER BY known DESC LIMIT 5",
    ),
    (
        "Friends of friends, and what they are interested in",
        "MATCH (a:Person)-[:knows]-(:Person)-[:knows]-(c:Person)-[:hasInterest]->"
        "(t:Tag) WHERE a.id = 933 RETURN t.name, count(DISTINCT c) AS people "
        "ORDER BY people DESC, t.name LIMIT 5",
    ),
    (
        "Where people live",
        "MATCH (p:Person)-[:isLocatedIn]->(c:Place)-[:isPartOf]->(d:Place) "
        "RETURN d.name, count(*) AS people ORDER BY people DESC, d.name LIMIT 5",
    ),
)


class Upload:
    """A file that tells how much of it was read.

    Invariants: `read` returns what the file has, in order.
    """

    def __init__(self, file: BinaryIO, progress: Progress, task: TaskID) -> None:
        """Read ``file``, and tell ``progress`` of it."""
        self._file = file
        self._progress = progress
        self._task = task

    def read(self, count: int = -1) -> bytes:
        """Read a part."""
        data = self._file.read(count)
        self._progress.update(self._task, advance=len(data))
        return data

    def seek(self, place: int) -> int:
        """Go to a place, and tell so."""
        self._progress.update(self._task, completed=place)
        return self._file.seek(place)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--graph", default="main", show_default=True, help="The graph.")
@click.option("--delimiter", metavar="CHAR", help="Of CSV files.  [default: guessed]")
@click.option(
    "--max-errors",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many bad rows of a file are left out before it stops.",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Statements that make the tables.  [default: schema.cypher in the directory,"
    " else one of a known data set, else guessed from the files]",
)
@click.option(
    "--on-duplicate",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    show_default=True,
    help="What becomes of a node that exists already and differs.",
)
@click.option("--demo", is_flag=True, help="Load a small social network instead.")
@format_option
@click.pass_obj
def load(  # noqa: PLR0913 - click hands in each option
    client: Client,
    *,
    paths: tuple[Path, ...],
    graph: str,
    delimiter: str | None,
    max_errors: int,
    schema: Path | None,
    on_duplicate: str,
    demo: bool,
    form: str,
) -> None:
    """Load files, or all files in a directory, into a graph.

    Files are CSV (.csv, .tsv), JSON lines (.ndjson, .jsonl) and Parquet (.parquet),
    called Table.csv for nodes and From_name_To.csv for relationships.  Tables that are
    missing are made; nodes come before relationships.  To load the same files again
    changes nothing, so a load that broke off is gone on with by the same command.

    Exits with 5 where rows were refused; whole batches before them are in.
    """
    if demo == bool(paths):
        raise Failure("either files or --demo is wanted", ExitCode.USAGE)
    found, beside = find_files([samples.SOCIAL] if demo else paths)
    files = [look(path, delimiter) for path in found]
    tables = _with_schema(client, graph, files, schema or beside)
    targets = in_order(_placed(files, tables))
    options = {"max_errors": max_errors or None, "on_duplicate": on_duplicate}
    reports = _load_all(client, graph, targets, options, quiet=form == "json")
    if form == "json":
        print_json(reports)
    else:
        _summarize(reports)
    if any("stopped" in report and report["stopped"] for report in reports):
        raise Failure(_stopped(reports[-1]))
    if demo and form != "json":
        _show_demo(graph)


def _with_schema(
    client: Client, graph: str, files: Sequence[TableFile], schema: Path | None
) -> Tables:
    """Make the tables that are missing, and tell of all."""
    tables = _tables(client, graph)
    if all(place(file, tables) for file in files) and schema is None:
        return tables
    statements = (
        _read_schema(schema) if schema else _known(files) or missing(files, tables)
    )
    for statement in statements:
        ask_statement(client, graph, statement)
    return _tables(client, graph)


def _tables(client: Client, graph: str) -> Tables:
    """Ask for the tables that are there."""
    answer = client.ask("GET", with_query("/graph/schema", graph=graph))
    return read_tables(answer.json())


def _read_schema(path: Path) -> list[str]:
    """Read the statements in a file."""
    statements, rest = split_statements(path.read_text(encoding="utf-8"))
    return [*statements, *([rest] if rest else [])]


def _known(files: Sequence[TableFile]) -> list[str]:
    """Return the schema of a data set that all files are of; nothing for others."""
    for path in samples.SCHEMAS.values():
        inside, _ = find_files([path.parent])
        names = {stem_of(each) for each in inside}
        if all(file.stem in names for file in files):
            return _read_schema(path)
    return []


def _placed(files: Sequence[TableFile], tables: Tables) -> list[Target]:
    """Find the table of each file; a `Failure` where one has none."""
    found = []
    for file in files:
        target = place(file, tables)
        if target is None:
            raise Failure(f"{file.path.name}: the graph has no table for it")
        found.append(target)
    return found


def _load_all(
    client: Client,
    graph: str,
    targets: Sequence[Target],
    options: dict[str, Any],
    *,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Load all files, one after the other, up to the first that stops."""
    reports = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr)
    shown = console.is_terminal and not quiet
    with Progress(*columns, console=console, disable=not shown) as progress:
        for target in targets:
            size = target.file.path.stat().st_size
            task = progress.add_task(target.file.path.name, total=size)
            report = _load_one(client, graph, target, options, (progress, task))
            reports.append({"file": target.file.path.name} | report)
            if report["stopped"]:
                break
    return reports


def _load_one(
    client: Client,
    graph: str,
    target: Target,
    options: dict[str, Any],
    bar: tuple[Progress, TaskID],
) -> dict[str, Any]:
    """Load one file; go on where it breaks off."""
    source, began_s = target.file, time.monotonic()
    if source.path.stat().st_size == 0:
        raise Failure(f"{source.path.name} is empty")
    pair = target.pair or (None, None)
    path = with_query(
        f"/graph/import/{target.table}",
        graph=graph,
        delimiter=source.delimiter or None,
        from_table=pair[0],
        to_table=pair[1],
        import_id=_import_id(graph, target),
        **options,
    )
    headers = {
        "Content-Type": source.media_type,
        "Content-Length": str(source.path.stat().st_size),
    }
    with source.path.open("rb") as file:
        upload = cast("BinaryIO", Upload(file, *bar))
        for attempt in range(ATTEMPTS):
            answer = _sent(client, path, upload, headers, attempt)
            if answer is not None:
                report: dict[str, Any] = answer.json()
                seconds = time.monotonic() - began_s
                return report | {"seconds": round(seconds, 3)}
            time.sleep(PAUSE_S)
    raise AssertionError("the last attempt answers or fails")


def _sent(
    client: Client, path: str, upload: BinaryIO, headers: dict[str, str], attempt: int
) -> Answer | None:
    """Send a file once; None where another attempt may help."""
    last = attempt + 1 >= ATTEMPTS
    try:
        answer = client.upload(path, upload, headers, UPLOAD_TIMEOUT_S)
    except Failure as failure:
        if last or failure.exit_code not in (ExitCode.UNKNOWN, ExitCode.UNAVAILABLE):
            raise
        return None
    if answer.status in (429, 503, 504) and not last:
        return None
    if answer.status >= 300 and "stopped" not in answer.json():
        raise Failure(problem_line(answer))
    return answer


def _import_id(graph: str, target: Target) -> str:
    """Name an import by what it imports, so that the same file is the same import."""
    digest = blake2b(digest_size=16)
    digest.update(repr((graph, target.table, target.pair)).encode())
    with target.file.path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return f"{target.file.path.name[:60]}-{digest.hexdigest()}"


def _summarize(reports: Sequence[dict[str, Any]]) -> None:
    """Print what was loaded."""
    print_table(
        ("file", "table", "rows>", "unchanged>", "left out>", "seconds>", "rows/s>"),
        [
            (
                report["file"],
                report["table"],
                report["rows"],
                report["unchanged"] + report["skipped"],
                len(report["errors"]),
                f"{report['seconds']:.2f}",
                round(report["rows"] / max(report["seconds"], 1e-3)),
            )
            for report in reports
        ],
    )
    rows = sum(report["rows"] for report in reports)
    seconds = sum(report["seconds"] for report in reports)
    click.echo(
        f"{rows} rows in {seconds:.1f} s ({rows / max(seconds, 1e-3):.0f} rows/s)"
    )
    for report in reports:
        for error in report["errors"][:ERRORS_SHOWN]:
            click.echo(f"{report['file']}:{error['line']}: {error['detail']}", err=True)


def _stopped(report: dict[str, Any]) -> str:
    """Say where and why a load stopped."""
    beyond = sum(batch["rows"] for batch in report["beyond"])
    more = f", and {beyond} rows behind them" if beyond else ""
    return (
        f"{report['file']}: {report['stopped']}; its first {report['complete']} rows "
        f"are in{more}"
    )


def _show_demo(graph: str) -> None:
    """Show what can be asked of the demo."""
    click.echo("\nTry:")
    option = "" if graph == "main" else f" --graph {graph}"
    for title, query in DEMO_QUERIES:
        click.echo(f"\n  # {title}\n  torua cypher{option} '{query}'")
