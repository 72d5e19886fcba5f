"""A map shows what is staged, and writes it as every other copy does."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from tests.storage.histories import BEGIN_NS
from tests.storage.test_map import copied, put, split
from torua.core.ids import ShardId
from torua.core.records import Answered, KvDelete, KvPut, Record
from torua.errors import DiskError
from torua.storage.effects import MapChange
from torua.storage.map import SMALL_BYTES, Map
from torua.storage.staged import MARK_RECORDS, STAGED_BYTES_MAX, WEIGHTY_EFFECTS_MAX
from torua.storage.writing import Written


def test_what_is_staged_is_shown_and_written_later(tmp_path: Path) -> None:
    """A crash takes it from the map, not from the log; a flush makes it whole."""
    path = tmp_path / "map.db"
    made = Map.open(path)
    made.apply([put(1, b"a")])
    made.stage([put(2, b"b"), put(3, b"a", b"new")])
    assert (made.applied_seq, made.version(b"a"), made.version(b"b")) == (3, 3, 2)
    found = made.get(b"a")
    assert found is not None and found.value == b"new"
    left = Map.open(copied(path, tmp_path / "before"))
    assert (left.applied_seq, left.version(b"a"), left.get(b"b")) == (1, 1, None)
    made.flush()
    whole = Map.open(copied(path, tmp_path / "after"))
    assert (whole.applied_seq, whole.version(b"a")) == (3, 3)
    assert whole.digest() == made.digest()
    for each in (made, left, whole):
        each.close()


def test_what_is_staged_is_written_bit_by_bit(tmp_path: Path) -> None:
    """As much at once as takes a moment; what is not yet written is shown still."""
    path, large = tmp_path / "map.db", b"x" * STAGED_BYTES_MAX
    made = Map.open(path)
    made.stage([put(1, b"a", large), put(2, b"b", large), put(3, b"a", b"new")])
    written = []
    for number in range(2):
        more = made.flush_some()
        part = Map.open(copied(path, tmp_path / str(number)))
        written.append((more, part.applied_seq))
        part.close()
        found = made.get(b"a")
        assert made.applied_seq == 3 and found is not None and found.value == b"new"
    assert written == [(True, 1), (True, 2)]
    assert not made.flush_some() and not made.flush_some()
    made.close()


def test_maps_note_digests_of_the_same_records_however_they_are_written(
    tmp_path: Path,
) -> None:
    """Two copies never wrote the same batches, and can be compared all the same."""
    records = [put(seq, b"k%d" % (seq % 7)) for seq in range(1, 4 * MARK_RECORDS)]
    noted = []
    for seed in (1, 2):
        made = Map.open(tmp_path / f"{seed}.db")
        for batch in split(list(records), Random(seed)):
            made.apply(batch)
        noted.append(dict(made.digests))
        made.close()
    common = noted[0].keys() & noted[1].keys()
    assert {MARK_RECORDS, 2 * MARK_RECORDS, 3 * MARK_RECORDS} <= common
    assert all(noted[0][seq] == noted[1][seq] for seq in common)


def test_several_keys_are_read_at_once_but_for_large_values(tmp_path: Path) -> None:
    """What is staged, absent or large is left to be read by itself."""
    path = tmp_path / "map.db"
    made = Map.open(path)
    keys = [b"k%04d" % number for number in range(600)]
    made.apply([put(seq, key) for seq, key in enumerate(keys, 1)])
    made.apply([put(601, b"large", b"x" * (SMALL_BYTES + 1))])
    made.stage([put(602, keys[0], b"new")])
    found = made.several([*reversed(keys), b"large", b"absent", keys[5]])
    assert found == {key: made.get(key) for key in keys[1:]}
    made.close()


LARGE = b"x" * STAGED_BYTES_MAX


def test_what_is_large_and_little_else_is_weighty(tmp_path: Path) -> None:
    """Many small changes are not, nor is what stands behind others yet."""
    many = tuple(
        KvPut(b"%d" % number, LARGE[: len(LARGE) // WEIGHTY_EFFECTS_MAX], "")
        for number in range(WEIGHTY_EFFECTS_MAX + 1)
    )
    made, found = Map.open(tmp_path / "map.db"), []
    made.stage([put(1, b"a"), put(2, b"b", LARGE)])
    made.stage([Record(ShardId(0), 3, 3, BEGIN_NS + 3, many), put(4, b"c")])
    while made.crowded:
        found.append(made.weighty)
        made.flush_some()
    assert found == [False, True, False]
    assert (made.weighty, made.flush_some(), made.weighty) == (False, False, False)
    made.close()


def staged(path: Path) -> Map:
    """Make a map that has a large value staged, and another in place of it."""
    made = Map.open(path)
    answered = Answered("i", b"f", b"old")
    old = Record(ShardId(0), 3, 3, BEGIN_NS + 3, (KvDelete(b"c"),), answered)
    made.apply([put(1, b"a", b"old"), put(2, b"b", b"other"), old])
    made.stage([put(4, b"a", LARGE), put(5, b"c", b"new")])
    return made


def shown(view: Map) -> tuple[object, ...]:
    """Tell what a map shows of all its keys, by every way to read them."""
    entries = [view.get(key) for key in (b"a", b"b", b"c")]
    heads = [view.head(key) for key in (b"a", b"b", b"c")]
    several = {
        key: each.value for key, each in view.several([b"a", b"b", b"c"]).items()
    }
    values = [each and each.value for each in entries]
    return (values, heads, several, view.answered("i"), view.applied_seq)


def test_while_a_thread_writes_all_is_shown(tmp_path: Path) -> None:
    """What it writes, what comes meanwhile, and what was there before."""
    made = staged(tmp_path / "map.db")
    before = shown(made)
    write = made.begin_flush()
    assert made.is_written and shown(made) == before
    writing = Thread(target=write)
    writing.start()
    made.stage([put(6, b"b", b"newer")])
    now = shown(made)
    writing.join()
    assert shown(made) == now
    assert now[0] == [LARGE, b"newer", b"new"] and now[-1] == 6
    assert made.flush_some() and not made.is_written
    assert shown(made) == now
    made.flush()
    assert shown(made)[0] == now[0]
    made.close()


def test_whoever_cannot_wait_writes_or_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the thread comes to it, or while it writes: each record once."""
    written: list[int] = []
    write = Map._write

    def note(view: Map, records: Sequence[Record]) -> Written:
        """Note what is written.

        Args:
            view: which map.
            records: of the transaction.
        """
        written.extend(record.seq for record in records)
        return write(view, records)

    monkeypatch.setattr(Map, "_write", note)
    for late in (False, True):
        made = staged(tmp_path / f"{late}.db")
        written.clear()
        thread = Thread(target=made.begin_flush())
        if not late:
            thread.start()
        found = made.scan(b"", b"", 9, False, 1 << 30)
        assert [each.key for each in found] == [b"a", b"b", b"c"]
        if late:
            thread.start()
        thread.join()
        assert written == [4, 5]
        made.close()


@pytest.mark.parametrize("moment", ["begun", "written", "taken up"])
def test_a_crash_beside_a_thread_costs_nothing(tmp_path: Path, moment: str) -> None:
    """What is found after it is all of a transaction, or nothing of it."""
    made = staged(tmp_path / "map.db")
    write = made.begin_flush()
    if moment != "begun":
        write()
    if moment == "taken up":
        made.flush_some()
    left = Map.open(copied(tmp_path / "map.db", tmp_path / "left"))
    assert left.applied_seq == (3 if moment == "begun" else 4)
    left.apply([put(seq, *of) for seq, of in REST.items() if seq > left.applied_seq])
    made.flush()
    assert left.digest() == made.digest()
    left.close()
    made.close()


REST = {4: (b"a", LARGE), 5: (b"c", b"new")}


def test_what_a_kill_leaves_is_whole(tmp_path: Path) -> None:
    """At any moment of writing, row by row and page by page."""
    made = staged(tmp_path / "map.db")
    made.stage([put(seq, b"a", LARGE[seq:] * 4) for seq in range(6, 12)])
    seqs = []
    while made.crowded:
        writing = Thread(target=made.begin_flush())
        writing.start()
        left = Map.open(copied(tmp_path / "map.db", tmp_path / "left"))
        seqs.append((left.applied_seq, made.applied_seq))
        left.close()
        writing.join()
        made.flush_some()
    assert all(3 <= found <= 11 for found, _ in seqs) and len(seqs) >= 6
    made.close()


def test_a_failed_write_is_staged_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is raised by whoever wants it written, and it is shown as ever."""
    made = staged(tmp_path / "map.db")

    def fail(*_: object) -> None:
        """Have the disk fail."""
        raise DiskError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(MapChange, "facts", fail)
        made.begin_flush()()
        now = shown(made)
        with pytest.raises(DiskError, match="broken"):
            made.flush_some()
        assert not made.is_written and shown(made) == now
    assert made.flush_some()
    assert shown(made) == now
    made.close()
