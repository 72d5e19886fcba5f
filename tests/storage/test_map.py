"""The map holds what the records made, and tells when it does not."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.faulty import damages, flipped
from tests.storage.histories import BEGIN_NS, HOUR_NS, KEYS, history, model
from torua.core.graph.keys import is_graph_key
from torua.core.ids import ShardId
from torua.core.kv import Entry
from torua.core.records import Answered, KvDelete, KvPut, Record
from torua.errors import CorruptionError, DiskError, DiskFullError
from torua.storage import sqlite
from torua.storage.map import Map

MANY = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the database of a copy that does not exist yet."""
    return tmp_path / "shards" / "0" / "alloc" / "map.db"


@contextmanager
def some_directory() -> Iterator[Path]:
    """Give a directory to one example of hypothesis."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def put(seq: int, key: bytes, value: bytes = b"v", **more: int) -> Record:
    """Make a record that sets a key.

    Args:
        seq: its place.
        key: what it sets.
        value: to what.
        more: further fields of the put.
    """
    effects = (KvPut(key, value, "text/plain", **more),)
    return Record(ShardId(0), seq, 3, BEGIN_NS + seq, effects)


def copied(path: Path, directory: Path) -> Path:
    """Copy an open database's files, as a process that is killed leaves them.

    Args:
        path: the database.
        directory: where to.
    """
    directory.mkdir(exist_ok=True)
    for each in path.parent.glob("map.db*"):
        shutil.copy(each, directory)
    return directory / path.name


def split(records: list[Record], dice: Random) -> Iterator[list[Record]]:
    """Cut records into batches.

    Args:
        records: in order.
        dice: decide where.
    """
    while records:
        count = dice.randint(1, len(records))
        yield records[:count]
        records = records[count:]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_it_holds_what_the_records_made(seed: int) -> None:
    """Entries, order, counts and expiries are those of a dictionary."""
    dice = Random(seed)
    records = history(dice, dice.randint(1, 25))
    expected = model(records)
    with some_directory() as directory:
        made = Map.open(directory / "map.db")
        for batch in split(records, dice):
            made.apply(batch)
        entries = [
            Entry(key, version, len(p.value), p.content_type, p.value, p.expires_ns)
            for key, (version, p) in sorted(expected.items())
        ]
        users = [each for each in entries if not is_graph_key(each.key)]
        rows = [each for each in entries if is_graph_key(each.key)]
        assert made.scan(b"", b"", 100, True, MANY) == [e for e in users if e.key]
        assert made.scan(b"\xff", b"", 100, True, MANY) == rows
        assert [made.get(key) for key in KEYS if key in expected] == [
            entry for key in KEYS for entry in entries if entry.key == key
        ]
        assert made.keys == len(users)
        assert made.size_bytes == sum(len(e.key) + e.size for e in entries)
        due = sorted((e.expires_ns, e.key, e.version) for e in entries if e.expires_ns)
        assert made.due(BEGIN_NS + HOUR_NS, 100) == [each[1:] for each in due]
        made.close()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_equal_records_give_equal_digests_however_they_came(seed: int) -> None:
    """Batches, restarts and file layout do not show, and one change does."""
    dice = Random(seed)
    records = history(dice, dice.randint(2, 40), hours=1.5)
    digests = set()
    with some_directory() as directory:
        for name in ("one", "two"):
            made = Map.open(directory / name)
            for batch in split(records, dice):
                made.apply(batch)
                if dice.random() < 0.2:
                    made.close()
                    made = Map.open(directory / name)
            digests.add(made.digest())
            made.close()
        other = Map.open(directory / "other")
        other.apply([*records[:-1], put(len(records), b"other")])
        digests.add(other.digest())
        other.close()
    assert len(digests) == 2


def test_a_new_map_is_empty(path: Path) -> None:
    """Nothing was applied, and nothing is there."""
    made = Map.open(path)
    assert (made.applied_seq, made.durable_seq, made.applied_term) == (0, 0, 0)
    assert (made.keys, made.size_bytes, made.applied_time_ns) == (0, 0, 0)
    assert (made.get(b"a"), made.head(b"a"), made.version(b"a")) == (None, None, None)
    assert made.scan(b"", b"", 10, True, MANY) == []
    assert made.answered("a") is None
    made.close()


def test_a_value_of_the_most_bytes_comes_back(path: Path) -> None:
    """16 MiB, byte for byte, also after a restart; the head comes without it."""
    value = os.urandom(16 << 20)
    made = Map.open(path)
    made.apply([put(1, b"big", value)])
    made.close()
    made = Map.open(path)
    assert made.get(b"big") == Entry(b"big", 1, len(value), "text/plain", value)
    assert made.head(b"big") == Entry(b"big", 1, len(value), "text/plain")
    assert made.version(b"big") == 1
    made.close()


@pytest.mark.parametrize(
    ("prefix", "after", "expected"),
    [
        (b"", b"", KEYS[1:-2]),
        (b"", b"b", []),
        (b"a", b"", [b"a", b"a/b", b"a/\xff", b"a0"]),
        (b"a/", b"", [b"a/b", b"a/\xff"]),
        (b"a", b"a/b", [b"a/\xff", b"a0"]),
        (b"a", b"a", [b"a/b", b"a/\xff", b"a0"]),
        (b"a", b"b", []),
        (b"b", b"a", [b"b"]),
        (b"\xff", b"", [b"\xff", b"\xff\xff"]),
        (b"a/\xff", b"", [b"a/\xff"]),
        (b"zz", b"", []),
    ],
)
def test_a_scan_is_in_byte_order(
    path: Path, prefix: bytes, after: bytes, expected: list[bytes]
) -> None:
    """It gives the keys with the prefix behind the cursor, with or without values."""
    made = Map.open(path)
    made.apply([put(seq, key) for seq, key in enumerate(KEYS[:0:-1], 1)])
    for values in (False, True):
        found = made.scan(prefix, after, 100, values, MANY)
        assert [entry.key for entry in found] == expected
        assert {entry.value for entry in found} <= {b"v" if values else None}
    made.close()


def test_a_scan_is_bounded_but_never_empty_before_the_end(path: Path) -> None:
    """Count and bytes stop it; one entry comes in any case."""
    made = Map.open(path)
    made.apply([put(seq, b"k%d" % seq, b"x" * 98) for seq in range(1, 6)])
    assert len(made.scan(b"", b"", 3, True, MANY)) == 3
    assert len(made.scan(b"", b"", 9, True, 250)) == 2
    assert len(made.scan(b"", b"", 9, True, 0)) == 1
    assert len(made.scan(b"", b"", 9, False, 8)) == 4
    made.close()


def test_records_out_of_order_are_a_mistake_of_ours(path: Path) -> None:
    """A gap or a repetition is asserted against, and changes nothing."""
    made = Map.open(path)
    made.apply([put(1, b"a"), put(2, b"b")])
    for wrong in ([2], [4], [3, 5]):
        with pytest.raises(AssertionError):
            made.apply([put(seq, b"c") for seq in wrong])
    assert (made.applied_seq, made.keys) == (2, 2)
    made.close()


def test_answers_are_kept_for_a_day_of_the_records_time(path: Path) -> None:
    """An answer given again takes the older one's place."""
    made = Map.open(path)
    for seq, hour in ((1, 0), (2, 1), (3, 24), (4, 25.5)):
        answered = Answered(f"key {seq % 3}", b"print", b"answer %d" % seq)
        time_ns = BEGIN_NS + int(hour * HOUR_NS)
        made.apply([Record(ShardId(0), seq, 1, time_ns, (), answered)])
        if seq == 3:
            assert made.answered("key 1") == Answered("key 1", b"print", b"answer 1")
    assert made.answered("key 1") == Answered("key 1", b"print", b"answer 4")
    assert made.answered("key 2") is None
    assert made.answered("key 0") == Answered("key 0", b"print", b"answer 3")
    made.close()


def test_facts_follow_the_last_record(path: Path) -> None:
    """A primary that starts again knows term and time to go on from."""
    made = Map.open(path)
    made.apply([put(1, b"a"), put(2, b"b")])
    made.close()
    made = Map.open(path)
    facts = (made.applied_seq, made.applied_term, made.applied_time_ns)
    assert facts == (2, 3, BEGIN_NS + 2)
    made.close()


def test_a_batch_that_fails_leaves_nothing(path: Path) -> None:
    """An error in its middle takes back what stood before it."""
    made = Map.open(path)
    made.apply([put(1, b"a")])
    before = made.digest()
    wrong = Record(ShardId(0), 3, 1, BEGIN_NS, (KvPut(b"c", b"", "t", 1 << 70),))
    with pytest.raises(Exception, match=r"int|argument"):
        made.apply([put(2, b"b"), wrong])
    assert (made.digest(), made.get(b"b"), made.keys) == (before, None, 1)
    made.apply([put(2, b"b")])
    assert made.keys == 2
    made.close()


def test_a_checkpoint_on_another_thread_makes_durable(
    path: Path, tmp_path: Path
) -> None:
    """The database file alone then holds what ``durable_seq`` says."""
    made = Map.open(path)
    made.apply([put(1, b"a")])
    assert made.durable_seq == 0
    thread = Thread(target=made.checkpoint)
    thread.start()
    thread.join()
    made.apply([put(2, b"b")])
    assert (made.durable_seq, made.applied_seq) == (1, 2)
    shutil.copy(path, tmp_path / "alone.db")
    alone = Map.open(tmp_path / "alone.db")
    assert (alone.applied_seq, alone.durable_seq) == (1, 1)
    alone.close()
    made.close()
    again = Map.open(path)
    assert again.durable_seq == 2
    again.close()


def test_a_reader_keeps_a_checkpoint_from_claiming_too_much(path: Path) -> None:
    """While a page is still read, what was written since stays undurable."""
    made = Map.open(path)
    made.apply([put(1, b"a")])
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entries").fetchall()
        made.apply([put(2, b"b")])
        assert made.checkpoint() == 0
    assert made.checkpoint() == 2
    made.close()


def test_the_wal_does_not_grow_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of a large one lets the next write begin it anew."""
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 100_000)
    made = Map.open(path)
    sizes = []
    for seq in range(1, 60):
        made.apply([put(seq, b"a", b"x" * 9000)])
        if seq % 10 == 0:
            made.checkpoint()
            sizes.append(path.with_name("map.db-wal").stat().st_size)
    assert max(sizes) < 300_000
    made.close()


def a_killed_map(directory: Path, dice: Random, count: int) -> tuple[Path, list[bytes]]:
    """Make a map whose files are those of a killed process.

    Args:
        directory: where.
        dice: decides what it holds.
        count: how many records it applied.

    Returns:
        Its copy, and its digest after every record, from none on.
    """
    made = Map.open(directory / "live" / "map.db")
    digests = [made.digest()]
    checkpoint = dice.randint(0, count)
    for record in history(dice, count):
        made.apply([record])
        digests.append(made.digest())
        if record.seq == checkpoint:
            made.checkpoint()
    left = copied(directory / "live" / "map.db", directory / "left")
    made.close()
    return left, digests


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_damaged_map_is_refused_or_true(seed: int) -> None:
    """Cut or flipped anywhere: never anything but what it was after some record."""
    dice = Random(seed)
    with some_directory() as directory:
        left, digests = a_killed_map(directory, dice, dice.randint(1, 12))
        for name in ("map.db", "map.db-wal"):
            whole = left.with_name(name).read_bytes()
            for damaged in damages(whole, dice, 4) if whole else ():
                at = copied(left, directory / "damaged")
                at.with_name(name).write_bytes(damaged)
                assert opened_digest(at) in [None, *digests]


def opened_digest(path: Path) -> bytes | None:
    """Open a map and read all of it; None where it refuses, with its file's name."""
    try:
        made = Map.open(path)
    except CorruptionError as error:
        assert str(path) in error.detail
        return None
    for entry in made.scan(b"", b"", 1000, True, MANY):
        assert made.get(entry.key) == entry
    digest = made.digest()
    made.close()
    return digest


def test_a_flipped_bit_in_any_page_in_use_is_found(tmp_path: Path) -> None:
    """Of 400 flips all that matter are refused; the rest change nothing."""
    dice = Random(5)
    made = Map.open(tmp_path / "map.db")
    made.apply(history(dice, 60))
    digest = made.digest()
    made.close()
    whole = (tmp_path / "map.db").read_bytes()
    verdicts = []
    for _ in range(400):
        bit = dice.randrange(len(whole) * 8)
        (tmp_path / "map.db").write_bytes(flipped(whole, bit))
        verdicts.append(opened_digest(tmp_path / "map.db"))
    assert set(verdicts) == {None, digest}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_crash_within_a_checkpoint_loses_nothing(seed: int) -> None:
    """Whatever pages the checkpoint wrote, the synced WAL has them all again."""
    dice = Random(seed)
    with some_directory() as directory:
        made = Map.open(directory / "live" / "map.db")
        records = history(dice, 20)
        made.apply(records[:10])
        made.checkpoint()
        made.apply(records[10:])
        before = copied(directory / "live" / "map.db", directory / "before")
        made.checkpoint()
        after = (directory / "live" / "map.db").read_bytes()
        digest = made.digest()
        made.close()
        whole = before.read_bytes().ljust(len(after), b"\0")
        before.write_bytes(
            b"".join(
                dice.choice([whole, after])[place : place + 512]
                for place in range(0, len(after), 512)
            )
        )
        assert opened_digest(before) == digest


def test_a_row_that_rotted_while_the_map_was_open_is_not_served(path: Path) -> None:
    """Each read of a value, and of an answer, checks what it gives."""
    made = Map.open(path)
    answered = Answered("key", b"print", b"answer")
    made.apply([Record(ShardId(0), 1, 1, BEGIN_NS, put(1, b"a").effects, answered)])
    for change in (
        "UPDATE entries SET value = x'ff'",
        "UPDATE entries SET value = NULL",
        "UPDATE entries SET value = x'76', version = 9",
    ):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(change)
        with pytest.raises(CorruptionError, match="the row of key b'a'"):
            made.get(b"a")
        with pytest.raises(CorruptionError, match="the row of key b'a'"):
            made.scan(b"", b"", 1, True, MANY)
    for change in ("answer = x'ff'", "time_ns = 'never'"):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"UPDATE idempotency SET {change}")  # noqa: S608
        with pytest.raises(CorruptionError, match="idempotency key 'key'"):
            made.answered("key")
    made.close()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM entries",
        "DELETE FROM facts",
        "DELETE FROM idempotency",
        "UPDATE facts SET applied_seq = 1",
        "UPDATE facts SET keys = 2",
        "UPDATE facts SET term = 'x'",
        "INSERT INTO facts SELECT 2, 1, 2, 3, 4, 5, 6, 7",
        "UPDATE facts SET sum = 0, keys = NULL",
        "DROP TABLE entries",
    ],
)
def test_rows_that_do_not_fit_the_facts_are_refused(path: Path, change: str) -> None:
    """What is lost without a trace in the file's structure shows in the sums."""
    made = Map.open(path)
    answered = Answered("key", b"print", b"answer")
    made.apply([put(1, b"a"), put(2, b"b")])
    made.apply([Record(ShardId(0), 3, 1, BEGIN_NS + 3, (KvDelete(b"b"),), answered)])
    made.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(change)
    with pytest.raises(CorruptionError, match=r"map\.db is damaged"):
        Map.open(path)


def test_a_disk_that_cannot_be_used_is_not_damage(tmp_path: Path) -> None:
    """What an operator can put right is told apart from what is lost."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError):
        Map.open(tmp_path / "file" / "map.db")
    (tmp_path / "map.db").mkdir()
    with pytest.raises(DiskError):
        Map.open(tmp_path / "map.db")


def test_a_full_disk_is_told_and_nothing_was_applied(path: Path) -> None:
    """The batch can be applied when there is room."""
    made = Map.open(path)
    made.apply([put(1, b"a")])
    connection = made._connection
    connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(DiskFullError, match="no room left"):
        made.apply([put(2, b"b", b"x" * 99_999)])
    assert (made.applied_seq, made.get(b"b")) == (1, None)
    connection.execute("PRAGMA max_page_count = 1000")
    made.apply([put(2, b"b", b"x" * 99_999)])
    assert made.keys == 2
    made.close()


def test_a_schema_that_is_not_even_text_is_damage(path: Path) -> None:
    """SQLite's own message cannot be decoded then."""
    made = Map.open(path)
    made.close()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"IS NOT NULL", b"IS NOT \xceULL"))
    with pytest.raises(CorruptionError, match=r"map\.db is damaged"):
        Map.open(path)
