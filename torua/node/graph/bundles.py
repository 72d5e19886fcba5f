"""What has to happen together on one shard, and how it is packed into groups.

A *bundle* is the least that is sent at once: a node with the relationships that go with
it, or one relationship.  Bundles of one shard are packed into as few `Group`s, and so
records, as their bounds allow; a `Group` is all or nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

from msgspec import Struct, structs

from torua.codec.rows import Row, spell_row
from torua.core.graph.changes import Changed
from torua.core.ids import ShardId
from torua.core.kv import Check, Condition, Delete, Group, Put

EXISTS = Condition(None, True)
ABSENT = Condition(None, False)

GROUP_ROWS_MAX = 10_000
"""A group is judged in one go: this takes a primary about 0.1 s."""

GROUP_BYTES_MAX = 16 << 20
"""A record is held in memory by every copy; the largest row fits alone."""

SPLIT_ROWS = 2_000
"""What is more than one group anyway goes in smaller ones, that others get a turn."""

_ENTRY_BYTES = 64


class Again(Enum):
    """Who can mend it where a check fails.

    ROW: the caller reads anew, and decides anew.  LOOK: what the writer looked up by
    itself has changed; it looks again.  SCHEMA: the shard has another schema.
    DEMAND: nobody, for the caller demanded it.
    """

    ROW = "row"
    LOOK = "look"
    SCHEMA = "schema"
    DEMAND = "demand"


class Why(Struct, frozen=True):
    """What it means that a check fails: a sentence, and who can mend it."""

    what: str
    again: Again = Again.ROW


class Pin(Struct, frozen=True):
    """A check of a bundle, and what its failure means."""

    check: Check
    why: Why


class RowPut(Struct, frozen=True):
    """A row to be set.

    Attributes:
        key: where it stands.
        row: as it shall be.
        conditions: of its key.
        why: what their failure means.
        end: the key of the node that a relationship goes to, where that is made by the
            same statement: its birth is filled in once it is known.
    """

    key: bytes
    row: Row
    conditions: tuple[Condition, ...]
    why: Why
    end: bytes | None = None


class RowDelete(Struct, frozen=True):
    """An entry to be removed, or, with ``grave``, a grave to be left."""

    key: bytes
    conditions: tuple[Condition, ...]
    why: Why
    grave: bool = False


class Bundle(Struct, frozen=True):
    """What happens together.

    Attributes:
        shard: where.
        pins: what must hold besides.
        writes: what to do.
        counts: what it adds to `Changed`, by the names of its attributes.
    """

    shard: ShardId
    pins: tuple[Pin, ...]
    writes: tuple[RowPut | RowDelete, ...]
    counts: Mapping[str, int]

    @property
    def ends(self) -> tuple[bytes, ...]:
        """The nodes of the same statement that its relationships go to."""
        found = (each.end for each in self.writes if isinstance(each, RowPut))
        return tuple(end for end in found if end is not None)

    @property
    def makes(self) -> tuple[bytes, ...]:
        """The rows that it sets."""
        return tuple(each.key for each in self.writes if isinstance(each, RowPut))


class Packed(Struct, frozen=True):
    """A group ready to be sent.

    Attributes:
        shard: to which.
        group: what to do.
        whys: what it means that a check or write fails, in their order.
        counts: what it adds to `Changed`.
        makes: the rows that it sets.
    """

    shard: ShardId
    group: Group
    whys: tuple[Why, ...]
    counts: Mapping[str, int]
    makes: tuple[bytes, ...]


def weigh(bundles: Iterable[Bundle]) -> tuple[int, int]:
    """Tell how many entries bundles write, and about how many bytes."""
    rows = size = 0
    for bundle in bundles:
        rows += len(bundle.writes)
        size += sum(map(_weight, bundle.writes))
    return rows, size


def fits(bundles: Sequence[Bundle]) -> bool:
    """Tell whether bundles of one shard go into one group."""
    rows, size = weigh(bundles)
    return len(bundles) <= 1 or (rows <= GROUP_ROWS_MAX and size <= GROUP_BYTES_MAX)


def batches(bundles: Sequence[Bundle]) -> list[list[Bundle]]:
    """Share bundles of one shard out over as few groups as make sense, in order.

    What fits into one group is one; else they are smaller than they could be.
    """
    if fits(bundles):
        return [list(bundles)] if bundles else []
    found: list[list[Bundle]] = [[]]
    rows = size = 0
    for bundle in bundles:
        more_rows, more_size = weigh((bundle,))
        full = rows + more_rows > SPLIT_ROWS or size + more_size > GROUP_BYTES_MAX
        if found[-1] and full:
            found.append([])
            rows = size = 0
        found[-1].append(bundle)
        rows, size = rows + more_rows, size + more_size
    return found


class Demand(Struct, frozen=True):
    """What a caller demands of the one row that it writes.

    Attributes:
        key: where the row stands.
        conditions: all of them must hold.
        numbers: counts the groups that are sent under the caller's promise, so that a
            retry of the request hears of each what became of it then.
    """

    key: bytes
    conditions: tuple[Condition, ...]
    numbers: Iterator[int]

    @property
    def pin(self) -> Pin:
        """The check that is made of it."""
        why = Why("the condition does not hold", Again.DEMAND)
        return Pin(Check(self.key, self.conditions), why)


def pack(
    pins_first: Sequence[Pin], bundles: Sequence[Bundle], births: Mapping[bytes, int]
) -> Packed:
    """Make one group of bundles of one shard.

    Args:
        pins_first: checks of the whole group: of its schema, and what is demanded.
        bundles: not empty.
        births: the versions at which nodes were made that relationships go to; those
            that are made by this very group are left out.
    """
    made = {key for bundle in bundles for key in bundle.makes}
    pins: dict[Check, Pin] = {pin.check: pin for pin in pins_first}
    for bundle in bundles:
        for pin in bundle.pins:
            pins.setdefault(pin.check, pin)
    writes = [each for bundle in bundles for each in bundle.writes]
    counts: dict[str, int] = {}
    for bundle in bundles:
        for name, count in bundle.counts.items():
            counts[name] = counts.get(name, 0) + count
    group = Group(tuple(pins), tuple(_operation(each, made, births) for each in writes))
    whys = (*(pin.why for pin in pins.values()), *(each.why for each in writes))
    return Packed(bundles[0].shard, group, whys, counts, tuple(sorted(made)))


def total(parts: Iterable[Mapping[str, int]]) -> Changed:
    """Add up what was done."""
    sums: dict[str, int] = {}
    for counts in parts:
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    return structs.replace(Changed(), **sums)


def _operation(
    write: RowPut | RowDelete, made: set[bytes], births: Mapping[bytes, int]
) -> Put | Delete:
    """Make one operation."""
    if isinstance(write, RowDelete):
        if write.grave:
            return Put(write.key, b"", "")
        return Delete(write.key, write.conditions)
    row = write.row
    if write.end is not None:
        row = Row(0 if write.end in made else births[write.end], row.cells)
    return Put(write.key, spell_row(row), "", conditions=write.conditions)


def _weight(write: RowPut | RowDelete) -> int:
    """Estimate what an entry takes in a record, in bytes."""
    cells = write.row.cells.values() if isinstance(write, RowPut) else ()
    return _ENTRY_BYTES + len(write.key) + sum(map(cell_bytes, cells))


def cell_bytes(cell: object) -> int:
    """Estimate how many bytes a cell takes."""
    match cell:
        case str() | bytes():
            return len(cell) + 5
        case list() | tuple():
            return 5 + sum(map(cell_bytes, cell))
        case dict():
            return 5 + sum(len(name) + cell_bytes(each) for name, each in cell.items())
        case _:
            return 9
