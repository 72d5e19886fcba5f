"""The shell of ``torua cypher``: statements of several lines, and a few commands.

A statement ends with a semicolon; a line that begins with a colon is a command.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from torua.cli.answers import (
    ask_statement,
    read_parameters,
    show_answer,
    show_explained,
    show_schema,
)
from torua.cli.failures import Failure
from torua.cli.http import Client, with_query
from torua.cli.statements import split_statements

HELP = """\
Statements end with a semicolon, and may have several lines.
  :explain STATEMENT   how a statement would run, and why
  :schema              the tables of the graph
  :graph NAME          work on another graph
  :output FORM         table, json or csv
  :param NAME=VALUE    set a parameter, for $NAME; without a value they are listed
  :help                this
  :quit                leave; Ctrl-D as well"""


class Lines(Protocol):
    """Where lines come from."""

    def line(self, prompt: str) -> str:
        """Return the next line; EOFError at the end, KeyboardInterrupt for Ctrl-C."""


class Terminal:
    """Lines that somebody types, with history.

    Invariants: none of its own.
    """

    def __init__(self) -> None:
        """Begin with what was typed in earlier sessions."""
        self._session: PromptSession[str] = PromptSession(history=_history())

    def line(self, prompt: str) -> str:
        """See `Lines.line`."""
        return self._session.prompt(prompt)


class Shell:
    """Reads statements and commands, and shows their answers.

    Invariants: `_rest` is the beginning of a statement that has no semicolon yet.
    """

    def __init__(
        self,
        client: Client,
        *,
        graph: str,
        form: str,
        parameters: Mapping[str, object],
    ) -> None:
        """Prepare to read.

        Args:
            client: whom to ask.
            graph: where statements run.
            form: how answers are shown.
            parameters: for all statements.
        """
        self._client = client
        self._graph = graph
        self._form = form
        self._parameters = dict(parameters)
        self._rest = ""

    def run(self, lines: Lines) -> None:
        """Read and answer until the end; what goes wrong is told, and it goes on."""
        click.echo(f"Torua, graph {self._graph}.  :help tells what can be typed.")
        for line in self._typed(lines):
            try:
                if not self.take(line):
                    return
            except Failure as failure:
                failure.show()
            except KeyboardInterrupt:
                click.echo("interrupted; what the statement did is not known", err=True)

    def _typed(self, lines: Lines) -> Iterator[str]:
        """Yield lines; Ctrl-C forgets the statement that was begun."""
        while True:
            try:
                yield lines.line("     > " if self._rest else "torua> ")
            except KeyboardInterrupt:
                self._rest = ""
            except EOFError:
                return

    def take(self, line: str) -> bool:
        """Take a line; return False where it ends the shell.

        Raises:
            Failure: a command or a statement failed.
        """
        if not self._rest and line.lstrip().startswith(":"):
            return self._command(line.strip().rstrip(";"))
        statements, self._rest = split_statements(f"{self._rest}\n{line}".lstrip("\n"))
        for statement in statements:
            answer = ask_statement(
                self._client, self._graph, statement, self._parameters
            )
            show_answer(answer, self._form)
        return True

    def _command(self, line: str) -> bool:
        """Do a command; return False where it ends the shell."""
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name in (":quit", ":exit", ":q"):
            return False
        commands = {
            ":explain": self._explain,
            ":schema": self._schema,
            ":graph": self._set_graph,
            ":output": self._set_form,
            ":param": self._set_parameter,
            ":help": lambda _: click.echo(HELP),
        }
        if name not in commands:
            raise Failure(f"there is no command {name}; :help lists them")
        commands[name](rest)
        return True

    def _explain(self, statement: str) -> None:
        """Tell how a statement would run."""
        answer = ask_statement(
            self._client, self._graph, statement, self._parameters, explain=True
        )
        show_explained(answer, self._form)

    def _schema(self, _: str) -> None:
        """Show the tables."""
        target = with_query("/graph/schema", graph=self._graph)
        show_schema(self._client.ask("GET", target).json(), self._form)

    def _set_graph(self, name: str) -> None:
        """Work on another graph, if there is one of that name."""
        target = with_query("/graph/schema", graph=name)
        self._client.ask("GET", target)
        self._graph = name

    def _set_form(self, form: str) -> None:
        """Show answers otherwise."""
        if form not in ("table", "json", "csv"):
            raise Failure("output: table, json or csv")
        self._form = form

    def _set_parameter(self, word: str) -> None:
        """Set a parameter, or list them."""
        if word:
            self._parameters |= read_parameters([word])
        for name, value in self._parameters.items():
            click.echo(f"${name} = {value!r}")


def _history() -> History:
    """Return where lines are remembered: in a file of the user's, if there can be."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(base) / "torua" / "cypher_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
