"""Where the copies of shards stand on the disk, each in a directory of its own.

    <directory>/<shard>/<alloc_id>/map.db       the copy's map
    <directory>/<shard>/<alloc_id>/facts        what it must never forget, a stable file
    <directory>/<shard>/<alloc_id>.out/         snapshots of it, while they are sent
    <directory>/<shard>/<alloc_id>.part/        a snapshot that is being received
    <directory>/<shard>/<alloc_id>.new/         one that is whole, checked and durable

A snapshot takes a copy's place in steps, of which the log's is the one that counts:

    .part --finish--> .new --prepare, Log.set_start--> (decided) --switch--> <alloc_id>

A crash before the log's step leaves the old copy, and ``.new`` is removed; one behind
it leaves the switch to be done, which `settle` does when the copy is opened.
"""

import shutil
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from torua.codec import plain
from torua.core.ids import AllocId, ShardId
from torua.core.replication.messages import CopyFacts
from torua.errors import CorruptionError, DiskError, ProtocolError
from torua.storage.files import File, Files, blame
from torua.storage.map import Map
from torua.storage.stable import StableStore

T = TypeVar("T")

MAP_NAME = "map.db"
FACTS_NAME = "facts"
_ORIGIN_NAME = "snapshot"
_TEMPORARY = (".out", ".part")


class SnapshotFacts(Struct, frozen=True):
    """What a snapshot is, as its sender says.

    Attributes:
        seq: the newest record that it holds.
        term: that record's.
        time_ns: that record's.
        size: of the file, in bytes.
        digest: of its content; see `Map.digest`.
    """

    seq: int
    term: int
    time_ns: int
    size: int
    digest: bytes


class Incoming:
    """A snapshot that is being received.

    Invariants: ``received`` bytes of it are in the file, from its beginning.

    Threading: one thread at a time; it blocks.
    """

    def __init__(self, place: Path, facts: SnapshotFacts, file: File) -> None:
        """Begin with nothing of it.

        Args:
            place: its directory.
            facts: what it is to be.
            file: empty and open.
        """
        self.facts = facts
        self.received = 0
        self.place = place
        self._file = file
        self._closed = False

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            DiskError, DiskFullError: it cannot go on.
        """
        try:
            self._file.append(data)
        except OSError as error:
            blame(error, self.place)
        self.received += len(data)

    def seal(self) -> None:
        """Take no more, and return once all of it is on the disk.

        Raises:
            DiskError: it is not.
        """
        try:
            self._file.sync()
        except OSError as error:
            blame(error, self.place)
        self.close()

    def close(self) -> None:
        """Take no more.  Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._file.close()


class Shelf:
    """The directories of all copies of a node.

    Invariants: a copy's directory bears its id, and no other copy's data.

    Threading: any thread, one copy on one thread at a time.
    """

    def __init__(self, directory: Path, files: Files) -> None:
        """Use a directory; it is made with the first copy.

        Args:
            directory: where the copies stand; nobody else writes there.
            files: the file layer.
        """
        self._directory = directory
        self._files = files

    def copies(self) -> list[tuple[ShardId, AllocId]]:
        """List all copies of which anything is here, in order."""
        found = {
            (ShardId(int(shard)), AllocId(name.partition(".")[0]))
            for shard in self._files.names(self._directory)
            if shard.isdecimal()
            for name in self._files.names(self._directory / shard)
        }
        return sorted(found)

    def clean(self) -> None:
        """Remove the snapshots that a dead process was sending or receiving.

        Raises:
            DiskError: it could not be done.
        """
        for shard, alloc in self.copies():
            for ending in _TEMPORARY:
                self._remove(self._beside(shard, alloc, ending))

    def holds(self, shard: ShardId, alloc: AllocId) -> bool:
        """Tell whether a copy's map is there.

        Args:
            shard: of which shard.
            alloc: which copy.
        """
        return MAP_NAME in self._files.names(self._place(shard, alloc))

    def open(self, shard: ShardId, alloc: AllocId, base: int = 0) -> Map:
        """Open a copy's map, and make an empty one where there is none.

        Args:
            shard: of which shard.
            alloc: which copy.
            base: where an empty one stands.

        Raises:
            CorruptionError, DiskError, DiskFullError: as `Map.open`.
        """
        return Map.open(self._place(shard, alloc) / MAP_NAME, base)

    def facts(self, shard: ShardId, alloc: AllocId) -> CopyFacts | None:
        """Read what a copy must never forget; None where nothing was ever kept.

        Args:
            shard: of which shard.
            alloc: which copy.

        Raises:
            CorruptionError, DiskError: they cannot be read.
        """
        return self._read(self._place(shard, alloc) / FACTS_NAME, CopyFacts)

    def keep(self, shard: ShardId, alloc: AllocId, facts: CopyFacts) -> None:
        """Return once a copy's facts are on the disk.

        Args:
            shard: of which shard.
            alloc: which copy.
            facts: to be read by `facts` from now on.

        Raises:
            DiskError, DiskFullError: they may be the old ones.
        """
        place = self._place(shard, alloc)
        try:
            self._files.make_directory(place)
        except OSError as error:
            blame(error, place)
        StableStore(place / FACTS_NAME, self._files).save(plain.spell(facts))

    def outgoing(self, shard: ShardId, alloc: AllocId, name: str) -> Path:
        """Name a file for a snapshot of a copy; its directory is there.

        Args:
            shard: of which shard.
            alloc: which copy.
            name: tells it from the others of that copy.

        Raises:
            DiskError, DiskFullError: there is no place for it.
        """
        place = self._beside(shard, alloc, ".out")
        try:
            self._files.make_directory(place)
            self._files.remove(place / name)
        except OSError as error:
            blame(error, place)
        return place / name

    def receive(self, shard: ShardId, alloc: AllocId, facts: SnapshotFacts) -> Incoming:
        """Begin to receive a snapshot for a copy; what came before is gone.

        Args:
            shard: of which shard.
            alloc: which copy.
            facts: what it is to be.

        Raises:
            DiskError, DiskFullError: there is no place for it.
        """
        place = self._beside(shard, alloc, ".part")
        self._remove(place)
        try:
            self._files.make_directory(place)
            file = self._files.open(place / MAP_NAME)
        except OSError as error:
            blame(error, place)
        return Incoming(place, facts, file)

    def finish(self, shard: ShardId, alloc: AllocId, incoming: Incoming) -> None:
        """Check a snapshot that came whole, row by row, and make it durable.

        Args:
            shard: of which shard.
            alloc: which copy.
            incoming: all of it.

        Raises:
            CorruptionError: it is not what was sent.
            DiskError, DiskFullError: it cannot be kept.
        """
        incoming.seal()
        place, origin = incoming.place, incoming.facts
        view = Map.open(place / MAP_NAME)
        digest, term = view.digest(), view.applied_term
        view.close()
        if (digest, term) != (origin.digest, origin.term):
            raise CorruptionError(f"{place}: the snapshot is not what was sent")
        StableStore(place / _ORIGIN_NAME, self._files).save(plain.spell(origin))
        new = self._beside(shard, alloc, ".new")
        self._remove(new)
        self._rename(place, new)

    def prepare(self, shard: ShardId, alloc: AllocId, facts: CopyFacts) -> None:
        """Put the copy's facts beside a finished snapshot, before the log's step.

        Args:
            shard: of which shard.
            alloc: which copy.
            facts: what it is not to forget by the switch.

        Raises:
            DiskError, DiskFullError: they may be missing.
        """
        place = self._beside(shard, alloc, ".new")
        StableStore(place / FACTS_NAME, self._files).save(plain.spell(facts))

    def drop(self, shard: ShardId, alloc: AllocId) -> None:
        """Remove a finished snapshot that is not to be installed.

        Args:
            shard: of which shard.
            alloc: which copy.

        Raises:
            DiskError: it could not be removed.
        """
        self._remove(self._beside(shard, alloc, ".new"))

    def switch(self, shard: ShardId, alloc: AllocId) -> None:
        """Put a finished snapshot in a copy's place, once the log begins behind it.

        Args:
            shard: of which shard.
            alloc: which copy; its map is closed.

        Raises:
            DiskError: `settle` must do it at the next opening.
        """
        place = self._place(shard, alloc)
        self._remove(place)
        self._rename(self._beside(shard, alloc, ".new"), place)

    def settle(self, shard: ShardId, alloc: AllocId, start: tuple[int, int]) -> None:
        """Finish, or undo, the installing of a snapshot that a crash interrupted.

        Args:
            shard: of which shard.
            alloc: which copy; its map is closed.
            start: seq and term that the copy's log begins behind, if nothing is behind
                it; else (0, 0).

        Raises:
            CorruptionError, DiskError: it could not be done.
        """
        new = self._beside(shard, alloc, ".new")
        origin = self._read(new / _ORIGIN_NAME, SnapshotFacts)
        if origin is not None and start == (origin.seq, origin.term):
            self.switch(shard, alloc)
        else:
            self._remove(new)

    def erase(self, shard: ShardId, alloc: AllocId) -> None:
        """Remove all that a copy kept; no error where there is nothing.

        Args:
            shard: of which shard.
            alloc: which copy; its map is closed.

        Raises:
            DiskError: it could not be removed.
        """
        place = self._place(shard, alloc)
        if place.exists() and not place.is_dir():
            raise DiskError(f"{place} is not a directory", file=str(place))
        for ending in (*_TEMPORARY, ".new", ""):
            self._remove(self._beside(shard, alloc, ending))

    def discard(self, path: Path) -> None:
        """Remove a snapshot that was sent, or was to be received.

        Args:
            path: its file, or its directory.

        Raises:
            DiskError: it could not be removed.
        """
        self._remove(path)

    def _remove(self, place: Path) -> None:
        """Remove a directory with all that is in it, or a file."""
        try:
            if place.is_dir():
                shutil.rmtree(place)
                self._files.sync_directory(place.parent)
            elif place.exists():
                self._files.remove(place)
        except OSError as error:
            blame(error, place)

    def _rename(self, source: Path, target: Path) -> None:
        """Give a directory another name, durably."""
        try:
            self._files.sync_directory(source)
            self._files.replace(source, target)
            self._files.sync_directory(target.parent)
        except OSError as error:
            blame(error, target)

    def _read(self, path: Path, kind: type[T]) -> T | None:
        """Read a stable file; None where there is none."""
        data = StableStore(path, self._files).load()
        try:
            return None if data is None else plain.read(data, kind)
        except ProtocolError as error:
            raise CorruptionError(
                f"{path} is damaged: {error}", file=str(path)
            ) from error

    def _place(self, shard: ShardId, alloc: AllocId) -> Path:
        """Return a copy's directory."""
        return self._beside(shard, alloc, "")

    def _beside(self, shard: ShardId, alloc: AllocId, ending: str) -> Path:
        """Return a directory beside a copy's."""
        return self._directory / str(shard) / f"{alloc}{ending}"
