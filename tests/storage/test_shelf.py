"""Where copies stand on the disk."""

from pathlib import Path

import pytest

from torua.core.ids import AllocId, ShardId
from torua.core.records import KvPut, Record
from torua.errors import DiskError
from torua.storage.files import DiskFiles
from torua.storage.shelf import Shelf

ONE, TWO = AllocId("a" * 32), AllocId("b" * 32)
SHARD = ShardId(7)


def test_a_copy_is_there_from_its_first_opening_to_its_erasing(tmp_path: Path) -> None:
    """Other copies of its shard are not touched."""
    shelf = Shelf(tmp_path / "shards", DiskFiles())
    assert not shelf.holds(SHARD, ONE)
    for alloc in (ONE, TWO):
        view = shelf.open(SHARD, alloc)
        view.apply([Record(SHARD, 1, 1, 1, (KvPut(b"k", b"v", "t"),))])
        view.close()
    assert shelf.holds(SHARD, ONE)
    shelf.erase(SHARD, ONE)
    shelf.erase(SHARD, ONE)
    assert not shelf.holds(SHARD, ONE)
    again = shelf.open(SHARD, TWO)
    assert again.version(b"k") == 1
    again.close()


def test_what_cannot_be_erased_is_told(tmp_path: Path) -> None:
    """As what the disk did."""
    shelf = Shelf(tmp_path, DiskFiles())
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / ONE).write_bytes(b"not a directory")
    with pytest.raises(DiskError):
        shelf.erase(SHARD, ONE)
