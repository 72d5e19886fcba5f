"""What is done with a map now and then, while it is read and written.

Each goes over a connection of its own, on a thread of its own: SQLite shows it the map
as it was at one moment.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from torua.storage import checks, journal, rows
from torua.storage.files import sync_file
from torua.storage.rows import Facts
from torua.storage.sqlite import blame, connect, copy_wal


class Upkeep:
    """Checkpoints, snapshots and scrubs of one map.

    Invariants: ``durable_seq`` never falls but where the map is opened anew; what it
    says was applied, and all of it was synced.

    Threading: any but the one that writes; checkpoints and snapshots one at a time.
    """

    def __init__(self, path: Path) -> None:
        """Know of nothing durable.

        Args:
            path: the map's file.
        """
        self._path = path
        self._durable_seq = 0
        self._scrubbing: sqlite3.Connection | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def durable_seq(self) -> int:
        """Up to where a crash can't take it back: the log may be cut so far."""
        return self._durable_seq

    def checkpoint(self) -> int:
        """Make durable what was applied before; on another thread, it waits for fsync.

        It goes over a connection of its own, so that the reactor's reads and writes go
        on beside it.  Only where the WAL has grown large does it keep a write waiting,
        while it copies the last pages and syncs.

        Returns:
            ``durable_seq``, after it.

        Raises:
            CorruptionError, DiskError, DiskFullError: it failed.
        """
        with blame(self._path), closing(connect(self._path)) as connection:
            applied = connection.execute(rows.FACTS).fetchone()[0]
            done = copy_wal(connection)
        if done:
            self._durable_seq = max(self._durable_seq, applied)
        return self._durable_seq

    def snapshot(self, target: Path) -> Facts:
        """Copy all of it, as it is at one moment, into a new file, durably.

        Where `checkpoint` runs: a WAL that is being read cannot be begun anew.

        Args:
            target: a database that does not exist; its directory does.

        Returns:
            What the copy knows of itself.

        Raises:
            CorruptionError, DiskError, DiskFullError: there is none, or a broken one.
        """
        with (
            blame(self._path),
            closing(connect(self._path)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            copy.execute("PRAGMA synchronous=OFF")
            source.backup(copy)
            facts = rows.facts_of(copy.execute(rows.FACTS).fetchone())
            journal.strip(copy)
            copy.commit()
        if facts is None:
            raise checks.damaged(self._path, "facts")
        sync_file(target)
        return facts

    def scrub(self) -> None:
        """Read every row again, where `checkpoint` runs, beside reads and writes.

        Raises:
            CorruptionError: something is no longer what was written.
            DiskError: it cannot be read.
        """
        with blame(self._path), closing(connect(self._path)) as connection:
            self._scrubbing = connection
            try:
                connection.execute("BEGIN")
                checks.verify(connection, self._path)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
            finally:
                self._scrubbing = None

    def stop_scrub(self) -> None:
        """Let a scrub that is under way end at once; from any thread."""
        scrubbing = self._scrubbing
        if scrubbing is not None:
            with suppress(sqlite3.ProgrammingError):
                scrubbing.interrupt()
