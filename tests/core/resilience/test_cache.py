"""The cache of a copy shows what the copy shows, and no more than it may hold."""

from hypothesis import given
from hypothesis import strategies as st

from torua.core.ids import ShardId
from torua.core.kv import Entry
from torua.core.records import KvDelete, KvPut, Record
from torua.core.resilience.cache import COST_BYTES, Caching, ReadCache

KEYS = [b"a", b"b", b"c", b"d"]
ROOM = 3 * (COST_BYTES + 40)

WRITES = st.lists(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=30)),
        unique_by=lambda pair: pair[0],
        max_size=3,
    ),
    min_size=1,
    max_size=3,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.sampled_from(KEYS)),
        st.tuples(st.just("apply"), WRITES),
        st.tuples(st.just("install"), WRITES),
        st.tuples(st.just("switch"), st.booleans()),
    ),
    max_size=40,
)


class Copy:
    """A copy's map, and its cache before it.

    Invariants: what is read is compared with the map each time.
    """

    def __init__(self, caching: Caching | None = None) -> None:
        """Begin empty.

        Args:
            caching: shared with other copies; None for one of its own.
        """
        self.seq = 0
        self.map: dict[bytes, Entry] = {}
        self.all = caching or Caching(ROOM)
        self.cache = ReadCache(self.all)

    def read(self, key: bytes) -> None:
        """Read as a copy does."""
        known = self.cache.look(key, self.seq)
        if known is not None:
            assert known[0] == self.map.get(key)
            return
        self.cache.keep(key, self.map.get(key), self.seq)

    def change(self, writes: list[list[tuple[bytes, bytes | None]]]) -> list[Record]:
        """Change the map, a record for each list of writes.

        Args:
            writes: keys and values; None deletes.

        Returns:
            The records.
        """
        records = []
        for part in writes:
            self.seq += 1
            effects: list[KvPut | KvDelete] = []
            for key, value in part:
                if value is None:
                    self.map.pop(key, None)
                    effects.append(KvDelete(key))
                else:
                    self.map[key] = Entry(key, self.seq, len(value), "t", value)
                    effects.append(KvPut(key, value, "t"))
            records.append(Record(ShardId(0), self.seq, 1, self.seq, tuple(effects)))
        return records

    def apply(self, writes: list[list[tuple[bytes, bytes | None]]]) -> None:
        """Apply records; the cache follows."""
        self.cache.applied(self.change(writes))

    def install(self, writes: list[list[tuple[bytes, bytes | None]]]) -> None:
        """Take a snapshot: nobody tells the cache what is in it."""
        self.change(writes)

    def switch(self, is_on: bool) -> None:
        """Use the cache, or not."""
        self.all.use(is_on, ROOM)
        assert is_on or self.all.bytes == 0


@given(steps=STEPS)
def test_a_hit_shows_what_the_copy_shows(steps: list[tuple[str, object]]) -> None:
    """Whatever was applied, installed or switched; and it stays within its bytes."""
    copy = Copy()
    for name, argument in steps:
        getattr(copy, name)(argument)
        assert 0 <= copy.all.bytes <= ROOM
        for key in KEYS:
            known = copy.cache.look(key, copy.seq)
            assert known is None or known[0] == copy.map.get(key)


def test_what_was_read_is_read_from_memory() -> None:
    """Absent keys too; counted."""
    copy = Copy()
    copy.apply([[(b"a", b"v")]])
    for _ in range(3):
        copy.read(b"a")
        copy.read(b"b")
    assert (copy.all.hits, copy.all.misses) == (4, 2)


def test_an_apply_drops_only_what_it_changes() -> None:
    """Other keys stay known."""
    copy = Copy()
    copy.apply([[(b"a", b"1"), (b"b", b"1")]])
    copy.read(b"a")
    copy.read(b"b")
    copy.apply([[(b"a", b"2")]])
    copy.read(b"b")
    assert copy.all.hits == 1
    copy.read(b"a")
    assert copy.all.misses == 3


def test_the_least_recently_used_goes_first() -> None:
    """One that was read again stays."""
    copy = Copy()
    copy.apply([[(key, b"v") for key in KEYS[:3]]])
    for key in KEYS[:3]:
        copy.read(key)
    copy.read(b"a")
    copy.read(b"d")
    assert copy.all.evictions == 1
    known = {key for key in KEYS if copy.cache.look(key, copy.seq) is not None}
    assert known == {b"a", b"c", b"d"}


def test_a_large_value_is_not_kept() -> None:
    """It would drive out all others."""
    copy = Copy()
    copy.apply([[(b"a", b"v" * ROOM)]])
    copy.read(b"a")
    assert copy.all.bytes == 0


def test_all_copies_of_a_node_share_one_bound() -> None:
    """What was not asked for longest goes, whosever it is; each shows its own."""
    caching = Caching(ROOM)
    copies = [Copy(caching) for _ in range(10)]
    for number, copy in enumerate(copies):
        copy.apply([[(b"a", b"%d" % number)]])
        copy.read(b"a")
        copies[0].read(b"a")
        assert caching.bytes <= ROOM
    assert caching.hits == len(copies)
    for copy in copies:
        copy.read(b"a")


def test_what_a_closed_copy_kept_is_not_shown() -> None:
    """Neither to itself nor to another, and goes where room is wanted."""
    caching = Caching(ROOM)
    first, second = Copy(caching), Copy(caching)
    first.apply([[(b"a", b"1")]])
    first.read(b"a")
    first.cache.clear()
    assert first.cache.look(b"a", first.seq) is None
    second.apply([[(key, b"2") for key in KEYS]])
    for key in (b"b", b"c", b"d", b"b", b"c", b"d"):
        second.read(key)
    assert (caching.hits, caching.evictions) == (3, 1)


def test_a_lower_bound_takes_effect_at_once() -> None:
    """The least recently used go until the rest fits."""
    copy = Copy()
    for key in KEYS[:3]:
        copy.read(key)
    copy.all.use(True, 2 * COST_BYTES)
    assert 0 < copy.all.bytes <= 2 * COST_BYTES


def test_switched_off_it_keeps_nothing() -> None:
    """And lets go of what it had."""
    copy = Copy()
    copy.read(b"a")
    copy.switch(False)
    copy.read(b"a")
    assert copy.all.bytes == 0
    copy.read(b"a")
    assert copy.all.hits == 0
