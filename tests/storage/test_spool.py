"""Files that are kept only while something is done with them."""

from pathlib import Path

import pytest

from torua.errors import DiskFullError, TooLargeError
from torua.storage import spool
from torua.storage.spool import Spool, clear_spools


def test_a_spool_is_read_as_it_was_written_and_then_gone(tmp_path: Path) -> None:
    """Its directory is made; closing it twice does no harm."""
    kept = Spool(tmp_path / "in" / "one")
    kept.write(b"abc")
    kept.write(b"def")
    kept.finish()
    assert kept.path.read_bytes() == b"abcdef"
    kept.close()
    kept.close()
    assert list((tmp_path / "in").iterdir()) == []


def test_a_spool_is_bounded(tmp_path: Path) -> None:
    """More than it may have is refused."""
    kept = Spool(tmp_path / "one", bytes_max=5)
    kept.write(b"abcde")
    with pytest.raises(TooLargeError):
        kept.write(b"f")
    kept.close()


def test_a_spool_leaves_room_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at the beginning, and again and again."""
    monkeypatch.setattr(spool, "CHECK_BYTES", 10)
    free = [spool.FREE_BYTES_MIN + 100, spool.FREE_BYTES_MIN]
    kept = Spool(tmp_path / "one", free=lambda _: free.pop(0))
    kept.write(b"12345")
    kept.write(b"1234")
    with pytest.raises(DiskFullError):
        kept.write(b"1")
    kept.close()


def test_what_a_dead_process_left_is_thrown_away(tmp_path: Path) -> None:
    """There may be nothing, not even a directory."""
    Spool(tmp_path / "in" / "one").write(b"abc")
    clear_spools(tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []
    clear_spools(tmp_path / "nowhere")
