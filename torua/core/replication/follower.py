"""One other copy of the shard, as its primary sees it: what to send it, and when.

    PROBING --it has what we asked for--> STREAMING --the log no longer has it--.
       ^  '--it has not: try further back--'  |                                 |
       '------- a gap, silence, a new life ---'            SNAPSHOT <-----------'
       '<--------- it holds the snapshot, or that failed ------'

In STREAMING records go out as they are appended, a bounded window ahead of what the
copy acknowledged; what it lacks of the committed log is read for it.  Each time that
sending begins anew is an attempt, so that the complaints of one before are known.  At
rest, when the copy has all and knows it, nothing is sent.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from msgspec import Struct, field

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.records import Record
from torua.core.replication.messages import NeedSnapshot, Output, ReadLog, Send
from torua.core.replication.tip import Tip, cost_of
from torua.core.replication.wire import (
    APPEND_BYTES_MAX,
    APPEND_RECORDS_MAX,
    Acked,
    Append,
    Mismatch,
    SnapshotOpen,
    SnapshotWanted,
)

WINDOW_MESSAGES = 16
"""In flight to one copy: enough to hide a round trip and a sync."""

WINDOW_BYTES = 4 << 20
"""In flight to one copy: what a connection may have queued for it."""

LARGE_BYTES = 48 << 10
"""A message that the next may overtake on its way; so the next waits for its end."""

PROBE_S = 0.3
"""So long nothing was acknowledged: ask where the copy stands, and begin anew there."""

SNAPSHOT_S = 2.0
"""How often a copy is asked whether it still waits for its snapshot."""

NOTICE_S = 0.02
"""A copy hears of a new checkpoint with the next records, or after this."""

TermAt = Callable[[int], int | None]
"""The term of a record in this node's log; 0 for seq 0, None where it is gone."""


class State(Enum):
    """What is known of where the copy stands."""

    PROBING = "probing"
    STREAMING = "streaming"
    SNAPSHOT = "snapshot"


class Tracking(Enum):
    """Whether the primary waits for the copy; JOINING: for the checkpoint to reach it.

    While a copy is JOINING the checkpoint is held, so that one that is always a round
    trip behind gets there.
    """

    UNTRACKED = "untracked"
    JOINING = "joining"
    TRACKED = "tracked"


class Source(Struct, frozen=True):
    """What is sent from: one term's log.

    Attributes:
        shard: of which shard.
        history: its ``history_uuid``.
        term: the primary's.
        tip: what is in flight.
        term_at: tells of the log below that.
    """

    shard: ShardId
    history: str
    term: int
    tip: Tip
    term_at: TermAt

    def term_of(self, seq: int) -> int | None:
        """Return the term of a record; None where the log no longer has it."""
        if seq == 0:
            return 0
        found = self.tip.term_at(seq)
        return self.term_at(seq) if found is None else found


class Follower(Struct):
    """One other copy.

    Invariants: ``match`` rises, and was acknowledged in this term and life or is the
    checkpoint that the term began with; ``base <= match < next``; ``sent`` is what is
    in flight of this attempt, in order; at most one reading is under way, and of what
    it brings only what was committed when it began is sent: what the log holds above
    that may yet be taken back, and its numbers given anew, where the disk is full.

    Attributes:
        alloc_id: which copy.
        node: where.
        state: what is known of where it stands.
        tracking: whether the primary waits for it.
        match: up to where it holds durably what the primary has; 0 if not known.
        boot_epoch: the life that it spoke in last; 0 before.
        gcp: the checkpoint that it knows.
        waiting_since: when it last made progress, or had nothing more to do; None while
            it has nothing to do.
    """

    alloc_id: AllocId
    node: NodeId
    state: State = State.PROBING
    tracking: Tracking = Tracking.UNTRACKED
    match: int = 0
    boot_epoch: int = 0
    gcp: int = 0
    waiting_since: float | None = None
    next: int = 1
    base: int = 0
    attempt: int = 0
    sent: deque[tuple[int, int]] = field(default_factory=deque)
    reading: tuple[int, int] | None = None
    due: float | None = None
    nonce: int | None = None

    def begin(self, match: int, source: Source, now: float) -> Iterator[Output]:
        """Stream to a copy that is known to hold all up to ``match``.

        Args:
            match: up to where it is known to hold all.
            source: the log.
            now: the monotonic clock.
        """
        self.match = match
        self._restart(match)
        self.state = State.STREAMING
        yield from self.pump(source, now)

    def probe(self, seq: int, source: Source, now: float) -> Iterator[Output]:
        """Ask whether the copy holds all up to ``seq``; where it does, go on there.

        Args:
            seq: not below what it is known to hold.
            source: the log.
            now: the monotonic clock.
        """
        self._restart(seq)
        term = source.term_of(seq)
        if term is None:
            yield from self._want_snapshot(source, now)
            return
        self.state = State.PROBING
        yield self._append(source, seq, term, (), now)

    def pump(self, source: Source, now: float) -> Iterator[Output]:
        """Send what there is, as far as the window goes.

        Args:
            source: the log.
            now: the monotonic clock.
        """
        tip = source.tip
        while self._may_send and self.next <= tip.seq:
            if self.next <= tip.committed:
                self.reading = (self.next - 1, tip.committed)
                size = (APPEND_RECORDS_MAX, APPEND_BYTES_MAX)
                yield ReadLog(self.alloc_id, self.next - 1, *size)
                return
            records = tip.some(self.next - 1, APPEND_RECORDS_MAX, APPEND_BYTES_MAX)
            yield from self._send(source, records, now)

    def read(
        self, after: int, records: Sequence[Record], source: Source, now: float
    ) -> Iterator[Output]:
        """Send what was read for it.

        Args:
            after: as it was asked for.
            records: what stands there; empty where that is gone.
            source: the log.
            now: the monotonic clock.
        """
        if self.reading is None or self.reading[0] != after:
            return
        last, self.reading = self.reading[1], None
        if self.state is not State.STREAMING or self.next != after + 1:
            yield from self.pump(source, now)
        elif not records:
            yield from self._want_snapshot(source, now)
        else:
            committed = tuple(record for record in records if record.seq <= last)
            yield from self._send(source, committed, now)
            yield from self.pump(source, now)

    def acked(self, message: Acked, source: Source, now: float) -> bool:
        """Note what it holds; whether that is more than was known.

        Args:
            message: from this copy, of this term, not of an earlier life.
            source: the log.
            now: the monotonic clock.
        """
        more = message.match_seq > self.match
        self.gcp = max(self.gcp, message.gcp)
        self.match = max(self.match, message.match_seq)
        if self._found(more):
            self._restart(self.match)
            self.state = State.STREAMING
        while self.sent and self.sent[0][0] <= self.match:
            self.sent.popleft()
        if self.state is State.STREAMING:
            if not self.sent:
                self.due = None
            elif more:
                self.due = now + PROBE_S
        if more:
            self.waiting_since = now
        if self.match >= source.tip.seq:
            self.waiting_since = None
        self.rest(source, now)
        return more

    def mismatch(
        self, message: Mismatch, source: Source, now: float
    ) -> Iterator[Output]:
        """Begin anew further back, unless the complaint is about an attempt before.

        Args:
            message: from this copy, of this term, not of an earlier life.
            source: the log.
            now: the monotonic clock.
        """
        if message.attempt != self.attempt or self.state is State.SNAPSHOT:
            return
        hint = max(0, min(message.hint, message.prev_seq - 1))
        yield from self.probe(max(hint, self.match), source, now)

    def denies(self, message: Mismatch) -> bool:
        """Tell whether it says to lack what it had acknowledged before it was asked."""
        return message.attempt == self.attempt and message.prev_seq <= self.base

    def forget(self, source: Source, now: float) -> Iterator[Output]:
        """Begin from nothing with a copy that lost what it had; it is not tracked.

        Args:
            source: the log.
            now: the monotonic clock.
        """
        assert self.tracking is Tracking.UNTRACKED
        self.match = 0
        yield from self._want_snapshot(source, now)

    def opened(self, message: SnapshotOpen, now: float) -> Iterator[Output]:
        """Have a snapshot sent in a session that was not known yet.

        Args:
            message: what came.
            now: the monotonic clock.
        """
        if self.state is not State.SNAPSHOT or message.nonce == self.nonce:
            return
        self.nonce, self.due = message.nonce, now + SNAPSHOT_S
        yield NeedSnapshot(
            self.node, self.alloc_id, self.boot_epoch, message.term, message.nonce
        )

    def wake(self, source: Source, now: float) -> Iterator[Output]:
        """Ask again where the copy stands, or tell it the checkpoint.

        Args:
            source: the log.
            now: the monotonic clock.
        """
        if self.due is None or now < self.due:
            return
        if self.state is State.SNAPSHOT:
            self.due = now + (PROBE_S if self.nonce is None else SNAPSHOT_S)
            yield self._wanted(source)
        elif self.sent or self.state is State.PROBING:
            yield from self.probe(max(self.match, self._position()), source, now)
        else:
            term = source.term_of(self.next - 1)
            self.due = None
            if term is not None:
                yield self._append(source, self.next - 1, term, (), now)

    def rest(self, source: Source, now: float) -> None:
        """See to it that the copy hears of the checkpoint, or that nothing is due.

        Args:
            source: the log.
            now: the monotonic clock.
        """
        if self.state is not State.STREAMING or self.sent:
            return
        if self.gcp >= min(source.tip.committed, self.match):
            self.due = None
        elif self.due is None:
            self.due = now + NOTICE_S

    @property
    def _may_send(self) -> bool:
        """Whether the window is open."""
        if self.state is not State.STREAMING or self.reading is not None:
            return False
        if not self.sent:
            return True
        return (
            len(self.sent) < WINDOW_MESSAGES
            and self.sent[-1][1] <= LARGE_BYTES
            and sum(size for _, size in self.sent) < WINDOW_BYTES
        )

    def _found(self, more: bool) -> bool:
        """Tell whether an acknowledgment shows anew where the copy stands."""
        if self.state is State.SNAPSHOT:
            return more
        return self.state is State.PROBING or self.next <= self.match

    def _position(self) -> int:
        """Return where the last attempt began, while nobody said more."""
        return self.next - 1 if self.state is State.PROBING else self.match

    def _restart(self, seq: int) -> None:
        """Begin another attempt, after ``seq``."""
        assert seq >= self.match, "below what the copy holds"
        self.attempt += 1
        self.base, self.next = self.match, seq + 1
        self.sent.clear()
        self.due = None

    def _send(
        self, source: Source, records: tuple[Record, ...], now: float
    ) -> Iterator[Output]:
        """Send the next records."""
        prev = self.next - 1
        term = source.term_of(prev)
        if term is None:
            yield from self._want_snapshot(source, now)
            return
        size = sum(map(cost_of, records))
        self.sent.append((prev + len(records), size))
        self.next = prev + len(records) + 1
        due = self.due if len(self.sent) > 1 else None
        yield self._append(source, prev, term, records, now)
        self.due = self.due if due is None else due

    def _append(
        self,
        source: Source,
        prev: int,
        term: int,
        records: tuple[Record, ...],
        now: float,
    ) -> Output:
        """Spell a message to the copy, that is to be answered in time."""
        self.due = now + PROBE_S
        message = Append(
            source.shard,
            source.history,
            source.term,
            self.alloc_id,
            self.attempt,
            prev,
            term,
            records,
            source.tip.committed,
        )
        return Send(self.node, message)

    def _want_snapshot(self, source: Source, now: float) -> Iterator[Output]:
        """Have the copy open a session, again and again until it does."""
        assert self.tracking is not Tracking.TRACKED, "the tip lacks what is tracked"
        self.state = State.SNAPSHOT
        self.sent.clear()
        self.nonce = None
        self.due = now + PROBE_S
        yield self._wanted(source)

    def _wanted(self, source: Source) -> Output:
        """Ask for a session, the one that is open or another."""
        where = (source.shard, source.history, source.term, self.alloc_id)
        return Send(self.node, SnapshotWanted(*where))
