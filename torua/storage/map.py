"""The map: every key of one shard copy, in one SQLite database.

It is a view of the log: ``applied_seq`` stands in the same transaction as the data, so
after any crash the records behind it are applied again and nothing is lost or doubled.
A write to it is not synced (WAL, ``synchronous=NORMAL``); `Map.checkpoint` makes it
durable now and then on another thread, and only what that covered may be cut off the
log.  Records may be staged: shown at once, and written with others a moment later.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from torua.core.kv import Entry
from torua.core.records import Answered, Record
from torua.core.replication.tip import entry_of
from torua.errors import DiskError
from torua.storage import checks, journal, rows
from torua.storage.effects import MapChange
from torua.storage.files import DiskFiles
from torua.storage.rows import Facts
from torua.storage.sqlite import blame, connect
from torua.storage.staged import STAGED_BYTES_MOST, Staged, marked
from torua.storage.upkeep import Upkeep
from torua.storage.writing import Writing, Written

IDEMPOTENCY_WINDOW_NS = 24 * 3600 * 10**9
"""How long an answer is kept, by the records' own time, the same on every copy."""

SMALL_BYTES = 16 << 10
"""Values up to this are read with others, some hundreds at once."""

DIGESTS_MAX = 256
"""Digests of the last states that are remembered, to be compared with other copies."""


class Map(Upkeep):
    """All entries and answered idempotency keys of one copy, as of ``applied_seq``.

    Invariants: records are applied in order, each exactly once; ``durable_seq`` never
    exceeds ``applied_seq``, and a crash never takes the map back behind it; what is
    staged is shown as what is written is, but to other connections.

    Threading: one thread at a time, the reactor's once it serves (`open` may run on
    another before); `checkpoint` runs on any other thread, one at a time, and so does
    what `begin_flush` gives, meanwhile rows are read by another connection.

    Performance: see docs/storage.md.

    Attributes:
        digests: of the map after some of the last records, by seq.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Hold an open database; `open` is how to come by one.

        Args:
            path: its file.
            connection: open to it.
        """
        super().__init__(path)
        self._connection = connection
        self._facts = Facts()
        self._staged = Staged()
        self._writing: Writing | None = None
        self._reader: sqlite3.Connection | None = None
        self.digests: deque[tuple[int, bytes]] = deque(maxlen=DIGESTS_MAX)
        self._journal: journal.Journal

    @classmethod
    def open(cls, path: Path, base: int = 0) -> "Map":
        """Open a map, or make an empty one; check every row of it; make it durable.

        It reads the whole file, some 200,000 entries a second: a row that a flipped bit
        hides would otherwise be served as absent.

        Args:
            path: the database; its directory is made where it is missing.
            base: where an empty one stands.

        Raises:
            CorruptionError: it is not what was written.
            DiskError, DiskFullError: it cannot be read or made.
        """
        try:
            DiskFiles().make_directory(path.parent)
        except OSError as error:
            raise DiskError(f"{path}: {error.strerror}", file=str(path)) from error
        with blame(path):
            connection = connect(path)
        opened = cls(path, connection)
        try:
            with blame(path):
                opened._begin(base)
            opened.checkpoint()
        except BaseException:
            connection.close()
            raise
        return opened

    @property
    def applied_seq(self) -> int:
        """The last record applied, written or staged; 0 if none."""
        staged = self._staged.records
        return staged[-1].seq if staged else self._facts.applied_seq

    @property
    def applied_term(self) -> int:
        """The term of the last record applied; 0 if none."""
        staged = self._staged.records
        return staged[-1].term if staged else self._facts.term

    @property
    def applied_time_ns(self) -> int:
        """The time of the last record applied; 0 if none.  The next one's is later."""
        staged = self._staged.records
        return staged[-1].time_ns if staged else self._facts.time_ns

    @property
    def keys(self) -> int:
        """How many entries are written, but rows of graphs."""
        return self._facts.keys

    @property
    def size_bytes(self) -> int:
        """How large what is written is, keys and values, of rows of graphs as well."""
        return self._facts.bytes

    def stage(self, records: Sequence[Record]) -> None:
        """Show records from now on; `flush` writes them.

        Args:
            records: in order, the first behind ``applied_seq``; not empty.  Where one
                is of a split all are written, and errors are those of `flush`.
        """
        first, last = self.applied_seq + 1, records[-1].seq
        assert (records[0].seq, last) == (first, first + len(records) - 1), "a gap"
        self._staged.add(records)
        if self._staged.moved:
            self.flush()

    @property
    def crowded(self) -> bool:
        """Whether so much is staged that it had better be written soon."""
        return self._staged.full

    @property
    def weighty(self) -> bool:
        """Whether what is written next takes longer than a moment, all in one piece."""
        return self._staged.weighty

    @property
    def is_written(self) -> bool:
        """Whether some of it is being written since `begin_flush`."""
        return self._writing is not None

    @property
    def overcrowded(self) -> bool:
        """Whether so much is staged that it must be written before there is more."""
        return self._staged.size_bytes >= STAGED_BYTES_MOST

    def flush(self) -> None:
        """Write what is staged.

        Raises:
            CorruptionError, DiskError, DiskFullError: it is staged still.
        """
        while self._staged.records:
            self.flush_some()

    def flush_some(self) -> bool:
        """Write the first of what is staged, as much as takes some ten milliseconds.

        What is being written already is waited for.

        Returns:
            Whether more is staged.

        Raises:
            CorruptionError, DiskError, DiskFullError: it is staged still.
        """
        if self._staged.records:
            if self._writing is None:
                self.begin_flush()
            self._end_flush()
        return bool(self._staged.records)

    def begin_flush(self) -> Callable[[], None]:
        """Begin what `flush_some` does; that ends it.

        Returns:
            Writes, on any thread; it raises nothing.
        """
        assert self._writing is None, "one at a time"
        first = self._staged.first()
        self._writing = Writing(len(first), lambda: self._write(first))
        return self._writing.run

    def _end_flush(self) -> None:
        """Take up what was written; wait for it, or write it, if it was not."""
        writing, self._writing = self._writing, None
        assert writing is not None
        try:
            self._take_up(writing.end())
        finally:
            self._drop_reader()
        self._staged = self._staged.behind(writing.count)

    def _take_up(self, written: Written) -> None:
        """Know what a transaction made of the map."""
        self._facts, digests = written
        self.digests += digests

    def _drop_reader(self) -> None:
        """Read by the connection that writes, for it does no longer."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def _rows(self) -> sqlite3.Connection:
        """The connection to read rows by now: not the one that a thread writes by."""
        if self._writing is None:
            return self._connection
        if self._reader is None:
            self._reader = connect(self._path)
        return self._reader

    def apply(self, records: Sequence[Record]) -> None:
        """Apply records in one transaction: all of them, or none where it raises.

        Args:
            records: in order, the first behind ``applied_seq``; not empty.

        Raises:
            CorruptionError, DiskError, DiskFullError: none was applied.
        """
        self.flush()
        seqs = [record.seq for record in records]
        first = self.applied_seq + 1
        assert seqs == list(range(first, first + len(seqs))), f"{seqs} behind {first}"
        self._take_up(self._write(records))

    def _write(self, records: Sequence[Record]) -> Written:
        """Write records in one transaction."""
        facts, digests = self._facts, []
        with blame(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for part in marked(records):
                    facts = self._change(facts, part)
                    digests.append((facts.applied_seq, rows.digest_of(facts)))
                self._write_facts(facts)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._journal.reload()
                raise
        return facts, digests

    def keep_journal(self, keys: bool) -> None:
        """Note from now on which rows of graphs change, for the engines of this copy.

        Args:
            keys: whether users' keys too.

        Raises:
            CorruptionError, DiskError, DiskFullError: they are not noted.
        """
        self.flush()
        with blame(self._path):
            self._journal.begin(self.applied_seq, keys)

    def trim_journal(self, seq: int) -> None:
        """Forget what changed up to a record, as all engines have taken it up."""
        self._journal.trim(seq)

    def get(self, key: bytes) -> Entry | None:
        """Read an entry with its value; None where the key is absent.

        Raises:
            CorruptionError: the row is not what was written.
            DiskError: it cannot be read.
        """
        staged = self._staged.entries.get(key)
        if staged is not None:
            return entry_of(staged[1], staged[0], value=True)
        with blame(self._path):
            row = self._rows.execute(rows.GET, (key,)).fetchone()
        return None if row is None else checks.entry(row, self._path)

    def head(self, key: bytes) -> Entry | None:
        """Read an entry without its value; None where the key is absent.

        Raises:
            CorruptionError, DiskError: it cannot be read.
        """
        staged = self._staged.entries.get(key)
        if staged is not None:
            return entry_of(staged[1], staged[0], value=False)
        with blame(self._path):
            row = self._rows.execute(rows.HEAD, (key,)).fetchone()
        return None if row is None else rows.headed_of(row)

    def several(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Read entries with their values; large and absent ones are left out.

        Args:
            keys: any number.

        Raises:
            CorruptionError: a row is not what was written.
            DiskError: it cannot be read.
        """
        staged, found = self._staged.entries, {}
        left = sorted({key for key in keys if key not in staged})
        columns = rows.ENTRY_COLUMNS
        with blame(self._path):
            for start in range(0, len(left), rows.FIND_MAX):
                part = left[start : start + rows.FIND_MAX]
                query = f"{rows.among(columns, len(part))} AND size <= {SMALL_BYTES}"
                for row in self._rows.execute(query, part):
                    found[row[0]] = checks.entry(row, self._path)
        return found

    def version(self, key: bytes) -> int | None:
        """Tell the version of a key; None where it is absent."""
        entry = self.head(key)
        return None if entry is None else entry.version

    def scan(
        self, prefix: bytes, after: bytes, limit: int, values: bool, max_bytes: int
    ) -> list[Entry]:
        """List entries in byte order; fewer than ``limit`` does not mean the end.

        Rows of graphs are listed only by a prefix that is theirs.

        Args:
            prefix: what their keys begin with; empty for all but rows of graphs.
            after: only keys behind this one; empty from the first.
            limit: at most so many, 1 or more.
            values: whether the values come too.
            max_bytes: stop before keys and values pass this; one comes in any case.

        Returns:
            The entries; none at the end only.

        Raises:
            CorruptionError, DiskError: they cannot be read.
        """
        self.flush()
        columns = rows.ENTRY_COLUMNS if values else rows.HEAD_COLUMNS
        where, bounds = rows.span_of(prefix, after)
        query = f"SELECT {columns} FROM entries {where} ORDER BY key LIMIT ?"  # noqa: S608
        found: list[Entry] = []
        with blame(self._path), closing(self._connection.cursor()) as cursor:
            for row in cursor.execute(query, (*bounds, limit)):
                entry = checks.entry(row, self._path) if values else rows.headed_of(row)
                max_bytes -= len(entry.key) + (entry.size if values else 0)
                if found and max_bytes < 0:
                    break
                found.append(entry)
        return found

    def keys_under(self, prefix: bytes, limit: int) -> list[bytes]:
        """List keys that begin with a prefix, the first ones in byte order.

        Args:
            prefix: not empty.
            limit: at most so many, 1 or more.
        """
        return [each.key for each in self.scan(prefix, b"", limit, False, 1 << 62)]

    def due(self, now_ns: int, limit: int) -> list[tuple[bytes, int]]:
        """List keys whose time is up, with their versions, the longest overdue first.

        Args:
            now_ns: the clock (Unix, nanoseconds); up is what expires at it or before.
            limit: at most so many.
        """
        self.flush()
        with blame(self._path):
            return self._connection.execute(rows.DUE, (now_ns, limit)).fetchall()

    def answered(self, key: str) -> Answered | None:
        """Find the answer to an idempotency key; None where it has none any more.

        Raises:
            CorruptionError, DiskError: it cannot be read.
        """
        staged = self._staged.answers.get(key)
        if staged is not None:
            return staged
        with blame(self._path):
            row = self._rows.execute(rows.ANSWERED, (key,)).fetchone()
        if row is None:
            return None
        found = (key, *row)
        return checks.answer(found, self._path)

    def digest(self) -> bytes:
        """Return 16 bytes that are equal where ``applied_seq`` and all content are."""
        self.flush()
        return rows.digest_of(self._facts)

    def reopen(self) -> None:
        """Open again after `close`: what stands there now, as `open` does.

        Raises:
            CorruptionError, DiskError, DiskFullError: as `open`; it stays closed.
        """
        with blame(self._path):
            self._connection = connect(self._path)
        self._durable_seq = 0
        self._staged = Staged()
        self.digests.clear()
        try:
            with blame(self._path):
                self._begin()
            self.checkpoint()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the database; what was written is then durable."""
        if self._writing is not None:
            self._writing.run()
        with blame(self._path):
            self._drop_reader()
            self._connection.close()

    def _begin(self, base: int = 0) -> None:
        """Make the tables of an empty database, or check those of another."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (tables,) = self._connection.execute(
            "SELECT count(*) FROM sqlite_master"
        ).fetchone()
        if pages > 1 or tables:
            self._facts = checks.verify(self._connection, self._path)
            self._journal = journal.Journal(self._connection)
            return
        self._connection.execute("BEGIN IMMEDIATE")
        for table in rows.TABLES:
            self._connection.execute(table)
        self._facts = Facts(base)
        self._write_facts(self._facts)
        self._connection.execute("COMMIT")
        self._journal = journal.Journal(self._connection)
        DiskFiles().sync_directory(self._path.parent)

    def _change(self, facts: Facts, records: Sequence[Record]) -> Facts:
        """Make the rows what they are after ``records``, and return the facts then."""
        change = MapChange(self._connection, facts, self._journal)
        change.records(records)
        last = records[-1]
        change.forget_answers(last.time_ns - IDEMPOTENCY_WINDOW_NS)
        self._journal.settle(last.seq)
        return change.facts(last)

    def _write_facts(self, facts: Facts) -> None:
        """Write the row of facts."""
        row = (*facts.columns(), facts.checksum())
        self._connection.execute(rows.SET_FACTS, row)
