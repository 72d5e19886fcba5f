"""Where copies stand on the disk."""

from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from msgspec.structs import replace

from torua.codec.records import spell_record
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Entry
from torua.core.records import KvPut, Record
from torua.core.replication.messages import CopyFacts
from torua.errors import CorruptionError, DiskError
from torua.storage import checks
from torua.storage.files import DiskFile, DiskFiles
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.replay import replay
from torua.storage.rows import Row, digest_of
from torua.storage.segment import Item, Kind
from torua.storage.shelf import MAP_NAME, Shelf, SnapshotFacts

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


def records(first: int, last: int) -> list[Record]:
    """Make records, each of which sets a key of its own.

    Args:
        first: the first one's seq.
        last: the last one's.
    """
    return [
        Record(SHARD, seq, 1, seq, (KvPut(b"%d" % seq, b"v" * 3000, "t"),))
        for seq in range(first, last + 1)
    ]


def sent(shelf: Shelf, alloc: AllocId, view: Map) -> tuple[SnapshotFacts, bytes]:
    """Take a snapshot, and say of it what a sender says.

    Args:
        shelf: where the copy is.
        alloc: which copy.
        view: its map.
    """
    target = shelf.outgoing(SHARD, alloc, "1")
    facts = view.snapshot(target)
    data = target.read_bytes()
    shelf.discard(target)
    digest = digest_of(facts)
    return (
        SnapshotFacts(facts.applied_seq, facts.term, facts.time_ns, len(data), digest),
        data,
    )


class Killed(BaseException):
    """The process is no more."""


class DyingFiles(DiskFiles):
    """The real file layer, until the process dies.

    Invariants: ``left`` calls are still done.
    """

    left = 1 << 30

    def step(self) -> None:
        """Count a call."""
        self.left -= 1
        if self.left < 0:
            raise Killed

    def open(self, path: Path) -> DiskFile:
        """See `Files.open`."""
        self.step()
        return super().open(path)

    def make_directory(self, directory: Path) -> None:
        """See `Files.make_directory`."""
        self.step()
        super().make_directory(directory)

    def sync_directory(self, directory: Path) -> None:
        """See `Files.sync_directory`."""
        self.step()
        super().sync_directory(directory)

    def replace(self, source: Path, target: Path) -> None:
        """See `Files.replace`.

        Args:
            source: the file.
            target: its new name.
        """
        self.step()
        super().replace(source, target)


def install(shelf: Shelf, log: Log, facts: SnapshotFacts, data: bytes) -> None:
    """Receive and install a snapshot as a node does.

    Args:
        shelf: where the copy is.
        log: of the node.
        facts: what is sent.
        data: the same, in bytes.
    """
    incoming = shelf.receive(SHARD, TWO, facts)
    for begin in range(0, len(data), 10_000):
        incoming.write(data[begin : begin + 10_000])
    shelf.finish(SHARD, TWO, incoming)
    shelf.prepare(SHARD, TWO, CopyFacts("h", 3, facts.seq))
    log.set_start(TWO, facts.seq, facts.term)
    shelf.switch(SHARD, TWO)


def reopened(tmp_path: Path) -> tuple[Log, Shelf, Map]:
    """Open all that a dead process left."""
    log = Log.open(tmp_path / "log", DiskFiles())
    shelf = Shelf(tmp_path / "shards", DiskFiles())
    shelf.clean()
    seq, term = log.start(TWO)
    shelf.settle(SHARD, TWO, (seq, term))
    view = shelf.open(SHARD, TWO)
    replay(log, TWO, view, 1 << 60)
    return log, shelf, view


@pytest.mark.parametrize("left", range(40))
def test_a_snapshot_is_installed_whole_or_not_at_all(tmp_path: Path, left: int) -> None:
    """Wherever the process dies, log and map fit together, and nothing is left over."""
    files = DyingFiles()
    shelf = Shelf(tmp_path / "shards", files)
    log = Log.open(tmp_path / "log", DiskFiles())
    source, old = shelf.open(SHARD, ONE), shelf.open(SHARD, TWO)
    source.apply(records(1, 50))
    log.commit([Item(Kind.RECORD, TWO, 1, 1, list(map(spell_record, records(1, 7))))])
    old.apply(records(1, 5))
    old.close()
    shelf.keep(SHARD, TWO, CopyFacts("h", 1, 5))
    facts, data = sent(shelf, ONE, source)
    files.left = left
    try:
        install(shelf, log, facts, data)
    except Killed:
        pass
    else:
        assert left > 10
    decided = log.start(TWO) == (50, 1)
    log.close()
    log, shelf, view = reopened(tmp_path)
    if decided:
        assert view.digest() == source.digest()
        assert shelf.facts(SHARD, TWO) == CopyFacts("h", 3, 50)
    else:
        assert view.applied_seq == 7
        assert shelf.facts(SHARD, TWO) == CopyFacts("h", 1, 5)
    names = {path.name for path in (tmp_path / "shards" / "7").iterdir()}
    assert names == {ONE, TWO} - (set() if shelf.holds(SHARD, ONE) else {ONE})
    log.commit([Item(Kind.RECORD, TWO, log.last(TWO) + 1, 2, [b""])])
    for each in (source, view, log):
        each.close()


def test_a_snapshot_that_is_not_what_was_sent_is_refused(tmp_path: Path) -> None:
    """A flipped bit anywhere in it, or another than was announced."""
    shelf = Shelf(tmp_path / "shards", DiskFiles())
    log = Log.open(tmp_path / "log", DiskFiles())
    with closing(shelf.open(SHARD, ONE)) as source:
        source.apply(records(1, 9))
        facts, data = sent(shelf, ONE, source)
    place = data.index(b"v" * 3000)
    for wrong in (
        (facts, data[: place + 9] + b"w" + data[place + 10 :]),
        (replace(facts, digest=b"x" * 16), data),
        (replace(facts, term=2), data),
    ):
        with pytest.raises(CorruptionError):
            install(shelf, log, *wrong)
    assert log.start(TWO) == (0, 0)
    log.close()


def test_a_snapshot_is_of_one_moment(tmp_path: Path) -> None:
    """What is applied while it is taken is in it whole, or not at all."""
    shelf = Shelf(tmp_path, DiskFiles())
    view = shelf.open(SHARD, ONE)
    view.apply(records(1, 300))
    found: list[tuple[SnapshotFacts, bytes]] = []
    thread = Thread(target=lambda: found.append(sent(shelf, ONE, view)))
    thread.start()
    seq = 300
    while thread.is_alive():
        seq += 1
        view.apply(records(seq, seq))
    thread.join()
    facts, data = found[0]
    path = tmp_path / "copy.db"
    path.write_bytes(data)
    with closing(Map.open(path)) as copy:
        assert copy.digest() == facts.digest
        assert 300 <= copy.applied_seq <= seq
        assert copy.version(b"%d" % facts.seq) == facts.seq
    view.close()


def test_a_scrub_finds_what_rotted_while_it_was_open(tmp_path: Path) -> None:
    """A row that nobody reads would else be found at the next start only."""
    shelf = Shelf(tmp_path, DiskFiles())
    view = shelf.open(SHARD, ONE)
    view.apply(records(1, 9))
    view.checkpoint()
    view.scrub()
    path = tmp_path / "7" / ONE / MAP_NAME
    content = path.read_bytes()
    place = content.index(b"v" * 3000)
    path.write_bytes(content[:place] + b"w" + content[place + 1 :])
    with pytest.raises(CorruptionError):
        view.scrub()
    view.close()


def test_a_scrub_is_stopped_for_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in the middle, and finds nothing wrong in that."""
    view = Shelf(tmp_path, DiskFiles()).open(SHARD, ONE)
    view.apply(records(1, 300))
    entry, seen = checks.entry, []

    def stop(row: Row, path: Path) -> Entry:
        """Read a row; the stop comes at the first.

        Args:
            row: as it was read.
            path: of the map.
        """
        seen.append(row)
        view.stop_scrub()
        return entry(row, path)

    monkeypatch.setattr(checks, "entry", stop)
    view.scrub()
    assert len(seen) < 300
    view.stop_scrub()
    view.close()


def test_all_that_is_here_is_listed_and_erased(tmp_path: Path) -> None:
    """Also what a dead process was sending, receiving, or about to install."""
    shelf = Shelf(tmp_path / "shards", DiskFiles())
    assert shelf.copies() == []
    shelf.open(SHARD, ONE).close()
    facts = SnapshotFacts(1, 1, 1, 1, b"")
    shelf.receive(SHARD, TWO, facts).close()
    shelf.drop(SHARD, TWO)
    shelf.outgoing(SHARD, ONE, "1").write_bytes(b"x")
    assert shelf.copies() == [(SHARD, ONE), (SHARD, TWO)]
    shelf.clean()
    assert shelf.copies() == [(SHARD, ONE)]
    shelf.receive(SHARD, ONE, facts).close()
    shelf.erase(SHARD, ONE)
    assert shelf.copies() == []


def test_what_cannot_be_erased_is_told(tmp_path: Path) -> None:
    """As what the disk did."""
    shelf = Shelf(tmp_path, DiskFiles())
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / ONE).write_bytes(b"not a directory")
    with pytest.raises(DiskError):
        shelf.erase(SHARD, ONE)
