"""How a command fails: one clear line on standard error, and an exit code.

The codes are a promise to scripts (docs/cli.md); `main.py` tells them in ``--help``.
"""

from enum import IntEnum
from typing import IO, Any

import click


class ExitCode(IntEnum):
    """What the end of a command says to a script."""

    OK = 0
    NO = 1
    USAGE = 2
    UNAVAILABLE = 3
    UNKNOWN = 4
    FAILED = 5
    INTERRUPTED = 130


class Failure(click.ClickException):
    """The end of a command that did not do what it should.

    Invariants: `message` is one line for people; `exit_code` one of `ExitCode`.
    """

    exit_code: int  # type: ignore[misc]  # click: of the class

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        """Say what went wrong.

        Args:
            message: one sentence, without a full stop.
            code: what a script is told.
        """
        super().__init__(" ".join(message.split()))
        self.exit_code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line to standard error, or to ``file``."""
        click.echo(f"torua: {self.message}", file=file, err=file is None)


class Refusal(Failure):
    """An answer of the API that is not a success.

    Invariants: `status` is 400 or above, or 304.
    """

    def __init__(self, status: int, message: str) -> None:
        """Keep the status beside the message.

        Args:
            status: of the HTTP answer.
            message: its problem's detail and its request id.
        """
        super().__init__(message, _CODES.get(status, ExitCode.FAILED))
        self.status = status


_CODES = {
    304: ExitCode.NO,
    404: ExitCode.NO,
    409: ExitCode.NO,
    410: ExitCode.NO,
    412: ExitCode.NO,
    429: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNKNOWN,
    507: ExitCode.UNAVAILABLE,
}
