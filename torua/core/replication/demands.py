"""What a primary is asked for; each is answered by `Reply` or `Refuse`."""

from msgspec import Struct

from torua.core.kv import IdempotencyKey, Operation
from torua.core.records import Moved


class Write(Struct, frozen=True, tag=True):
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


Request = Write | Confirm | Move
"""What is answered."""
