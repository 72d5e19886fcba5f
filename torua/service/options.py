"""The command line of ``twist torua-node``, and how a node says that it is wrong."""

from typing import ClassVar, NoReturn

from twisted.python import usage

from torua import __version__
from torua.config import OPTIONS


class Options(usage.Options):
    """What ``twist torua-node`` may be told."""

    optParameters: ClassVar = [  # noqa: N815
        *([option.name, None, None, option.help] for option in OPTIONS),
        ["config", None, None, "TOML file with any of these options as keys"],
    ]

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Read the command line, or exit with one line that says what is wrong."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            refuse(f"{error} (see twist torua-node --help)")

    def parseArgs(self) -> None:
        """Take no arguments but options."""

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"Torua {__version__}")
        raise SystemExit(0)


def refuse(why: str) -> NoReturn:
    """Exit with one clear line on standard error, and status 1."""
    raise SystemExit(f"torua-node: {why}".replace("\n", " "))
