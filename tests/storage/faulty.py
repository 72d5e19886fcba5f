"""A disk in memory that forgets what was not synced, and fails when told.

Verified against the real one by `tests.storage.test_files`.  What a crash leaves is at
least as bad as what a journaling file system leaves: of each file any prefix of what
was done since its last sync, the last write torn at any byte or zero from a sector
boundary (or its own beginning) on; of each directory any prefix of the changes of names
since its last sync.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from torua.storage.segment import SECTOR_BYTES


@dataclass
class Node:
    """A file's content: what programs see, what the disk has, what is on the way.

    Invariants: ``pending`` done to ``durable`` gives ``seen``, unless a sync failed.
    """

    seen: bytes = b""
    durable: bytes = b""
    pending: list[bytes | int] = field(default_factory=list)

    def sync(self) -> None:
        """Put on the disk what is on the way."""
        for change in self.pending:
            self.durable = changed(self.durable, change)
        self.pending = []

    def lose(self) -> None:
        """Do as a kernel whose writing failed: it believes all is written."""
        self.pending = [
            bytes(len(change)) if isinstance(change, bytes) else change
            for change in self.pending
        ]
        self.sync()

    def survivor(self, dice: Random) -> bytes:
        """Choose what a crash leaves of it."""
        left = self.durable
        done = dice.randint(0, len(self.pending))
        for change in self.pending[:done]:
            left = changed(left, change)
        if done < len(self.pending) and isinstance(self.pending[done], bytes):
            left = torn(left, bytes(self.pending[done]), dice)
        return left


def changed(content: bytes, change: bytes | int) -> bytes:
    """Append bytes to a content, or cut it to a size.

    Args:
        content: what was there.
        change: bytes to append, or the size.
    """
    return content + change if isinstance(change, bytes) else content[:change]


def torn(content: bytes, data: bytes, dice: Random) -> bytes:
    """Append what a crash leaves of one write.

    Args:
        content: what was there.
        data: what was being written.
        dice: choose where and how it is torn.
    """
    cut = dice.randint(0, len(data))
    if dice.random() < 0.5:
        return content + data[:cut]
    boundary = (len(content) + cut) // SECTOR_BYTES * SECTOR_BYTES
    kept = data[: max(0, boundary - len(content))]
    return content + kept + bytes(len(data) - len(kept))


class FaultyFile:
    """An open file of a `FaultyFiles`.

    Invariants: none of its own.
    """

    def __init__(self, files: "FaultyFiles", node: Node) -> None:
        """Open a node.

        Args:
            files: whose faults happen.
            node: the content.
        """
        self._files = files
        self._node = node

    def append(self, data: bytes) -> None:
        """See `torua.storage.files.File`; a fault leaves half of it written."""
        try:
            self._files.step("append")
        except OSError:
            self._write(data[: len(data) // 2])
            raise
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Write at the end."""
        self._node.seen += data
        self._node.pending.append(data)

    def sync(self) -> None:
        """See `torua.storage.files.File`; a fault loses what was on the way."""
        try:
            self._files.step("sync")
        except OSError:
            self._node.lose()
            raise
        self._node.sync()

    def read(self, offset: int, size: int) -> bytes:
        """See `torua.storage.files.File`.

        Args:
            offset: from the beginning.
            size: how many bytes.
        """
        self._files.step("read")
        return self._node.seen[offset : offset + size]

    def truncate(self, size: int) -> None:
        """See `torua.storage.files.File`."""
        self._files.step("truncate")
        self._node.seen = self._node.seen[:size]
        self._node.pending.append(size)

    def size(self) -> int:
        """See `torua.storage.files.File`."""
        return len(self._node.seen)

    def close(self) -> None:
        """See `torua.storage.files.File`."""


Names = dict[Path, Node]


class FaultyFiles:
    """A file system in memory.

    Invariants: ``durable`` has the names that surely survive; ``pending`` what was done
    to names of each directory since, in order, None for a name that is gone.

    Attributes:
        calls: how many calls were made that may fail.
        fault: the number of the call that fails, and its errno; None for none.
        failed: what the calls were that failed.
    """

    def __init__(self) -> None:
        """Make an empty one with only a root."""
        self.names_seen: Names = {}
        self.durable: Names = {}
        self.pending: dict[Path, list[tuple[Path, Node | None]]] = {}
        self.directories = {Path("/")}
        self.calls = 0
        self.fault: tuple[int, int] | None = None
        self.failed: list[str] = []

    def step(self, call: str) -> None:
        """Count a call, and fail if it is its turn."""
        self.calls += 1
        if self.fault is not None and self.calls == self.fault[0]:
            self.failed.append(call)
            raise OSError(self.fault[1], os.strerror(self.fault[1]))

    def crash(self, dice: Random) -> "FaultyFiles":
        """Return what is left after the power went."""
        left = FaultyFiles()
        left.directories = set(self.directories)
        names = dict(self.durable)
        for changes in self.pending.values():
            for path, node in changes[: dice.randint(0, len(changes))]:
                _rename(names, path, node)
        for path, node in names.items():
            content = node.survivor(dice)
            left.names_seen[path] = left.durable[path] = Node(content, content)
        return left

    def flip(self, path: Path, bit: int) -> None:
        """Flip one bit of a file, on the disk too.

        Args:
            path: which file.
            bit: counted from its beginning.
        """
        self.put(path, flipped(self.names_seen[path].seen, bit))

    def put(self, path: Path, content: bytes) -> None:
        """Make a durable file.

        Args:
            path: its name.
            content: what is in it.
        """
        self.names_seen[path] = self.durable[path] = Node(content, content)

    def open(self, path: Path) -> FaultyFile:
        """See `torua.storage.files.Files`."""
        self.step("open")
        if path.parent not in self.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if path not in self.names_seen:
            self._name(path, Node())
        return FaultyFile(self, self.names_seen[path])

    def read(self, path: Path) -> bytes | None:
        """See `torua.storage.files.Files`."""
        self.step("read")
        node = self.names_seen.get(path)
        return None if node is None else node.seen

    def names(self, directory: Path) -> list[str]:
        """See `torua.storage.files.Files`."""
        children = {*self.names_seen, *self.directories} - {Path("/")}
        return sorted(path.name for path in children if path.parent == directory)

    def make_directory(self, directory: Path) -> None:
        """See `torua.storage.files.Files`."""
        self.directories |= {directory, *directory.parents}

    def sync_directory(self, directory: Path) -> None:
        """See `torua.storage.files.Files`."""
        self.step("sync_directory")
        for path, node in self.pending.pop(directory, []):
            _rename(self.durable, path, node)

    def replace(self, source: Path, target: Path) -> None:
        """See `torua.storage.files.Files`.

        Args:
            source: the file.
            target: its new name.
        """
        self.step("replace")
        self._name(target, self.names_seen[source])

    def remove(self, path: Path) -> None:
        """See `torua.storage.files.Files`."""
        self.step("remove")
        if path in self.names_seen:
            self._name(path, None)

    def _name(self, path: Path, node: Node | None) -> None:
        """Change a name, for now only in memory."""
        _rename(self.names_seen, path, node)
        self.pending.setdefault(path.parent, []).append((path, node))


def _rename(names: Names, path: Path, node: Node | None) -> None:
    """Let a path name a node, which loses its other name, or none."""
    for other in [each for each, held in names.items() if held is node]:
        del names[other]
    names.pop(path, None)
    if node is not None:
        names[path] = node


def flipped(content: bytes, bit: int) -> bytes:
    """Return a content with one bit flipped.

    Args:
        content: what was there.
        bit: which one, from the beginning.
    """
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damages(content: bytes, dice: Random, count: int) -> Iterator[bytes]:
    """Yield damaged versions of a content: cut short, and with a flipped bit.

    Args:
        content: what was written.
        dice: choose where.
        count: how many of each.
    """
    for _ in range(count):
        yield content[: dice.randrange(len(content))]
        yield flipped(content, dice.randrange(len(content) * 8))
