"""What the copies of a shard say to each other.

Primary to copy: Append, SnapshotWanted, HandingOver.  Copy to primary: Acked, Mismatch,
Refused, SnapshotOpen.  Node to node, for all shards at once: BarrierAsk, BarrierSaid.

Each names the shard, its history, the term that it is of, and the one copy that it is
meant for or that speaks, for messages may be late, doubled, or out of order: whatever
is not of this term, this copy and this life does nothing (R21).
"""

from msgspec import Struct

from torua.core.ids import AllocId, ShardId
from torua.core.records import Record

APPEND_RECORDS_MAX = 1024
"""One message is checked and appended in milliseconds."""

APPEND_BYTES_MAX = 1 << 20
"""So much of a shard's records goes in one message; a larger record goes alone."""

BARRIER_ASKS_MAX = 4096
"""One message asks for so many shards; the rest goes into the next."""

NONCE_MAX = (1 << 63) - 1
"""What names a barrier or a snapshot session; CBOR and CPUs like 63 bits."""


class Append(Struct, frozen=True):
    """Keep these records, right after ``prev_seq``; without any: are you with me?

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the primary's.
        alloc_id: the copy that is meant.
        attempt: to be echoed; rises each time that the primary begins to send anew.
        prev_seq: after which record; 0 for the beginning.
        prev_term: that record's term; 0 for the beginning.
        records: contiguous, from ``prev_seq + 1``.
        gcp: the global checkpoint, as far as the primary knows it.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId
    attempt: int
    prev_seq: int
    prev_term: int
    records: tuple[Record, ...]
    gcp: int

    @property
    def last_seq(self) -> int:
        """Return up to where a copy that accepts this matches the primary."""
        return self.prev_seq + len(self.records)


class Acked(Struct, frozen=True, array_like=True, tag="acked"):
    """I hold, durably, what the primary of ``term`` has up to ``match_seq``.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the primary's, kept durably by the copy.
        alloc_id: the copy that speaks.
        boot_epoch: the life of its node.
        match_seq: ``prev_seq`` plus the records of an accepted `Append`, never the
            length of a log.
        gcp: the global checkpoint, as far as the copy knows it.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId
    boot_epoch: int
    match_seq: int
    gcp: int


class Mismatch(Struct, frozen=True, array_like=True, tag="mismatch"):
    """I do not hold what you say comes before.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the primary's.
        alloc_id: the copy that speaks.
        boot_epoch: the life of its node.
        attempt: of the `Append` that this answers.
        prev_seq: of the same.
        hint: after which record to try next; below ``prev_seq``.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId
    boot_epoch: int
    attempt: int
    prev_seq: int
    hint: int


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """Your term is over: I know of a later one.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the later one.
        alloc_id: the copy that speaks.
        boot_epoch: the life of its node.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId
    boot_epoch: int


class SnapshotWanted(Struct, frozen=True, array_like=True, tag="snapshot_wanted"):
    """My log no longer has what you miss: open a session for a snapshot.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the primary's.
        alloc_id: the copy that is meant.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId


class SnapshotOpen(Struct, frozen=True, array_like=True, tag="snapshot_open"):
    """I take a snapshot in this session, and in no other.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the primary's, kept durably by the copy.
        alloc_id: the copy that speaks.
        boot_epoch: the life of its node.
        nonce: never used before.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId
    boot_epoch: int
    nonce: int


class HandingOver(Struct, frozen=True, array_like=True, tag="handing_over"):
    """I lead no more once you do: I am well, so do not fail my copy.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the one that ends.
        alloc_id: the copy that is meant, the next primary.
    """

    shard: ShardId
    history: str
    term: int
    alloc_id: AllocId


ToCopy = Append | SnapshotWanted | HandingOver

ToPrimary = Acked | Mismatch | Refused | SnapshotOpen

Message = ToCopy | ToPrimary
"""What goes between two copies of a shard."""


class Ask(Struct, frozen=True, array_like=True):
    """Whether this copy knows of no later term than this.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        alloc_id: the copy that is asked.
        term: the primary's.
    """

    shard: ShardId
    history: str
    alloc_id: AllocId
    term: int


class BarrierAsk(Struct, frozen=True, tag="barrier_ask"):
    """For each of these: am I its primary still, as far as you know?

    Attributes:
        nonce: never used before; to be echoed.
        asks: at most `BARRIER_ASKS_MAX`.
    """

    nonce: int
    asks: tuple[Ask, ...]


class BarrierSaid(Struct, frozen=True, tag="barrier_said"):
    """The answers, in the order of the questions; anything but True is no."""

    nonce: int
    answers: tuple[bool, ...]


BarrierMessage = BarrierAsk | BarrierSaid
"""What goes between two nodes, for all of their shards at once."""
