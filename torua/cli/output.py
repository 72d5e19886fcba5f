"""How answers are shown: tables for people, JSON for programs.

A terminal gets tables with lines and colours; a pipe gets the same rows, aligned,
uncut and without either.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from io import StringIO

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 10_000
"""Nothing is folded or cut in a pipe."""

_STYLES = {
    "green": "green",
    "healthy": "green",
    "yellow": "yellow",
    "suspect": "yellow",
    "maintenance": "yellow",
    "evacuating": "yellow",
    "red": "red",
    "dead": "red",
}

format_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)


def print_json(value: object) -> None:
    """Print a value as JSON, indented, any Unicode as it is."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a heading.

    Args:
        columns: the heading; a name that ends in ``>`` aligns to the right.
        rows: a value for each column; None is shown as a dash.
    """
    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for column in columns:
        right = column.endswith(">")
        table.add_column(
            column.removesuffix(">"), justify="right" if right else "left", no_wrap=True
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _print(table, terminal)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line.

    Args:
        facts: a name and a value each.
    """
    terminal = sys.stdout.isatty()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold" if terminal else "", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), _cell(value))
    _print(table, terminal)


def _cell(value: object) -> Text:
    """Spell a value for people; words of health have their colour."""
    if value is None or value == "":
        return Text("-")
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return Text(str(value), style=_STYLES.get(str(value), ""))


def _print(table: Table, terminal: bool) -> None:
    """Print a table; in a pipe without colours and without blanks at line ends."""
    if terminal:
        Console(file=sys.stdout).print(table)
        return
    plain = Console(file=StringIO(), width=PIPE_WIDTH, no_color=True)
    with plain.capture() as capture:
        plain.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())
