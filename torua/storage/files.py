"""The file layer: the one place where storage meets the disk, and tests put faults.

Only what crash safety is made of: append, fdatasync, the fsync of a directory, and an
atomic replace.  Everything else in this room but SQLite is built of these.
"""

import errno
import os
from pathlib import Path
from typing import NoReturn, Protocol

from torua.errors import DiskError, DiskFullError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class File(Protocol):
    """An open file that only grows at its end.  Every method may raise OSError."""

    def append(self, data: bytes) -> None:
        """Write all of ``data`` at the end; after an error a part may be there."""

    def sync(self) -> None:
        """Return once the file's content and size are on the disk (fdatasync)."""

    def read(self, offset: int, size: int) -> bytes:
        """Read at most ``size`` bytes from ``offset``; fewer only at the end.

        Args:
            offset: from the file's beginning, in bytes.
            size: how many bytes.
        """

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""

    def size(self) -> int:
        """Tell the size in bytes."""

    def close(self) -> None:
        """Let go of it.  It must not be used any more."""


class Files(Protocol):
    """A file system.  Every method may raise OSError."""

    def open(self, path: Path) -> File:
        """Open a file to read and append, and make it where it is missing."""

    def read(self, path: Path) -> bytes | None:
        """Read a whole file; None where there is none."""

    def names(self, directory: Path) -> list[str]:
        """List a directory in order; empty where there is none."""

    def make_directory(self, directory: Path) -> None:
        """Make a directory, durably, with those above it; no error if it exists."""

    def sync_directory(self, directory: Path) -> None:
        """Return once the directory's names are on the disk."""

    def replace(self, source: Path, target: Path) -> None:
        """Give ``source`` the name ``target``, whole or not at all.

        Args:
            source: an existing file.
            target: its new name in the same directory; what bore it is gone.
        """

    def remove(self, path: Path) -> None:
        """Remove a file; no error where there is none."""


class DiskFile:
    """A `File` of the operating system.

    Invariants: the descriptor is open until `close`.

    Threading: one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)

    def append(self, data: bytes) -> None:
        """See `File.append`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """See `File.sync`."""
        os.fdatasync(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """See `File.read`.

        Args:
            offset: from the beginning.
            size: how many bytes.
        """
        data = os.pread(self._descriptor, size, offset)
        while 0 < len(data) < size:
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        """See `File.size`."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """See `File.close`."""
        os.close(self._descriptor)


def usage(path: Path) -> tuple[int, int]:
    """Tell how many bytes of a disk are in use, and how many there are.

    What only a superuser may still write counts as neither, as ``df`` has it.

    Args:
        path: of anything on it.

    Raises:
        OSError: it does not say.
    """
    told = os.statvfs(path)
    used = (told.f_blocks - told.f_bfree) * told.f_frsize
    return used, used + told.f_bavail * told.f_frsize


class DiskFiles:
    """The `Files` of the operating system.

    Invariants: it keeps nothing.

    Threading: any thread.
    """

    def open(self, path: Path) -> DiskFile:
        """See `Files.open`."""
        return DiskFile(path)

    def read(self, path: Path) -> bytes | None:
        """See `Files.read`."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def names(self, directory: Path) -> list[str]:
        """See `Files.names`."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def make_directory(self, directory: Path) -> None:
        """See `Files.make_directory`."""
        if directory.is_dir():
            return
        self.make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        self.sync_directory(directory.parent)

    def sync_directory(self, directory: Path) -> None:
        """See `Files.sync_directory`."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """See `Files.replace`.

        Args:
            source: the file.
            target: its new name.
        """
        source.replace(target)

    def remove(self, path: Path) -> None:
        """See `Files.remove`."""
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Return once a file that something else wrote is on the disk.

    Raises:
        DiskError: it is not.
    """
    try:
        file = DiskFile(path)
        try:
            file.sync()
        finally:
            file.close()
    except OSError as error:
        blame(error, path)


def is_full(error: OSError) -> bool:
    """Tell whether an error means that no room is left."""
    return error.errno in _FULL


def blame(error: OSError, path: Path) -> NoReturn:
    """Raise what an error of the operating system means for whoever must act.

    Args:
        error: what `File` or `Files` raised.
        path: what it was about.

    Raises:
        DiskFullError: no room is left.
        DiskError: anything else.
    """
    kind = DiskFullError if is_full(error) else DiskError
    raise kind(f"{path}: {error.strerror or error}", file=str(path)) from error
