"""What of a shard moves with some of its slots.

Entries that are of the shard and not of a slot, such as its schemas, are copied: both
shards have them afterwards.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from torua.core.graph.keys import is_graph_key
from torua.core.ids import ShardId
from torua.core.kv import Entry
from torua.core.records import (
    NOTE_KEY,
    KvDelete,
    KvPut,
    Moved,
    MovedAnswer,
    MovedEntry,
    Record,
)
from torua.core.routing import holds, slot_of
from torua.core.splitting.messages import Pull, Told
from torua.core.splitting.notes import Progress
from torua.core.state import ClusterState, Spans

VERSION_MAX = (1 << 63) - 1
"""Later than any version."""


def moves(spans: Spans, key: bytes) -> bool:
    """Tell whether an entry leaves the old shard.

    Args:
        spans: the slots that move.
        key: the entry's.
    """
    return not is_own(key) and holds(spans, slot_of(key))


def is_copied(spans: Spans, key: bytes) -> bool:
    """Tell whether the new shard is to have an entry.

    Args:
        spans: the slots that move.
        key: the entry's.
    """
    if is_own(key):
        return key != NOTE_KEY
    return holds(spans, slot_of(key))


def of_entries(spans: Spans, entries: Iterable[Entry]) -> tuple[MovedEntry, ...]:
    """Pick those of some entries that the new shard is to have.

    Args:
        spans: the slots that move.
        entries: with their values.
    """
    return tuple(
        MovedEntry(
            each.key,
            each.version,
            each.value or b"",
            each.content_type,
            each.expires_ns,
        )
        for each in entries
        if is_copied(spans, each.key)
    )


def piece(
    pull: Pull,
    records: Sequence[Record],
    page: Sequence[Entry] | Sequence[MovedAnswer],
    tip: int,
) -> Told:
    """Answer a question by what one copy of the parent has.

    Args:
        pull: the question; something is there already.
        records: that follow it, in order; none where there are no more yet.
        page: the entries, or then the answers, that follow, as they were behind all
            these records; none at the end.
        tip: the newest record that the copy has applied.
    """
    known = pull.progress
    assert known is not None, "nothing to go on from"
    moved = of_records(pull.spans, records)
    at = records[-1].seq if records else known.at
    keys, answers = known.keys, known.answers
    if keys is not None:
        entries = [each for each in page if isinstance(each, Entry)]
        moved = replace(
            moved, entries=(*moved.entries, *of_entries(pull.spans, entries))
        )
        keys = entries[-1].key if entries else None
    elif answers is not None:
        found = [each for each in page if isinstance(each, MovedAnswer)]
        moved = replace(moved, answers=(*moved.answers, *found))
        answers = found[-1].answered.key if found else None
    return Told(pull.number, Progress(at, keys, answers), moved, tip)


def of_records(spans: Spans, records: Iterable[Record]) -> Moved:
    """Sum up what records did to what the new shard is to have.

    Args:
        spans: the slots that move.
        records: contiguous.
    """
    removed: dict[bytes, int] = {}
    entries: dict[bytes, MovedEntry] = {}
    answers: list[MovedAnswer] = []
    for record in records:
        if record.answered is not None:
            answers.append(MovedAnswer(record.answered, record.time_ns))
        for effect in record.effects:
            if not is_copied(spans, effect.key):
                continue
            entries.pop(effect.key, None)
            if isinstance(effect, KvDelete):
                removed[effect.key] = record.seq
            else:
                entries[effect.key] = _moved(effect, record.seq)
    return Moved(tuple(removed.items()), tuple(entries.values()), tuple(answers))


def is_born(state: ClusterState, shard: ShardId) -> bool:
    """Tell whether a shard has slots, or is yet to get them by a split.

    Args:
        state: the cluster state.
        shard: one of its shards.
    """
    split = state.splits.get(shard)
    return split is None or split.phase == "trimming"


def born(state: ClusterState) -> list[ShardId]:
    """List the shards that have slots, in order."""
    return [shard for shard in sorted(state.shards) if is_born(state, shard)]


def half_of(state: ClusterState, shard: ShardId) -> Spans:
    """Return the upper half of a shard's slots; nothing where it has one or none.

    Args:
        state: the cluster state.
        shard: which.
    """
    owned = [(each.first, each.last) for each in state.slots if each.shard == shard]
    left = sum(last - first + 1 for first, last in owned) // 2
    found: list[tuple[int, int]] = []
    for first, last in reversed(owned):
        count = min(left, last - first + 1)
        left -= count
        if count:
            found.append((last - count + 1, last))
    return tuple(reversed(found))


def _moved(put: KvPut, seq: int) -> MovedEntry:
    """Spell what a put leaves behind."""
    return MovedEntry(put.key, seq, put.value, put.content_type, put.expires_ns)


def is_own(key: bytes) -> bool:
    """Tell whether an entry is of its shard, as a schema is, and of no slot."""
    return is_graph_key(key) and key[1:2] in (b"s", b"w", b"m")
