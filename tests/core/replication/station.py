"""A node with one copy on a desk of its own: a disk that can crash, and a map."""

import random
from collections import deque
from collections.abc import Callable

from tests.core.replication.desk import DictMap, MsgpackAnswers
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import Outcome
from torua.core.records import Record
from torua.core.replication import barrier
from torua.core.replication.copy import ShardCopy
from torua.core.replication.messages import (
    Append,
    Apply,
    CopyFacts,
    Failed,
    Identity,
    Input,
    Installed,
    Keep,
    Kept,
    Limits,
    LogRead,
    Output,
    ReadLog,
    Refuse,
    Reply,
    Stored,
    Truncate,
)
from torua.core.replication.tip import Position

SHARD = ShardId(3)
HISTORY = "h" * 32
LIMITS = Limits(requests=50, records=40)


class Disk:
    """What outlives a crash.

    Invariants: ``log`` is contiguous, from ``base.seq + 1``; ``base`` is committed.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.log: list[Record] = []
        self.base = Position()
        self.image = DictMap()
        self.facts = CopyFacts(HISTORY)
        self.cut = 0

    @property
    def end(self) -> int:
        """The newest record."""
        return self.base.seq + len(self.log)

    def term_at(self, seq: int) -> int | None:
        """Tell a record's term; None where it is gone."""
        if seq == self.base.seq:
            return self.base.term
        if not self.base.seq < seq <= self.end or seq < self.cut:
            return None
        return self.log[seq - self.base.seq - 1].term

    def after(self, seq: int, count: int) -> tuple[Record, ...]:
        """Read some records.

        Args:
            seq: after which.
            count: at most so many.
        """
        if seq < max(self.base.seq, self.cut):
            return ()
        start = seq - self.base.seq
        return tuple(self.log[start : start + count])

    def do(self, job: Output) -> None:
        """Make one job durable."""
        match job:
            case Append():
                assert job.records[0].seq == self.end + 1, "a gap on the disk"
                self.log += job.records
            case Truncate():
                assert job.after <= self.end
                assert self.term_at(job.after) in (job.term, None)
                assert job.after >= self.facts.gcp, "R6"
                del self.log[job.after - self.base.seq :]
            case Keep():
                self.facts = job.facts


class Station:
    """One node over its lives.

    Invariants: what is in ``jobs`` is not durable; the map holds what was applied.
    """

    def __init__(
        self, name: str, dice: random.Random, kind: type[ShardCopy] = ShardCopy
    ) -> None:
        """Begin a first life.

        Args:
            name: of node and copy.
            dice: decides.
            kind: the machine to try.
        """
        self.node = NodeId(name)
        self.alloc = AllocId(name)
        self.kind = kind
        self.dice = dice
        self.disk = Disk()
        self.epoch = 0
        self.full = False
        self.replies: dict[int, tuple[Outcome, ...]] = {}
        self.refusals: dict[int, Refuse] = {}
        self.outside: Callable[[Station, Output], None] = lambda station, output: None
        self.barriers_kind = barrier.Barriers
        self.boot()

    def boot(self) -> None:
        """Begin the next life from what is on the disk.

        Nothing is known but what is durable there.
        """
        self.epoch += 1
        self.jobs: deque[Output] = deque()
        self.reads: deque[ReadLog] = deque()
        self.seen = 0
        self.failed = ""
        disk = self.disk
        self.map = DictMap()
        self.map.__dict__.update(
            applied=disk.image.applied,
            entries=dict(disk.image.entries),
            answers=dict(disk.image.answers),
        )
        at = disk.base
        for record in disk.log:
            if record.seq <= disk.facts.gcp:
                self.map.apply(record)
                at = Position(record.seq, record.term, record.time_ns)
        self.copy = self.kind(
            Identity(SHARD, self.alloc, self.node, self.epoch),
            disk.facts,
            at,
            tuple(disk.log[at.seq - disk.base.seq :]),
            view=self.map,
            answers=MsgpackAnswers(),
            term_at=disk.term_at,
            random=self.dice,
            limits=LIMITS,
        )
        self.begin_barriers(self.barriers_kind)

    def begin_barriers(self, kind: type[barrier.Barriers]) -> None:
        """Begin the barriers of this life."""
        self.barriers_kind = kind
        self.barriers = kind(lambda shard: self.copy.led(), self.dice)

    def crash(self) -> None:
        """Lose the process, and all but some of the first jobs."""
        for _ in range(self.dice.randint(0, len(self.jobs))):
            self.disk.do(self.jobs.popleft())
        self.boot()

    def tell(self, message: Input, now: float) -> None:
        """Hand the copy an input, and do what it asks.

        Args:
            message: what happened.
            now: the monotonic clock.
        """
        self.perform(self.copy.receive(message, now))

    def wake(self, now: float) -> None:
        """Wake the copy and the barriers, if they are due."""
        due = self.copy.next_deadline()
        if due is not None and due <= now:
            self.perform(self.copy.wake(now))
            due = self.copy.next_deadline()
            assert due is None or due > now, "woken in vain"

    def perform(self, outputs: list[Output]) -> None:
        """Do what the copy asked, in order.

        What is for others goes outside.
        """
        for output in outputs:
            if isinstance(output, Append | Truncate | Keep):
                self.jobs.append(output)
                continue
            match output:
                case Apply():
                    self.apply(output)
                case ReadLog():
                    self.reads.append(output)
                case Reply():
                    self.replies[output.request] = output.outcomes
                case Refuse():
                    self.refusals[output.request] = output
                case Failed():
                    self.failed = output.detail
            self.outside(self, output)

    def apply(self, output: Apply) -> None:
        """Bring the map forward."""
        for record in output.records:
            self.map.apply(record)

    def work(self, count: int, now: float) -> None:
        """Make the first jobs durable, and say so; then answer a reading.

        Args:
            count: at most so many.
            now: the monotonic clock.
        """
        done = [self.jobs.popleft() for _ in range(min(count, len(self.jobs)))]
        for job in done:
            self.disk.do(job)
        for job in done:
            if isinstance(job, Append) and job.records[-1].seq <= self.disk.end:
                self.tell(Stored(job.records[-1].seq), now)
            if isinstance(job, Keep):
                self.tell(Kept(job.facts.term), now)
        if self.reads:
            read = self.reads.popleft()
            found = self.disk.after(read.after, min(read.records, 5))
            self.tell(LogRead(read.alloc_id, read.after, found), now)

    def install(self, image: DictMap, at: Position, nonce: int, now: float) -> None:
        """Switch to a snapshot.

        Args:
            image: the map in it.
            at: where it stands.
            nonce: of its session.
            now: the monotonic clock.
        """
        disk = self.disk
        disk.log, disk.base, disk.image, disk.cut = [], at, image, 0
        self.jobs.clear()
        self.map.__dict__.update(
            applied=image.applied,
            entries=dict(image.entries),
            answers=dict(image.answers),
        )
        self.tell(Installed(nonce), now)
