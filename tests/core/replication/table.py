"""A shard of a few copies at one table: a bad network, crashes, a tiny coordinator.

After every step what was applied anywhere must be what was applied everywhere, and be
on the disk of every copy that the committed state calls in sync; what a client was told
must hold of the log in the end.
"""

import random
from collections.abc import Callable
from itertools import count

from msgspec import Struct
from msgspec.structs import replace

from tests.core.replication.desk import DictMap
from tests.core.replication.station import HISTORY, SHARD, Station
from torua.core.ids import AllocId
from torua.core.kv import Condition, Delete, Get, IdempotencyKey, Operation, Outcome, Put
from torua.core.records import KvPut, Record
from torua.core.replication import barrier
from torua.core.replication.copy import Role, ShardCopy
from torua.core.replication.messages import (
    Append,
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
)
from torua.core.replication.tip import Position
from torua.core.state import Copy, CopyState, Primary, Shard

KEYS = (b"a", b"b")
STEP_S = 0.02


class Snapshot(Struct, frozen=True):
    """A snapshot under way."""

    term: int
    nonce: int
    at: Position
    image: DictMap


class Claim(Struct):
    """What a client asked, and what had been acknowledged to anybody before.

    Invariants: ``floor`` does not change.
    """

    operations: tuple[Operation, ...]
    floor: int
    key: str | None = None
    read: Outcome | None = None
    station: Station | None = None


class Table:
    """One shard, its copies, and all between them.

    Invariants: ``ledger`` is what was applied anywhere, by seq; ``shard`` is the
    committed state.
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
        self.asked: list[Output] = []
        self.ledger: dict[int, Record] = {}
        self.claims: dict[int, Claim] = {}
        self.acked = 0
        self.requests = count(1)
        self.down: dict[AllocId, None] = {}
        self.staged: dict[int, Snapshot] = {}
        self.calm = False
        first = self.stations[0]
        self.shard = Shard(
            shard=SHARD,
            shard_version=1,
            primary_term=1,
            primary=Primary(first.alloc, first.node, first.epoch),
            in_sync=(first.alloc,),
            copies=tuple(
                Copy(each.alloc, each.node, CopyState.INIT) for each in self.stations
            ),
            history_uuid=HISTORY,
            rf=copies,
            min_copies=1 if copies == 2 else 2,
        )
        for station in self.stations:
            station.outside = self.outside
            station.barriers = barriers(
                lambda shard, station=station: station.copy.peers(), self.dice
            )
        self.barriers_kind = barriers

    # -- what happens

    def run(self, steps: int) -> None:
        """Take so many steps, then let all come to rest, and compare."""
        kinds: list[tuple[int, Callable[[], None]]] = [
            (12, self.deliver),
            (8, self.work),
            (6, self.write),
            (3, self.read),
            (4, self.publish),
            (3, self.execute),
            (6, self.tick),
            (1, self.lose),
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
        """Heal everything, and wait until all copies are in sync."""
        self.calm = True
        for _ in range(6000):
            for station in self.stations:
                if station.full:
                    station.full = False
                    station.tell(RoomAgain(self.ns), self.now)
            for _ in range(30):
                self.deliver()
            self.work()
            self.execute()
            self.publish()
            self.tick()
            self.check()
            if self.at_rest():
                break
        else:
            raise AssertionError(f"never at rest: {self.shard}")
        self.judge()

    def at_rest(self) -> bool:
        """Tell whether all copies are in sync and equal."""
        last = self.stations[0].copy.gcp
        return (
            len(self.shard.in_sync) == len(self.stations)
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
        """Deliver a message, more or less in order; some are lost, some come twice."""
        if not self.wire:
            return
        place = 0 if self.calm or self.dice.random() < 0.7 else self.dice.randrange(len(self.wire))
        source, target, message = self.wire.pop(place)
        if not self.calm:
            if self.dice.random() < 0.05:
                return
            if self.dice.random() < 0.1:
                self.wire.append((source, target, message))
        if target.alloc in self.down:
            return
        self.hand(source, target, message)

    def hand(self, source: Station, target: Station, message: object) -> None:
        """Hand a message to a node."""
        if isinstance(message, barrier.BarrierAsk):
            said = barrier.say(message, target.copy.confirms)
            self.wire.append((target, source, said))
        elif isinstance(message, barrier.BarrierSaid):
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
        """Do what the barriers ask."""
        for output in outputs:
            if isinstance(output, barrier.SendAsk):
                target = next(e for e in self.stations if e.node == output.node)
                self.wire.append((station, target, output.message))
            else:
                done = BarrierDone(output.request, output.passed)
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
        self.now += STEP_S if self.calm else self.dice.choice([STEP_S, STEP_S, 0.3, 1.2])
        for station in self.stations:
            if station.alloc in self.down:
                continue
            station.wake(self.now)
            due = station.barriers.next_deadline()
            if due is not None and due <= self.now:
                self.conclude(station, station.barriers.wake(self.now))
            self.flush(station)

    def write(self) -> None:
        """Have a client write at somebody who may be primary."""
        station = self.leader()
        if station is None:
            return
        again = [each for each in self.claims.values() if each.key is not None]
        if again and self.dice.random() < 0.2:
            claim = self.dice.choice(again)
            operations, key = claim.operations, claim.key
        else:
            operations = self.batch()
            key = f"i{len(self.claims)}" if self.dice.random() < 0.4 else None
        request = next(self.requests)
        self.claims[request] = Claim(operations, self.acked, key, station=station)
        promise = None if key is None else IdempotencyKey(key, b"")
        station.tell(Write(request, operations, self.ns, promise), self.now)
        self.flush(station)

    def batch(self) -> tuple[Operation, ...]:
        """Make up a batch; each value is put once."""
        key = self.dice.choice(KEYS)
        number = len(self.claims)
        conditions = self.dice.choice(
            [(), (), (Condition(None, match=False),), (Condition(None, match=True),)]
        )
        first: list[Operation] = [
            Put(key, b"%d" % number, conditions=conditions),
            Put(key, b"%d" % number, conditions=conditions),
            Delete(key, conditions),
            Get(key),
        ]
        more = (Put(key, b"%d+" % number), Get(self.dice.choice(KEYS)))
        return (self.dice.choice(first), *more[: self.dice.choice([0, 0, 0, 1, 2])])

    def read(self) -> None:
        """Have a client read: the value first, and then the proof."""
        station = self.leader()
        if station is None or not station.copy.serves:
            return
        request, key = next(self.requests), self.dice.choice(KEYS)
        entry = station.map.get(key)
        found = Outcome(entry.version if entry else None, entry)
        self.claims[request] = Claim((Get(key),), self.acked, None, found, station)
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

    # -- faults

    def lose(self) -> None:
        """Stop a node for a while, or let it go on."""
        station = self.dice.choice(self.stations)
        if station.alloc in self.down:
            del self.down[station.alloc]
        elif len(self.down) < len(self.stations) - 1:
            self.down[station.alloc] = None

    def crash(self) -> None:
        """Kill a node, and start it anew."""
        station = self.dice.choice(self.stations)
        station.crash()
        station.full = False
        station.barriers = self.barriers_kind(
            lambda shard: station.copy.peers(), self.dice
        )
        named = self.shard.primary
        if named is not None and named.alloc_id == station.alloc:
            self.name(station)

    def fail_over(self) -> None:
        """Have another in-sync copy lead."""
        alloc = self.dice.choice(self.shard.in_sync)
        if self.shard.primary is not None and alloc != self.shard.primary.alloc_id:
            self.name(self.by_alloc[alloc])

    def name(self, station: Station) -> None:
        """Commit a state with another primary."""
        assert station.alloc in self.shard.in_sync, "R7"
        self.change(
            primary=Primary(station.alloc, station.node, station.epoch),
            primary_term=self.shard.primary_term + 1,
        )

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
        station.disk.cut = max(station.disk.cut, station.copy.gcp - self.dice.choice([0, 5]))

    def connection(self) -> None:
        """Break connections, or tell that they are back."""
        one, other = self.dice.sample(self.stations, 2)
        if self.dice.random() < 0.5:
            self.wire = [e for e in self.wire if {e[0], e[1]} != {one, other}]
            one.tell(PeerUp(other.node), self.now)
        else:
            one.tell(PeerDown(other.node), self.now)

    # -- the coordinator

    def publish(self) -> None:
        """Let nodes apply the committed state; some of them skip one."""
        for station in self.stations:
            if station.alloc in self.down and not self.calm:
                continue
            if station.seen < self.shard.shard_version and (
                self.calm or self.dice.random() < 0.6
            ):
                station.seen = self.shard.shard_version
                station.tell(Configure(self.shard, self.ns), self.now)
                self.flush(station)
        if self.calm:
            self.down.clear()

    def execute(self) -> None:
        """Execute a command that a node asked for; some come late, lost, or twice."""
        if not self.asked:
            return
        index = self.dice.randrange(len(self.asked))
        command = self.asked.pop(0 if self.calm else index)
        if not self.calm and self.dice.random() < 0.1:
            self.asked.append(command)
        self.obey(command)

    def obey(self, command: Output) -> None:
        """Execute a command, if the state is as it expects."""
        shard = self.shard
        assert isinstance(command, AskInSync | AskFail | AskTerm | Drained)
        if (command.term, command.expect) != (shard.primary_term, shard.shard_version):
            return
        assert shard.primary is not None
        match command:
            case AskInSync():
                station = self.by_alloc[command.alloc_id]
                if station.epoch == command.boot_epoch:
                    self.change(in_sync=(*shard.in_sync, command.alloc_id))
            case AskFail() if command.alloc_id != shard.primary.alloc_id:
                rest = tuple(e for e in shard.in_sync if e != command.alloc_id)
                self.change(in_sync=rest)
            case AskTerm():
                self.name(self.by_alloc[command.alloc_id])
            case Drained() if command.target in shard.in_sync:
                self.name(self.by_alloc[command.target])

    def change(self, **changes: object) -> None:
        """Commit another state."""
        version = self.shard.shard_version + 1
        self.shard = replace(self.shard, shard_version=version, **changes)

    # -- what the copies ask for

    def outside(self, station: Station, output: Output) -> None:
        """Do what a copy asks of others."""
        match output:
            case Apply():
                self.applied(output.records)
            case Send():
                target = next(e for e in self.stations if e.node == output.node)
                self.wire.append((station, target, output.message))
            case AskInSync() | AskFail() | AskTerm() | Drained():
                self.asked.append(output)
            case Barrier():
                want = barrier.Want(SHARD, output.request)
                station.barriers.receive(want, self.now)
            case NeedSnapshot():
                self.snapshot(station, output)
            case Install():
                staged = self.staged[output.nonce]
                station.install(staged.image, staged.at, output.nonce, self.now)
            case Sweep():
                station.tell(Expire(self.ns), self.now)
            case Reply():
                self.replied(station, output)
            case Drop():
                self.staged.pop(output.nonce, None)

    def snapshot(self, station: Station, output: NeedSnapshot) -> None:
        """Send a copy of the map, or fail to."""
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
        last = self.ledger.get(image.applied)
        at = Position(last.seq, last.term, last.time_ns) if last else Position()
        sent = Snapshot(output.term, output.nonce, at, image)
        self.wire.append((station, self.by_alloc[output.alloc_id], sent))

    # -- what must hold

    def applied(self, records: tuple[Record, ...]) -> None:
        """Compare what is applied here with what was applied elsewhere (R5)."""
        for record in records:
            assert self.ledger.setdefault(record.seq, record) == record, "R5"

    def check(self) -> None:
        """Check what must hold after every step."""
        top = max(self.ledger, default=0)
        for alloc in self.shard.in_sync:
            station = self.by_alloc[alloc]
            assert station.disk.end >= top, "R1, R4: lost what was committed"
            for record in station.disk.log[: top - station.disk.base.seq]:
                assert self.ledger.get(record.seq, record) == record, "R1"
        for station in self.stations:
            assert not station.failed, station.failed
            leading = station.copy.leading
            if leading is not None and leading.group.shard == self.shard:
                tracked = {each.alloc_id for each in leading.group.tracked}
                assert {*self.shard.in_sync} <= tracked | {station.alloc}, "R3"

    def replied(self, station: Station, reply: Reply) -> None:
        """Note what a client was told: from now on, all must go on from there."""
        claim = self.claims[reply.request]
        outcomes = reply.outcomes or ((claim.read,) if claim.read else ())
        for operation, outcome in zip(claim.operations, outcomes, strict=True):
            if isinstance(operation, Put) and outcome.error is None:
                assert outcome.version is not None
                assert outcome.version in self.ledger, "R8"
                self.acked = max(self.acked, outcome.version)
        self.acked = max(self.acked, self.highest(claim, outcomes))

    def highest(self, claim: Claim, outcomes: tuple[Outcome | None, ...]) -> int:
        """Return the newest version that an answer tells of."""
        versions = [e.version for e in outcomes if e is not None and e.version]
        return max(versions, default=0)

    def judge(self) -> None:
        """Compare all answers with the log as it is in the end."""
        states: list[dict[bytes, int]] = [{}]
        for seq in range(1, max(self.ledger, default=0) + 1):
            state = dict(states[-1])
            for effect in self.ledger[seq].effects:
                state.pop(effect.key, None)
                if isinstance(effect, KvPut):
                    state[effect.key] = seq
            states.append(state)
        answers: dict[str, tuple[Outcome, ...]] = {}
        for station in self.stations:
            for request, outcomes in station.replies.items():
                claim = self.claims[request]
                if claim.key is not None:
                    assert answers.setdefault(claim.key, outcomes) == outcomes, "R11"
                else:
                    self.compare(claim, outcomes, states)
            for request, refusal in station.refusals.items():
                if refusal.error != "outcome-unknown":
                    self.absent(self.claims[request])

    def compare(
        self,
        claim: Claim,
        outcomes: tuple[Outcome, ...],
        states: list[dict[bytes, int]],
    ) -> None:
        """Find each answer in the log, not before what was acknowledged then (R22)."""
        told = outcomes or ((claim.read,) if claim.read else ())
        for operation, outcome in zip(claim.operations, told, strict=True):
            assert outcome is not None
            key = operation.key
            if isinstance(operation, Put) and outcome.error is None:
                seq = outcome.version
                assert seq is not None and seq > claim.floor, "R8: not after"
                effects = [e for e in self.ledger[seq].effects if e.key == key]
                values = [e.value for e in effects if isinstance(e, KvPut)]
                assert values == [operation.value], "R1: not in the log"
                continue
            found = [state.get(key) for state in states[claim.floor :]]
            assert outcome.version in found, "R8, R22: rests on what never was"

    def absent(self, claim: Claim) -> None:
        """See that what was refused was not done (R12)."""
        if claim.key is not None:
            return
        values = {each.value for each in claim.operations if isinstance(each, Put)}
        for record in self.ledger.values():
            for effect in record.effects:
                done = isinstance(effect, KvPut) and effect.value in values
                assert not done, "R12: refused, and done"
