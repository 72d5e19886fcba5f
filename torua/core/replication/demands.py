"""What a primary is asked for; each request is answered by `Reply` or `Refuse`."""

from msgspec import Struct

from torua.core.kv import IdempotencyKey, Operation
from torua.core.records import Moved


class Write(Struct, frozen=True):
    """A client's batch.

    Attributes:
        request: names it in the answer; never used twice.
        operations: what to do, in order.
        now_ns: the wall clock (Unix, nanoseconds).
        idempotency: the caller's promise, if it made one.
    """

    request: int
    operations: tuple[Operation, ...]
    now_ns: int
    idempotency: IdempotencyKey | None = None


class Writes(Struct, frozen=True, tag=True):
    """Batches of several clients that came at once, in order: kept and sent together.

    Attributes:
        writes: each is answered by itself.
    """

    writes: tuple[Write, ...]


class Move(Struct, frozen=True, tag=True):
    """What a split moves, to be done in one record; `Reply` tells which.

    Attributes:
        request: names it in the answer; of the same numbers as those of `Write`.
        term: the one in which it is meant.
        moved: what to do.
        now_ns: the wall clock (Unix, nanoseconds).
    """

    request: int
    term: int
    moved: Moved
    now_ns: int


class Confirm(Struct, frozen=True, tag=True):
    """A value was just read from the view: was this the primary when it was?

    `Reply` without outcomes says yes, `Refuse` that nobody knows.

    Attributes:
        request: names it in the answer; of the same numbers as those of `Write`.
    """

    request: int


Request = Writes | Confirm | Move
"""What is answered."""
