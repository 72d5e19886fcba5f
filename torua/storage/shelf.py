"""Where the copies of shards stand on the disk, each in a directory of its own.

<directory>/<shard>/<alloc_id>/map.db
"""

import shutil
from pathlib import Path

from torua.core.ids import AllocId, ShardId
from torua.storage.files import Files, blame
from torua.storage.map import Map

MAP_NAME = "map.db"


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

    def holds(self, shard: ShardId, alloc: AllocId) -> bool:
        """Tell whether a copy's map is there.

        Args:
            shard: of which shard.
            alloc: which copy.
        """
        return MAP_NAME in self._files.names(self._place(shard, alloc))

    def open(self, shard: ShardId, alloc: AllocId) -> Map:
        """Open a copy's map, and make an empty one where there is none.

        Args:
            shard: of which shard.
            alloc: which copy.

        Raises:
            CorruptionError, DiskError, DiskFullError: as `Map.open`.
        """
        return Map.open(self._place(shard, alloc) / MAP_NAME)

    def erase(self, shard: ShardId, alloc: AllocId) -> None:
        """Remove all that a copy kept; no error where there is nothing.

        Args:
            shard: of which shard.
            alloc: which copy; its map is closed.

        Raises:
            DiskError: it could not be removed.
        """
        place = self._place(shard, alloc)
        try:
            if place.exists():
                shutil.rmtree(place)
                self._files.sync_directory(place.parent)
        except OSError as error:
            blame(error, place)

    def _place(self, shard: ShardId, alloc: AllocId) -> Path:
        """Return a copy's directory."""
        return self._directory / str(shard) / alloc
