"""What one node asks of another: errands for one shard, and their answers."""

from typing import Protocol

from msgspec import Struct

from torua.core.graph.fragments import Fragment, Piece
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import (
    Entry,
    Get,
    IdempotencyKey,
    Operation,
    Outcome,
    Page,
    keys_of,
)
from torua.core.reading import LINEARIZABLE, Level, Position, Reading
from torua.net.handlers import Handler
from torua.net.peers import Lane

KIND = "kv"
"""The kind of message by which routers forward to each other.

Every errand says by which state it was sent: ``routing_version``, and ``slots_version``
of the slot table by which its shard was chosen; None is that of the call, or of now.
"""


class Apply(Struct, frozen=True, array_like=True, tag="apply"):
    """Do operations on one shard, in order."""

    shard: ShardId
    routing_version: int
    operations: tuple[Operation, ...]
    idempotency: IdempotencyKey | None = None
    slots_version: int | None = None


class Fetch(Struct, frozen=True, array_like=True, tag="fetch"):
    """Read one key of one shard."""

    shard: ShardId
    routing_version: int
    key: bytes
    reading: Reading = LINEARIZABLE
    slots_version: int | None = None


class Scan(Struct, frozen=True, array_like=True, tag="scan"):
    """List keys of one shard."""

    shard: ShardId
    routing_version: int
    prefix: bytes
    after: bytes
    limit: int
    values: bool
    reading: Reading = LINEARIZABLE
    slots_version: int | None = None


class Mark(Struct, frozen=True, array_like=True, tag="mark"):
    """Tell a place in the log behind all writes acknowledged before this was asked."""

    shard: ShardId
    routing_version: int
    slots_version: int | None = None


class Query(Struct, frozen=True, array_like=True, tag="query"):
    """Read a graph's rows at one copy, all fragments at one instant.

    Attributes:
        shard: of which shard.
        routing_version: of the state by which the copy was chosen.
        graph: by name.
        schema_version: of the schema that the fragments were made with.
        fragments: what to read.
        reading: how fresh.
        keep: whether the transaction stays open, for more of them.
        alloc: the copy whose transaction ``session`` is; empty for any.
        session: an open transaction to read in; empty for a new one.
    """

    shard: ShardId
    routing_version: int
    graph: str
    schema_version: int
    fragments: tuple[Fragment, ...]
    reading: Reading = LINEARIZABLE
    keep: bool = False
    alloc: AllocId = AllocId("")
    session: str = ""
    slots_version: int | None = None


class QueryMore(Struct, frozen=True, array_like=True, tag="query-more"):
    """Give the next piece of an answer that did not fit into one."""

    shard: ShardId
    routing_version: int
    alloc: AllocId
    session: str
    slots_version: int | None = None


class QueryRelease(Struct, frozen=True, array_like=True, tag="query-release"):
    """End transactions at one node: nobody will read in them any more.

    Attributes:
        shard: of the first of them.
        routing_version: of the state that the asker has applied.
        sessions: copies, and the names of their transactions.
    """

    shard: ShardId
    routing_version: int
    sessions: tuple[tuple[AllocId, str], ...]
    slots_version: int | None = None


class Measure(Struct, frozen=True, array_like=True, tag="measure"):
    """Tell how many rows each table of a graph has at one copy."""

    shard: ShardId
    routing_version: int
    graph: str
    schema_version: int
    reading: Reading = LINEARIZABLE
    slots_version: int | None = None


class Parcel(Struct, frozen=True, array_like=True, tag="parcel"):
    """What one statement wants of several copies of one node, at once.

    Attributes:
        shard: of the first of them.
        routing_version: of the state by which the copies were chosen.
        errands: what; each is done or refused by itself.
    """

    shard: ShardId
    routing_version: int
    errands: tuple[Query, ...]
    slots_version: int | None = None


GraphErrand = Query | Parcel | QueryMore | QueryRelease | Measure

Errand = Apply | Fetch | Scan | Mark | GraphErrand


class Done(Struct, frozen=True, array_like=True):
    """The answer to an `Apply`; like all answers, ``at`` is behind what it shows."""

    outcomes: tuple[Outcome, ...]
    at: Position | None = None


class Found(Struct, frozen=True, array_like=True):
    """The answer to a `Fetch`; ``entry`` is None where the key is absent."""

    entry: Entry | None
    at: Position | None = None


class Listed(Struct, frozen=True):
    """The answer to a `Scan`."""

    page: Page
    at: Position | None = None


class Marked(Struct, frozen=True, array_like=True):
    """The answer to a `Mark`."""

    at: Position | None


class Queried(Struct, frozen=True, array_like=True, tag="queried"):
    """The answer to a `Query` or `QueryMore`: a piece, and which copy gave it."""

    piece: Piece
    alloc: AllocId
    at: Position | None = None


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """Why a `Query` of a `Parcel` was not done: a `ToruaError`."""

    code: str
    detail: str
    members: dict[str, object]


class Unpacked(Struct, frozen=True):
    """The answer to a `Parcel`: what came of each, in order."""

    answers: tuple[Queried | Refused, ...]


class Measured(Struct, frozen=True):
    """The answer to a `Measure`: rows and estimated bytes, by table."""

    rows: dict[str, tuple[int, int]]
    at: Position | None = None


class Released(Struct, frozen=True):
    """The answer to a `QueryRelease`."""


GraphAnswer = Queried | Unpacked | Measured | Released


def keys_asked(errand: Errand) -> tuple[bytes, ...] | None:
    """List the keys that an errand is about; None for the whole shard."""
    match errand:
        case Apply(operations=operations):
            return tuple(key for each in operations for key in keys_of(each)) or None
        case Fetch(key=key):
            return (key,)
        case _:
            return None


def parts_of(errand: Errand) -> "tuple[Errand, ...]":
    """Tell what is to be done by itself: of a parcel each of its errands."""
    return errand.errands if isinstance(errand, Parcel) else (errand,)


def is_write(errand: Errand) -> bool:
    """Tell whether an errand may change something."""
    return isinstance(errand, Apply) and not all(
        isinstance(operation, Get) for operation in errand.operations
    )


def is_repeatable(errand: Errand) -> bool:
    """Tell whether doing an errand twice is as good as once."""
    promised = isinstance(errand, Apply) and errand.idempotency is not None
    return promised or not is_write(errand)


def lane_of(errand: Errand) -> Lane:
    """Tell by which lane an errand goes to another node."""
    return Lane.WRITES if is_write(errand) else Lane.READS


def is_brief(errand: Errand) -> bool:
    """Tell whether a copy that takes long over an errand had better not be waited for.

    A query takes as long as it takes, at any copy.
    """
    return not isinstance(errand, GraphErrand)


def needs_primary(errand: Errand) -> bool:
    """Tell whether only the primary can do an errand.

    What goes on in an open transaction is done where that is; of a parcel's errands
    each is asked about by itself.
    """
    match errand:
        case Parcel():
            return False
        case Query(session=session) if session:
            return False
        case QueryMore() | QueryRelease():
            return False
        case (
            Fetch(reading=reading)
            | Scan(reading=reading)
            | Query(reading=reading)
            | Measure(reading=reading)
        ):
            return reading.level is Level.LINEARIZABLE
        case _:
            return True


class Peers(Protocol):
    """The connections to the other nodes."""

    def handle(self, kind: str, handler: Handler) -> None:
        """Have requests of one kind answered.

        Args:
            kind: the kind of message.
            handler: what answers it.
        """

    async def request(  # noqa: PLR0913
        self,
        node_id: NodeId,
        kind: str,
        body: object,
        *,
        lane: Lane,
        timeout_s: float,
        request_id: str = "",
        traceparent: str = "",
    ) -> object:
        """Ask another node.

        Args:
            node_id: whom.
            kind: the kind of message.
            body: what, as plain values.
            lane: its priority.
            timeout_s: how long to wait.
            request_id: stands in the log lines there.
            traceparent: passed on.
        """
