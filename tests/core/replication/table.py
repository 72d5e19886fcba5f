"""A shard of a few copies at one table: a bad network, crashes, a tiny coordinator.

After every step what was applied anywhere must be what was applied everywhere, and be
on the disk of every copy that the committed state calls in sync; what a client was told
must hold of the log in the end.
"""

import random
from collections.abc import Callable
from itertools import count

from tests.core.replication.desk import DictMap
from tests.core.replication.ledger import KEYS, Claim, Ledger, Snapshot, batch
from tests.core.replication.office import Office
from tests.core.replication.station import SHARD, Station
from torua.core.ids import AllocId
from torua.core.kv import (
    Get,
    IdempotencyKey,
    Outcome,
)
from torua.core.replication import barrier, wire
from torua.core.replication.copy import Role, ShardCopy
from torua.core.replication.messages import (
    Apply,
    AskFail,
    AskInSync,
    AskTerm,
    Barrier,
    BarrierDone,
    Configure,
    Confirm,
    DiskFull,
    Drained,
    Drop,
    Expire,
    HandOver,
    Install,
    Keep,
    NeedSnapshot,
    Output,
    PeerDown,
    PeerUp,
    Received,
    Reply,
    RoomAgain,
    Send,
    SnapshotFailed,
    SnapshotReady,
    Sweep,
    Write,
    Writes,
)
from torua.core.replication.tip import Position

STEP_S = 0.02


class Table:
    """One shard, its copies, and all between them.

    Invariants: a message that was delivered is no longer on the wire.
    """

    def __init__(
        self,
        seed: int,
        copies: int = 3,
        kind: type[ShardCopy] = ShardCopy,
        barriers: type[barrier.Barriers] = barrier.Barriers,
    ) -> None:
        """Prepare.

        Args:
            seed: decides everything.
            copies: how many.
            kind: the machine to try.
            barriers: the other.
        """
        self.dice = random.Random(seed)
        self.now = 1.0
        self.stations = [Station(f"n{i}", self.dice, kind) for i in range(copies)]
        self.by_alloc = {each.alloc: each for each in self.stations}
        self.wire: list[tuple[Station, Station, object]] = []
        self.ledger = Ledger()
        self.requests = count(1)
        self.late: list[tuple[Station, Station, object]] = []
        self.down: dict[AllocId, None] = {}
        self.cut_off: dict[AllocId, None] = {}
        self.staged: dict[int, Snapshot] = {}
        self.calm = False
        self.office = Office(self.dice, self.stations)
        for station in self.stations:
            station.outside = self.outside
            station.begin_barriers(barriers)

    def run(self, steps: int) -> None:
        """Take so many steps, then let all come to rest, and compare.

        Args:
            steps: how many.
        """
        kinds: list[tuple[int, Callable[[], None]]] = [
            (40, self.deliver),
            (16, self.work),
            (8, self.write),
            (6, self.read),
            (4, self.publish),
            (8, self.execute),
            (6, self.tick),
            (1, self.lose),
            (1, self.cut_one_off),
            (2, self.come_late),
            (1, self.crash),
            (1, self.fail_over),
            (1, self.disk_full),
            (1, self.hand_over),
            (1, self.cut),
            (1, self.connection),
        ]
        actions = [action for weight, action in kinds for _ in range(weight)]
        for _ in range(steps):
            self.dice.choice(actions)()
            self.check()
        self.rest()

    def rest(self) -> None:
        """Heal everything, and wait until all copies are in sync.

        It fails where that takes for ever.
        """
        self.calm = True
        self.cut_off.clear()
        self.wire, self.late = self.late + self.wire, []
        for _ in range(6000):
            for station in self.stations:
                if station.full:
                    station.full = False
                    station.tell(RoomAgain(self.ns), self.now)
            for _ in range(30):
                self.deliver()
            self.work()
            self.office.execute(self.calm)
            self.publish()
            self.tick()
            self.check()
            if self.at_rest():
                break
        else:
            raise AssertionError(f"never at rest: {self.office.shard}")
        self.ledger.judge(self.stations)

    def at_rest(self) -> bool:
        """Tell whether all copies are in sync and equal."""
        last = self.stations[0].copy.gcp
        return (
            len(self.office.shard.in_sync) == len(self.stations)
            and not self.wire
            and any(each.copy.serves for each in self.stations)
            and all(each.copy.idle and not each.jobs for each in self.stations)
            and all(each.copy.gcp == each.disk.end == last for each in self.stations)
        )

    @property
    def ns(self) -> int:
        """The wall clock."""
        return int(self.now * 1e9)

    def deliver(self) -> None:
        """Deliver a message, more or less in order; some are lost, some come twice.

        It is the first in order, mostly.
        """
        if not self.wire:
            return
        place = (
            0
            if self.calm or self.dice.random() < 0.7
            else self.dice.randrange(len(self.wire))
        )
        source, target, message = self.wire.pop(place)
        if not self.calm:
            if self.dice.random() < 0.05:
                self.lost(source, target, message)
                return
            if self.dice.random() < 0.1:
                self.wire.append((source, target, message))
            if self.dice.random() < 0.07:
                self.late.append((source, target, message))
                return
        if target.alloc in self.down or {source.alloc, target.alloc} & {*self.cut_off}:
            self.lost(source, target, message)
        else:
            self.hand(source, target, message)

    def lost(self, source: Station, target: Station, message: object) -> None:
        """Lose a message; the loss of a snapshot is noticed.

        Args:
            source: the log.
            target: to whom.
            message: what came.
        """
        if isinstance(message, Snapshot):
            source.tell(SnapshotFailed(target.alloc, message.nonce), self.now)

    def hand(self, source: Station, target: Station, message: object) -> None:
        """Hand a message to a node.

        Args:
            source: the log.
            target: to whom.
            message: what came.
        """
        if isinstance(message, wire.BarrierAsk):
            said = barrier.say(message, target.copy.confirms)
            self.wire.append((target, source, said))
        elif isinstance(message, wire.BarrierSaid):
            told = barrier.Said(source.node, message)
            self.conclude(target, target.barriers.receive(told, self.now))
        elif isinstance(message, Snapshot):
            self.staged[message.nonce] = message
            at = message.at
            target.tell(
                SnapshotReady(message.term, message.nonce, at.seq, at.term, at.time_ns),
                self.now,
            )
        else:
            target.tell(Received(source.node, message), self.now)  # type: ignore[arg-type]
        self.flush(target)

    def flush(self, station: Station) -> None:
        """End a turn of a node."""
        if station.barriers.wanted:
            done = station.barriers.receive(barrier.Flush(), self.now)
            self.conclude(station, done)

    def conclude(self, station: Station, outputs: list[barrier.Output]) -> None:
        """Do what the barriers ask.

        Args:
            station: which node.
            outputs: what they ask for.
        """
        for output in outputs:
            if isinstance(output, barrier.SendAsk):
                target = next(e for e in self.stations if e.node == output.node)
                self.wire.append((station, target, output.message))
            else:
                done = BarrierDone(output.want.request, output.passed)
                station.tell(done, self.now)
        self.flush(station)

    def work(self) -> None:
        """Let disks do something."""
        for station in self.stations:
            if not station.full and (self.calm or self.dice.random() < 0.5):
                station.work(100 if self.calm else self.dice.randint(1, 3), self.now)
                self.flush(station)

    def tick(self) -> None:
        """Let time pass."""
        self.now += STEP_S if self.calm else self.dice.choice([*[STEP_S] * 8, 0.3, 1.2])
        for station in self.stations:
            if station.alloc in self.down:
                continue
            station.wake(self.now)
            due = station.barriers.next_deadline()
            if due is not None and due <= self.now:
                self.conclude(station, station.barriers.wake(self.now))
            self.flush(station)

    def write(self) -> None:
        """Have clients write at somebody who may be primary."""
        station = self.leader()
        if station is not None:
            writes = tuple(self.draw() for _ in range(self.dice.choice((1, 1, 1, 2))))
            station.tell(Writes(writes), self.now)
            self.flush(station)

    def draw(self) -> Write:
        """Make a write; it may be one that was sent before."""
        again = [each for each in self.ledger.claims.values() if each.key is not None]
        if again and self.dice.random() < 0.2:
            claim = self.dice.choice(again)
            operations, key = claim.operations, claim.key
        else:
            operations = batch(self.dice, len(self.ledger.claims))
            key = f"i{len(self.ledger.claims)}" if self.dice.random() < 0.4 else None
        request = next(self.requests)
        self.ledger.claim(request, Claim(operations, key=key))
        promise = None if key is None else IdempotencyKey(key, b"")
        return Write(request, operations, self.ns, promise)

    def read(self) -> None:
        """Have a client read: the value first, and then the proof."""
        station = self.leader()
        if station is None or not station.copy.serves:
            return
        request, key = next(self.requests), self.dice.choice(KEYS)
        entry = station.map.get(key)
        found = Outcome(entry.version if entry else None, entry)
        self.ledger.claim(request, Claim((Get(key),), read=found))
        station.tell(Confirm(request), self.now)
        self.flush(station)

    def leader(self) -> Station | None:
        """Return somebody who leads, or thinks so."""
        found = [
            each
            for each in self.stations
            if each.copy.role is Role.PRIMARY and each.alloc not in self.down
        ]
        return self.dice.choice(found) if found else None

    def lose(self) -> None:
        """Stop a node for a while, or let it go on."""
        station = self.dice.choice(self.stations)
        if station.alloc in self.down:
            del self.down[station.alloc]
        elif len(self.down) < len(self.stations) - 1:
            self.down[station.alloc] = None

    def cut_one_off(self) -> None:
        """Part a node from all others, but not from clients; or end that."""
        if self.cut_off:
            self.cut_off.clear()
        elif self.dice.random() < 0.6:
            self.cut_off[self.dice.choice(self.stations).alloc] = None

    def come_late(self) -> None:
        """Put something on the wire that was sent long ago."""
        if self.late:
            place = self.dice.randrange(len(self.late))
            self.wire.insert(0, self.late.pop(place))

    def crash(self) -> None:
        """Kill a node, and start it anew."""
        station = self.dice.choice(self.stations)
        station.crash()
        station.full = False
        for other in self.stations:
            if other is not station and other.alloc not in self.cut_off:
                other.tell(PeerUp(station.node), self.now)
        named = self.office.shard.primary
        if named is not None and named.alloc_id == station.alloc:
            self.office.name(station)

    def fail_over(self) -> None:
        """Have another in-sync copy lead."""
        shard = self.office.shard
        alloc = self.dice.choice(shard.in_sync)
        if shard.primary is not None and alloc != shard.primary.alloc_id:
            self.office.name(self.by_alloc[alloc])

    def disk_full(self) -> None:
        """Fill a disk, or make room."""
        station = self.dice.choice(self.stations)
        if station.full:
            station.full = False
            station.tell(RoomAgain(self.ns), self.now)
        elif self.dice.random() < 0.5:
            station.full = True
            kept = [job for job in station.jobs if isinstance(job, Keep)]
            station.jobs.clear()
            station.jobs.extend(kept)
            station.tell(DiskFull(), self.now)

    def hand_over(self) -> None:
        """Begin a hand-over."""
        station = self.leader()
        if station is not None:
            target = self.dice.choice(self.stations)
            if target is not station:
                station.tell(HandOver(target.alloc), self.now)
                self.flush(station)

    def cut(self) -> None:
        """Let a log go, as far as it is applied."""
        station = self.dice.choice(self.stations)
        station.disk.cut = max(
            station.disk.cut, station.copy.gcp - self.dice.choice([0, 5])
        )

    def connection(self) -> None:
        """Break connections, or tell that they are back."""
        one, other = self.dice.sample(self.stations, 2)
        if self.dice.random() < 0.5:
            gone = [e for e in self.wire if {e[0], e[1]} == {one, other}]
            self.wire = [e for e in self.wire if {e[0], e[1]} != {one, other}]
            for source, target, message in gone:
                self.lost(source, target, message)
            one.tell(PeerUp(other.node), self.now)
        else:
            one.tell(PeerDown(other.node), self.now)

    def publish(self) -> None:
        """Let nodes apply the committed state; some of them skip one."""
        for station in self.stations:
            away = station.alloc in self.down or station.alloc in self.cut_off
            if away and not self.calm:
                continue
            if station.seen < self.office.shard.shard_version and (
                self.calm or self.dice.random() < 0.6
            ):
                station.seen = self.office.shard.shard_version
                station.tell(Configure(self.office.shard, self.ns), self.now)
                self.flush(station)
        if self.calm:
            self.down.clear()

    def execute(self) -> None:
        """Let the coordinator do something."""
        self.office.execute(self.calm)

    # -- what the copies ask for

    def outside(self, station: Station, output: Output) -> None:
        """Do what a copy asks of others.

        Args:
            station: which node.
            output: what it asked for.
        """
        match output:
            case Apply():
                self.ledger.applied(output.records)
            case Send():
                target = next(e for e in self.stations if e.node == output.node)
                self.wire.append((station, target, output.message))
            case AskInSync() | AskFail() | AskTerm() | Drained():
                self.office.asked.append(output)
            case Barrier():
                want = barrier.Want(SHARD, output.request)
                station.barriers.receive(want, self.now)
            case Sweep():
                station.tell(Expire(self.ns), self.now)
            case Reply():
                least = self.office.shard.min_copies
                self.ledger.replied(output, self.stations, least)
            case _:
                self.moved(station, output)

    def moved(self, station: Station, output: Output) -> None:
        """Do what a copy asks about snapshots.

        Args:
            station: which node.
            output: what it asked for.
        """
        match output:
            case NeedSnapshot():
                self.snapshot(station, output)
            case Install():
                staged = self.staged[output.nonce]
                station.install(staged.image, staged.at, output.nonce, self.now)
            case Drop():
                self.staged.pop(output.nonce, None)
                for each in self.stations:
                    failed = SnapshotFailed(station.alloc, output.nonce)
                    each.tell(failed, self.now)

    def snapshot(self, station: Station, output: NeedSnapshot) -> None:
        """Send a copy of the map, or fail to.

        Args:
            station: which node.
            output: what it asked for.
        """
        if not self.calm and self.dice.random() < 0.2:
            failed = SnapshotFailed(output.alloc_id, output.nonce)
            station.tell(failed, self.now)
            return
        image = DictMap()
        image.__dict__.update(
            applied=station.map.applied,
            entries=dict(station.map.entries),
            answers=dict(station.map.answers),
        )
        last = self.ledger.log.get(image.applied)
        at = Position(last.seq, last.term, last.time_ns) if last else Position()
        sent = Snapshot(output.term, output.nonce, at, image)
        self.wire.append((station, self.by_alloc[output.alloc_id], sent))

    # -- what must hold

    def check(self) -> None:
        """Check what must hold after every step."""
        top = self.ledger.top
        for alloc in self.office.shard.in_sync:
            station = self.by_alloc[alloc]
            assert station.disk.end >= top, "R1, R4: lost what was committed"
            for record in station.disk.log[: top - station.disk.base.seq]:
                assert self.ledger.log.get(record.seq, record) == record, "R1"
        for station in self.stations:
            assert not station.failed, station.failed
            leading = station.copy.leading
            if leading is not None and leading.group.shard == self.office.shard:
                tracked = {each.alloc_id for each in leading.group.tracked}
                assert {*self.office.shard.in_sync} <= tracked | {station.alloc}, "R3"
