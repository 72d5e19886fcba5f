"""Measure the storage room on this machine: ``python benchmarks/storage.py [DIR]``.

It prints one line a figure, and leaves nothing behind.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import perf_counter

from torua.codec.records import read_record, spell_record
from torua.core.ids import AllocId, ShardId
from torua.core.records import KvPut, Record
from torua.storage.files import DiskFiles
from torua.storage.log import Log
from torua.storage.map import Map
from torua.storage.replay import replay
from torua.storage.segment import Item, Kind
from torua.storage.stable import StableStore

ALLOC = AllocId("a" * 32)
COUNT = 100_000
BIG = os.urandom(16 << 20)


def put(seq: int, value: bytes = b"x" * 100, distinct: int = COUNT) -> Record:
    """Make a record that sets one key.

    Args:
        seq: its place.
        value: what it sets.
        distinct: how many different keys there are; they come scattered.
    """
    key = b"key/%08d" % (seq * 7_919 % distinct)
    return Record(ShardId(0), seq, 1, seq, (KvPut(key, value, "text/plain"),))


@contextmanager
def timed(what: str, count: int = 1) -> Iterator[None]:
    """Print how long the body took, for each of the things that it did.

    Args:
        what: the figure's name.
        count: how many things.
    """
    begin = perf_counter()
    yield
    each = (perf_counter() - begin) / count
    rate = f"{1 / each:12,.0f}/s" if count > 1 else ""
    print(f"{what:48}{each * 1e6:14,.1f} µs{rate}", flush=True)


def each(what: str, count: int, deed: Callable[[int], object]) -> None:
    """Do something for 1 to ``count``, and print how long one took.

    Args:
        what: the figure's name.
        count: how often.
        deed: is given the number.
    """
    with timed(what, count):
        for number in range(1, count + 1):
            deed(number)


def measure_codec() -> None:
    """Spell and read one small record."""
    record = put(1)
    data = spell_record(record)
    each("record: spell, 100 bytes", COUNT, lambda _: spell_record(record))
    each("record: read, 100 bytes", COUNT, lambda _: read_record(data))


def measure_log(directory: Path) -> Log:
    """Commit alone and in groups, read, and open again."""
    log = Log.open(directory, DiskFiles())
    payload = spell_record(put(1))

    def commit(first: int, count: int) -> None:
        """Commit entries in one group."""
        log.commit([Item(Kind.RECORD, ALLOC, first, 1, [payload] * count)])

    each("log: commit of 1", 2_000, lambda number: commit(number, 1))
    with timed("log: entry in commits of 100", 98_000):
        for first in range(2_001, COUNT, 100):
            commit(first, 100)
    with timed("log: read an entry", COUNT):
        assert len(log.read(ALLOC, 0, 1 << 40)) == COUNT
    with timed("log: commit of 16 MiB"):
        log.commit([Item(Kind.RECORD, ALLOC, COUNT + 1, 1, [BIG])])
    log.close()
    with timed("log: open, an entry", COUNT):
        log = Log.open(directory, DiskFiles())
    return log


def measure_map(path: Path) -> None:
    """Apply, read, list, make durable and open again."""
    view = Map.open(path)
    each("map: apply 1 record", 20_000, lambda number: view.apply([put(number)]))
    with timed("map: record in batches of 100", 80_000):
        for first in range(20_001, COUNT, 100):
            view.apply([put(seq) for seq in range(first, first + 100)])
    view.checkpoint()
    for seq in range(COUNT + 1, COUNT + 3_001):
        view.apply([put(seq)])
    thread = Thread(target=view.checkpoint)
    worst = 0.0
    thread.start()
    while thread.is_alive():
        begin = perf_counter()
        seq += 1
        view.apply([put(seq)])
        worst = max(worst, perf_counter() - begin)
    print(f"{'map: slowest apply beside a checkpoint':48}{worst * 1e6:14,.1f} µs")
    each("map: get, 100 bytes", 20_000, lambda number: view.get(b"key/%08d" % number))
    each("map: head", 20_000, lambda number: view.head(b"key/%08d" % number))
    with timed("map: scan, an entry without value", 50_000):
        view.scan(b"key/", b"", 50_000, False, 1 << 40)
    with timed("map: scan, an entry with value", 50_000):
        view.scan(b"key/", b"", 50_000, True, 1 << 40)
    with timed("map: apply 16 MiB"):
        view.apply([put(seq + 1, BIG)])
    key = put(seq + 1).effects[0].key
    each("map: get 16 MiB", 5, lambda _: view.get(key))
    view.close()
    with timed("map: open and check, an entry of 100,000", COUNT):
        view = Map.open(path)
    view.close()


def measure_replay(directory: Path) -> None:
    """Replay a log of small records into an empty map."""
    log = Log.open(directory / "log", DiskFiles())
    records = [put(seq) for seq in range(1, COUNT + 1)]
    log.commit(
        [Item(Kind.RECORD, ALLOC, 1, records[0].term, list(map(spell_record, records)))]
    )
    view = Map.open(directory / "map.db")
    with timed("replay: a record", COUNT):
        replay(log, ALLOC, view, COUNT)
    view.close()
    log.close()


def main() -> None:
    """Measure everything in a directory that is removed afterwards."""
    base = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=base) as name:
        directory = Path(name)
        measure_codec()
        store = StableStore(directory / "facts", DiskFiles())
        each("stable: save, 1 KiB", 500, lambda _: store.save(bytes(1024)))
        measure_log(directory / "log").close()
        measure_map(directory / "map" / "map.db")
        measure_replay(directory / "replay")


if __name__ == "__main__":
    main()
