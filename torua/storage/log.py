"""One write log a node: the entries of all its copies, in the order of writing.

Segments ``<number>.log`` follow each other; only the newest grows.  A `commit` is one
write and one fdatasync, whatever it holds; nothing counts before it returned.  In
memory each copy has an index of its entries, 12 bytes an entry.

Each new segment begins with the last seq of every copy, so that it stays known when the
segments that held a copy's entries are gone.  A copy needs its entries until it `cut`s
them; the oldest segment goes when no copy needs anything in it, then the next.
"""

import os
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from torua.core.ids import AllocId
from torua.errors import DiskError, DiskFullError
from torua.storage.files import File, Files, blame, is_full
from torua.storage.segment import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    SALT_BYTES,
    Found,
    Kind,
    Packer,
    damaged,
    payload_of,
    previous_of,
    scan,
    seed_of,
    spell_header,
    unpack,
)

SEGMENT_BYTES = 64 << 20
"""A new segment is begun where a commit would pass this: the grain of making room."""

_NAME = re.compile(r"[0-9a-f]{16}\.log")
_OFFSET_BITS = 40


class LogEntry(NamedTuple):
    """One entry: ``seq`` of a copy's log, 1, 2, 3 …, and what it holds."""

    alloc: AllocId
    seq: int
    payload: bytes


class _Copy:
    """Where one copy's entries are.

    Invariants: entry ``first + i`` stands at ``places[i]`` (segment and offset) with a
    payload of ``sizes[i]`` bytes; ``last`` is ``first + len(places) - 1``.
    """

    def __init__(self, first: int) -> None:
        """Begin without an entry; the first one will be ``first``."""
        self.first = first
        self.places = array("Q")
        self.sizes = array("I")

    @property
    def last(self) -> int:
        """The newest entry's seq; ``first`` less one where there is none."""
        return self.first + len(self.places) - 1

    def cut(self, through: int) -> None:
        """Drop the index of entries up to ``through``."""
        count = max(0, min(through, self.last) - self.first + 1)
        del self.places[:count]
        del self.sizes[:count]
        self.first += count


class _Segment:
    """One open segment.

    Invariants: ``size`` is the end of the last true entry; ``newest`` maps each copy
    with records in here to the newest of them.
    """

    def __init__(self, number: int, path: Path, file: File, seed: int) -> None:
        """Hold a segment that was found, or that is being made.

        Args:
            number: which one.
            path: its file.
            file: the same, open.
            seed: what its checksums start from.
        """
        self.number = number
        self.path = path
        self.file = file
        self.seed = seed
        self.size = 0
        self.newest: dict[AllocId, int] = {}


class Log:
    """All entries of all copies of this node.

    Invariants: the entries of a copy are contiguous; what `last` and `read` tell is on
    the disk; after a failed write that could not be undone, or any failed sync, every
    later call that writes raises it again.

    Threading: one thread owns it; every method may block on the disk but `first`,
    `last`, `allocs` and `size_bytes`.

    Performance: see docs/storage.md.
    """

    def __init__(
        self, directory: Path, files: Files, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Make an empty log; `open` is how to come by one.

        Args:
            directory: where the segments are; nobody else writes there.
            files: the file layer.
            segment_bytes: about how large a segment grows.
        """
        self._directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._copies: dict[AllocId, _Copy] = {}
        self._failure: str | None = None

    @classmethod
    def open(
        cls, directory: Path, files: Files, segment_bytes: int = SEGMENT_BYTES
    ) -> "Log":
        """Read what is there, cut a torn tail, and be ready to go on.

        All that is found is synced before it is told: it may have been written by a
        process that died before its sync.

        Args:
            directory: where the segments are; made if missing.
            files: the file layer.
            segment_bytes: about how large a segment grows.

        Raises:
            CorruptionError: naming file and offset, where anything but a torn tail is
                wrong.
            DiskError: it cannot be read, or a tail not be cut.
        """
        log = cls(directory, files, segment_bytes)
        try:
            files.make_directory(directory)
            log._recover()
        except OSError as error:
            log.close()
            blame(error, directory)
        except BaseException:
            log.close()
            raise
        return log

    def commit(self, entries: Sequence[LogEntry]) -> None:
        """Append entries, and return once they are on the disk.

        Args:
            entries: of any copies, each copy's in order and without a gap; the first of
                a copy that the log does not know may have any seq.

        Raises:
            DiskFullError: no room; nothing was kept, and the log can be used on.
            DiskError: the disk failed, now or before; whether the entries are kept is
                unknown, and the log will never write again.
        """
        newest: dict[AllocId, int] = {}
        for alloc, seq, _ in entries:
            before = newest.get(alloc) or self.last(alloc)
            assert before in (0, seq - 1), f"{alloc}: {seq} after {before}"
            newest[alloc] = seq
        self._write([(Kind.RECORD, *entry) for entry in entries])

    def forget(self, alloc: AllocId) -> None:
        """Give up all entries of a copy, durably; no error where there are none.

        Raises:
            DiskFullError, DiskError: as `commit`.
        """
        copy = self._copies.get(alloc)
        if copy is not None:
            self._write([(Kind.FORGET, alloc, copy.last, b"")])
            self._drop_segments()

    def cut(self, alloc: AllocId, through: int) -> None:
        """Let go of a copy's entries up to one; segments nobody needs are removed.

        After a restart some of them may be there again.

        Args:
            alloc: whose.
            through: the last seq that it no longer needs, for a view holds it durably.

        Raises:
            DiskError: a segment could not be removed, or the log failed before.
        """
        copy = self._copies.get(alloc)
        if copy is not None:
            copy.cut(through)
            self._drop_segments()

    def read(self, alloc: AllocId, after: int, max_bytes: int) -> list[LogEntry]:
        """Read a copy's entries in order, from the first behind ``after``.

        Args:
            alloc: whose; an unknown one has none.
            after: the seq before the first wanted; not below ``first(alloc) - 1``.
            max_bytes: stop before the payloads pass this; one comes in any case.

        Raises:
            CorruptionError: an entry is not what was written.
            DiskError: it cannot be read.
        """
        copy = self._copies.get(alloc)
        if copy is None:
            return []
        assert after >= copy.first - 1
        entries: list[LogEntry] = []
        for index in range(after + 1 - copy.first, len(copy.places)):
            max_bytes -= copy.sizes[index]
            if entries and max_bytes < 0:
                break
            payload = self._payload(alloc, copy, index)
            entries.append(LogEntry(alloc, copy.first + index, payload))
        return entries

    def first(self, alloc: AllocId) -> int:
        """Tell a copy's oldest entry's seq; `last` and one where there is none."""
        copy = self._copies.get(alloc)
        return 1 if copy is None else copy.first

    def last(self, alloc: AllocId) -> int:
        """Tell a copy's newest entry's seq, also when it was cut; 0 if unknown."""
        copy = self._copies.get(alloc)
        return 0 if copy is None else copy.last

    @property
    def allocs(self) -> list[AllocId]:
        """All copies that the log knows, in order."""
        return sorted(self._copies)

    @property
    def size_bytes(self) -> int:
        """How large all segments are together."""
        return sum(segment.size for segment in self._segments)

    def close(self) -> None:
        """Let go of the files.  Safe to call twice."""
        for segment in self._segments:
            segment.file.close()
        self._segments = []

    def _recover(self) -> None:
        """Read all segments, oldest first, and make sure of what they hold."""
        names = self._files.names(self._directory)
        numbers = [int(name[:16], 16) for name in names if _NAME.fullmatch(name)]
        for number in numbers:
            self._recover_segment(number, numbers)
        if self._segments:
            self._segments[-1].file.sync()
        self._files.sync_directory(self._directory)

    def _recover_segment(self, number: int, numbers: list[int]) -> None:
        """Read one segment; cut its torn tail, or all of it where nothing stands."""
        path = self._path(number)
        if number != numbers[0] + len(self._segments):
            raise damaged(self._path(number - 1), 0, "the file is missing")
        file = self._files.open(path)
        segment = _Segment(number, path, file, 0)
        self._segments.append(segment)
        data = file.read(0, file.size())
        found, segment.size = scan(data, number, path, number == numbers[-1])
        if segment.size == 0:
            if numbers == [number] and number > 1:
                raise damaged(path, 0, "everything is missing")
            self._segments.pop()
            file.close()
            self._files.remove(path)
            return
        header = data[:HEADER_BYTES]
        segment.seed = seed_of(header)
        if len(self._segments) > 1 and previous_of(header) != self._segments[-2].size:
            raise damaged(self._path(number - 1), previous_of(header), "wrong size")
        if segment.size < len(data):
            file.truncate(segment.size)
        for entry in found:
            if not self._take(segment, entry):
                raise damaged(path, entry.offset, f"no place for seq {entry.seq}")

    def _take(self, segment: _Segment, entry: Found) -> bool:
        """Note an entry that is on the disk; False where it cannot stand there."""
        kind, alloc, seq, offset, size = entry
        copy = self._copies.get(alloc)
        if kind == Kind.RECORD:
            if copy is None:
                copy = self._copies[alloc] = _Copy(seq)
            if seq != copy.last + 1:
                return False
            copy.places.append(segment.number << _OFFSET_BITS | offset)
            copy.sizes.append(size)
            segment.newest[alloc] = seq
            return True
        if kind == Kind.POSITION and copy is None:
            self._copies[alloc] = _Copy(seq + 1)
            return True
        if copy is None or seq != copy.last:
            return False
        if kind == Kind.FORGET:
            del self._copies[alloc]
        return kind in (Kind.FORGET, Kind.POSITION)

    def _write(self, items: Sequence[tuple[Kind, AllocId, int, bytes]]) -> None:
        """Write entries at the end, in one piece, and sync them."""
        self._refuse_if_failed()
        size = sum(OVERHEAD_BYTES + len(item[3]) for item in items)
        segment = self._segments[-1] if self._segments else None
        if segment is None or (
            segment.newest and segment.size + size > self._segment_bytes
        ):
            self._write_new(items)
        else:
            self._write_to(segment, b"", items, lambda: None)

    def _write_new(self, items: Sequence[tuple[Kind, AllocId, int, bytes]]) -> None:
        """Write entries into a new segment, behind the positions of all copies."""
        number = self._segments[-1].number + 1 if self._segments else 1
        path = self._path(number)
        previous = self._segments[-1].size if self._segments else 0
        header = spell_header(number, previous, os.urandom(SALT_BYTES))
        positions = [
            (Kind.POSITION, alloc, copy.last, b"")
            for alloc, copy in sorted(self._copies.items())
        ]
        try:
            file = self._files.open(path)
        except OSError as error:
            self._refuse(error, path)
        segment = _Segment(number, path, file, seed_of(header))
        self._segments.append(segment)
        self._write_to(
            segment,
            header,
            [*positions, *items],
            lambda: self._files.sync_directory(self._directory),
        )

    def _write_to(
        self,
        segment: _Segment,
        header: bytes,
        items: Iterable[tuple[Kind, AllocId, int, bytes]],
        sync_name: Callable[[], None],
    ) -> None:
        """Write entries to a segment, sync them and its name, and note them."""
        packer = Packer(segment.seed, segment.size + len(header))
        found = [
            Found(kind, alloc, seq, packer.pack(kind, alloc, seq, data), len(data))
            for kind, alloc, seq, data in items
        ]
        self._append(segment, header + packer.spelled())
        try:
            segment.file.sync()
            sync_name()
        except OSError as error:
            self._fail(error, segment.path)
        segment.size = packer.end
        for entry in found:
            placed = self._take(segment, entry)
            assert placed, f"{entry.alloc}: no place for seq {entry.seq}"

    def _append(self, segment: _Segment, data: bytes) -> None:
        """Write at a segment's end; where the disk is full, undo what was written."""
        try:
            segment.file.append(data)
        except OSError as error:
            if not is_full(error):
                self._fail(error, segment.path)
            self._undo(segment)
            self._refuse(error, segment.path)

    def _undo(self, segment: _Segment) -> None:
        """Make a segment again what it was before a write that failed.

        It is synced, for a crash must not bring back what was refused.
        """
        try:
            segment.file.truncate(segment.size)
            segment.file.sync()
            if segment.size == 0:
                self._segments.pop()
                segment.file.close()
                self._files.remove(segment.path)
        except OSError as error:
            self._fail(error, segment.path)

    def _refuse(self, error: OSError, path: Path) -> None:
        """Raise that the disk is full; for any other error fail for ever."""
        if not is_full(error):
            self._fail(error, path)
        raise DiskFullError(f"{path}: no room left", file=str(path)) from error

    def _fail(self, error: OSError, path: Path) -> None:
        """Never write again: what the disk holds is no longer known (fsyncgate)."""
        self._failure = f"{path}: {error.strerror or error}"
        raise DiskError(self._failure, file=str(path)) from error

    def _refuse_if_failed(self) -> None:
        """Raise again what once failed."""
        if self._failure is not None:
            raise DiskError(self._failure, file=str(self._directory))

    def _drop_segments(self) -> None:
        """Remove the oldest segments, as long as nobody needs them."""
        self._refuse_if_failed()
        while len(self._segments) > 1 and not self._needed(self._segments[0]):
            segment = self._segments.pop(0)
            segment.file.close()
            try:
                self._files.remove(segment.path)
                self._files.sync_directory(self._directory)
            except OSError as error:
                self._fail(error, segment.path)

    def _needed(self, segment: _Segment) -> bool:
        """Tell whether any copy needs an entry in a segment."""
        return any(
            alloc in self._copies and self._copies[alloc].first <= newest
            for alloc, newest in segment.newest.items()
        )

    def _payload(self, alloc: AllocId, copy: _Copy, index: int) -> bytes:
        """Read and check one entry."""
        place, size = copy.places[index], copy.sizes[index]
        offset = place & ((1 << _OFFSET_BITS) - 1)
        segment = self._segments[(place >> _OFFSET_BITS) - self._segments[0].number]
        try:
            data = segment.file.read(offset, OVERHEAD_BYTES + size)
        except OSError as error:
            blame(error, segment.path)
        found = unpack(data, offset, segment.seed)
        expected = (alloc, copy.first + index, size)
        if found is None or (found.alloc, found.seq, found.size) != expected:
            raise damaged(segment.path, offset)
        return payload_of(data, found)

    def _path(self, number: int) -> Path:
        """Return a segment's file."""
        return self._directory / f"{number:016x}.log"
