"""The copies of a shard, as its primary counts them in one term.

*Tracked* are the copies that the primary waits for: the checkpoint is the least that
any of them holds, itself included.  *Counted* are those of them that the committed
state calls in sync, less those that the coordinator was asked to fail; without
``min_copies`` of these nothing is admitted and nothing succeeds.

    UNTRACKED --nearly there--> JOINING --holds the checkpoint--> TRACKED, AskInSync
        ^                          |                                 |
        '------- too slow ---------'<-- the state without it -- AskFail

A copy is tracked before the coordinator is asked to call it in sync, and is dropped
only where a state says that it is not and none of our own requests can make it so: so
the committed in-sync set is always among the tracked (R3).
"""

from collections.abc import Iterable, Iterator

from torua.core.ids import AllocId, NodeId
from torua.core.replication.asks import Asking
from torua.core.replication.follower import Follower, Source, State, Tracking
from torua.core.replication.messages import (
    Configure,
    Identity,
    Input,
    LogRead,
    Output,
    PeerDown,
    PeerUp,
    Received,
    Reign,
    SnapshotFailed,
)
from torua.core.replication.rests import Rests
from torua.core.replication.wire import Acked, Ask, Message, Mismatch, SnapshotOpen
from torua.core.state import CopyState, Shard

STALL_S = 1.0
"""A copy that makes no progress for so long, while records wait, is failed."""

JOIN_RECORDS = 256
"""So near to the tip a copy may hold the checkpoint up, to get there."""

JOIN_S = 0.25
"""For so long at most; a write can wait that long."""

PAUSE_S = 0.5
"""Woken so much too late, it was we who stood still, not the others."""


class Group:
    """All copies in one term, the primary's own among them.

    Invariants: the committed in-sync set is among the tracked (R3); the checkpoint
    never falls; no record is committed that a tracked copy did not acknowledge in this
    term; ``shard`` is the newest state applied.

    Performance: O(copies) an input.

    Attributes:
        shard: the newest configuration.
        own: up to where this node's log is durable.
        streamed: the newest record that was ever sent to anybody.
    """

    def __init__(self, me: Identity, shard: Shard, source: Source, own: int) -> None:
        """Take the copies as the state says.

        Args:
            me: the primary's copy.
            shard: the configuration that made it primary.
            source: its log.
            own: up to where that is durable.
        """
        self.shard = shard
        self.own = own
        self.streamed = 0
        self._me = me
        self._source = source
        self._followers: dict[AllocId, Follower] = {}
        self._asks: dict[AllocId, Asking] = {}
        self._rests = Rests()
        self._begun = self._growing = False
        for copy in shard.copies:
            if copy.alloc_id in shard.in_sync and self._add(copy.alloc_id):
                follower = self._followers[copy.alloc_id]
                follower.tracking = Tracking.TRACKED
                follower.match = source.tip.committed
        self._join_by: dict[AllocId, float] = {}

    @property
    def alone(self) -> bool:
        """Whether no other copy is tracked."""
        return not self.tracked

    @property
    def tracked(self) -> tuple[Follower, ...]:
        """Return the other copies that are tracked."""
        return tuple(
            each
            for each in self._followers.values()
            if each.tracking is Tracking.TRACKED
        )

    @property
    def counted(self) -> int:
        """Count the copies that make a write safe."""
        tracked = [self._me.alloc_id]
        tracked += [
            each.alloc_id
            for each in self.tracked
            if self._asks[each.alloc_id].failing is None
        ]
        return sum(alloc in self.shard.in_sync for alloc in tracked)

    @property
    def sufficient(self) -> bool:
        """Whether enough copies are counted for a write to succeed."""
        return self.counted >= self.shard.min_copies

    def is_counted(self, alloc_id: AllocId) -> bool:
        """Tell whether another copy makes a write safer."""
        follower = self._followers.get(alloc_id)
        return (
            follower is not None
            and follower.tracking is Tracking.TRACKED
            and alloc_id in self.shard.in_sync
            and self._asks[alloc_id].failing is None
        )

    def node_of(self, alloc_id: AllocId) -> NodeId:
        """Return where another copy is."""
        return self._followers[alloc_id].node

    def committable(self) -> int:
        """Return the least that any tracked copy holds: the new checkpoint (R4)."""
        tip = self._source.tip
        if any(each.tracking is Tracking.JOINING for each in self._followers.values()):
            return tip.committed
        least = min([self.own, *(each.match for each in self.tracked)])
        return max(least, tip.committed)

    def begin(self, suspects: Iterable[AllocId], now: float) -> Iterator[Output]:
        """Stream to all copies; ask to fail those that are known to be gone.

        Args:
            suspects: copies that would only hold the others up.
            now: the monotonic clock.
        """
        self._begun = True
        for follower in tuple(self._followers.values()):
            yield from self._settle(follower, now)
        committed = self._source.tip.committed
        suspected = tuple(suspects)
        for follower in self.tracked:
            follower.waiting_since = now
            if follower.alloc_id in suspected:
                yield self._fail(follower, "its node was lost", now)
            yield from follower.begin(committed, self._source, now)
        yield from self._discover(now)
        yield from self.pump(now)

    def open(self, now: float) -> Iterator[Output]:
        """Let copies grow into the in-sync set from now on: the no-op is committed.

        Before, the checkpoint may be below what was acknowledged in an earlier term, so
        a copy that holds it may lack that.
        """
        self._growing = True
        for follower in self._followers.values():
            yield from self._grow(follower, now)

    def receive(self, message: Input, now: float) -> Iterator[Output]:
        """Take an input about the copies; another does nothing.

        Args:
            message: what happened.
            now: the monotonic clock.
        """
        match message:
            case Received():
                yield from self._heard(message.message, now)
            case Configure():
                yield from self._configure(message.shard, now)
                yield from self._down(message.lost, now)
            case PeerDown():
                yield from self._down((message.node,), now)
            case PeerUp():
                yield from self._up(message.node, now)
            case LogRead():
                yield from self._read(message, now)
            case SnapshotFailed():
                yield from self._snapshot_failed(message, now)

    def peers(self) -> tuple[tuple[NodeId, Ask], ...]:
        """Return whom a barrier asks, and what: every other copy that is tracked."""
        where = (self._source.shard, self._source.history)
        term = self._source.term
        return tuple(
            (each.node, Ask(*where, each.alloc_id, term)) for each in self.tracked
        )

    def _configure(self, shard: Shard, now: float) -> Iterator[Output]:
        """Take over a newer state of the same term."""
        if shard.shard_version <= self.shard.shard_version:
            return
        self.shard = shard
        if not self._begun:
            return
        for follower in tuple(self._followers.values()):
            yield from self._settle(follower, now)
        yield from self._discover(now)

    def pump(self, now: float) -> Iterator[Output]:
        """Send what was appended."""
        tip = self._source.tip
        for follower in self._followers.values():
            if follower.waiting_since is None and follower.match < tip.seq:
                follower.waiting_since = now
            yield from follower.pump(self._source, now)
            self.streamed = max(self.streamed, follower.next - 1)

    def _heard(self, message: Message, now: float) -> Iterator[Output]:
        """Take a message from another copy; of this term only (R21)."""
        source = self._source
        here = (source.shard, source.history, source.term)
        if (message.shard, message.history, message.term) != here:
            return
        match message:
            case Acked():
                yield from self._acked(message, now)
            case Mismatch():
                yield from self._mismatch(message, now)
            case SnapshotOpen():
                yield from self._opened(message, now)

    def _acked(self, message: Acked, now: float) -> Iterator[Output]:
        """Note what a copy holds, and bring it nearer to being in sync."""
        follower = self._speaker(message.alloc_id, message.boot_epoch)
        if follower is None or message.match_seq > self._source.tip.seq:
            return
        yield from self._meet(follower, message.boot_epoch, now)
        if follower.acked(message, self._source, now):
            self._asks[follower.alloc_id].progressed = True
        yield from self._grow(follower, now)
        yield from follower.pump(self._source, now)
        self.streamed = max(self.streamed, follower.next - 1)

    def _mismatch(self, message: Mismatch, now: float) -> Iterator[Output]:
        """Go back to where a copy may match; fail it where it lost what it had."""
        follower = self._speaker(message.alloc_id, message.boot_epoch)
        if follower is None:
            return
        yield from self._meet(follower, message.boot_epoch, now)
        if not follower.denies(message):
            yield from follower.mismatch(message, self._source, now)
        elif follower.tracking is Tracking.TRACKED:
            if self._asks[follower.alloc_id].failing is None:
                yield self._fail(follower, "it lost what it had", now)
        else:
            follower.tracking = Tracking.UNTRACKED
            yield from follower.forget(self._source, now)

    def _opened(self, message: SnapshotOpen, now: float) -> Iterator[Output]:
        """Have a snapshot sent to a copy that waits for one."""
        follower = self._speaker(message.alloc_id, message.boot_epoch)
        if follower is not None:
            follower.boot_epoch = message.boot_epoch
            yield from follower.opened(message, now)

    def _read(self, message: LogRead, now: float) -> Iterator[Output]:
        """Send what was read from the log."""
        follower = self._followers.get(message.alloc_id)
        if follower is not None:
            yield from follower.read(message.after, message.records, self._source, now)
            self.streamed = max(self.streamed, follower.next - 1)

    def _snapshot_failed(self, message: SnapshotFailed, now: float) -> Iterator[Output]:
        """Ask a copy anew where it stands, whose snapshot did not get there."""
        follower = self._followers.get(message.alloc_id)
        if follower is None or follower.nonce != message.nonce:
            return
        if follower.state is State.SNAPSHOT:
            yield from follower.probe(self._source.tip.seq, self._source, now)

    def _down(self, nodes: Iterable[NodeId], now: float) -> Iterator[Output]:
        """Fail the tracked copies on nodes that are gone."""
        gone = tuple(nodes)
        for follower in self.tracked:
            ask = self._asks[follower.alloc_id]
            if follower.node in gone and ask.failing is None:
                yield self._fail(follower, "its node was lost", now)

    def _up(self, node: NodeId, now: float) -> Iterator[Output]:
        """Ask the copies on a node anew where they stand: messages were lost."""
        for follower in self._followers.values():
            if follower.node == node and follower.state is not State.SNAPSHOT:
                yield from self._again(follower, now)

    def moved(self, now: float) -> None:
        """Let the copies hear of a new checkpoint."""
        for follower in self._followers.values():
            follower.rest(self._source, now)

    def wake(self, now: float) -> Iterator[Output]:
        """Send again, ask again, and fail copies that stand still."""
        due = self.next_deadline()
        if due is None or now < due:
            return
        if now - due > PAUSE_S:
            self._forgive(now)
        for follower in self._followers.values():
            yield from follower.wake(self._source, now)
            yield from self._judge(follower, now)

    def next_deadline(self) -> float | None:
        """Tell when `wake` has work to do; None while only inputs matter."""
        times: list[float | None] = []
        for follower in self._followers.values():
            ask = self._asks[follower.alloc_id]
            times += [follower.due, ask.again, self._stalls_at(follower)]
            if follower.tracking is Tracking.JOINING:
                times.append(self._join_by[follower.alloc_id])
            elif follower.tracking is Tracking.UNTRACKED:
                times.append(self._joins_at(follower))
        return min((time for time in times if time is not None), default=None)

    def _judge(self, follower: Follower, now: float) -> Iterator[Output]:
        """Do with one copy what its time has come for."""
        ask = self._asks[follower.alloc_id]
        stalls = self._stalls_at(follower)
        if stalls is not None and stalls <= now:
            yield self._fail(follower, f"no progress for {STALL_S:g} s", now)
        elif ask.again is not None and ask.again <= now:
            yield self._ask(follower, now)
            if ask.marking is not None and follower.due is None:
                yield from self._again(follower, now)
        if follower.tracking is Tracking.JOINING:
            if self._join_by[follower.alloc_id] <= now:
                follower.tracking = Tracking.UNTRACKED
                self._rests.dropped(follower.node, now)
        elif follower.tracking is Tracking.UNTRACKED:
            yield from self._grow(follower, now)

    def _stalls_at(self, follower: Follower) -> float | None:
        """Tell when a copy is to be failed, if it goes on standing still."""
        ask = self._asks[follower.alloc_id]
        waits = follower.waiting_since
        if follower.tracking is not Tracking.TRACKED or waits is None:
            return None
        return None if ask.failing is not None else waits + STALL_S

    def _joins_at(self, follower: Follower) -> float | None:
        """Tell when a copy that is near enough has rested enough."""
        if not self._growing or not self._near(follower):
            return None
        return self._rests.until(follower.node)

    def _near(self, follower: Follower) -> bool:
        """Tell whether a copy is near to the tip, and not on its way off its node."""
        lag = self._source.tip.seq - follower.match
        if follower.state is not State.STREAMING or lag > JOIN_RECORDS:
            return False
        leaving = (follower.alloc_id, CopyState.RELOCATING)
        return leaving not in (
            (each.alloc_id, each.state) for each in self.shard.copies
        )

    def _grow(self, follower: Follower, now: float) -> Iterator[Output]:
        """Track a copy that holds the checkpoint; hold that for one that is near."""
        if not self._growing or follower.tracking is Tracking.TRACKED:
            return
        rests_until = self._rests.until(follower.node)
        rests = rests_until is not None and now < rests_until
        if rests or not self._near(follower):
            return
        if follower.match >= self._source.tip.committed:
            yield self._track(follower, now)
        elif follower.tracking is Tracking.UNTRACKED:
            follower.tracking = Tracking.JOINING
            self._join_by[follower.alloc_id] = now + JOIN_S

    def _track(self, follower: Follower, now: float) -> Output:
        """Wait for a copy from now on; only then have it called in sync."""
        assert follower.match >= self._source.tip.committed, "tracked too early"
        follower.tracking = Tracking.TRACKED
        follower.waiting_since = now if follower.waiting_since is not None else None
        self._rests.tracked(follower.node, now)
        return self._mark(follower, now)

    def _mark(self, follower: Follower, now: float) -> Output:
        """Ask the coordinator to call a tracked copy in sync."""
        assert follower.tracking is Tracking.TRACKED, "marked before it is tracked"
        self._asks[follower.alloc_id].mark(self.shard.shard_version)
        return self._ask(follower, now)

    def _fail(self, follower: Follower, detail: str, now: float) -> Output:
        """Ask the coordinator to fail a tracked copy; it no longer counts."""
        self._asks[follower.alloc_id].fail(self.shard.shard_version, detail)
        return self._ask(follower, now)

    def _ask(self, follower: Follower, now: float) -> Output:
        """Ask the coordinator what is to be asked about a copy, now and later again."""
        alloc_id, epoch = follower.alloc_id, follower.boot_epoch
        where = (self._me.shard, self._source.term)
        return self._asks[alloc_id].spell(*where, alloc_id, epoch, now)

    def _settle(self, follower: Follower, now: float) -> Iterator[Output]:
        """Compare one copy with a newer state; it may now be one that is to grow."""
        ask, shard = self._asks[follower.alloc_id], self.shard
        known = any(copy.alloc_id == follower.alloc_id for copy in shard.copies)
        inside = follower.alloc_id in shard.in_sync
        if inside:
            assert follower.tracking is Tracking.TRACKED, "in sync, but not tracked"
            yield from self._settle_inside(follower, now)
        elif follower.tracking is Tracking.TRACKED and shard.shard_version > ask.marked:
            if ask.marking is not None and known:
                yield self._mark(follower, now)
            else:
                self._drop(follower, now)
                if known:
                    yield from self._again(follower, now)
        elif follower.tracking is Tracking.UNTRACKED and self._near(follower):
            yield from self._again(follower, now)
        if not known and follower.tracking is not Tracking.TRACKED:
            del self._followers[follower.alloc_id], self._asks[follower.alloc_id]

    def _settle_inside(self, follower: Follower, now: float) -> Iterator[Output]:
        """Go on with a copy that a newer state calls in sync."""
        ask = self._asks[follower.alloc_id]
        if ask.failing is not None and not ask.progressed:
            yield self._fail(follower, ask.detail, now)
        else:
            ask.settled()

    def _drop(self, follower: Follower, now: float) -> None:
        """Wait for a copy no more."""
        follower.tracking = Tracking.UNTRACKED
        self._asks[follower.alloc_id] = Asking()
        self._rests.dropped(follower.node, now)

    def _forgive(self, now: float) -> None:
        """Count nobody's silence from before our own pause."""
        for follower in self._followers.values():
            if follower.waiting_since is not None:
                follower.waiting_since = now

    def _add(self, alloc_id: AllocId) -> bool:
        """Know a copy that is not known yet, and is not our own."""
        if alloc_id == self._me.alloc_id or alloc_id in self._followers:
            return False
        for copy in self.shard.copies:
            if copy.alloc_id == alloc_id:
                self._followers[alloc_id] = Follower(alloc_id, copy.node)
                self._asks[alloc_id] = Asking()
        return True

    def _discover(self, now: float) -> Iterator[Output]:
        """Ask the copies that are new where they stand."""
        for copy in self.shard.copies:
            if self._add(copy.alloc_id):
                assert copy.alloc_id not in self.shard.in_sync, "in sync, not tracked"
                yield from self._again(self._followers[copy.alloc_id], now)

    def _again(self, follower: Follower, now: float) -> Iterator[Output]:
        """Ask a copy where it stands: at the tip, or where it was known to be."""
        seq = follower.match or self._source.tip.seq
        yield from follower.probe(seq, self._source, now)

    def _speaker(self, alloc_id: AllocId, boot_epoch: int) -> Follower | None:
        """Return the copy that speaks, unless that is of an earlier life."""
        follower = self._followers.get(alloc_id)
        if follower is None or boot_epoch < follower.boot_epoch:
            return None
        return follower

    def _meet(
        self, follower: Follower, boot_epoch: int, now: float
    ) -> Iterator[Output]:
        """Begin anew with a copy that speaks in a later life."""
        was, follower.boot_epoch = follower.boot_epoch, boot_epoch
        if was and was < boot_epoch:
            yield from self._again(follower, now)


def lone(reign: Reign) -> Shard:
    """Describe a shard of one copy."""
    return Shard(
        shard=reign.shard,
        shard_version=0,
        primary_term=reign.term,
        primary=None,
        in_sync=(reign.alloc_id,),
        copies=(),
        history_uuid="",
        rf=1,
        min_copies=1,
    )
