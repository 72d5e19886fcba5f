"""One write log a node: the entries of all its copies, in the order of writing.

Segments ``<number>.log`` follow each other; only the newest grows.  A `commit` is one
write and one fdatasync, whatever it holds; nothing counts before it returned.  In
memory each copy has an index of its entries, 12 bytes an entry.

Each new segment begins with the last seq of every copy and its term, so that they stay
known when the segments that held a copy's entries are gone.  A copy needs its entries
until it `cut`s them.  The oldest segment goes when no copy needs anything in it and the
log is larger than what is retained for the copies of other nodes; then the next.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from torua.core.configuration import Replication
from torua.core.ids import AllocId
from torua.errors import DiskError, DiskFullError
from torua.storage.files import Files, blame, is_full
from torua.storage.index import CopyIndex, take
from torua.storage.segment import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    SALT_BYTES,
    Found,
    Item,
    Kind,
    OpenSegment,
    Packer,
    damaged,
    payload_of,
    previous_of,
    scan,
    seed_of,
    spell_header,
    unpack,
)
from torua.storage.terms import Terms

SEGMENT_BYTES = 64 << 20
"""A new segment is begun where a commit would pass this: the grain of making room."""

RETENTION_BYTES = Replication().log_retention_bytes
"""So much is kept that no view here needs, for copies elsewhere that were away."""

_NAME = re.compile(r"[0-9a-f]{16}\.log")


class LogEntry(NamedTuple):
    """One entry: ``seq`` of a copy's log, 1, 2, 3 …, its term, and what it holds."""

    alloc: AllocId
    seq: int
    term: int
    payload: bytes


class Log:
    """All entries of all copies of this node.

    Invariants: the entries of a copy are contiguous; what `last` and `read` tell is on
    the disk; after a failed write that could not be undone, or any failed sync, every
    later call that writes raises it again.

    Threading: one thread owns it; every method may block on the disk but `first`,
    `last`, `allocs` and `size_bytes`.

    Performance: see docs/storage.md.

    Attributes:
        retention_bytes: how large the log is kept though no view needs it; whoever
            changes it need not be the thread that owns the log.
    """

    def __init__(
        self,
        directory: Path,
        files: Files,
        segment_bytes: int = SEGMENT_BYTES,
        retention_bytes: int = RETENTION_BYTES,
    ) -> None:
        """Make an empty log; `open` is how to come by one.

        Args:
            directory: where the segments are; nobody else writes there.
            files: the file layer.
            segment_bytes: about how large a segment grows.
            retention_bytes: how large the log is kept though no view needs it.
        """
        self._directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self.retention_bytes = retention_bytes
        self._segments: list[OpenSegment] = []
        self._copies: dict[AllocId, CopyIndex] = {}
        self._failure: str | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        files: Files,
        segment_bytes: int = SEGMENT_BYTES,
        retention_bytes: int = RETENTION_BYTES,
    ) -> "Log":
        """Read what is there, cut a torn tail, and be ready to go on.

        All that is found is synced before it is told: it may have been written by a
        process that died before its sync.

        Args:
            directory: where the segments are; made if missing.
            files: the file layer.
            segment_bytes: about how large a segment grows.
            retention_bytes: how large the log is kept though no view needs it.

        Raises:
            CorruptionError: naming file and offset, where anything but a torn tail is
                wrong.
            DiskError: it cannot be read, or a tail not be cut.
        """
        log = cls(directory, files, segment_bytes, retention_bytes)
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

    def commit(self, items: Sequence[Item]) -> None:
        """Append entries, void others, and return once that is on the disk.

        Args:
            items: records and truncations of any copies, each copy's in order and
                without a gap, from 1 in a new one; behind a truncation it goes on where
                that left it.

        Raises:
            DiskFullError: no room; nothing was kept, and the log can be used on.
            DiskError: the disk failed, now or before; whether the entries are kept is
                unknown, and the log will never write again.
        """
        self._refuse_if_failed()
        lasts: dict[AllocId, int] = {}
        for item in items:
            last = lasts.get(item.alloc, self.last(item.alloc))
            if item.kind is Kind.RECORD:
                assert item.seq == last + 1, f"{item.alloc}: {item.seq} after {last}"
            else:
                copy = self._copies.get(item.alloc)
                least = 0 if copy is None else copy.needed - 1
                assert item.kind is Kind.TRUNCATE
                assert least <= item.seq <= last, f"{item} of {least} to {last}"
            lasts[item.alloc] = item.last
        self._write(items)

    def set_start(self, alloc: AllocId, seq: int, term: int) -> None:
        """Void all entries of a copy, and begin behind ``seq``, durably.

        Args:
            alloc: whose; it may be new.
            seq: the last record that its new view holds; the next is one more.
            term: of that record.

        Raises:
            DiskFullError, DiskError: as `commit`.
        """
        self._write([Item(Kind.START, alloc, seq, term)])
        self._drop_segments()

    def forget(self, alloc: AllocId) -> None:
        """Give up all entries of a copy, durably; no error where there are none.

        Raises:
            DiskFullError, DiskError: as `commit`.
        """
        copy = self._copies.get(alloc)
        if copy is not None:
            self._write([Item(Kind.FORGET, alloc, copy.last, copy.terms.newest)])
            self._drop_segments()

    def cut(self, alloc: AllocId, through: int) -> None:
        """Note that a copy no longer needs its entries up to one.

        They can be read for as long as they are there: segments that nobody needs are
        removed where the log is larger than what is retained.

        Args:
            alloc: whose.
            through: the last seq that it no longer needs, for a view holds it durably.

        Raises:
            DiskError: a segment could not be removed, or the log failed before.
        """
        copy = self._copies.get(alloc)
        if copy is not None:
            copy.release(through)
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
        for seq in range(after + 1, copy.last + 1):
            max_bytes -= copy.size(seq)
            if entries and max_bytes < 0:
                break
            entries.append(self._read(alloc, copy, seq))
        return entries

    def first(self, alloc: AllocId) -> int:
        """Tell a copy's oldest entry's seq; `last` and one where there is none."""
        copy = self._copies.get(alloc)
        return 1 if copy is None else copy.first

    def last(self, alloc: AllocId) -> int:
        """Tell a copy's newest entry's seq, also when it was cut; 0 if unknown."""
        copy = self._copies.get(alloc)
        return 0 if copy is None else copy.last

    def start(self, alloc: AllocId) -> tuple[int, int]:
        """Tell seq and term that a copy begins behind, while nothing else is there."""
        terms = self.terms(alloc)
        empty = terms.last == terms.base
        return (terms.base, terms.at(terms.base) or 0) if empty else (0, 0)

    def term_at(self, alloc: AllocId, seq: int) -> int | None:
        """Tell the term of one of a copy's records; None where it is not known.

        Args:
            alloc: whose.
            seq: known from the one before `first` to `last`; 0 has the term 0.
        """
        return self.terms(alloc).at(seq)

    def terms(self, alloc: AllocId) -> Terms:
        """Return a copy of what is known of the terms of a copy's records."""
        copy = self._copies.get(alloc)
        return Terms() if copy is None else copy.terms.copy()

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
        segment = OpenSegment(number, path, file, 0)
        self._segments.append(segment)
        data = file.read(0, file.size())
        found, segment.size = scan(data, number, path, number == numbers[-1])
        if number == numbers[-1] and not any(_counts(entry) for entry in found):
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

    def _take(self, segment: OpenSegment, found: Found) -> bool:
        """Note entries that are on the disk; False where they cannot stand there."""
        segment.used = segment.used or _counts(found)
        return take(self._copies, segment.number, found)

    def _write(self, items: Sequence[Item]) -> None:
        """Write entries at the end, in one piece, and sync them."""
        self._refuse_if_failed()
        size = sum(item.size for item in items)
        segment = self._segments[-1] if self._segments else None
        if segment is None or (
            segment.used and segment.size + size > self._segment_bytes
        ):
            self._write_new(items)
        else:
            self._write_to(segment, b"", items, lambda: None)

    def _write_new(self, items: Sequence[Item]) -> None:
        """Write entries into a new segment, behind the positions of all copies."""
        number = self._segments[-1].number + 1 if self._segments else 1
        path = self._path(number)
        previous = self._segments[-1].size if self._segments else 0
        header = spell_header(number, previous, os.urandom(SALT_BYTES))
        positions = [
            Item(Kind.POSITION, alloc, copy.last, copy.terms.newest)
            for alloc, copy in sorted(self._copies.items())
        ]
        try:
            file = self._files.open(path)
        except OSError as error:
            self._refuse(error, path)
        segment = OpenSegment(number, path, file, seed_of(header))
        self._segments.append(segment)
        self._write_to(
            segment,
            header,
            [*positions, *items],
            lambda: self._files.sync_directory(self._directory),
        )

    def _write_to(
        self,
        segment: OpenSegment,
        header: bytes,
        items: Iterable[Item],
        sync_name: Callable[[], None],
    ) -> None:
        """Write entries to a segment, sync them and its name, and note them."""
        packer = Packer(segment.seed, segment.size, header)
        packed = [packer.pack(item) for item in items]
        self._append(segment, packer.pieces())
        try:
            segment.file.sync()
            sync_name()
        except OSError as error:
            self._fail(error, segment.path)
        segment.size = packer.end
        for found in packed:
            placed = self._take(segment, found)
            assert placed, f"{found.alloc}: no place for seq {found.seq}"

    def _append(self, segment: OpenSegment, pieces: Iterable[bytes]) -> None:
        """Write at a segment's end; where the disk is full, undo what was written."""
        try:
            for piece in pieces:
                segment.file.append(piece)
        except OSError as error:
            if not is_full(error):
                self._fail(error, segment.path)
            self._undo(segment)
            self._refuse(error, segment.path)

    def _undo(self, segment: OpenSegment) -> None:
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
        """Remove the oldest segments that nobody needs, but for what is retained."""
        self._refuse_if_failed()
        while len(self._segments) > 1 and self.size_bytes > self.retention_bytes:
            segment = self._segments[0]
            copies = self._copies.values()
            if any(copy.holds_back(segment.number) for copy in copies):
                return
            for copy in copies:
                copy.drop_segment(segment.number)
            del self._segments[0]
            segment.file.close()
            try:
                self._files.remove(segment.path)
                self._files.sync_directory(self._directory)
            except OSError as error:
                self._fail(error, segment.path)

    def _read(self, alloc: AllocId, copy: CopyIndex, seq: int) -> LogEntry:
        """Read and check one entry."""
        (number, offset), size = copy.place(seq), copy.size(seq)
        segment = self._segments[number - self._segments[0].number]
        try:
            data = segment.file.read(offset, OVERHEAD_BYTES + size)
        except OSError as error:
            blame(error, segment.path)
        found = unpack(data, offset, segment.seed)
        term = copy.terms.at(seq)
        if found is None or found[1:] != (alloc, seq, term, offset, (size,)):
            raise damaged(segment.path, offset)
        return LogEntry(alloc, seq, found.term, payload_of(data, found))

    def _path(self, number: int) -> Path:
        """Return a segment's file."""
        return self._directory / f"{number:016x}.log"


def _counts(found: Found) -> bool:
    """Tell whether a segment that ends with entries was begun in earnest.

    Where only positions came to the disk, some may be missing.
    """
    return found.kind != Kind.POSITION
