"""Answers to statements of Cypher: tables for people, JSON and CSV for programs."""

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from torua.cli.failures import ExitCode, Failure
from torua.cli.http import Client
from torua.cli.output import print_facts, print_json, print_table

_NUMBERS = ("INT", "UINT", "FLOAT", "DOUBLE", "DECIMAL", "SERIAL")


def ask_statement(
    client: Client,
    graph: str,
    statement: str,
    parameters: Mapping[str, object] | None = None,
    *,
    explain: bool = False,
) -> Any:
    """Have a statement run, or explained; return the answer.

    Args:
        client: whom to ask.
        graph: where.
        statement: in Cypher.
        parameters: a value for each ``$name`` in it.
        explain: tell how it would run instead.
    """
    body: dict[str, object] = {
        "query": statement,
        "graph": graph,
        "timeout_ms": round(client.timeout_s * 1000),
    }
    if parameters:
        body["parameters"] = dict(parameters)
    target = "/cypher/explain" if explain else "/cypher"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    spelled = msgspec.json.encode(body)
    return client.ask("POST", target, body=spelled, headers=headers).json()


def read_parameters(given: Sequence[str]) -> dict[str, object]:
    """Read ``name=value`` words; a value that is not JSON is text.

    Args:
        given: from the command line.
    """
    found: dict[str, object] = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise Failure(f"not name=value: {word!r}", ExitCode.USAGE)
        try:
            found[name.removeprefix("$")] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[name.removeprefix("$")] = text
    return found


def show_answer(answer: Mapping[str, Any], form: str) -> None:
    """Print the answer to a statement.

    Args:
        answer: of ``POST /cypher``.
        form: ``table``, ``json`` or ``csv``.
    """
    if form == "json":
        print_json(answer)
    elif form == "csv":
        _print_csv(answer)
    else:
        _print_table(answer)


def show_explained(answer: Mapping[str, Any], form: str) -> None:
    """Print how a statement would run.

    Args:
        answer: of ``POST /cypher/explain``.
        form: ``json``, or else for people.
    """
    if form == "json":
        print_json(answer)
        return
    facts = [(name, _told(value)) for name, value in answer.items()]
    print_facts([(name, value) for name, value in facts if value not in ("", [], None)])


def show_schema(schema: Mapping[str, Any], form: str) -> None:
    """Print a graph's tables.

    Args:
        schema: of ``GET /graph/schema``.
        form: ``json``, or else for people.
    """
    if form == "json":
        print_json(schema)
        return
    nodes = [
        ("node", each["name"], each["primary_key"], _properties(each), each["count"])
        for each in schema["nodes"]
    ]
    rels = [
        ("relationship", each["name"], _pairs(each), _properties(each), each["count"])
        for each in schema["relationships"]
    ]
    print_table(("table", "name", "key or ends", "properties", "rows>"), nodes + rels)


def _print_table(answer: Mapping[str, Any]) -> None:
    """Print rows for people, and what was changed."""
    columns, rows = answer["columns"], answer["rows"]
    stats = answer.get("stats") or {}
    if columns:
        types = answer.get("types") or [""] * len(columns)
        right = [type_.startswith(_NUMBERS) for type_ in types]
        heading = [
            name + ">" * is_right for name, is_right in zip(columns, right, strict=True)
        ]
        print_table(heading, [[_shown(value) for value in row] for row in rows])
    if sys.stdout.isatty():
        notes = [f"{len(rows)} row{'' if len(rows) == 1 else 's'}"] if columns else []
        notes += [f"{name}: {_told(fact)}" for name, fact in stats.items() if fact]
        click.echo(click.style(", ".join(notes) or "done", dim=True))
    elif not columns:
        click.echo(", ".join(f"{k}: {_told(v)}" for k, v in stats.items() if v))


def _print_csv(answer: Mapping[str, Any]) -> None:
    """Print rows as CSV, NULL as nothing."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer["columns"])
    for row in answer["rows"]:
        writer.writerow("" if value is None else _shown(value) for value in row)


def _shown(value: object) -> object:
    """Spell a value on one line; what is nested as JSON."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return value


def _told(value: object) -> object:
    """Spell a fact: sentences and names one after the other."""
    if isinstance(value, list):
        return "; ".join(str(_shown(each)) for each in value)
    return _shown(value) if isinstance(value, dict) else value


def _properties(table: Mapping[str, Any]) -> str:
    """List a table's properties."""
    return ", ".join(f"{each['name']} {each['type']}" for each in table["properties"])


def _pairs(table: Mapping[str, Any]) -> str:
    """List what a relationship table goes from and to."""
    return ", ".join(f"{pair['from']} → {pair['to']}" for pair in table["pairs"])
