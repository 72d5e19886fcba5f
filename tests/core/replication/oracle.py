"""What a shard must do, told by a plain dict; and random clients to compare by."""

import random
from itertools import chain

from tests.core.replication.desk import Desk, MsgpackAnswers
from torua.core.kv import Condition, Delete, Get, Outcome, Put, Single
from torua.core.records import Effect, KvDelete, KvPut, Record
from torua.core.replication.messages import DiskFull, RoomAgain
from torua.core.replication.primary import Primary, State

KEYS = (b"a", b"b", b"c")


class Oracle:
    """Executes operations one by one on a dict of versions and values.

    Invariants: ``states[seq]`` is what the records up to ``seq`` make; the last is the
    tip.
    """

    def __init__(self) -> None:
        """Begin with an empty shard."""
        self.states: list[dict[bytes, tuple[int, bytes]]] = [{}]

    @property
    def tip(self) -> dict[bytes, tuple[int, bytes]]:
        """The state after all that was appended."""
        return self.states[-1]

    def lose(self, seq: int) -> None:
        """Forget what was appended after ``seq``."""
        del self.states[seq + 1 :]

    def expect(
        self, operations: tuple[Single, ...], records: list[Record]
    ) -> list[tuple[str | None, int | None, bytes | None]]:
        """Execute operations, and compare what the records change with it.

        Args:
            operations: what a client asked for, and was not answered before.
            records: what the primary appended for it.

        Returns:
            For each operation its error, version, and value that was read.
        """
        effects = list(
            chain.from_iterable(
                [(each.seq, effect) for effect in each.effects] for each in records
            )
        )
        state, outcomes = dict(self.tip), []
        for operation in operations:
            outcomes.append(self._execute(operation, state, effects))
        assert effects == [], "it changed what nobody asked for"
        for record in records:
            self.replay(record)
        assert self.tip == state
        return outcomes

    def replay(self, record: Record) -> None:
        """Go on by one record."""
        assert record.seq == len(self.states)
        state = dict(self.tip)
        for effect in record.effects:
            if isinstance(effect, KvPut):
                state[effect.key] = (record.seq, effect.value)
            else:
                del state[effect.key]
        self.states.append(state)

    def _execute(
        self,
        operation: Single,
        state: dict[bytes, tuple[int, bytes]],
        effects: list[tuple[int, Effect]],
    ) -> tuple[str | None, int | None, bytes | None]:
        """Do one operation on ``state``, and take off the effect it must have."""
        version, value = state.get(operation.key, (None, None))
        if isinstance(operation, Get):
            return None, version, value
        if not all(each.holds(version) for each in operation.conditions):
            return "precondition-failed", version, None
        if isinstance(operation, Delete):
            if state.pop(operation.key, None) is not None:
                assert effects.pop(0)[1] == KvDelete(operation.key)
            return None, None, None
        seq, effect = effects.pop(0)
        assert isinstance(effect, KvPut)
        assert (effect.key, effect.value) == (operation.key, operation.value)
        state[operation.key] = (seq, operation.value)
        return None, seq, None


def essence(outcome: Outcome) -> tuple[str | None, int | None, bytes | None]:
    """Return of an outcome what the oracle tells."""
    value = outcome.entry.value if outcome.entry else None
    return outcome.error, outcome.version, value


class Trial:
    """Random clients, syncs, crashes and waits, each step compared with the oracle.

    Invariants: whatever was replied rests on records that were synced then, and so
    survives every crash (R8); an idempotency key is answered one way only (R11).
    """

    def __init__(self, seed: int, primary: type[Primary] = Primary) -> None:
        """Prepare a trial.

        Args:
            seed: decides everything.
            primary: the machine to try.
        """
        self.random = random.Random(seed)
        self.desk = Desk(primary)
        self.oracle = Oracle()
        self.oracle.replay(self.desk.unsynced[0])
        self.expected: dict[int, list[tuple[str | None, int | None, bytes | None]]] = {}
        self.rests_on: dict[int, int] = {}
        self.keys: dict[str, tuple[Single, ...]] = {}
        self.given: dict[str, tuple[Outcome, ...]] = {}
        self.key_of: dict[int, str] = {}
        self.first: dict[int, int] = {}
        self.begun: dict[str | None, int] = {}
        self.judged: dict[str | None, int] = {}
        self.checked = 0

    def run(self, steps: int) -> None:
        """Take so many steps."""
        kinds = [self.write] * 8 + [self.sync] * 4 + [self.wait, self.crash, self.full]
        for _ in range(steps):
            self.random.choice(kinds)()
            self.check()
        self.desk.sync()
        self.check()

    def write(self) -> None:
        """Send a batch, new or again.

        What the log that is applied answers of its key must come again; an equal batch
        in flight leaves no record; the rest is compared with the oracle.
        """
        again = self.keys and self.random.random() < 0.4
        key = self.random.choice([None, f"i{len(self.keys)}"])
        if again:
            key = self.random.choice(list(self.keys))
        operations = self.keys[key] if again and key else self.batch()
        before = len(self.desk.unsynced)
        known = self.known(key)
        request = self.desk.write(*operations, key=key)
        if request in self.desk.refusals:
            assert self.desk.refusals[request].error == "unavailable"
            return
        if key is not None:
            self.keys[key] = operations
            self.key_of[request] = key
        records = self.desk.unsynced[before:]
        attached = key is not None and self.in_flight(key, before)
        if not attached:
            self.begun[key] = records[0].seq if records else 1 << 62
            rest = self.oracle.expect(operations[len(known) :], records)
            self.expected[request] = [essence(each) for each in known] + rest
            whole = len(known) == len(operations)
            self.judged[key] = 0 if whole else len(self.oracle.states) - 1
        assert not attached or not records
        self.first[request] = self.begun[key]
        self.rests_on[request] = self.judged[key]

    def known(self, key: str | None) -> list[Outcome]:
        """Return what the applied part of the log answers of a key, in order."""
        found = [
            each.answered
            for each in self.desk.log[: self.desk.map.applied]
            if each.answered is not None and each.answered.key.startswith(f"{key}#")
        ]
        answers = [MsgpackAnswers().read(each.answer) for each in found]
        return list(chain.from_iterable(each.outcomes for each in answers))

    def in_flight(self, key: str, before: int) -> bool:
        """Tell whether a record of this key was waiting to be synced.

        Args:
            key: an idempotency key.
            before: how many records were waiting.
        """
        return any(
            each.answered is not None and each.answered.key.startswith(f"{key}#")
            for each in self.desk.unsynced[:before]
        )

    def batch(self) -> tuple[Single, ...]:
        """Make up a batch."""
        return tuple(self.operation() for _ in range(self.random.randint(1, 4)))

    def operation(self) -> Single:
        """Make up an operation.

        It is a put, a delete or a get of one of few keys, so that they meet.
        """
        key = self.random.choice(KEYS)
        value = b"%d" % self.random.randrange(1000)
        ttl = self.random.choice([None, None, 0.2, 1.0])
        conditions = self.conditions(key)
        kinds: list[Single] = [
            Put(key, value, ttl_s=ttl, conditions=conditions),
            Delete(key, conditions),
            Get(key),
        ]
        return self.random.choice(kinds)

    def conditions(self, key: bytes) -> tuple[Condition, ...]:
        """Make up conditions.

        Some of them hold at the tip.
        """
        version = self.oracle.tip.get(key, (7, b""))[0]
        return self.random.choice(
            [
                (),
                (),
                (Condition(None, match=False),),
                (Condition(None, match=True),),
                (Condition((version,), match=True),),
                (Condition((version,), match=False),),
            ]
        )

    def sync(self) -> None:
        """Have some records stored, in the middle of batches too."""
        self.desk.sync(self.random.randint(0, 6))

    def wait(self) -> None:
        """Let time pass.

        What the primary removes must be due, at the version that it had at the tip.
        """
        before = len(self.desk.unsynced)
        self.desk.pass_time(self.random.choice([0.1, 0.3, 1.5]))
        for record in self.desk.unsynced[before:]:
            for effect in record.effects:
                entry = self.desk.map.get(effect.key)
                assert isinstance(effect, KvDelete)
                assert entry is not None and entry.expires_ns is not None
                assert entry.expires_ns <= self.desk.now_ns
                assert self.oracle.tip[effect.key][0] == entry.version
            self.oracle.replay(record)

    def crash(self) -> None:
        """Lose the process, and a part of what was not synced."""
        survive = self.random.randint(0, len(self.desk.unsynced))
        self.oracle.lose(len(self.desk.log) + survive)
        self.desk.crash(survive)
        self.oracle.replay(self.desk.unsynced[0])
        assert self.essence_of_map() == self.oracle.states[len(self.desk.log)]

    def full(self) -> None:
        """Fill the disk, lose what was not synced, and make room again."""
        recovering = self.desk.state() is State.RECOVERING
        self.oracle.lose(len(self.desk.log))
        self.desk.unsynced = []
        before = len(self.desk.refusals)
        self.desk.tell(DiskFull())
        for request, refusal in list(self.desk.refusals.items())[before:]:
            undone = self.first[request] > len(self.desk.log)
            assert (refusal.error == "disk-full") is undone, "R12"
        self.desk.tell(RoomAgain(self.desk.now_ns))
        if recovering:
            self.oracle.replay(self.desk.unsynced[0])

    def check(self) -> None:
        """Compare the map and the new replies with what was expected.

        A reply must rest on what is in the log (R8), and be the one given before (R11).
        """
        desk = self.desk
        assert desk.primary.gcp == desk.map.applied
        assert self.essence_of_map() == self.oracle.states[desk.map.applied]
        for request in list(desk.replies)[self.checked :]:
            self.checked += 1
            reply = desk.replies[request]
            assert self.rests_on[request] <= len(desk.log), "R8"
            key = self.key_of.get(request)
            if key is not None:
                assert self.given.setdefault(key, reply) == reply, "R11"
            if request in self.expected:
                assert [essence(each) for each in reply] == self.expected[request]

    def essence_of_map(self) -> dict[bytes, tuple[int, bytes | None]]:
        """Return of the map what the oracle tells."""
        return {
            key: (entry.version, entry.value)
            for key, entry in self.desk.map.entries.items()
        }
