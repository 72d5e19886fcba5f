"""From operations to records: how a batch is split, and how each part is judged.

A key stands at most once in a record, for its version is the record's seq.  So a batch
is split into parts, one record each; by its operations alone, not by what becomes of
them, so that a retry under the same idempotency key is split in the same way and each
part finds its own answer (``key#0``, ``key#1`` …).  Parts are appended in order, so
after a crash those that survived are the first ones, and a retry does the rest.
"""

from collections.abc import Mapping, Sequence

from mmh3 import hash64
from msgspec import Struct
from msgspec.structs import replace

from torua.core.ids import ShardId
from torua.core.kv import (
    BULK_BYTES_MAX,
    Check,
    Condition,
    Delete,
    Get,
    Group,
    IdempotencyKey,
    Operation,
    Outcome,
    Put,
    keys_of,
)
from torua.core.records import Answered, Effect, KvDelete, KvPut, Record
from torua.core.replication.tip import RECORD_COST, Tip, beginning, entry_of
from torua.errors import PreconditionError, TooLargeError, UnprocessableError

PART_BYTES_MAX = 1 << 20
"""A record of small values is read, checked and applied in milliseconds; a larger value
stands alone in its record."""

READ_BYTES_MAX = BULK_BYTES_MAX
"""What one request may read is held in memory until it is answered."""

TIME_NS_MAX = (1 << 63) - 1
"""The last moment that the map can spell; a later expiry is never."""


class Answer(Struct, frozen=True, array_like=True):
    """What became of the operations of one part, kept under its idempotency key.

    Attributes:
        outcomes: one an operation.
        tags: which operation each is of; none where the batch was only one.
    """

    outcomes: tuple[Outcome, ...]
    tags: tuple[int, ...] = ()


def tags_of(operations: Sequence[Operation]) -> list[int]:
    """Name each operation of a batch by its key, and by how many before it had that.

    So it is known again where a retry has only some of the batch, because the shard was
    split: operations on one key stay together.

    Args:
        operations: of one request, on one shard.
    """
    seen: dict[bytes, int] = {}
    found = []
    for operation in operations:
        key = (*_written(operation), *keys_of(operation), b"")[0]
        number = seen[key] = seen.get(key, 0) + 1
        found.append(hash64(b"%d " % number + key)[0])
    return found


def part_key(key: str, part: int) -> str:
    """Name the answer of one part; no two pairs share a name.

    Args:
        key: the caller's, any characters.
        part: which part of the batch, from 0.
    """
    return f"{key}#{part}"


def weight_of(operation: Operation) -> int:
    """Estimate what an operation takes in memory, in bytes."""
    if isinstance(operation, Group):
        checks = sum(RECORD_COST + len(each.key) for each in operation.checks)
        return RECORD_COST + checks + sum(map(weight_of, operation.writes))
    value = len(operation.value) if isinstance(operation, Put) else 0
    return RECORD_COST + len(operation.key) + value


def expires(operation: Operation) -> bool:
    """Tell whether an operation sets what is to go by itself."""
    if isinstance(operation, Group):
        return any(map(expires, operation.writes))
    return isinstance(operation, Put) and operation.ttl_s is not None


def split(
    operations: Sequence[Operation], answered: bool
) -> list[tuple[Operation, ...]]:
    """Split a batch into parts, in order, each to become at most one record.

    Args:
        operations: any number.
        answered: whether answers are kept: then a value that is read stands in the log
            too, and so has a part to itself.
    """
    if len(operations) == 1:
        return [tuple(operations)]
    parts: list[tuple[Operation, ...]] = []
    part: list[Operation] = []
    written: dict[bytes, None] = {}
    weight = 0
    for operation in operations:
        large = answered and isinstance(operation, Get) and operation.value
        cost = PART_BYTES_MAX if large else weight_of(operation)
        again = any(key in written for key in _touched(operation))
        if part and (again or weight + cost > PART_BYTES_MAX):
            parts.append(tuple(part))
            part, written, weight = [], {}, 0
        part.append(operation)
        weight += cost
        written.update(dict.fromkeys(_written(operation)))
    return [*parts, tuple(part)] if part else parts


def _written(operation: Operation) -> tuple[bytes, ...]:
    """List the keys that an operation may write."""
    match operation:
        case Get():
            return ()
        case Group(writes=writes):
            return tuple(write.key for write in writes)
        case _:
            return (operation.key,)


def _touched(operation: Operation) -> tuple[bytes, ...]:
    """List the keys that an operation must not meet as its own part leaves them."""
    return () if isinstance(operation, Get) else keys_of(operation)


class Draft:
    """One part while it is judged: the record to be, above the tip.

    Invariants: each key is written at most once; ``seq`` and ``time_ns`` are those of
    the record right after the tip, which nothing is appended to meanwhile.

    Attributes:
        outcomes: of the operations judged so far, in order.
    """

    def __init__(
        self,
        tip: Tip,
        now_ns: int,
        room: int = READ_BYTES_MAX,
        wanted: Sequence[bytes] = (),
    ) -> None:
        """Begin a part.

        Args:
            tip: what its operations are judged by.
            now_ns: the primary's wall clock (Unix, nanoseconds).
            room: how many bytes of values it may read.
            wanted: keys that it will read with their values.
        """
        self.outcomes: list[Outcome] = []
        self._ready = tip.several(wanted) if len(wanted) > 1 else {}
        self._tip = tip
        self._room = room
        self._seq = tip.seq + 1
        self._time_ns = tip.rise(now_ns)
        self._effects: dict[bytes, Effect] = {}

    def judge(self, operation: Operation) -> None:
        """Decide what becomes of the next operation."""
        match operation:
            case Put():
                outcome = self._put(operation)
            case Delete():
                outcome = self._delete(operation)
            case Get():
                outcome = self._get(operation)
            case Group():
                outcome = self._group(operation)
        self.outcomes.append(outcome)

    def answer(self, tags: tuple[int, ...]) -> Answer:
        """Return what became of all operations judged; ``tags`` names them."""
        return Answer(tuple(self.outcomes), tags)

    def record(
        self, shard: ShardId, term: int, answered: Answered | None
    ) -> Record | None:
        """Make the record; None where there is nothing to keep.

        Args:
            shard: whose log.
            term: of the primary.
            answered: the idempotency key that it settles, if any.
        """
        if not self._effects and answered is None:
            return None
        effects = tuple(self._effects.values())
        return Record(shard, self._seq, term, self._time_ns, effects, answered)

    def _put(self, put: Put) -> Outcome:
        """Set the key, where its conditions hold."""
        refusal = self._refusal(put.key, put.conditions)
        if refusal is not None:
            return refusal
        expires_ns = None if put.ttl_s is None else self._expiry(put.ttl_s)
        self._effect(KvPut(put.key, put.value, put.content_type, expires_ns))
        return Outcome(version=self._seq)

    def _delete(self, delete: Delete) -> Outcome:
        """Remove the key, where its conditions hold and there is something."""
        refusal = self._refusal(delete.key, delete.conditions)
        if refusal is not None:
            return refusal
        if self._version(delete.key) is not None:
            self._effect(KvDelete(delete.key))
        return Outcome()

    def _get(self, get: Get) -> Outcome:
        """Read the key, as far as there is room for its value."""
        effect = self._effects.get(get.key)
        if effect is not None:
            found = entry_of(effect, self._seq, get.value)
        else:
            found = self._ready.get(get.key) or self._tip.read(get.key, value=False)
        if found is None:
            return Outcome()
        if not get.value:
            return Outcome(version=found.version, entry=found)
        if found.size > self._room:
            detail = f"one request reads at most {READ_BYTES_MAX} bytes"
            return Outcome(found.version, error=TooLargeError.code, detail=detail)
        self._room -= found.size
        if found.value is None:
            found = self._tip.read(get.key)
        return Outcome(version=found.version if found else None, entry=found)

    def _group(self, group: Group) -> Outcome:
        """Do all writes, where all that must hold does; else none."""
        refusal = self._refused(group)
        if refusal is not None:
            return refusal
        before = len(self._effects)
        for write in group.writes:
            self._put(write) if isinstance(write, Put) else self._delete(write)
        return Outcome(version=self._seq if len(self._effects) > before else None)

    def _refused(self, group: Group) -> Outcome | None:
        """Tell the first thing that forbids a group; None where nothing does."""
        if len(dict.fromkeys(_written(group))) < len(group.writes):
            detail = "a group writes each of its keys once"
            return Outcome(error=UnprocessableError.code, detail=detail)
        after = _After(self._tip, self._effects, group)
        for which, each in enumerate((*group.checks, *group.writes)):
            refusal = self._refusal(each.key, each.conditions)
            if refusal is None and isinstance(each, Check):
                refusal = self._otherwise(each) or after.crowded(each)
            if refusal is not None:
                return replace(refusal, which=which)
        return None

    def _otherwise(self, check: Check) -> Outcome | None:
        """Tell where a value does not begin as it must; None where it does."""
        if check.begins is None:
            return None
        effect = self._effects.get(check.key)
        if effect is not None:
            found = entry_of(effect, self._seq, value=True)
        else:
            found = self._tip.read(check.key)
        value = found.value if found else None
        if value is not None and value.startswith(check.begins):
            return None
        detail = "the condition does not hold: the value is another"
        version = found.version if found else None
        return Outcome(version=version, error=PreconditionError.code, detail=detail)

    def _refusal(self, key: bytes, conditions: Sequence[Condition]) -> Outcome | None:
        """Tell how conditions fail at the tip; None where all hold."""
        if not conditions:
            return None
        version = self._version(key)
        if all(each.holds(version) for each in conditions):
            return None
        stands = "is absent" if version is None else f"is at version {version}"
        detail = f"the condition does not hold: the key {stands}"
        return Outcome(version=version, error=PreconditionError.code, detail=detail)

    def _version(self, key: bytes) -> int | None:
        """Return the version of a key as this part leaves it so far."""
        effect = self._effects.get(key)
        if effect is None:
            return self._tip.lookup(key)
        return None if isinstance(effect, KvDelete) else self._seq

    def _effect(self, effect: Effect) -> None:
        """Change a key, for the first time in this part."""
        assert effect.key not in self._effects, "a key twice in one record"
        self._effects[effect.key] = effect

    def _expiry(self, ttl_s: float) -> int:
        """Resolve a time to live into a moment, by the primary's time alone."""
        room_s = (TIME_NS_MAX - self._time_ns) / 1e9 - 1
        if not ttl_s < room_s:
            return TIME_NS_MAX
        return self._time_ns + int(max(0.0, ttl_s) * 1e9)


class _After:
    """Which keys there are once a group is done.

    Invariants: it changes nothing.
    """

    def __init__(self, tip: Tip, effects: Mapping[bytes, Effect], group: Group) -> None:
        """Lay a group over the tip.

        Args:
            tip: what is there.
            effects: of what comes before the group in its record.
            group: to be judged.
        """
        self._tip = tip
        self._effects = effects
        self._group = group
        self._there: dict[bytes, bool] = {}
        self._keys: list[bytes] | None = None

    def crowded(self, check: Check) -> Outcome | None:
        """Tell whether more keys than may begin with a check's key; None: they do not.

        Args:
            check: of the group.
        """
        if check.most is None:
            return None
        mine = beginning(self._sorted(), check.key)
        found = set(self._tip.under(check.key, check.most + 1 + len(mine)))
        found = found.difference(mine) | {key for key in mine if self._there[key]}
        if len(found) <= check.most:
            return None
        detail = "the condition does not hold: there are more keys than may be"
        return Outcome(error=PreconditionError.code, detail=detail)

    def _sorted(self) -> list[bytes]:
        """List the keys that the record touches, in byte order."""
        if self._keys is None:
            effects, writes = self._effects.items(), self._group.writes
            self._there = {key: isinstance(each, KvPut) for key, each in effects}
            self._there |= {each.key: isinstance(each, Put) for each in writes}
            self._keys = sorted(self._there)
        return self._keys


def settle(key: IdempotencyKey | None, part: int, answer: bytes) -> Answered | None:
    """Say which idempotency key a part settles; None where the caller gave none.

    Args:
        key: the caller's promise, if any.
        part: which part of its batch, from 0.
        answer: an `Answer`, spelled.
    """
    if key is None:
        return None
    return Answered(part_key(key.key, part), key.fingerprint, answer)
