"""A copy of a shard that follows its primary.

It keeps what the primary of the highest term sends, in order and checked, and says so
once that is durable; it applies what is committed, and nothing above (R8).

    FOLLOWING --a term not seen before--> KEEPING --kept--> FOLLOWING
        |  '--a conflict, while appends are under way--> SYNCING --stored--> FOLLOWING
        '--a snapshot came in the session it opened--> INSTALLING --> FOLLOWING

In KEEPING and SYNCING messages are held back, a few of them, and taken in order
afterwards: nothing is answered before the term it depends on is durable, and nothing is
truncated while it is unknown which of the appended records a `Stored` may mean.
"""

from collections import deque
from collections.abc import Iterator
from enum import Enum
from random import Random

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.records import Record
from torua.core.replication.follower import TermAt
from torua.core.replication.messages import (
    Append,
    Apply,
    CopyFacts,
    Drop,
    Identity,
    Input,
    Install,
    Installed,
    Keep,
    Kept,
    Output,
    Received,
    Send,
    SnapshotReady,
    Stored,
    Truncate,
)
from torua.core.replication.messages import DiskFull as Full
from torua.core.replication.tip import Position
from torua.core.replication.wire import (
    NONCE_MAX,
    Acked,
    Ask,
    HandingOver,
    Mismatch,
    Refused,
    SnapshotOpen,
    SnapshotWanted,
)
from torua.core.replication.wire import Append as Sent

HELD_MAX = 64
"""Messages held back while something is synced; the primary sends others again."""


class State(Enum):
    """What a replica is doing."""

    FOLLOWING = "following"
    KEEPING = "keeping"
    SYNCING = "syncing"
    INSTALLING = "installing"


class DivergenceError(Exception):
    """What is committed here is not what is committed at the primary."""


class Replica:
    """Follows the primary of the highest term.

    Invariants: ``tail`` is the log above the checkpoint ``at``, contiguous; the
    checkpoint rises, and nothing at or below it is ever truncated (R6); records are
    applied up to it and no further; ``match`` is up to where the primary of ``term``
    has the same, or None; what was acknowledged is stored.

    Performance: O(records) a message.

    Attributes:
        state: what it is doing.
        term: the highest term seen.
        at: the checkpoint.
        tail: the records above it.
        stored: up to where the log is durable.
        handed: the term whose primary said that it hands over to this copy.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: Identity,
        facts: CopyFacts,
        at: Position,
        tail: tuple[Record, ...],
        stored: int,
        *,
        term_at: TermAt,
        random: Random,
    ) -> None:
        """Take a copy up.

        Args:
            me: which copy.
            facts: what it must not forget.
            at: up to where its view is.
            tail: the records of its log above that.
            stored: up to where these are durable.
            term_at: tells the terms of the log's records.
            random: makes nonces.
        """
        self.state = State.FOLLOWING
        self.term = max([facts.term, at.term, *(record.term for record in tail)])
        self.at = at
        self.tail = deque(tail)
        self.stored = stored
        self.handed: int | None = None
        self._me = me
        self._history = facts.history
        self._term_at = term_at
        self._random = random
        self._applied_term = 0
        self._in_sync = False
        self._match: int | None = None
        self._acked = -1
        self._leader: NodeId | None = None
        self._known_gcp = 0
        self._session: tuple[int, int] | None = None
        self._installing: SnapshotReady | None = None
        self._void = False
        self._held: deque[Received] = deque()

    @property
    def gcp(self) -> int:
        """The newest record that is known to be committed, and is applied."""
        return self.at.seq

    @property
    def end(self) -> int:
        """The newest record of the log, durable or not."""
        return self.at.seq + len(self.tail)

    @property
    def highest(self) -> int:
        """The highest term that this copy knows of."""
        return max(self.term, self._applied_term)

    def configure(self, term: int, in_sync: bool) -> None:
        """Take note of the committed state.

        Args:
            term: the ``primary_term`` in it.
            in_sync: whether it calls this copy in sync.
        """
        self._applied_term = max(self._applied_term, term)
        self._in_sync = in_sync

    def confirms(self, ask: Ask) -> bool:
        """Tell whether no later term than the one asked for is known here."""
        held = self.state is State.KEEPING or ask.history != self._history
        return not held and ask.term == self.highest == self.term

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.

        Raises:
            DivergenceError: this copy, or the primary, is not what it should be.
        """
        return list(self._receive(message))

    def spoil(self) -> None:
        """Take note that a full disk may have left older records behind the log."""
        self._void = True

    def ground(self) -> Iterator[Output]:
        """Void what a full disk left behind the log, before it is led from here."""
        if self._void:
            self._void = False
            yield Truncate(self.end, self._term_of(self.end))

    def _receive(self, message: Input) -> Iterator[Output]:
        """Take one input."""
        match message:
            case Received(message=Sent() | SnapshotWanted() | HandingOver()):
                yield from self._take(message)
            case Kept(term=term) if term >= self.term and self.state is State.KEEPING:
                yield from self._release()
            case Stored(seq=seq):
                yield from self._on_stored(seq)
            case Full():
                self._on_full()
            case SnapshotReady():
                yield from self._ready(message)
            case Installed():
                yield from self._installed(message)

    def _take(self, received: Received) -> Iterator[Output]:
        """Take a message of a primary, now or when what it depends on is durable."""
        message = received.message
        meant = (self._me.shard, self._me.alloc_id, self._history)
        if (message.shard, message.alloc_id, message.history) != meant:
            return
        if self.state is not State.FOLLOWING:
            if self.state is not State.INSTALLING and len(self._held) < HELD_MAX:
                self._held.append(received)
            return
        if message.term < self.highest:
            yield Send(received.node, Refused(*self._speaking(self.highest)))
        elif message.term > self.term:
            self._adopt(message.term)
            self._held.appendleft(received)
            yield Keep(CopyFacts(self._history, self.term, self.gcp))
        else:
            yield from self._obey(received.node, message)

    def _obey(self, node: NodeId, message: object) -> Iterator[Output]:
        """Do what the primary of our term says."""
        self._leader = node
        match message:
            case Sent():
                yield from self._append(message)
            case SnapshotWanted():
                yield from self._open()
            case HandingOver():
                self.handed = message.term

    def _adopt(self, term: int) -> None:
        """Begin a term: what was known of the last primary's log counts no more."""
        self.term = term
        self.state = State.KEEPING
        self._match, self._acked = None, -1
        self._session = None
        self._known_gcp = 0

    def _release(self) -> Iterator[Output]:
        """Go on with what was held back."""
        self.state = State.FOLLOWING
        held, self._held = self._held, deque()
        for received in held:
            yield from self._take(received)

    def _append(self, message: Sent) -> Iterator[Output]:
        """Accept records, where this log holds what comes before them."""
        hint = self._hint(message.prev_seq, message.prev_term)
        if hint is not None:
            echo = (message.attempt, message.prev_seq, hint)
            yield self._say(Mismatch(*self._speaking(self.term), *echo))
            return
        conflict = self._conflict(message.records)
        if conflict is not None and self.stored < self.end:
            self.state = State.SYNCING
            assert self._leader is not None
            self._held.appendleft(Received(self._leader, message))
            return
        if conflict is not None:
            yield from self._truncate(conflict - 1)
        yield from self._extend(message)
        yield from self._commit()
        if self._acked >= message.last_seq:
            yield self._ack(self._acked)

    def _hint(self, seq: int, term: int) -> int | None:
        """Tell after which record to try instead; None where ``seq`` is held."""
        if seq <= self.gcp:
            known = self.at.term if seq == self.gcp else self._term_at(seq)
            if known is not None and seq and known != term:
                raise DivergenceError(f"record {seq} is of term {known}, not {term}")
            return None
        if seq > self.end:
            return self.end
        mine = self._term_of(seq)
        if mine == term:
            return None
        while seq > self.gcp and self._term_of(seq) == mine:
            seq -= 1
        return seq

    def _conflict(self, records: tuple[Record, ...]) -> int | None:
        """Return the first of these seqs at which this log holds another record."""
        for record in records:
            if record.seq <= self.gcp or record.seq > self.end:
                continue
            if self._term_of(record.seq) != record.term:
                return record.seq
        return None

    def _truncate(self, after: int) -> Iterator[Output]:
        """Void what conflicts with the primary's log; only that, and never below (R6).

        What matched the primary of this term can't conflict with it.
        """
        assert after >= self.gcp, "truncated below the checkpoint"
        if self._match is not None and after < self._match:
            raise DivergenceError(f"record {after + 1} matched, and now it does not")
        yield Truncate(after, self._term_of(after))
        while self.end > after:
            self.tail.pop()
        self.stored = min(self.stored, after)
        self._void = False

    def _extend(self, message: Sent) -> Iterator[Output]:
        """Append what is new; from here on this copy matches that far."""
        self._session = None
        records = tuple(each for each in message.records if each.seq > self.end)
        if records:
            assert records[0].seq == self.end + 1, "a gap in the log"
            yield from self.ground()
            self.tail.extend(records)
            yield Append(records)
        self._match = self._matching(message)
        self._known_gcp = max(self._known_gcp, message.gcp)

    def _matching(self, message: Sent) -> int:
        """Return up to where this copy has what the primary has, as far as is known."""
        return max(self._match or 0, message.last_seq)

    def _commit(self) -> Iterator[Output]:
        """Apply what is committed, and say what is durable."""
        if self._match is None:
            return
        held = min(self._match, self.stored)
        yield from self._apply(self._committed(held))
        if held > self._acked:
            self._acked = held
            yield self._ack(held)

    def _committed(self, held: int) -> int:
        """Return the checkpoint: the primary's, as far as this copy holds the same."""
        return max(self.gcp, min(self._known_gcp, held))

    def _apply(self, seq: int) -> Iterator[Output]:
        """Bring the view to a newer checkpoint."""
        done = []
        while self.gcp < seq:
            record = self.tail.popleft()
            assert record.seq == self.gcp + 1, "applied out of order"
            self.at = Position(record.seq, record.term, record.time_ns)
            done.append(record)
        if done:
            yield Apply(tuple(done))

    def _on_stored(self, seq: int) -> Iterator[Output]:
        """Note what is durable."""
        assert seq <= self.end, "stored what was never appended"
        self.stored = max(self.stored, seq)
        yield from self._commit()
        if self.state is State.SYNCING and self.stored == self.end:
            yield from self._release()

    def _on_full(self) -> None:
        """Fall back to what is durable; the log may hold older records behind that."""
        while self.end > self.stored:
            self.tail.pop()
        if self._match is not None:
            self._match = min(self._match, self.stored)
        self._void = True
        if self.state is State.SYNCING:
            self.state = State.FOLLOWING
            self._held.clear()

    def _open(self) -> Iterator[Output]:
        """Open a session for a snapshot; a copy that is in sync needs none."""
        if self._in_sync or self.stored < self.end:
            return
        if self._match is not None:
            yield self._ack(min(self._match, self.stored))
        if self._session is None:
            self._session = (self.term, self._nonce())
        yield self._say(SnapshotOpen(*self._speaking(self.term), self._session[1]))

    def awaits(self, term: int, nonce: int) -> bool:
        """Tell whether a snapshot of a session is waited for, and none is installed.

        Args:
            term: the session's.
            nonce: the session's.
        """
        return self.state is not State.INSTALLING and self._session == (term, nonce)

    def _nonce(self) -> int:
        """Make a nonce."""
        return self._random.randrange(1, NONCE_MAX)

    def _ready(self, ready: SnapshotReady) -> Iterator[Output]:
        """Install a snapshot, if it is the one that this copy waits for."""
        wanted = self.state is State.FOLLOWING and self._session is not None
        fits = (ready.term, ready.nonce) == self._session
        if not wanted or not fits or ready.seq < self.gcp or self.highest > ready.term:
            yield Drop(ready.nonce)
            return
        self.state = State.INSTALLING
        self._installing = ready
        yield Install(ready.nonce, ready.seq, ready.seq_term)

    def _installed(self, message: Installed) -> Iterator[Output]:
        """Go on from a snapshot; it is what the primary of this term has."""
        ready = self._installing
        assert ready is not None and ready.nonce == message.nonce, "installed unasked"
        self.at = Position(ready.seq, ready.seq_term, ready.time_ns)
        self.tail.clear()
        self.stored = ready.seq
        self._void = False
        self._session = self._installing = None
        self._match = self._acked = ready.seq
        yield self._ack(ready.seq)
        yield from self._release()

    def _term_of(self, seq: int) -> int:
        """Return the term of a record at or above the checkpoint."""
        assert seq >= self.gcp, "below the checkpoint"
        return self.at.term if seq == self.gcp else self.tail[seq - self.gcp - 1].term

    def _ack(self, seq: int) -> Output:
        """Say what this copy holds durably."""
        return self._say(Acked(*self._speaking(self.term), seq, self.gcp))

    def _say(self, message: Acked | Mismatch | SnapshotOpen) -> Output:
        """Speak to the primary."""
        assert self._leader is not None, "nobody to speak to"
        return Send(self._leader, message)

    def _speaking(self, term: int) -> tuple[ShardId, str, int, AllocId, int]:
        """Return what every message of this copy begins with."""
        me = self._me
        return me.shard, self._history, term, me.alloc_id, me.boot_epoch
