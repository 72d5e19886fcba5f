"""A data dir belongs to one process at a time."""

import os
from pathlib import Path

import pytest

from torua.errors import StartupError
from torua.storage.lock import DataDirLock


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    """The message names the data dir and the process."""
    lock = DataDirLock(tmp_path / "data")
    expected = f"data dir {tmp_path / 'data'} is in use by process {os.getpid()}"
    with pytest.raises(StartupError, match=f"^{expected}$"):
        DataDirLock(tmp_path / "data")
    lock.release()
    DataDirLock(tmp_path / "data").release()


def test_what_a_dead_process_left_does_not_hold_it(tmp_path: Path) -> None:
    """The file may be there with any number; only the kernel's lock counts."""
    (tmp_path / "lock").write_text("123456789\n")
    lock = DataDirLock(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_data_dir_that_cannot_be_is_told(tmp_path: Path) -> None:
    """A file in its place is a clear line too."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StartupError, match="cannot be used: "):
        DataDirLock(tmp_path / "data")
