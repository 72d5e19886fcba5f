"""A primary at a desk: a disk and a map of plain dicts, that can crash."""

from collections.abc import Sequence

import msgspec

from torua.core.ids import AllocId, ShardId
from torua.core.kv import Entry, IdempotencyKey, Operation, Outcome
from torua.core.records import Answered, KvPut, Record
from torua.core.replication.batch import Answer
from torua.core.replication.messages import (
    Append,
    Apply,
    Begin,
    Event,
    Expire,
    Limits,
    Output,
    Refuse,
    Reign,
    Reply,
    Serve,
    Stored,
    Sweep,
    Write,
    Writes,
)
from torua.core.replication.primary import Primary, State
from torua.core.replication.tip import entry_of

SHARD = ShardId(3)
ALLOC = AllocId("a" * 32)


class DictMap:
    """A view that lives in dicts.

    Invariants: records are applied in order and without a gap.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.applied = 0
        self.entries: dict[bytes, Entry] = {}
        self.answers: dict[str, Answered] = {}

    def version(self, key: bytes) -> int | None:
        """Return a key's version."""
        entry = self.entries.get(key)
        return entry.version if entry else None

    def get(self, key: bytes) -> Entry | None:
        """Read a key."""
        return self.entries.get(key)

    def head(self, key: bytes) -> Entry | None:
        """Read a key without its value."""
        entry = self.get(key)
        return msgspec.structs.replace(entry, value=None) if entry else None

    def several(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """Read keys with their values; every other one is left out, as any may be."""
        found = {key: self.get(key) for key in keys[::2]}
        return {key: entry for key, entry in found.items() if entry is not None}

    def keys_under(self, prefix: bytes, limit: int) -> list[bytes]:
        """List keys that begin with a prefix, the first ones in byte order.

        Args:
            prefix: what they begin with.
            limit: at most so many.
        """
        found = sorted(key for key in self.entries if key.startswith(prefix))
        return found[:limit]

    def answered(self, key: str) -> Answered | None:
        """Return what an idempotency key was answered."""
        return self.answers.get(key)

    def due(self, now_ns: int, limit: int) -> Sequence[tuple[bytes, int]]:
        """Return expired keys.

        Args:
            now_ns: the time.
            limit: at most so many.
        """
        found = sorted(
            (entry.expires_ns, key, entry.version)
            for key, entry in self.entries.items()
            if entry.expires_ns is not None and entry.expires_ns <= now_ns
        )
        return [(key, version) for _, key, version in found[:limit]]

    def apply(self, record: Record) -> None:
        """Bring the map forward by one record."""
        assert record.seq == self.applied + 1
        self.applied = record.seq
        for effect in record.effects:
            entry = entry_of(effect, record.seq, value=True)
            self.entries.pop(effect.key, None)
            if entry is not None:
                self.entries[effect.key] = entry
        if record.answered is not None:
            assert record.answered.key not in self.answers, "run twice"
            self.answers[record.answered.key] = record.answered


class MsgpackAnswers:
    """Spells answers with what is at hand.

    Invariants: it has no state.
    """

    def spell(self, answer: Answer) -> bytes:
        """Spell an answer."""
        return msgspec.msgpack.encode(answer)

    def read(self, data: bytes) -> Answer:
        """Read an answer."""
        return msgspec.msgpack.decode(data, type=Answer)


class Desk:
    """One copy over its lives: performs what its primary asks, and crashes.

    Invariants: ``log`` holds the records that are synced, ``unsynced`` those after
    them; the map never holds a record that is not synced.
    """

    def __init__(
        self, primary: type[Primary] = Primary, limits: Limits | None = None
    ) -> None:
        """Begin a first life, not yet serving.

        Args:
            primary: the machine to try.
            limits: its limits, where they matter.
        """
        self.kind = primary
        self.limits = limits or Limits()
        self.term = self.requests = 0
        self.now_ns = 1_000_000_000
        self.log: list[Record] = []
        self.unsynced: list[Record] = []
        self.replies: dict[int, tuple[Outcome, ...]] = {}
        self.refusals: dict[int, Refuse] = {}
        self.served = 0
        self.boot()

    @property
    def now(self) -> float:
        """The monotonic clock."""
        return self.now_ns / 1e9

    def state(self) -> State:
        """Return what the primary may do now."""
        return self.primary.state

    def boot(self) -> None:
        """Begin the next life: replay the log, take up the next term."""
        self.map = self.replay()
        self.term += 1
        last = self.log[-1] if self.log else None
        seq, time_ns = (last.seq, last.time_ns) if last else (0, 0)
        reign = Reign(SHARD, ALLOC, self.term, seq, time_ns)
        self.primary = self.kind(reign, self.map, MsgpackAnswers(), self.limits)
        self.tell(Begin(self.now_ns))

    def replay(self) -> DictMap:
        """Make the map again from the log."""
        view = DictMap()
        for record in self.log:
            view.apply(record)
        return view

    def ready(self) -> "Desk":
        """Store the no-op, so that the shard is served."""
        self.sync()
        return self

    def crash(self, survive: int = 0) -> None:
        """Lose the process, and all unsynced records but the first ``survive``."""
        self.log += self.unsynced[:survive]
        self.unsynced = []
        self.boot()

    def write(
        self, *operations: Operation, key: str | None = None, body: bytes = b""
    ) -> int:
        """Send a batch, and return its request.

        Args:
            operations: what to do.
            key: an idempotency key.
            body: what stands for the request's fingerprint.
        """
        self.requests += 1
        promise = None if key is None else IdempotencyKey(key, body)
        self.tell(Writes((Write(self.requests, operations, self.now_ns, promise),)))
        return self.requests

    def done(self, *operations: Operation, key: str | None = None) -> list[Outcome]:
        """Send a batch, sync, and return its outcomes.

        Args:
            operations: what to do.
            key: an idempotency key.
        """
        request = self.write(*operations, key=key)
        self.sync()
        return list(self.replies[request])

    def tell(self, message: Writes | Event) -> list[Output]:
        """Hand the primary an input, and do what it asks."""
        return self.perform(self.primary.receive(message, self.now))

    def sync(self, count: int | None = None) -> None:
        """Make the first ``count`` unsynced records durable, or all, and say so."""
        count = len(self.unsynced) if count is None else min(count, len(self.unsynced))
        self.log += self.unsynced[:count]
        del self.unsynced[:count]
        if self.log:
            self.tell(Stored(self.log[-1].seq))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and wake the primary as often as it asks."""
        end = self.now_ns + int(seconds * 1e9)
        while (due := self.primary.next_deadline()) is not None and due * 1e9 <= end:
            self.now_ns = max(self.now_ns, int(due * 1e9) + 1)
            self.perform(self.primary.wake(self.now))
        self.now_ns = max(self.now_ns, end)

    def perform(self, outputs: list[Output]) -> list[Output]:
        """Do what the primary asked, in order.

        Returns:
            The same outputs.
        """
        for output in outputs:
            match output:
                case Append():
                    self.unsynced += output.records
                case Apply():
                    self.apply(output.records)
                case Serve():
                    self.served = output.term
                case Reply():
                    assert output.request not in self.replies, "answered twice"
                    self.replies[output.request] = output.outcomes
                case Refuse():
                    assert output.request not in self.refusals, "refused twice"
                    self.refusals[output.request] = output
                case Sweep():
                    self.tell(Expire(self.now_ns))
        return outputs

    def apply(self, records: Sequence[Record]) -> None:
        """Bring the map forward; what is not synced must not be in it."""
        for record in records:
            assert self.log and record.seq <= self.log[-1].seq, "applied above gcp"
            self.map.apply(record)


def puts(record: Record) -> dict[bytes, bytes]:
    """Return what a record sets."""
    return {
        effect.key: effect.value
        for effect in record.effects
        if isinstance(effect, KvPut)
    }
