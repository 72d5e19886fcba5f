"""The few facts never to forget: small, replaced whole, on the disk before they count.

The file is ``magic(8) length(8) crc32c(4) data``.  A new one is written beside it and
synced, then takes its name, then the directory is synced: at every moment a crash
leaves the old facts or the new ones, whole.
"""

import struct
from pathlib import Path

from google_crc32c import value as crc32c

from torua.errors import CorruptionError, DiskError, DiskFullError
from torua.storage.files import File, Files, blame, is_full

_MAGIC = b"TORUAST1"
_HEAD = struct.Struct("<8sQI")


class StableStore:
    """One small file of facts.  Saving costs two syncs, a millisecond or so.

    Invariants: what `load` gives is what the last `save` that returned was given, or
    what one that never returned was given; after an error that leaves this open, every
    later `save` raises it again.

    Threading: one thread at a time; it blocks.
    """

    def __init__(self, path: Path, files: Files) -> None:
        """Name the file; nothing is read or written yet.

        Args:
            path: the file; ``.new`` beside it is used too.
            files: the file layer.
        """
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._files = files
        self._failure: str | None = None

    def load(self) -> bytes | None:
        """Read the facts; None where none were ever saved.

        Raises:
            CorruptionError: the file is not what was written.
            DiskError: it cannot be read.
        """
        try:
            content = self._files.read(self._path)
        except OSError as error:
            blame(error, self._path)
        return None if content is None else self._open(content)

    def save(self, data: bytes) -> None:
        """Return once ``data`` is what every later `load` gives.

        Raises:
            DiskFullError: no room; the old facts stand, and it may be tried again.
            DiskError: the disk failed, now or before; no answer may rest on ``data``.
        """
        if self._failure is not None:
            raise DiskError(self._failure, file=str(self._path))
        content = _HEAD.pack(_MAGIC, len(data), crc32c(data)) + data
        replaced = False
        try:
            self._write_beside(content)
            self._files.replace(self._new, self._path)
            replaced = True
            self._files.sync_directory(self._path.parent)
        except OSError as error:
            if is_full(error) and not replaced:
                raise DiskFullError(
                    f"{self._path}: no room left", file=str(self._path)
                ) from error
            self._failure = f"{self._path}: {error.strerror or error}"
            raise DiskError(self._failure, file=str(self._path)) from error

    def _write_beside(self, content: bytes) -> None:
        """Write and sync the new file; what an earlier attempt left there goes."""
        file = self._files.open(self._new)
        try:
            self._fill(file, content)
        finally:
            file.close()

    def _fill(self, file: File, content: bytes) -> None:
        """Make ``content`` all that is in ``file``, on the disk."""
        file.truncate(0)
        file.append(content)
        file.sync()

    def _open(self, content: bytes) -> bytes:
        """Check the file's content, and take the data out of it."""
        if len(content) >= _HEAD.size:
            magic, length, crc = _HEAD.unpack_from(content)
            data = content[_HEAD.size :]
            if magic == _MAGIC and length == len(data) and crc == crc32c(data):
                return data
        raise CorruptionError(
            f"{self._path} is damaged: it is not what was saved", file=str(self._path)
        )
