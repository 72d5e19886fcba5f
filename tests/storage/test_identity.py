"""A node keeps its id for as long as its data dir lives, and no longer."""

from pathlib import Path

import pytest

from tests.storage.faulty import FaultyFiles
from torua.codec import plain
from torua.errors import CorruptionError
from torua.storage.identity import KeptIdentity, begin_life, begin_votes
from torua.storage.stable import StableStore

DATA = Path("/data")


def a_data_dir() -> FaultyFiles:
    """Make an empty one."""
    files = FaultyFiles()
    files.make_directory(DATA)
    return files


def live(files: FaultyFiles, unix_ms: int, name: str | None = None) -> KeptIdentity:
    """Begin a life; a new id would be all ``a``s, then all ``b``s.

    Args:
        files: the disk.
        unix_ms: the clock.
        name: given this time.
    """
    fresh = "b" if files.read(DATA / "identity") else "a"
    return begin_life(DATA, files, unix_ms, lambda: fresh * 32, name)


def test_the_id_is_made_once_and_the_epoch_rises() -> None:
    """Later lives have the same id and a higher epoch, though the clock went back."""
    files = a_data_dir()
    first = live(files, 1000, "one")
    assert first == KeptIdentity(first.node_id, "one", 1000)
    assert first.node_id == "a" * 32
    assert live(files, 500) == KeptIdentity(first.node_id, "one", 1001)
    assert live(files, 2000, "uno") == KeptIdentity(first.node_id, "uno", 2000)


def test_a_node_without_a_name_takes_one_from_its_id() -> None:
    """Two of them can be told apart."""
    assert live(a_data_dir(), 1).name == "node-aaaaaaaa"


@pytest.mark.parametrize("kept", ["log/0000000000000001.log", "shards/0", "votes"])
def test_a_lost_identity_is_not_replaced_over_old_data(kept: str) -> None:
    """Where the log, the shards or the votes of a node are, no other one begins."""
    files = a_data_dir()
    files.make_directory((DATA / kept).parent)
    files.put(DATA / kept, b"something")
    with pytest.raises(CorruptionError, match=r"/data has lost its identity: "):
        live(files, 1)
    assert files.read(DATA / "identity") is None


def test_empty_directories_are_no_old_data() -> None:
    """What a first start made before it died does not stop the second."""
    files = a_data_dir()
    files.make_directory(DATA / "log")
    files.put(DATA / "lock", b"12\n")
    assert live(files, 7).boot_epoch == 7


def test_a_damaged_identity_is_refused() -> None:
    """Neither flipped bits nor another file under its name make a node."""
    files = a_data_dir()
    live(files, 1)
    files.flip(DATA / "identity", 200)
    with pytest.raises(CorruptionError, match="/data/identity is damaged"):
        live(files, 2)
    StableStore(DATA / "identity", files).save(plain.encode(["no", "identity"]))
    with pytest.raises(CorruptionError, match="/data/identity is damaged"):
        live(files, 2)


def test_votes_are_begun_once_and_must_be_there_ever_after() -> None:
    """A node whose votes are gone is refused: its old id would vote again (C8)."""
    files = a_data_dir()
    begin_votes(DATA, files, live(files, 1), b"none yet").save(b"one")
    assert begin_votes(DATA, files, live(files, 2), b"none yet").load() == b"one"
    files.remove(DATA / "votes")
    with pytest.raises(CorruptionError, match="/data/votes is missing"):
        begin_votes(DATA, files, live(files, 3), b"none yet")


def test_a_crash_before_the_votes_were_begun_is_no_loss() -> None:
    """An identity alone is a node that never voted."""
    files = a_data_dir()
    live(files, 1)
    votes = begin_votes(DATA, files, live(files, 2), b"none yet")
    assert votes.load() == b"none yet"
