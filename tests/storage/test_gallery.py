"""Deliberate bugs, each of which the tests of this room must find.

Every switch is a small override of the real code, and runs through the same checks as
the real code does beside it; a switch that is not found means that a test is too weak.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from sqlite3 import Connection

import pytest

from tests.storage.faulty import FaultyFile, FaultyFiles, flipped
from tests.storage.histories import history
from tests.storage.lives import DIRECTORY, Lives
from tests.storage.test_map import copied
from tests.storage.test_replay import Copy
from torua.codec.records import spell_record
from torua.core.ids import AllocId, ShardId
from torua.core.records import KvPut, Record
from torua.errors import CorruptionError
from torua.storage import checks, segment
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.replay import replay
from torua.storage.rows import FACTS, Facts
from torua.storage.segment import Found, Item, Kind, Packer

A = AllocId("a" * 32)
Patch = Callable[[pytest.MonkeyPatch], None]


def swallow_fsync_error(patch: pytest.MonkeyPatch) -> None:
    """Take a failed sync for a warning."""
    sync = FaultyFile.sync

    def quiet(self: FaultyFile) -> None:
        """Sync, come what may."""
        try:
            sync(self)
        except OSError:
            return

    patch.setattr(FaultyFile, "sync", quiet)


def retry_fsync(patch: pytest.MonkeyPatch) -> None:
    """Try a failed sync once more (PostgreSQL before 2018)."""
    sync = FaultyFile.sync

    def again(self: FaultyFile) -> None:
        """Sync, and sync again where it failed."""
        try:
            sync(self)
        except OSError:
            sync(self)

    patch.setattr(FaultyFile, "sync", again)


def skip_fsync(patch: pytest.MonkeyPatch) -> None:
    """Leave it to the kernel."""
    patch.setattr(FaultyFile, "sync", lambda self: None)


def forget_the_directory(patch: pytest.MonkeyPatch) -> None:
    """Sync a new segment, but not its name."""
    patch.setattr(FaultyFiles, "sync_directory", lambda self, directory: None)


def go_on_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    """Raise once, and be in use again."""
    patch.setattr(Log, "_refuse_if_failed", lambda self: None)


def leave_the_half_of_a_refused_commit(patch: pytest.MonkeyPatch) -> None:
    """Do not cut off what a full disk took."""
    patch.setattr(Log, "_undo", lambda self, segment: None)


def forget_truncations(patch: pytest.MonkeyPatch) -> None:
    """Void entries in memory only, and find them again after a restart."""
    pack = Packer.pack

    def without(self: Packer, item: Item) -> Found:
        """Spell a position instead."""
        if item.kind is not Kind.TRUNCATE:
            return pack(self, item)
        spelled = pack(self, item._replace(kind=Kind.POSITION))
        return spelled._replace(kind=item.kind)

    patch.setattr(Packer, "pack", without)


def forget_terms_of_what_is_gone(patch: pytest.MonkeyPatch) -> None:
    """Note where a copy is at a segment's beginning, but not in which term."""
    pack = Packer.pack

    def without(self: Packer, item: Item) -> Found:
        """Spell a position of term 1."""
        wrong = item.kind == Kind.POSITION and item.seq
        spelled = pack(self, item._replace(term=1) if wrong else item)
        return spelled._replace(term=item.term)

    patch.setattr(Packer, "pack", without)


def lives_find(seeds: int = 400) -> bool:
    """Tell whether any life of a log ends in a broken promise."""
    for seed in range(seeds):
        try:
            Lives(seed).run()
        except (AssertionError, CorruptionError, KeyError):
            return True
    return False


def test_the_real_log_passes() -> None:
    """Without a switch nothing is found."""
    assert not lives_find()


@pytest.mark.parametrize(
    "switch",
    [
        swallow_fsync_error,
        retry_fsync,
        skip_fsync,
        forget_the_directory,
        go_on_after_a_failure,
        leave_the_half_of_a_refused_commit,
        forget_truncations,
        forget_terms_of_what_is_gone,
    ],
)
def test_a_log_that_lies_is_found(
    switch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seed shows an acknowledged entry missing, or a refused one there."""
    switch(monkeypatch)
    assert lives_find()


def cut_whatever_is_wrong(patch: pytest.MonkeyPatch) -> None:
    """Truncate the log at the first entry that is not true."""
    patch.setattr(segment, "_torn", lambda data, offset, seed: True)


def damage_is_served() -> bool:
    """Tell whether a log with a flipped bit in its middle serves less than it held."""
    files = FaultyFiles()
    log = Log.open(DIRECTORY, files)
    log.commit([Item(Kind.RECORD, A, 1, 1, [b"payload"] * 8)])
    path = DIRECTORY / files.names(DIRECTORY)[0]
    files.put(path, flipped(files.read(path) or b"", 150 * 8))
    try:
        return Log.open(DIRECTORY, files).last(A) < 8
    except CorruptionError:
        return False


def test_truncation_on_damage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real log refuses what the broken one serves short."""
    assert not damage_is_served()
    cut_whatever_is_wrong(monkeypatch)
    assert damage_is_served()


class MapWithPositionApart(Map):
    """Saves ``applied_seq`` in a transaction of its own, before the rows.

    Invariants: broken on purpose.
    """

    def apply(self, records: list[Record]) -> None:  # type: ignore[override]
        """Save the position, then the rows; a kill comes between them."""
        last = records[-1]
        facts = (last.seq, last.term, last.time_ns, *self._facts.columns()[3:])
        self._write_facts(Facts(*facts))
        self.between(records)

    def between(self, records: list[Record]) -> None:
        """Go on after the position was saved."""
        super().apply(records)


def state_differs(map_class: type[Map]) -> bool:
    """Tell whether a record is missing after a node was killed while applying it.

    The record was logged and so acknowledged; a broken map has saved by then only that
    it was applied.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Copy(Path(name), 4)
        copy.live(10)
        put = KvPut(b"last", b"value", "text/plain")
        last = Record(ShardId(0), 11, 1, copy.map.applied_time_ns + 1, (put,))
        copy.log.commit([Item(Kind.RECORD, A, 11, 1, [spell_record(last)])])
        dying = map_class(copy.path, copy.map._connection)
        dying._facts, dying._journal = copy.map._facts, copy.map._journal
        if isinstance(dying, MapWithPositionApart):
            dying.between = lambda records: None  # type: ignore[method-assign]
        dying.apply([last])
        left = Map.open(copied(copy.path, Path(name) / "left"))
        replay(copy.log, A, left, 1 << 60)
        value = left.get(b"last")
        left.close()
        copy.map.close()
        return value is None


def test_a_position_saved_apart_is_found() -> None:
    """The record that was applied only by name is missing after the replay."""
    assert not state_differs(Map)
    assert state_differs(MapWithPositionApart)


def lost_row_is_served(directory: Path) -> bool:
    """Tell whether a map opens with a row that is gone without a trace."""
    made = Map.open(directory / "map.db")
    made.apply(history(Random(7), 20))
    made._connection.execute(
        "DELETE FROM entries WHERE key = (SELECT min(key) FROM entries)"
    )
    made.close()
    try:
        Map.open(directory / "map.db").close()
    except CorruptionError:
        return False
    return True


def test_a_map_that_does_not_check_its_rows_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sums a lost key would be served as absent."""
    assert not lost_row_is_served(tmp_path / "real")

    def told(connection: Connection, path: Path) -> tuple[int, ...]:
        """Believe the row of facts.

        Args:
            connection: to the map.
            path: where that is.
        """
        return tuple(connection.execute(FACTS).fetchone()[3:6])

    monkeypatch.setattr(checks, "sums", told)
    assert lost_row_is_served(tmp_path / "broken")
