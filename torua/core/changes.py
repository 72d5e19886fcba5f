"""Places and events of the change feed: what was told of each shard's log, what next.

A cursor names, for each shard, a history, the last record that was told whole, and how
many effects of the next one were told as well; so a feed that is cut anywhere goes on
with the very next change (rule R20).  It is opaque to clients.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence

from msgspec import Struct

from torua.core.graph.keys import is_graph_key
from torua.core.ids import ShardId
from torua.core.reading import unwrap
from torua.core.records import KvPut, Record
from torua.core.state import ClusterState
from torua.errors import MalformedError

HISTORY_CHARS = 8
"""So much of a history's UUID tells it from a shard's few others."""

CURSOR_CHARS_MAX = 20 << 10
"""It goes into a header; enough for 500 shards."""

_MARK = re.compile(r"([0-9]{1,9})\.([A-Za-z0-9-]{1,8})\.([0-9]{1,18})\.([0-9]{1,9})")


class Mark(Struct, frozen=True):
    """A place in one shard's changes.

    Attributes:
        history: the first characters of the history's name.
        seq: all records up to here were told.
        part: so many effects of the next record were told, too.
    """

    history: str
    seq: int
    part: int = 0


class Change(Struct, frozen=True):
    """One change of one key.

    Attributes:
        key: which.
        version: the seq of the record that made it.
        value: what the key has from then on; None where it was removed.
        seq: with ``part``, the place behind it: see `Mark`.
        part: see `Mark`.
    """

    key: bytes
    version: int
    value: bytes | None
    seq: int
    part: int


Cursor = Mapping[ShardId, Mark]
"""The place of every shard."""


def mark_of(history: str, seq: int) -> Mark:
    """Name the place behind a record.

    Args:
        history: the name of the history, whole.
        seq: of the record.
    """
    return Mark(history[:HISTORY_CHARS], seq)


def beginnings(state: ClusterState) -> dict[ShardId, Mark]:
    """Tell where the changes begin of shards that were made by splits.

    What came before is their parents' to tell; so who was never told of such a shard
    begins here, and misses nothing (R20).
    """
    return {
        shard.shard: mark_of(shard.history_uuid, shard.born)
        for shard in state.shards.values()
        if shard.born
    }


def changes_of(records: Sequence[Record], prefix: bytes, part: int) -> list[Change]:
    """List the changes in records, in order; those of graphs' rows are left out.

    Args:
        records: contiguous, from the one behind a mark.
        prefix: what the keys begin with.
        part: of that mark: so many effects of the first record were told already.
    """
    found = []
    for record in records:
        last = len(record.effects) - 1
        for index, effect in enumerate(record.effects):
            if index < part or not effect.key.startswith(prefix):
                continue
            if is_graph_key(effect.key):
                continue
            value = effect.value if isinstance(effect, KvPut) else None
            place = (record.seq, 0) if index == last else (record.seq - 1, index + 1)
            found.append(Change(effect.key, record.seq, value, *place))
        part = 0
    return found


def spell_cursor(cursor: Cursor) -> str:
    """Spell a cursor as the ``id`` of an event."""
    marks = (
        f"{shard}.{mark.history}.{mark.seq}.{mark.part}"
        for shard, mark in sorted(cursor.items())
    )
    return urlsafe_b64encode(";".join(marks).encode()).decode().rstrip("=")


def read_cursor(text: str) -> dict[ShardId, Mark]:
    """Read a cursor; MalformedError where it is none of ours."""
    found: dict[ShardId, Mark] = {}
    for part in (unwrap(text, CURSOR_CHARS_MAX) or "-").split(";"):
        mark = _MARK.fullmatch(part)
        if mark is None:
            raise MalformedError("the id of the last event is none of ours")
        found[ShardId(int(mark[1]))] = Mark(mark[2], int(mark[3]), int(mark[4]))
    return found
