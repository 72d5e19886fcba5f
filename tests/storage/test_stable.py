"""The few facts survive every crash, whole."""

import errno
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.faulty import FaultyFiles, damages
from torua.errors import CorruptionError, DiskError, DiskFullError
from torua.storage.files import DiskFiles
from torua.storage.stable import StableStore

PATH = Path("/facts")


def a_store(data: bytes | None = None) -> tuple[FaultyFiles, StableStore]:
    """Make a store, and save something in it."""
    files = FaultyFiles()
    store = StableStore(PATH, files)
    if data is not None:
        store.save(data)
    return files, store


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """On a real disk the last save counts, for another store too."""
    store = StableStore(tmp_path / "facts", DiskFiles())
    assert store.load() is None
    store.save(b"one")
    store.save(b"")
    assert StableStore(tmp_path / "facts", DiskFiles()).load() == b""
    assert DiskFiles().names(tmp_path) == ["facts"]


def test_a_leftover_is_ignored_and_overwritten() -> None:
    """What a save that never ended left beside the file does no harm."""
    files, store = a_store(b"one")
    files.put(Path("/facts.new"), b"half of something longer than what comes")
    assert store.load() == b"one"
    store.save(b"two")
    assert store.load() == b"two"


@given(
    before=st.binary(max_size=700),
    after=st.binary(max_size=700),
    call=st.integers(1, 6),
    code=st.sampled_from([errno.EIO, errno.ENOSPC, 0]),
    dice=st.randoms(use_true_random=False),
)
def test_a_crash_or_fault_leaves_the_old_or_the_new(
    before: bytes, after: bytes, call: int, code: int, dice: Random
) -> None:
    """Whatever fails: the old facts or the new, and these if told so."""
    files, store = a_store(before)
    files.fault = (files.calls + call, code) if code else None
    try:
        store.save(after)
        allowed = [after]
    except DiskFullError:
        allowed = [before]
    except DiskError:
        allowed = [before, after]
    assert StableStore(PATH, files.crash(dice)).load() in allowed


def test_after_a_failed_sync_it_never_saves_again() -> None:
    """A second sync would succeed and lie (fsyncgate)."""
    files, store = a_store(b"one")
    files.fault = (files.calls + 4, errno.EIO)
    for _ in range(2):
        with pytest.raises(DiskError, match="/facts: Input/output error"):
            store.save(b"two")
    assert files.failed == ["sync"]


def test_a_full_disk_leaves_the_old_facts_and_the_store_in_use() -> None:
    """No room is told as that, and it may be tried again."""
    files, store = a_store(b"one")
    files.fault = (files.calls + 3, errno.ENOSPC)
    with pytest.raises(DiskFullError, match="/facts: no room left"):
        store.save(b"two")
    assert (store.load(), files.failed) == (b"one", ["append"])
    store.save(b"two")
    assert store.load() == b"two"


@given(data=st.binary(max_size=300), dice=st.randoms(use_true_random=False))
def test_damage_is_refused_by_name(data: bytes, dice: Random) -> None:
    """A flipped bit anywhere, or any missing end, is told with the file's name."""
    files, store = a_store(data)
    whole = files.read(PATH) or b""
    for damaged in damages(whole, dice, 10):
        files.put(PATH, damaged)
        with pytest.raises(CorruptionError, match="/facts is damaged") as caught:
            store.load()
        assert caught.value.members == {"file": "/facts"}


def test_a_file_that_cannot_be_read_is_no_empty_store() -> None:
    """An error of the disk is told, never taken for absence."""
    files, store = a_store(b"one")
    files.fault = (files.calls + 1, errno.EIO)
    with pytest.raises(DiskError):
        store.load()
