"""Files that are kept only while something is done with them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from torua.errors import DiskFullError, TooLargeError

SPOOL_BYTES_MAX = 16 << 30
"""What one file may take; larger ones can be sent in parts."""

FREE_BYTES_MIN = 1 << 30
"""What is left to the log and the copies, come what may."""

CHECK_BYTES = 64 << 20
"""How often it is looked how much room is left."""


class Spool:
    """One file that is written from its beginning, and then read.

    Invariants: it is gone after `close`; it never takes the last room of the disk.

    Threading: one thread at a time.
    """

    def __init__(
        self,
        path: Path,
        bytes_max: int = SPOOL_BYTES_MAX,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Begin an empty file.

        Args:
            path: where; its directory is made.
            bytes_max: how large it may become.
            free: tells how many bytes are left on the disk of a directory.
        """
        self.path = path
        self._bytes_max = bytes_max
        self._free = free
        self._size = 0
        self._checked = -1
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            TooLargeError: the file would be too large.
            DiskFullError: too little room would be left.
        """
        self._size += len(data)
        if self._size > self._bytes_max:
            raise TooLargeError(f"a file of up to {self._bytes_max} bytes is taken")
        if self._size // CHECK_BYTES > self._checked:
            self._checked = self._size // CHECK_BYTES
            if self._free(self.path.parent) < FREE_BYTES_MIN + CHECK_BYTES:
                raise DiskFullError("too little room is left for a temporary file")
        try:
            self._file.write(data)
        except OSError as error:
            raise DiskFullError(f"a temporary file: {error}") from error

    def finish(self) -> None:
        """Let it be read."""
        self._file.flush()

    def close(self) -> None:
        """Throw it away.  Safe to call twice."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def clear_spools(directory: Path) -> None:
    """Throw away what a process that died left behind."""
    if directory.is_dir():
        for name in os.listdir(directory):
            (directory / name).unlink(missing_ok=True)
