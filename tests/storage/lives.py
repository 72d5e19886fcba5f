"""Whole lives of a log on a faulty disk, and what must be true after each of them."""

import errno
from pathlib import Path
from random import Random

from tests.storage.faulty import FaultyFiles
from torua.core.ids import AllocId
from torua.errors import DiskError, DiskFullError
from torua.storage.log import Log, LogEntry

DIRECTORY = Path("/log")
ALLOCS = [AllocId(letter * 32) for letter in "abc"]
SEGMENT_BYTES = 700
"""So small that every few commits begin a new segment."""


class Lives:
    """A log that is written, fails, crashes and is opened again, from one seed.

    Invariants: ``kept`` has every entry whose commit returned, from the first that its
    copy has not cut; ``unsure`` those of the one commit that failed unknown.
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
        self.kept: dict[AllocId, dict[int, bytes]] = {}
        self.cut: dict[AllocId, int] = {}
        self.unsure: list[LogEntry] = []
        self.log = self.opened()

    def opened(self) -> Log:
        """Open the log that is on the disk."""
        return self.log_class.open(DIRECTORY, self.files, SEGMENT_BYTES)

    def run(self, lives: int = 4, turns: int = 12) -> None:
        """Live, crash, open and check, again and again.

        Args:
            lives: how often.
            turns: at most so many commits, cuts and forgets in each life.
        """
        for _ in range(lives):
            self.plan_fault()
            self.live(self.dice.randint(0, turns))
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
        for _ in range(turns):
            try:
                self.dice.choice([self.commit, self.commit, self.commit, self.let_go])()
            except DiskFullError:
                continue
            except DiskError:
                self.stays_failed()

    def commit(self) -> None:
        """Commit some entries of some copies.

        Where the disk is full nothing of them may ever show; where it failed, any may.
        """
        entries: list[LogEntry] = []
        lasts = {alloc: self.log.last(alloc) for alloc in ALLOCS}
        for _ in range(self.dice.randint(1, 4)):
            alloc = self.dice.choice(ALLOCS)
            lasts[alloc] += 1
            payload = self.dice.randbytes(self.dice.choice([0, 3, 100, 600]))
            entries.append(LogEntry(alloc, lasts[alloc], payload))
        try:
            self.log.commit(entries)
        except DiskError:
            self.unsure = self.unsure or entries
            raise
        for alloc, seq, payload in entries:
            self.kept.setdefault(alloc, {})[seq] = payload

    def let_go(self) -> None:
        """Cut a copy's entries somewhere."""
        alloc = self.dice.choice(ALLOCS)
        through = self.dice.randint(0, self.log.last(alloc) + 1)
        self.cut[alloc] = max(self.cut.get(alloc, 0), through)
        self.log.cut(alloc, through)

    def stays_failed(self) -> None:
        """After one failure every commit fails, and leaves no trace."""
        try:
            self.log.commit([LogEntry(ALLOCS[0], self.log.last(ALLOCS[0]) + 1, b"x")])
        except DiskError:
            return
        raise AssertionError("a log that failed wrote again")

    def check(self) -> None:
        """All that was acknowledged is there, as it was; anything else was unsure."""
        unsure = {(entry.alloc, entry.seq): entry.payload for entry in self.unsure}
        for alloc in ALLOCS:
            kept = self.kept.setdefault(alloc, {})
            first, last = self.log.first(alloc), self.log.last(alloc)
            assert last >= max(kept, default=0), f"{alloc}: {last} of {max(kept)}"
            assert first <= self.cut.get(alloc, 0) + 1 or not kept
            for _, seq, payload in self.log.read(alloc, first - 1, 1 << 30):
                expected = kept[seq] if seq in kept else unsure[alloc, seq]
                assert payload == expected, f"{alloc}: entry {seq} differs"
                kept[seq] = payload
        self.unsure = []
