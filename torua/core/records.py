"""Records of the write log: effects, not statements.

Everything that could differ between copies (time, random values) was resolved by the
primary before a record was made, so applying it gives the same state everywhere.
"""

from msgspec import Struct

from torua.core.ids import ShardId


class KvPut(Struct, frozen=True, array_like=True, tag="kp"):
    """``key`` has ``value`` from now on; its version is the record's seq."""

    key: bytes
    value: bytes
    content_type: str
    expires_ns: int | None = None


class KvDelete(Struct, frozen=True, array_like=True, tag="kd"):
    """``key`` is absent from now on."""

    key: bytes


Effect = KvPut | KvDelete


class Answered(Struct, frozen=True, array_like=True):
    """The idempotency key that a record answers, and the answer, to give it again."""

    key: str
    fingerprint: bytes
    answer: bytes


class MovedEntry(Struct, frozen=True, array_like=True):
    """An entry of a shard that is split, with the version that it has there."""

    key: bytes
    version: int
    value: bytes
    content_type: str
    expires_ns: int | None = None


class MovedAnswer(Struct, frozen=True, array_like=True):
    """An answer that a shard that is split gave, and the time of its record."""

    answered: Answered
    time_ns: int


class Moved(Struct, frozen=True, array_like=True):
    """What a split takes to a new shard, or away from the old one, in one record.

    It is no change of a key, so change feeds do not tell of it.  Done in this order;
    what a key has at a later version stays, so doing it again does no harm.

    Attributes:
        removed: keys that are absent, unless they are at a version behind this.
        entries: keys with the versions that they keep.
        answers: of idempotency keys; one that is answered already stays so.
        note: what is kept under `NOTE_KEY` from then on: how far it is.
    """

    removed: tuple[tuple[bytes, int], ...] = ()
    entries: tuple[MovedEntry, ...] = ()
    answers: tuple[MovedAnswer, ...] = ()
    note: bytes = b""


NOTE_KEY = b"\xffm\0\0\0\0\0"
"""Where a shard keeps how far a split of it is: an entry of its own, as of graphs."""


class Record(Struct, frozen=True, array_like=True, dict=True):
    """One atomic entry of a shard's log.

    What is computed of it once (its cost, its spelling) is kept in its ``__dict__``,
    which is no part of its value.

    Attributes:
        shard: whose log.
        seq: its place: 1, 2, 3 … without a gap; the version of the keys it sets, so no
            key stands twice in one record.
        term: the primary term in which it was made.
        time_ns: the primary's wall clock (Unix, nanoseconds), made to rise with seq.
        effects: what it changes, in order; empty in a no-op.
        answered: the idempotency key it settles, if any.
        moved: what a split moved by it, if it is of one; then it has no effects.
    """

    shard: ShardId
    seq: int
    term: int
    time_ns: int
    effects: tuple[Effect, ...] = ()
    answered: Answered | None = None
    moved: Moved | None = None
