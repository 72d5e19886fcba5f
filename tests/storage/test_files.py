"""Both file layers, the real and the faulty one, keep the same contract."""

import errno
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.storage.faulty import FaultyFiles
from torua.storage.files import DiskFiles, Files


@pytest.fixture(params=["disk", "faulty"])
def layer(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Files, Path]]:
    """Give a file layer, and a directory in it.

    Args:
        request: which layer.
        tmp_path: a directory of the real disk, and a name in the other.
    """
    files: Files = DiskFiles() if request.param == "disk" else FaultyFiles()
    files.make_directory(tmp_path / "data")
    yield files, tmp_path / "data"


Layer = tuple[Files, Path]


class TestBothLayers:
    """What every `Files` does.

    Invariants: none.
    """

    def test_a_file_grows_at_its_end(self, layer: Layer) -> None:
        """Appended bytes follow each other, also when it was opened twice."""
        files, directory = layer
        first = files.open(directory / "a")
        first.append(b"one")
        first.sync()
        second = files.open(directory / "a")
        second.append(b"two")
        assert (first.read(0, 99), second.read(2, 2)) == (b"onetwo", b"et")
        assert (first.size(), files.read(directory / "a")) == (6, b"onetwo")
        first.close()
        second.close()

    def test_a_cut_file_goes_on_where_it_was_cut(self, layer: Layer) -> None:
        """What follows a truncate stands at the new end."""
        files, directory = layer
        file = files.open(directory / "a")
        file.append(b"onetwo")
        file.truncate(3)
        file.append(b"four")
        assert file.read(0, 99) == b"onefour"
        file.close()

    def test_a_replaced_name_means_the_new_file(self, layer: Layer) -> None:
        """After a replace only the target's name is left, with the source's content."""
        files, directory = layer
        for name in ("old", "new"):
            file = files.open(directory / name)
            file.append(name.encode())
            file.close()
        files.replace(directory / "new", directory / "old")
        files.sync_directory(directory)
        assert files.names(directory) == ["old"]
        assert files.read(directory / "old") == b"new"

    def test_what_is_missing_is_missing(self, layer: Layer) -> None:
        """There is nothing to read, list or remove, and nothing is made on the way."""
        files, directory = layer
        assert files.read(directory / "a") is None
        assert files.names(directory / "a") == []
        files.remove(directory / "a")
        with pytest.raises(FileNotFoundError):
            files.open(directory / "a" / "b")

    def test_directories_are_made_once(self, layer: Layer) -> None:
        """Making one makes those above it, and it may be there already."""
        files, directory = layer
        for _ in range(2):
            files.make_directory(directory / "b" / "c")
        assert files.names(directory) == ["b"]
        files.open(directory / "b" / "c" / "d").close()
        files.remove(directory / "b" / "c" / "d")
        assert files.names(directory / "b" / "c") == []


def a_faulty_file() -> tuple[FaultyFiles, Path]:
    """Make a durable file that holds ``synced``."""
    files = FaultyFiles()
    files.put(Path("/a"), b"synced")
    return files, Path("/a")


def test_a_crash_keeps_what_was_synced_and_any_part_of_the_rest() -> None:
    """Every prefix of an unsynced write is left by some crash, and nothing else."""
    files, path = a_faulty_file()
    files.open(path).append(b"123")
    left = {files.crash(Random(seed)).read(path) for seed in range(300)}
    torn = {b"synced" + b"123"[:cut] for cut in range(4)}
    assert left == torn | {b"synced\0\0\0"}


def test_a_crash_may_undo_names_that_were_not_synced() -> None:
    """A replace without a sync of the directory is there after some crashes only."""
    files, path = a_faulty_file()
    file = files.open(Path("/b"))
    file.append(b"new")
    file.sync()
    files.replace(Path("/b"), path)
    left = {files.crash(Random(seed)).read(path) for seed in range(50)}
    assert left == {b"synced", b"new"}
    files.sync_directory(Path("/"))
    assert {files.crash(Random(seed)).read(path) for seed in range(50)} == {b"new"}


def test_a_failed_sync_loses_the_bytes_and_the_next_one_says_nothing() -> None:
    """It behaves as kernels do: the pages are clean, and the data is gone."""
    files, path = a_faulty_file()
    file = files.open(path)
    file.append(b"lost")
    files.fault = (files.calls + 1, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.sync()
    assert files.crash(Random(0)).read(path) == b"synced\0\0\0\0"
