"""Log and map together: any stop is followed by the same state, or a clear line."""

import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.faulty import FaultyFiles
from tests.storage.histories import history
from torua.codec.records import spell_record
from torua.core.ids import AllocId
from torua.core.records import Record
from torua.errors import CorruptionError
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.replay import replay
from torua.storage.segment import Item, Kind

A = AllocId("a" * 32)
DIRECTORY = Path("/log")


def logged(records: list[Record]) -> list[Item]:
    """Spell records as entries of the one copy."""
    return [
        Item(Kind.RECORD, A, record.seq, record.term, [spell_record(record)])
        for record in records
    ]


class Copy:
    """One copy as a node keeps it: logged, applied, cut below what is durable.

    Invariants: ``digests[seq]`` is the map's after that record.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        """Make an empty one.

        Args:
            directory: where the map is.
            seed: decides its history.
        """
        self.path = directory / "map.db"
        self.dice = Random(seed)
        self.files = FaultyFiles()
        self.log = Log.open(DIRECTORY, self.files, 900)
        self.map = Map.open(self.path)
        self.records = history(self.dice, 20)
        self.digests = [self.map.digest()]

    def live(self, count: int) -> None:
        """Take the next records as a node does; now and then make room."""
        first = self.map.applied_seq
        for record in self.records[first : first + count]:
            self.log.commit(logged([record]))
            self.map.apply([record])
            self.digests.append(self.map.digest())
            if self.dice.random() < 0.2:
                self.map.checkpoint()
                self.log.cut(A, self.map.durable_seq)

    def killed(self, directory: Path) -> tuple[Log, Path]:
        """Return what is left of log and map; the WAL is torn anywhere.

        Args:
            directory: where the map's files go.
        """
        left = directory / "left"
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
        for name in ("map.db", "map.db-wal"):
            shutil.copy(directory / name, left)
        wal = left / "map.db-wal"
        if self.map.durable_seq < self.map.applied_seq:
            synced = 0 if self.map.durable_seq == 0 else wal.stat().st_size
            size = self.dice.randint(synced, wal.stat().st_size)
            wal.write_bytes(wal.read_bytes()[:size])
        log = Log.open(DIRECTORY, self.files.crash(self.dice), 900)
        return log, left / "map.db"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_after_any_crash_replay_gives_the_same_state(seed: int) -> None:
    """Every acknowledged record is there, and the digest is that of one that lived."""
    with tempfile.TemporaryDirectory() as name:
        copy = Copy(Path(name), seed)
        copy.live(copy.dice.randint(1, 20))
        log, path = copy.killed(Path(name))
        found = Map.open(path)
        replay(log, A, found, 1 << 60)
        assert found.digest() == copy.digests[-1]
        found.close()
        copy.map.close()


def test_a_map_ahead_of_its_log_is_refused(tmp_path: Path) -> None:
    """A log that lost its end would otherwise give the same seqs out again."""
    copy = Copy(tmp_path, 1)
    copy.live(5)
    files = FaultyFiles()
    log = Log.open(DIRECTORY, files)
    for entries in (logged(copy.records[:4]), []):
        log.commit(entries)
        with pytest.raises(
            CorruptionError, match="has lost records: its map ends at 5"
        ):
            replay(log, A, copy.map, 1 << 60)
    copy.map.close()


def test_a_log_that_begins_behind_its_map_is_refused(tmp_path: Path) -> None:
    """A map that was lost cannot be made again from half a log."""
    copy = Copy(tmp_path, 2)
    log = Log.open(DIRECTORY, FaultyFiles())
    log.set_start(A, 3, 1)
    log.commit(logged(copy.records[3:]))
    with pytest.raises(CorruptionError, match="its log holds 4 to 20"):
        replay(log, A, copy.map, 1 << 60)
    copy.map.close()


def test_an_entry_that_is_no_record_is_refused(tmp_path: Path) -> None:
    """Bytes that are what was written, but mean nothing, are told by their seq."""
    log = Log.open(DIRECTORY, FaultyFiles())
    log.commit([Item(Kind.RECORD, A, 1, 1, [b"\xff"])])
    made = Map.open(tmp_path / "map.db")
    with pytest.raises(CorruptionError, match=f"record 1 of copy {A} is none"):
        replay(log, A, made, 1 << 60)
    made.close()


def test_a_whole_copy_is_made_again_from_its_log(tmp_path: Path) -> None:
    """Without a map everything is applied, in more than one batch where it is much."""
    copy = Copy(tmp_path, 3)
    log = Log.open(DIRECTORY, FaultyFiles())
    log.commit(logged(copy.records))
    copy.map.apply(copy.records)
    with closing(Map.open(tmp_path / "other.db")) as made:
        replay(log, A, made, 1 << 60)
        assert made.digest() == copy.map.digest()
        replay(log, A, made, 1 << 60)
        assert made.applied_seq == 20
    copy.map.close()
