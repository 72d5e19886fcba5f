"""Whole lives of a log on a faulty disk, and what must be true after each of them."""

import errno
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.storage.faulty import FaultyFiles
from torua.core.ids import AllocId
from torua.errors import DiskError, DiskFullError
from torua.storage.log import Log
from torua.storage.segment import Item, Kind

DIRECTORY = Path("/log")
ALLOCS = [AllocId(letter * 32) for letter in "abc"]
SEGMENT_BYTES = 700
"""So small that every few commits begin a new segment."""


Entry = tuple[int, bytes]
"""The term and the payload of an entry."""


class Promise:
    """What a log must say of one copy, as far as it was told.

    Invariants: ``entries`` are contiguous, from 1 or from behind ``start``.
    """

    def __init__(self, start: int = 0, term: int = 0) -> None:
        """Begin without an entry.

        Args:
            start: the seq before the first.
            term: of the record at ``start``.
        """
        self.start = start
        self.term = term
        self.needed = start + 1
        self.entries: dict[int, Entry] = {}

    @property
    def last(self) -> int:
        """The newest entry's seq."""
        return self.start + len(self.entries)

    def newest_term(self) -> int:
        """Return the term of the newest entry."""
        return self.entries[self.last][0] if self.entries else self.term

    def take(self, item: Item) -> None:
        """Note one item of a commit."""
        if item.kind is Kind.RECORD:
            for seq, payload in enumerate(item.payloads, item.seq):
                self.entries[seq] = (item.term, payload[:])
            return
        for seq in [seq for seq in self.entries if seq > item.seq]:
            del self.entries[seq]

    def copy(self) -> "Promise":
        """Return another that changes apart from this one."""
        other = Promise(self.start, self.term)
        other.needed, other.entries = self.needed, dict(self.entries)
        return other

    def kept_by(self, log: Log, alloc: AllocId) -> bool:
        """Tell whether a log says of a copy exactly what was promised.

        Args:
            log: the log.
            alloc: the copy.
        """
        first, last = log.first(alloc), log.last(alloc)
        if last != self.last or not self.start < first <= max(self.needed, 1):
            return False
        found = {
            entry.seq: (entry.term, entry.payload)
            for entry in log.read(alloc, first - 1, 1 << 30)
        }
        if first - 1 == self.start and log.term_at(alloc, self.start) != self.term:
            return False
        expected = {seq: self.entries[seq] for seq in range(first, last + 1)}
        terms = {seq: log.term_at(alloc, seq) for seq in expected}
        return found == expected and all(
            terms[seq] == entry[0] for seq, entry in expected.items()
        )


def follows(before: Item, item: Item) -> bool:
    """Tell whether a record is the next of the same copy and term.

    Args:
        before: of the commit.
        item: what comes behind it there.
    """
    if not before.kind is item.kind is Kind.RECORD:
        return False
    return (before.alloc, before.last + 1, before.term) == item[1:4]


def joined(items: list[Item]) -> list[Item]:
    """Make one run of those that follow each other in one term."""
    found: list[Item] = []
    for item in items:
        if found and follows(found[-1], item):
            payloads = [*found[-1].payloads, *item.payloads]
            found[-1] = found[-1]._replace(payloads=payloads)
        else:
            found.append(item)
    return found


class Lives:
    """A log that is written, fails, crashes and is opened again, from one seed.

    Invariants: ``kept`` is what every call that returned promised; ``unsure`` what may
    stand instead, after each item of the one call that failed unknown.
    """

    def __init__(self, seed: int, log_class: type[Log] = Log) -> None:
        """Begin with an empty disk.

        Args:
            seed: decides everything.
            log_class: `Log`, or a broken one that should be found.
        """
        self.dice = Random(seed)
        self.files = FaultyFiles()
        self.log_class = log_class
        self.retention = self.dice.choice([0, 0, 2000])
        self.kept = {alloc: Promise() for alloc in ALLOCS}
        self.unsure: list[dict[AllocId, Promise]] = []
        self.log = self.opened()

    def opened(self) -> Log:
        """Open the log that is on the disk."""
        return self.log_class.open(
            DIRECTORY, self.files, SEGMENT_BYTES, retention_bytes=self.retention
        )

    def run(self, lives: int = 4, turns: int = 12) -> None:
        """Live, crash, open and check, again and again.

        Args:
            lives: how often.
            turns: at most so many calls in each life.
        """
        for _ in range(lives):
            self.plan_fault()
            self.live(self.dice.randint(0, turns))
            self.files.fault = None
            self.found()
            self.files = self.files.crash(self.dice)
            self.log = self.opened()
            self.check()

    def plan_fault(self) -> None:
        """Choose one call of this life that fails, perhaps."""
        code = self.dice.choice([errno.EIO, errno.ENOSPC, 0])
        call = self.files.calls + self.dice.randint(1, 30)
        self.files.fault = (call, code) if code else None

    def live(self, turns: int) -> None:
        """Do some things, and after a failure check that it stays one."""
        acts = [self.commit] * 6 + [self.let_go] * 2 + [self.begin_anew, self.forget]
        for _ in range(turns):
            try:
                self.dice.choice(acts)()
            except DiskFullError:
                continue
            except DiskError:
                self.stays_failed()

    def commit(self) -> None:
        """Commit some entries of some copies, and void others.

        Where the disk is full nothing of them may ever show; where it failed, the first
        of them may.
        """
        after: list[dict[AllocId, Promise]] = [self.kept]
        items: list[Item] = []
        for _ in range(self.dice.randint(1, 4)):
            alloc = self.dice.choice(ALLOCS)
            promise = after[-1][alloc].copy()
            items.append(self.item(alloc, promise))
            promise.take(items[-1])
            after.append(after[-1] | {alloc: promise})
        self.attempt(lambda: self.log.commit(joined(items)), after)

    def item(self, alloc: AllocId, promise: Promise) -> Item:
        """Make up the next item of a commit.

        Args:
            alloc: whose.
            promise: what its log holds by then.
        """
        if promise.last >= promise.needed and self.dice.random() < 0.25:
            seq = self.dice.randint(promise.needed - 1, promise.last)
            term = promise.entries[seq][0] if seq > promise.start else promise.term
            return Item(Kind.TRUNCATE, alloc, seq, term)
        term = promise.newest_term() + self.dice.choice([0, 0, 1])
        payload = self.dice.randbytes(self.dice.choice([0, 3, 100, 600]))
        return Item(Kind.RECORD, alloc, promise.last + 1, max(term, 1), [payload])

    def begin_anew(self) -> None:
        """Begin a copy behind a snapshot."""
        alloc = self.dice.choice(ALLOCS)
        start, term = self.dice.randint(1, 40), self.dice.randint(1, 9)
        self.attempt(
            lambda: self.log.set_start(alloc, start, term),
            [self.kept, self.kept | {alloc: Promise(start, term)}],
        )

    def forget(self) -> None:
        """Give a copy up."""
        alloc = self.dice.choice(ALLOCS)
        self.attempt(
            lambda: self.log.forget(alloc), [self.kept, self.kept | {alloc: Promise()}]
        )

    def attempt(
        self, call: Callable[[], None], after: list[dict[AllocId, Promise]]
    ) -> None:
        """Make a call that writes, and note what it promises.

        Args:
            call: what to do.
            after: what holds after none, the first … and all of its items.
        """
        full: tuple[DiskFullError, ...] = ()
        try:
            call()
        except DiskFullError as error:
            full = (error,)
        except DiskError:
            self.unsure = self.unsure or after
            raise
        if full:
            raise full[0]
        self.kept = after[-1]

    def let_go(self) -> None:
        """Cut a copy's entries somewhere."""
        alloc = self.dice.choice(ALLOCS)
        through = self.dice.randint(0, self.log.last(alloc) + 1)
        promise = self.kept[alloc]
        promise.needed = max(promise.needed, min(through, promise.last) + 1)
        self.log.cut(alloc, through)

    def stays_failed(self) -> None:
        """After one failure every commit fails, and leaves no trace."""
        last = self.log.last(ALLOCS[0])
        try:
            self.log.commit([Item(Kind.RECORD, ALLOCS[0], last + 1, 99, [b"x"])])
        except DiskError:
            return
        raise AssertionError("a log that failed wrote again")

    def found(self) -> dict[AllocId, Promise]:
        """Return what the log holds: what was acknowledged, or what was unsure."""
        for promised in [self.kept, *self.unsure]:
            if all(promised[alloc].kept_by(self.log, alloc) for alloc in ALLOCS):
                return promised
        raise AssertionError("the log broke its promise")

    def check(self) -> None:
        """All that was acknowledged is there, as it was; that is so from now on."""
        self.kept, self.unsure = self.found(), []
        for alloc, promise in self.kept.items():
            promise.needed = self.log.first(alloc)
