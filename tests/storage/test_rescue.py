"""A damaged log is set aside, and never served."""

from pathlib import Path

from tests.storage.faulty import flipped
from torua.core.ids import AllocId
from torua.storage.files import DiskFiles
from torua.storage.log import Log
from torua.storage.rescue import open_log
from torua.storage.segment import Item, Kind

A = AllocId("a" * 32)


def test_a_sound_log_is_opened_as_it_is(tmp_path: Path) -> None:
    """Nothing is set aside."""
    log = Log.open(tmp_path / "log", DiskFiles())
    log.commit([Item(Kind.RECORD, A, 1, 1, [b"payload"])])
    log.close()
    log, trouble = open_log(tmp_path / "log", DiskFiles(), "1")
    assert (log.last(A), trouble) == (1, "")
    log.close()


def test_a_damaged_log_is_kept_for_people(tmp_path: Path) -> None:
    """The node begins an empty one, and says what is wrong, and where the old is."""
    log = Log.open(tmp_path / "log", DiskFiles())
    log.commit([Item(Kind.RECORD, A, 1, 1, [b"payload"] * 2)])
    log.close()
    (path,) = (tmp_path / "log").iterdir()
    damaged = flipped(path.read_bytes(), 100 * 8)
    path.write_bytes(damaged)
    log, trouble = open_log(tmp_path / "log", DiskFiles(), "7")
    assert log.allocs == []
    assert "is damaged at byte" in trouble
    assert str(tmp_path / "log.damaged-7") in trouble
    assert (tmp_path / "log.damaged-7" / path.name).read_bytes() == damaged
    log.commit([Item(Kind.RECORD, A, 1, 1, [b"new"])])
    log.close()
