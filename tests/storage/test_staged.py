"""A map shows what is staged, and writes it as every other copy does."""

from pathlib import Path
from random import Random

from tests.storage.test_map import copied, put, split
from torua.storage.map import SMALL_BYTES, Map
from torua.storage.staged import MARK_RECORDS, STAGED_BYTES_MAX


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
