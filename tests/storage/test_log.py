"""The log keeps what was committed, or refuses; it never serves less."""

import errno
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.faulty import FaultyFiles, flipped
from tests.storage.lives import ALLOCS, DIRECTORY, Lives
from torua.core.ids import AllocId
from torua.errors import CorruptionError, DiskError, DiskFullError
from torua.storage.files import DiskFiles
from torua.storage.log import Log, LogEntry
from torua.storage.segment import Item, Kind, Packer, seed_of, spell_header

A, B, C = ALLOCS


def entries(alloc: AllocId, *seqs: int, size: int = 10) -> list[LogEntry]:
    """Make entries of one copy.

    Args:
        alloc: whose.
        seqs: which.
        size: of each payload.
    """
    return [LogEntry(alloc, seq, 1, bytes([seq % 256]) * size) for seq in seqs]


def runs(alloc: AllocId, *seqs: int, size: int = 10) -> list[Item]:
    """Make the same entries as they are committed.

    Args:
        alloc: whose.
        seqs: which.
        size: of each payload.
    """
    found: list[Item] = []
    for entry in entries(alloc, *seqs, size=size):
        if found and entry.seq == found[-1].last + 1:
            payloads = [*found[-1].payloads, entry.payload]
            found[-1] = found[-1]._replace(payloads=payloads)
        else:
            found.append(Item(Kind.RECORD, alloc, entry.seq, 1, [entry.payload]))
    return found


def a_log(files: FaultyFiles, segment_bytes: int = 400) -> Log:
    """Open a log of small segments.

    Args:
        files: the disk.
        segment_bytes: how small.
    """
    return Log.open(DIRECTORY, files, segment_bytes, retention_bytes=0)


def segments(files: FaultyFiles) -> list[Path]:
    """List the files of the log."""
    return [DIRECTORY / name for name in files.names(DIRECTORY)]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_every_acknowledged_entry_survives_crashes_and_faults(seed: int) -> None:
    """EIO or ENOSPC at any call, torn at any byte: it opens, and all are there."""
    Lives(seed).run()


def test_copies_are_kept_apart_in_one_log(tmp_path: Path) -> None:
    """On a real disk each copy's entries come back in order, after a restart too."""
    log = Log.open(tmp_path / "log", DiskFiles(), 300)
    log.set_start(B, 100, 1)
    for turn in range(1, 30):
        log.commit(runs(A, turn) + runs(B, 2 * turn + 99, 2 * turn + 100))
    log.close()
    log = Log.open(tmp_path / "log", DiskFiles(), 300)
    assert log.read(A, 0, 1 << 20) == entries(A, *range(1, 30))
    assert log.read(B, 150, 1 << 20) == entries(B, *range(151, 159))
    assert (log.first(B), log.last(B)) == (101, 158)
    assert (log.first(C), log.last(C), log.read(C, 0, 1)) == (1, 0, [])
    assert log.allocs == [A, B]
    assert log.size_bytes == sum(
        path.stat().st_size for path in (tmp_path / "log").iterdir()
    )
    log.close()


def test_a_read_is_bounded_but_never_empty() -> None:
    """It stops before the bytes asked for; one entry comes in any case."""
    log = a_log(FaultyFiles())
    log.commit(runs(A, *range(1, 10), size=100))
    assert log.read(A, 2, 250) == entries(A, 3, 4, size=100)
    assert log.read(A, 2, 0) == entries(A, 3, size=100)
    assert log.read(A, 9, 1000) == []


def test_a_gap_is_a_mistake_of_ours() -> None:
    """Entries out of order are asserted against before anything is written."""
    log = a_log(FaultyFiles())
    log.commit(runs(A, 1))
    size = log.size_bytes
    for wrong in ([1], [3], [2, 4]):
        with pytest.raises(AssertionError):
            log.commit(runs(A, *wrong))
    assert (log.last(A), log.size_bytes) == (1, size)


def test_room_is_made_when_no_copy_needs_a_segment() -> None:
    """A copy that lags holds segments back; its cut lets them go, oldest first."""
    files = FaultyFiles()
    log = a_log(files)
    for turn in range(1, 41):
        log.commit(runs(A, turn) + runs(B, turn))
    before = len(segments(files))
    log.cut(A, 40)
    assert len(segments(files)) == before
    log.cut(B, 20)
    assert 1 < len(segments(files)) < before
    log.cut(B, 40)
    assert len(segments(files)) == 1
    assert (log.last(A), log.read(A, 40, 1)) == (40, [])
    assert log.first(A) > 35


def test_what_no_view_needs_is_retained_for_copies_elsewhere() -> None:
    """Up to so many bytes; the oldest goes first, and can be read until then."""
    files = FaultyFiles()
    log = Log.open(DIRECTORY, files, 400, retention_bytes=2000)
    for turn in range(1, 101):
        log.commit(runs(A, turn))
        log.cut(A, turn)
    assert 1500 < log.size_bytes <= 2400
    first = log.first(A)
    assert log.read(A, first - 1, 1 << 20) == entries(A, *range(first, 101))


def test_void_entries_stay_void() -> None:
    """After a restart too, and also where all that was left of them is gone."""
    files = FaultyFiles()
    log = a_log(files)
    log.commit(runs(A, *range(1, 9)) + runs(B, 1))
    log.cut(A, 4)
    log.commit(
        [
            Item(Kind.TRUNCATE, A, 6, 1),
            Item(Kind.RECORD, A, 7, 3, [b"seven"]),
            Item(Kind.TRUNCATE, B, 0, 0),
        ]
    )
    assert log.read(A, 6, 100) == [LogEntry(A, 7, 3, b"seven")]
    log.commit([Item(Kind.TRUNCATE, A, 4, 1)])
    for turn in range(1, 40):
        log.commit(runs(B, turn))
    log.cut(B, 39)
    assert segments(files)[0].name > "0000000000000003"
    for each in (log, a_log(files.crash(Random(1)))):
        assert (each.last(A), each.term_at(A, 4)) == (4, 1)
        assert each.term_at(A, 5) is None
    log = each
    log.commit([Item(Kind.RECORD, A, 5, 4, [b"five"])])
    assert log.read(A, 4, 100) == [LogEntry(A, 5, 4, b"five")]


def test_what_a_view_has_applied_cannot_be_voided() -> None:
    """It was committed, so nobody may ask for that."""
    log = a_log(FaultyFiles())
    log.commit(runs(A, *range(1, 9)))
    log.cut(A, 5)
    for wrong in (4, 9):
        with pytest.raises(AssertionError):
            log.commit([Item(Kind.TRUNCATE, A, wrong, 1)])
    assert log.last(A) == 8


def test_a_copy_begins_anew_behind_a_snapshot() -> None:
    """What it had is gone, and the term of the snapshot's last record is known."""
    files = FaultyFiles()
    log = a_log(files)
    log.commit(runs(A, *range(1, 9)))
    log.set_start(A, 100, 7)
    for each in (log, a_log(files.crash(Random(1)))):
        assert (each.first(A), each.last(A)) == (101, 100)
        assert (each.term_at(A, 100), each.term_at(A, 8)) == (7, None)
    with pytest.raises(AssertionError):
        log.commit([Item(Kind.RECORD, A, 101, 6, [b"of an older term"])])
    log.commit([Item(Kind.RECORD, A, 101, 7, [b"x"])])


def test_a_copy_whose_entries_are_gone_is_still_known() -> None:
    """Its last seq stands in a later segment, so that a lost log shows."""
    files = FaultyFiles()
    log = a_log(files)
    log.commit(runs(A, 1, 2, 3))
    log.cut(A, 3)
    for turn in range(1, 40):
        log.commit(runs(B, turn))
    log.cut(B, 39)
    log = a_log(files.crash(Random(1)))
    assert (log.first(A), log.last(A), log.term_at(A, 3)) == (4, 3, 1)
    log.commit(runs(A, 4))
    assert log.read(A, 3, 100) == entries(A, 4)


def test_a_forgotten_copy_stays_forgotten() -> None:
    """After a restart it holds nothing back, though its entries are still there."""
    files = FaultyFiles()
    log = a_log(files)
    for turn in range(1, 20):
        log.commit(runs(A, turn) + runs(B, turn))
    log.forget(A)
    log.forget(C)
    files = files.crash(Random(1))
    log = a_log(files)
    assert (log.allocs, log.last(A)) == ([B], 0)
    log.cut(B, 19)
    assert len(segments(files)) == 1


def test_a_full_disk_leaves_the_log_in_use() -> None:
    """Nothing of the commit is kept, and the next one finds its place."""
    for first in (True, False):
        files = FaultyFiles()
        log = a_log(files)
        if not first:
            log.commit(runs(A, 1))
        seq = log.last(A) + 1
        for call in (1, 2) if first else (1,):
            files.fault = (files.calls + call, errno.ENOSPC)
            with pytest.raises(DiskFullError, match="no room left"):
                log.commit(runs(A, seq, seq + 1))
        assert log.last(A) == seq - 1
        log.commit(runs(A, seq))
        assert a_log(files.crash(Random(2))).last(A) == seq


def test_a_full_disk_that_cannot_be_undone_ends_the_log() -> None:
    """Where the half-written commit cannot be cut off, nothing may follow it."""
    files = FaultyFiles()
    log = a_log(files)
    log.commit(runs(A, 1))
    step, failing = files.step, iter(["append", "truncate"])

    def fail_both(call: str) -> None:
        """Fail the append and its undoing."""
        if call == next(failing, None):
            raise OSError(errno.ENOSPC, "full")
        step(call)

    files.step = fail_both  # type: ignore[method-assign]
    with pytest.raises(DiskError):
        log.commit(runs(A, 2))
    with pytest.raises(DiskError):
        log.commit(runs(A, 2))


@pytest.mark.parametrize(("call", "name"), [(1, "append"), (2, "sync")])
def test_an_error_of_the_disk_ends_the_log(call: int, name: str) -> None:
    """Every later write raises the same; a second sync would succeed and lie."""
    files = FaultyFiles()
    log = a_log(files)
    log.commit(runs(A, 1))
    files.fault = (files.calls + call, errno.EIO)
    messages = []
    for _ in range(2):
        with pytest.raises(DiskError) as caught:
            log.commit(runs(A, 2))
        messages.append(caught.value.detail)
    assert messages == ["/log/0000000000000001.log: Input/output error"] * 2
    assert files.failed == [name]
    with pytest.raises(DiskError):
        log.forget(A)
    assert log.last(A) == 1
    log.close()
    log.close()


def some_segments() -> tuple[FaultyFiles, int]:
    """Write a log of three segments; return also how many entries A has."""
    files = FaultyFiles()
    log = a_log(files, 540)
    for turn in range(1, 9):
        log.commit(runs(A, turn) + runs(B, turn))
    assert len(segments(files)) == 3
    return files, 8


def test_any_flipped_bit_is_found() -> None:
    """Every bit of every segment counts; the message names file and byte."""
    files, _ = some_segments()
    for path in segments(files):
        whole = files.read(path) or b""
        for bit in range(len(whole) * 8):
            files.put(path, flipped(whole, bit))
            with pytest.raises(CorruptionError, match=f"{path} is damaged at byte"):
                a_log(files)
        files.put(path, whole)


def test_a_segment_cut_short_is_found_but_at_the_end_of_the_log() -> None:
    """Any byte missing before the last segment is damage, at its end a torn tail."""
    files, last = some_segments()
    *older, newest = segments(files)
    for path in older:
        whole = files.read(path) or b""
        for size in range(len(whole)):
            files.put(path, whole[:size])
            with pytest.raises(CorruptionError):
                a_log(files)
        files.put(path, whole)
    whole = files.read(newest) or b""
    for size in range(len(whole)):
        files.put(newest, whole[:size])
        log = a_log(files)
        assert log.last(A) < last or log.last(B) < last
        assert log.read(A, 0, 1000) == entries(A, *range(1, log.last(A) + 1))


def test_a_missing_segment_is_found() -> None:
    """One out of the middle leaves a gap in the numbers."""
    files, _ = some_segments()
    files.remove(segments(files)[1])
    with pytest.raises(CorruptionError, match="the file is missing"):
        a_log(files)


@pytest.mark.parametrize(("seq", "term"), [(2, 1), (3, 2), (1, 2)])
def test_entries_that_do_not_follow_each_other_are_damage(seq: int, term: int) -> None:
    """True as each is: a gap, a seq that comes again, a term that falls.

    Args:
        seq: of the second entry.
        term: of it.
    """
    files = FaultyFiles()
    header = spell_header(1, 0, b"saltsalt")
    packer = Packer(seed_of(header), 0, header)
    for place, of in ((1, 2), (seq, term)):
        packer.pack(Item(Kind.RECORD, A, place, of, [b"payload"]))
    files.put(DIRECTORY / f"{1:016x}.log", b"".join(packer.pieces()))
    with pytest.raises(CorruptionError, match=f"no place for seq {seq}"):
        a_log(files)


def test_an_emptied_only_segment_is_no_new_log() -> None:
    """A log never shrinks to nothing, so one that is numbered and empty lost it."""
    files, last = some_segments()
    log = a_log(files, 540)
    for alloc in (A, B):
        log.cut(alloc, last)
    files.put(segments(files)[0], b"")
    with pytest.raises(CorruptionError, match="everything is missing"):
        a_log(files)


def test_segments_in_the_wrong_place_are_found() -> None:
    """A copy of one segment under another's name is not that other."""
    files, _ = some_segments()
    first, second, third = segments(files)
    files.put(third, files.read(second) or b"")
    with pytest.raises(CorruptionError):
        a_log(files)
    assert first.name < second.name


def test_an_entry_that_rotted_while_the_log_was_open_is_not_read() -> None:
    """Each read checks what it gives."""
    files, _ = some_segments()
    log = a_log(files)
    node = files.names_seen[segments(files)[0]]
    node.seen = flipped(node.seen, 80 * 8)
    with pytest.raises(CorruptionError, match="is damaged at byte"):
        log.read(A, 0, 1000)


def test_what_cannot_be_read_is_not_taken_for_empty() -> None:
    """An error while opening or reading is told as one."""
    files, _ = some_segments()
    log = a_log(files)
    files.fault = (files.calls + 1, errno.EIO)
    with pytest.raises(DiskError):
        log.read(A, 0, 1000)
    for call in range(1, 9):
        files.fault = (files.calls + call, errno.EIO)
        with pytest.raises(DiskError):
            a_log(files)


def test_what_a_dead_process_wrote_is_synced_before_it_is_told() -> None:
    """Entries found in memory only would otherwise be served and then lost."""
    files = FaultyFiles()
    log = a_log(files)
    log.commit(runs(A, 1))
    node = files.names_seen[segments(files)[0]]
    unsynced = node.seen
    log.commit(runs(A, 2))
    node.durable, node.pending = unsynced, [node.seen[len(unsynced) :]]
    assert a_log(files).last(A) == 2
    assert a_log(files.crash(Random(3))).last(A) == 2
