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
    """

    shard: ShardId
    seq: int
    term: int
    time_ns: int
    effects: tuple[Effect, ...] = ()
    answered: Answered | None = None
