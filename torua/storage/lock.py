"""A data dir belongs to one process at a time."""

import fcntl
import os
from pathlib import Path

from torua.errors import StartupError


class DataDirLock:
    """Holds a data dir against every other process, until `release` or the end.

    The kernel drops it when the process dies, so that none is ever left behind.

    Invariants: while the descriptor is open, the lock is ours.

    Threading: any thread.
    """

    def __init__(self, data_dir: Path) -> None:
        """Take the lock, and make the data dir where it is missing.

        Raises:
            StartupError: another process has it, or the directory cannot be used.
        """
        path = data_dir / "lock"
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StartupError(
                f"data dir {data_dir} cannot be used: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace")
            os.close(self._descriptor)
            raise StartupError(
                f"data dir {data_dir} is in use by process {holder.strip() or '?'}"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have the data dir."""
        os.close(self._descriptor)
