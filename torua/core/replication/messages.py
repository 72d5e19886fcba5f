"""What a shard copy is told, and what it asks for; `wire` is what copies say."""

from msgspec import Struct

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Outcome
from torua.core.records import Record
from torua.core.replication.demands import Confirm, Move, Request, Write, Writes
from torua.core.replication.wire import Message
from torua.core.state import Shard

__all__ = ["Confirm", "Move", "Request", "Write", "Writes"]


class Reign(Struct, frozen=True):
    """A copy that is primary, in one term.

    Attributes:
        shard: of which shard.
        alloc_id: which copy.
        term: in which term.
        seq: the newest record applied to its view, the checkpoint; 0 for none.
        time_ns: that record's time; 0 for none.
        node: where the copy is.
        config: the state that made it primary; None for a shard of this one copy.
        seq_term: the term of the record at ``seq``; 0 for none.
        tail: the records of its log above ``seq``.
        stored: up to where the log is durable; None for ``seq``.
        suspects: copies to be failed at once, as that of a primary that was lost.
    """

    shard: ShardId
    alloc_id: AllocId
    term: int
    seq: int
    time_ns: int
    node: NodeId = NodeId("")
    config: Shard | None = None
    seq_term: int = 0
    tail: tuple[Record, ...] = ()
    stored: int | None = None
    suspects: tuple[AllocId, ...] = ()


class Limits(Struct, frozen=True):
    """What may be in flight at once; beyond it requests are refused, and not begun.

    Attributes:
        requests: waiting for their answers; a batch is one.
        records: appended, not yet committed.
        bytes: of either together.
    """

    requests: int = 8192
    records: int = 32768
    bytes: int = 128 << 20


class Identity(Struct, frozen=True):
    """Which copy this is, and in which life.

    Attributes:
        shard: of which shard.
        alloc_id: which copy.
        node: where it is.
        boot_epoch: the life of that node.
    """

    shard: ShardId
    alloc_id: AllocId
    node: NodeId
    boot_epoch: int


class CopyFacts(Struct, frozen=True):
    """What a copy must never forget; kept beside its view.

    Attributes:
        history: the ``history_uuid`` that its log belongs to.
        term: the highest term seen.
        gcp: a global checkpoint that it knew; the true one may be higher.
    """

    history: str
    term: int = 0
    gcp: int = 0


class Begin(Struct, frozen=True, tag=True):
    """Take the term up.  ``now_ns`` is the wall clock."""

    now_ns: int


class Configure(Struct, frozen=True, tag=True):
    """The committed state, as this node applied it, says this of the shard.

    States may be skipped, and told again.

    Attributes:
        shard: its configuration.
        now_ns: the wall clock (Unix, nanoseconds).
        lost: nodes whose connection broke and that the coordinator lost too.
    """

    shard: Shard
    now_ns: int
    lost: tuple[NodeId, ...] = ()


class Received(Struct, frozen=True, tag=True):
    """A message came from ``node``."""

    node: NodeId
    message: Message


class BarrierDone(Struct, frozen=True, tag=True):
    """Answers `Barrier`: whether all peers said yes, each to a nonce sent after it."""

    request: int
    passed: bool


class Stored(Struct, frozen=True, tag=True):
    """The log of this node holds all records up to ``seq`` durably."""

    seq: int


class Kept(Struct, frozen=True, tag=True):
    """Answers `Keep`: facts of at least ``term`` are on the disk."""

    term: int


class LogRead(Struct, frozen=True, tag=True):
    """Answers `ReadLog`: the records after ``after``; none where they are gone."""

    alloc_id: AllocId
    after: int
    records: tuple[Record, ...]


class PeerDown(Struct, frozen=True, tag=True):
    """The connection with ``node`` broke, and the coordinator lost it too."""

    node: NodeId


class PeerUp(Struct, frozen=True, tag=True):
    """There is a connection with ``node`` again; what was under way is lost."""

    node: NodeId


class SnapshotFailed(Struct, frozen=True, tag=True):
    """Answers `NeedSnapshot`: it could not be sent in this session."""

    alloc_id: AllocId
    nonce: int


class SnapshotReady(Struct, frozen=True, tag=True):
    """A whole snapshot came, was checked, and is durable beside the copy.

    Attributes:
        term: of the session.
        nonce: of the session.
        seq: the newest record that it holds.
        seq_term: that record's term.
        time_ns: that record's time.
    """

    term: int
    nonce: int
    seq: int
    seq_term: int
    time_ns: int


class Installed(Struct, frozen=True, tag=True):
    """Answers `Install`: view and log were switched, durably and at once."""

    nonce: int


class HandOver(Struct, frozen=True, tag=True):
    """Admit no more, so that the copy ``target`` can lead; `Drained` answers."""

    target: AllocId


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


Event = (
    Begin
    | Configure
    | Received
    | Stored
    | Kept
    | LogRead
    | PeerDown
    | PeerUp
    | BarrierDone
    | SnapshotFailed
    | SnapshotReady
    | Installed
    | HandOver
    | DiskFull
    | RoomAgain
    | Expire
    | StorageFailed
    | StepDown
)

Input = Request | Event


class Append(Struct, frozen=True, tag=True):
    """Keep these records, durably; `Stored` or a failure answers."""

    records: tuple[Record, ...]


class Truncate(Struct, frozen=True, tag=True):
    """Void the log behind ``after``, in order with `Append`; ``term`` is its term."""

    after: int
    term: int


class Keep(Struct, frozen=True, tag=True):
    """Keep these facts, durably; `Kept` answers."""

    facts: CopyFacts


class Apply(Struct, frozen=True, tag=True):
    """Bring the view forward by these records, before anything else is done."""

    records: tuple[Record, ...]


class Send(Struct, frozen=True, tag=True):
    """Send to a copy's node, as well as it goes."""

    node: NodeId
    message: Message


class ReadLog(Struct, frozen=True, tag=True):
    """Read records for the copy ``alloc_id``; `LogRead` answers, late if need be.

    Attributes:
        alloc_id: for which copy; one reading a copy is under way.
        after: the record after which to begin.
        records: at most so many.
        bytes: about so much, but a record at least.
    """

    alloc_id: AllocId
    after: int
    records: int
    bytes: int


class Barrier(Struct, frozen=True, tag=True):
    """Ask all tracked peers, from now on, whether this is the primary still.

    `BarrierDone` answers; see `torua.core.replication.barrier`.
    """

    request: int


class AskInSync(Struct, frozen=True, tag=True):
    """Ask the coordinator for ``MarkInSync``; repeated until the state answers.

    Attributes:
        shard: of which shard.
        term: the primary's.
        alloc_id: the copy that holds all from now on.
        boot_epoch: the life of its node.
        expect: the ``shard_version`` that it must find.
    """

    shard: ShardId
    term: int
    alloc_id: AllocId
    boot_epoch: int
    expect: int


class AskFail(Struct, frozen=True, tag=True):
    """Ask the coordinator for ``FailCopy``; repeated until the state answers.

    Attributes:
        shard: of which shard.
        term: the primary's.
        alloc_id: the copy that lags behind.
        expect: the ``shard_version`` that it must find.
        detail: why.
    """

    shard: ShardId
    term: int
    alloc_id: AllocId
    expect: int
    detail: str


class AskTerm(Struct, frozen=True, tag=True):
    """Ask the coordinator to hand this copy over to itself, in a new term.

    The state names it in a term that it led before; it can't know what it sent in it.

    Attributes:
        shard: of which shard.
        term: the one that is over.
        alloc_id: this copy.
        expect: the ``shard_version`` that it must find.
    """

    shard: ShardId
    term: int
    alloc_id: AllocId
    expect: int


class NeedSnapshot(Struct, frozen=True, tag=True):
    """Send a snapshot of the view, as it is applied now or later, in this session.

    It must hold at least what is applied at the moment; `SnapshotFailed` answers where
    that could not be done.

    Attributes:
        node: where the copy is.
        alloc_id: which copy.
        boot_epoch: the life of its node.
        term: the primary's.
        nonce: of the session.
    """

    node: NodeId
    alloc_id: AllocId
    boot_epoch: int
    term: int
    nonce: int


class Install(Struct, frozen=True, tag=True):
    """Switch view and log to the snapshot, durably and at once; `Installed` answers.

    The log is empty afterwards, and goes on after ``seq``.

    Attributes:
        nonce: which snapshot.
        seq: its newest record.
        seq_term: that record's term.
    """

    nonce: int
    seq: int
    seq_term: int


class Drop(Struct, frozen=True, tag=True):
    """A snapshot came too late, or for another: remove it."""

    nonce: int


class Serve(Struct, frozen=True, tag=True):
    """The shard is served from now on, in ``term``."""

    term: int


class SteppedDown(Struct, frozen=True, tag=True):
    """The copy leads no more; all its requests were refused before this."""

    term: int


class Drained(Struct, frozen=True, tag=True):
    """Nothing is in flight: ask for the hand-over.  After a while it goes on by itself.

    Attributes:
        shard: of which shard.
        term: the primary's.
        target: which copy shall lead.
        expect: the ``shard_version`` that was applied.
    """

    shard: ShardId
    term: int
    target: AllocId
    expect: int


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


class Failed(Struct, frozen=True, tag=True):
    """This copy can't go on: it must be made anew, under another ``alloc_id``."""

    detail: str


Output = (
    Append
    | Truncate
    | Keep
    | Apply
    | Send
    | ReadLog
    | Barrier
    | AskInSync
    | AskFail
    | AskTerm
    | NeedSnapshot
    | Install
    | Drop
    | Serve
    | SteppedDown
    | Drained
    | Reply
    | Refuse
    | Sweep
    | Failed
)
