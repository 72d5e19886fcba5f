"""How long work is shown: a bar on a terminal, a line for each change in a pipe."""

import sys
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


class Display:
    """Shows how far some works are, each under its name.

    Invariants: in a pipe the same line is not printed twice in a row for one work.
    """

    def __init__(self) -> None:
        """Begin with nothing; use it as a context."""
        console = Console(file=sys.stdout)
        self._on_terminal = console.is_terminal
        self._bars = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}", markup=False),
            console=console,
            disable=not self._on_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> "Display":
        """Begin to show."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the bars away."""
        self._bars.stop()

    def show(
        self, name: str, text: str, part: tuple[float, float | None], aside: str = ""
    ) -> None:
        """Show how far a work is.

        Args:
            name: tells it from other works.
            text: what to say of it.
            part: how much is done, and of how much; None where nobody knows.
            aside: what changes all the time, and is no reason for another line.
        """
        done, total = part
        if not self._on_terminal:
            if self._said.get(name) != text:
                click.echo(text + aside)
            self._said[name] = text
            return
        text += aside
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(text, total=total)
        self._bars.update(
            self._tasks[name], description=text, completed=done, total=total
        )

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._on_terminal:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line)
