"""What a primary is told, and what it asks for: inputs and outputs, as values."""

from msgspec import Struct

from torua.core.ids import AllocId, ShardId
from torua.core.kv import IdempotencyKey, Operation, Outcome
from torua.core.records import Record


class Reign(Struct, frozen=True):
    """A copy that is primary, in one term.

    Attributes:
        shard: of which shard.
        alloc_id: which copy.
        term: in which term.
        seq: the newest record of its log, applied to its view; 0 for none.
        time_ns: that record's time; 0 for none.
    """

    shard: ShardId
    alloc_id: AllocId
    term: int
    seq: int
    time_ns: int


class Limits(Struct, frozen=True):
    """What may be in flight at once; beyond it requests are refused, and not begun.

    Attributes:
        requests: waiting for their answers.
        records: appended, not yet committed.
        bytes: of either together.
    """

    requests: int = 8192
    records: int = 32768
    bytes: int = 128 << 20


class Begin(Struct, frozen=True, tag=True):
    """Take the term up.  ``now_ns`` is the wall clock."""

    now_ns: int


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


class Stored(Struct, frozen=True, tag=True):
    """The log of this node holds all records up to ``seq`` durably."""

    seq: int


class DiskFull(Struct, frozen=True, tag=True):
    """Nothing that was appended and not yet reported as stored was written."""


class RoomAgain(Struct, frozen=True, tag=True):
    """The disk takes records again.  ``now_ns`` is the wall clock."""

    now_ns: int


class Expire(Struct, frozen=True, tag=True):
    """Answers `Sweep`: remove what is due at ``now_ns``, the wall clock."""

    now_ns: int


class StorageFailed(Struct, frozen=True, tag=True):
    """The log or the view failed; what is on the disk is unknown."""

    detail: str


class StepDown(Struct, frozen=True, tag=True):
    """The term is over, for the reason in ``detail``."""

    detail: str


Event = Begin | Stored | DiskFull | RoomAgain | Expire | StorageFailed | StepDown

Input = Write | Event


class Append(Struct, frozen=True, tag=True):
    """Keep these records, durably; `Stored` or a failure answers."""

    records: tuple[Record, ...]


class Apply(Struct, frozen=True, tag=True):
    """Bring the view forward by these records, before anything else is done."""

    records: tuple[Record, ...]


class Serve(Struct, frozen=True, tag=True):
    """The shard is served from now on, in ``term``."""

    term: int


class Reply(Struct, frozen=True, tag=True):
    """A request is done: one outcome an operation, in order."""

    request: int
    outcomes: tuple[Outcome, ...]


class Refuse(Struct, frozen=True, tag=True):
    """A request is over without outcomes; ``error`` is a code of `torua.errors`."""

    request: int
    error: str
    detail: str


class Sweep(Struct, frozen=True, tag=True):
    """Tell the wall clock, by `Expire`: keys may be due."""


Output = Append | Apply | Serve | Reply | Refuse | Sweep
