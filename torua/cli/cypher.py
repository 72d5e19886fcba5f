"""``torua cypher``: statements, one after the other, or a shell."""

import sys

import click

from torua.cli.answers import (
    ask_statement,
    read_parameters,
    show_answer,
    show_explained,
)
from torua.cli.failures import ExitCode, Failure
from torua.cli.http import Client
from torua.cli.statements import split_statements


@click.command()
@click.argument("statement", required=False)
@click.option("--graph", default="main", show_default=True, help="The graph.")
@click.option(
    "--param",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    help="A value for $NAME: JSON, or else text.  May be given several times.",
)
@click.option("--explain", is_flag=True, help="Tell how it would run instead.")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
@click.pass_obj
def cypher(  # noqa: PLR0913 - click hands in each option
    client: Client,
    *,
    statement: str | None,
    graph: str,
    parameters: tuple[str, ...],
    explain: bool,
    form: str,
) -> None:
    """Run STATEMENT, or those on standard input, or a shell at a terminal.

    A command of the shell will do as well: torua cypher :schema.

    Several statements are separated by semicolons, and run one after the other; the
    first that fails ends it.  In the shell, :help tells what else can be typed.

    Exits with 5 where a statement is refused, with 4 where it may have been done.
    """
    given = read_parameters(parameters)
    if statement is None and sys.stdin.isatty():
        _shell(client, graph, form, given)
        return
    text = sys.stdin.read() if statement is None or statement == "-" else statement
    if text.startswith(":"):
        _shell(client, graph, form, given, text)
        return
    statements, rest = split_statements(text)
    statements += [rest] if rest else []
    if not statements:
        raise Failure("there is no statement", ExitCode.USAGE)
    for each in statements:
        answer = ask_statement(client, graph, each, given, explain=explain)
        show_explained(answer, form) if explain else show_answer(answer, form)


def _shell(
    client: Client, graph: str, form: str, given: dict[str, object], command: str = ""
) -> None:
    """Run the shell, or one of its commands."""
    # It takes a while to load, and only terminals need it.
    from torua.cli.shell import Shell, Terminal  # noqa: PLC0415

    shell = Shell(client, graph=graph, form=form, parameters=given)
    if command:
        shell.take(command)
    else:
        shell.run(Terminal())
