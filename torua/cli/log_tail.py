"""Following the log file of a node: its trouble as it comes, its last lines."""

import re
from pathlib import Path

_LAST_BYTES = 8192
_ROTATE_BYTES = 16 << 20
_TROUBLE = re.compile(
    rb'^\S+ (?:error|critical) |#(?:error|critical)\]|"level": ?"(?:error|critical)"'
)
"""A node's own text or JSON lines, and what twist says before a node has begun."""


class LogTail:
    """A log file, read from where it ended when the node started.

    Invariants: what was read once is not read again; only whole lines are given out.
    """

    def __init__(self, path: Path) -> None:
        """Follow a file that need not exist yet; a long one is put aside first."""
        self.path = path
        size = path.stat().st_size if path.exists() else 0
        if size > _ROTATE_BYTES:
            path.replace(path.with_name(path.name + ".1"))
            size = 0
        self._offset = self._begin = size

    def mark(self) -> None:
        """Begin anew: `last_lines` gives none from before this moment."""
        self._begin = self.path.stat().st_size if self.path.exists() else 0

    def troubles(self) -> list[str]:
        """Return the new lines that report an error.

        A line that is not whole yet is left for the next time.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except FileNotFoundError:
            return []
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [
            line.decode(errors="replace")
            for line in whole.splitlines()
            if _TROUBLE.search(line)
        ]

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines since `mark`, at most ``count``."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, 2)
                file.seek(max(self._begin, end - _LAST_BYTES))
                return file.read().decode(errors="replace").splitlines()[-count:]
        except FileNotFoundError:
            return []
