"""The primary of a new shard: it copies what the shard is to have, then asks for it.

    (nothing) --> pages of entries, then of answers --> only what is new
                    each with the parent's records behind it      |
                                                                  v
    FinishSplit <-- all up to the end <-- the end <-- CLOSING <-- CloseSplit
                                                         |
                                  ReopenSplit <-- time is up

What is copied becomes records of the new shard, each with a note of how far it is; so
the other copies have it by replication, and another primary goes on from the note.  A
page is newer than all that was copied before it, and an entry that came twice stays at
its later version, so pages may be read while the parent is written.
"""

from collections.abc import Iterator

from torua.core.ids import ShardId
from torua.core.records import Moved
from torua.core.splitting.commands import (
    CancelSplit,
    CloseSplit,
    FinishSplit,
    OfSplits,
    ReopenSplit,
)
from torua.core.splitting.messages import (
    AskEnd,
    EndsAt,
    Follow,
    Input,
    Keep,
    Kept,
    Missed,
    Output,
    Propose,
    Pull,
    Told,
)
from torua.core.splitting.notes import Progress, spell_note
from torua.core.state import ClusterState, Phase, Split

CLOSE_S = 1.0
"""So long a write of a slot that moves may wait; then the parent serves it again."""

REST_S = 0.05
"""Between two looks where nothing was new."""

FAILED_S = 0.2
"""Between two looks where nobody answered."""

ASK_AGAIN_S = 0.3
"""How often the coordinator is asked again, until the state answers."""

ANSWER_S = 5.0
"""What is not answered by then is asked anew; what is to be kept is waited for."""

NEAR_RECORDS = 512
"""So near to the parent a split may close: what is left takes milliseconds."""

NOTE_RECORDS = 4096
"""So many records that are of no slot that moves are passed without a note of it."""

BACK_OFF_S = 1.0
BACK_OFF_MAX_S = 30.0
"""How long the parent is left alone after it was closed in vain; doubled each time."""


class Splitter:
    """Fills a new shard, in one term of its primary.

    Invariants: one question is open at a time; what is kept is kept in the order in
    which it came from the parent; the end that `FinishSplit` rests on is of the round
    that it names.

    Attributes:
        progress: what the shard has, committed; None for nothing.
    """

    def __init__(
        self, child: ShardId, term: int, progress: Progress | None, seq: int
    ) -> None:
        """Go on with what is committed.

        Args:
            child: the new shard; its primary is here, and serves.
            term: that primary's.
            progress: as the note says.
            seq: the record that made the note; 0 for none.
        """
        self.progress = progress
        self._child = child
        self._term = term
        self._seq = seq
        self._noted = progress.at if progress else 0
        self._state = ClusterState()
        self._number = 0
        self._open: Output | None = None
        self._coming: Progress | None = None
        self._due: float | None = None
        self._near = False
        self._closed_at: float | None = None
        self._end: int | None = None
        self._reopen_at = 0.0

    def receive(self, message: Input, now: float) -> list[Output]:
        """Take one input, and answer what is to be done about it, in order.

        Args:
            message: what happened.
            now: the caller's monotonic clock, in seconds.
        """
        if isinstance(message, Follow):
            return list(self._follow(message.state, now))
        if self._open is None or message.number != self._number:
            return []
        self._open = self._due = None
        return list(self._answered(message, now))

    def wake(self, now: float) -> list[Output]:
        """Ask, or ask again, where it is time."""
        if self._due is None or now < self._due:
            return []
        self._due = None
        if not isinstance(self._open, Keep):
            self._open = None
        return list(self._late(now) if self._is_late(now) else self._go_on(now))

    def next_deadline(self) -> float | None:
        """Tell when `wake` has work to do; None while only inputs matter."""
        return self._due

    @property
    def _split(self) -> Split | None:
        """Return the split, unless it is done, or given up."""
        split = self._state.splits.get(self._child)
        if split is None or split.phase is Phase.TRIMMING:
            return None
        return split

    def _follow(self, state: ClusterState, now: float) -> Iterator[Output]:
        """Take note of the committed state."""
        before, self._state = self._split, state
        split = self._split
        if split is None:
            self._due = None
            return
        if before is None or (before.phase, before.round) != (split.phase, split.round):
            self._end = None
            closing = split.phase is Phase.CLOSING
            self._closed_at = now if closing else None
            rest = min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** (min(split.round, 16) - 1))
            self._reopen_at = now + rest if split.round and not closing else now
            self._due = now
        if self._open is None:
            yield from self._go_on(now)

    def _answered(self, message: Input, now: float) -> Iterator[Output]:
        """Take an answer to the question that was open."""
        match message:
            case Told():
                yield from self._told(message, now)
                return
            case EndsAt():
                self._end = message.seq
            case Kept():
                assert self._coming is not None, "nothing was to be kept"
                self.progress, self._seq = self._coming, message.seq
                self._noted = self.progress.at
            case Missed(gone=True):
                yield from self._propose(CancelSplit(self._child, self._history), now)
                return
            case _:
                self._due = now + FAILED_S
                return
        yield from self._go_on(now)

    @property
    def _history(self) -> str:
        """Return the child's history."""
        return self._state.shards[self._child].history_uuid

    def _told(self, told: Told, now: float) -> Iterator[Output]:
        """Have what came kept, or look whether that is all for now."""
        if self._split is None:
            return
        progress, known = told.progress, self.progress
        self._near = progress.is_whole and told.tip - progress.at <= NEAR_RECORDS
        if known is not None and self._passes(known, told):
            self.progress = progress
            if progress.at > known.at:
                yield from self._go_on(now)
            else:
                self._due = now + REST_S
                yield from self._close(now)
            return
        copied = (known.copied if known else 0) + len(told.moved.entries)
        self._coming = Progress(progress.at, progress.keys, progress.answers, copied)
        note = spell_note(self._coming)
        moved = told.moved
        kept = Moved(moved.removed, moved.entries, moved.answers, note)
        yield from self._ask(Keep(self._number + 1, self._term, kept), now)

    def _passes(self, known: Progress, told: Told) -> bool:
        """Tell whether nothing of what came need be kept, nor a note of it."""
        scans = _scanned(known) != _scanned(told.progress)
        far = told.progress.at - self._noted >= NOTE_RECORDS
        return told.moved == Moved() and not scans and not far

    def _go_on(self, now: float) -> Iterator[Output]:
        """Ask the next question, where none is open."""
        split = self._split
        if split is None or self._open is not None:
            return
        if split.phase is Phase.CLOSING:
            yield from self._complete(split, now)
        else:
            yield from self._close(now)
            yield from self._pull(split, now)

    def _pull(self, split: Split, now: float) -> Iterator[Output]:
        """Ask for more, unless it was just asked in vain."""
        if self._due is None or self._due <= now:
            where = (split.parent, split.parent_history, split.spans)
            pull = Pull(self._number + 1, *where, self.progress)
            yield from self._ask(pull, now)

    def _close(self, now: float) -> Iterator[Output]:
        """Ask that the slots be served by nobody, once little is missing."""
        split = self._split
        if split is None or split.phase is Phase.CLOSING or not self._near:
            return
        if now >= self._reopen_at and self._is_safe(split):
            self._reopen_at = now + ASK_AGAIN_S
            yield Propose(CloseSplit(self._child, split.child_history, split.round))

    def _complete(self, split: Split, now: float) -> Iterator[Output]:
        """Get the rest, and say so, in time."""
        where = (self._child, split.child_history, split.round)
        if self._is_late(now):
            yield from self._late(now)
        elif self._end is None:
            number = self._number + 1
            yield from self._ask(AskEnd(number, split.parent, *where), now)
        elif self._is_behind(self._end):
            yield from self._propose(CancelSplit(*where[:2]), now)
        elif self._has_all(self._end) and self._is_safe(split):
            yield from self._propose(FinishSplit(*where, self._seq), now)
        else:
            yield from self._pull(split, now)

    def _is_late(self, now: float) -> bool:
        """Tell whether writes have waited for long enough."""
        return self._closed_at is not None and now >= self._closed_at + CLOSE_S

    def _late(self, now: float) -> Iterator[Output]:
        """Have the parent serve again."""
        split = self._split
        if split is not None:
            where = (self._child, split.child_history, split.round)
            yield from self._propose(ReopenSplit(*where), now)

    def _is_behind(self, end: int) -> bool:
        """Tell whether the parent grew so far that versions would fall."""
        return end >= self._state.shards[self._child].base

    def _has_all(self, end: int) -> bool:
        """Tell whether all that the parent had up to its end is committed here."""
        has = self.progress
        return has is not None and has.is_whole and has.at >= end

    def _is_safe(self, split: Split) -> bool:
        """Tell whether what the child has is as safe as it was at the parent."""
        child, parent = (
            self._state.shards[self._child],
            self._state.shards[split.parent],
        )
        wanted = max(child.min_copies, min(child.rf, len(parent.in_sync)))
        return child.primary is not None and len(child.in_sync) >= wanted

    def _ask(self, question: Pull | AskEnd | Keep, now: float) -> Iterator[Output]:
        """Ask, and be ready to ask anew."""
        self._number = question.number
        self._open = question
        self._due = self._until(now + ANSWER_S, now)
        yield question

    def _propose(self, command: OfSplits, now: float) -> Iterator[Output]:
        """Ask the coordinator, and be ready to ask again."""
        self._due = self._until(now + ASK_AGAIN_S, now)
        yield Propose(command)

    def _until(self, due: float, now: float) -> float:
        """Return when to look again at the latest: when writes have waited enough."""
        late = None if self._closed_at is None else self._closed_at + CLOSE_S
        return due if late is None or late <= now else min(due, late)


def _scanned(progress: Progress) -> tuple[bytes | None, str | None]:
    """Return how far the pages are."""
    return progress.keys, progress.answers
