"""Whether operations on one key have an order that one copy could have shown.

This is the search of Wing, Gong and Lowe, with a memory of where it has been: which
operations are in the order so far, and what the key is after them.  Versions speed it
up: those of a key rise with every write, so writes whose versions are known have but
one order.

An operation whose outcome nobody knows has no end: it may stand anywhere after its
start, or nowhere.  It is worth a try only right before one that saw what it did.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import inf

from msgspec import Struct

from torua.core.kv import Condition, Delete, Get, Outcome, Put, Single

UNSEEN = -1
"""The version of a write that nobody was told the version of."""


class Op(Struct, frozen=True):
    """One operation as its client saw it.

    Attributes:
        client: who asked.
        operation: what.
        start: when it was sent.
        end: when it was answered; infinite where it never was.
        outcome: the answer; None where it is unknown.
        linearizable: whether the strongest reads were asked for.
    """

    client: str
    operation: Single
    start: float
    end: float = inf
    outcome: Outcome | None = None
    linearizable: bool = True

    @property
    def failed(self) -> bool:
        """Whether its condition did not hold."""
        return self.outcome is not None and self.outcome.error is not None

    def __str__(self) -> str:
        """Spell it for whoever looks for what went wrong."""
        kind = type(self.operation).__name__
        what = getattr(self.operation, "value", "")
        conditions = getattr(self.operation, "conditions", ())
        said = "?" if self.outcome is None else _said(self.outcome)
        span = f"[{self.start:.6f}, {self.end:.6f}]"
        return f"{span} {self.client} {kind} {what!r} {conditions} -> {said}"


class Key(Struct, frozen=True):
    """A key as the operations in the order so far leave it.

    Attributes:
        version: None where it is absent; `UNSEEN` where nobody was told.
        value: None where it is absent.
        floor: the newest version that is known to lie behind.
        lent: whether an operation of unknown outcome made it so, which is worth a try
            only where the next one saw it.
    """

    version: int | None = None
    value: bytes | None = None
    floor: int = 0
    lent: bool = False


class _Event:
    """The start or the end of an operation, in a list that the search thins out.

    Invariants: a start knows its end, if there is one; a lifted event still knows its
    neighbours, so that it can be put back.
    """

    def __init__(self, number: int, is_start: bool) -> None:
        """Stand alone.

        Args:
            number: of which operation.
            is_start: or its end.
        """
        self.number = number
        self.is_start = is_start
        self.end: _Event | None = None
        self.before: _Event | None = None
        self.after: _Event | None = None

    def lift(self) -> None:
        """Leave the list."""
        assert self.before is not None
        self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def restore(self) -> None:
        """Come back to where it was lifted from."""
        assert self.before is not None
        self.before.after = self
        if self.after is not None:
            self.after.before = self


class Search:
    """The search for an order of the operations on one key.

    Invariants: ``taken`` has a bit for each operation in the order so far; no pair of
    taken operations and state of the key is looked at twice.
    """

    def __init__(self, ops: Sequence[Op]) -> None:
        """Prepare.

        Args:
            ops: all on one key.
        """
        self._ops = _with_versions(ops)
        self._known = sorted(version_of(op) for op in self._ops if is_known_write(op))
        self._head = _listed(self._ops)
        self._open = sum(op.end < inf for op in self._ops)
        self._taken = 0
        self._key = Key()
        self._been: set[tuple[int, Key]] = set()
        self._stack: list[tuple[_Event, Key]] = []
        self.deepest = 0
        self.stuck: Op | None = None

    def run(self) -> bool:
        """Tell whether there is an order.

        Returns:
            Once every operation that was answered has its place; False where none of
            the orders has one for all.
        """
        event = self._head.after
        while self._open:
            assert event is not None
            if event.is_start and self._take(event):
                event = self._head.after
            elif event.is_start:
                event = event.after
            elif self._stack:
                self._note(event)
                event = self._untake().after
            else:
                self._note(event)
                return False
        return True

    def _take(self, event: _Event) -> bool:
        """Put an operation next in the order, if it may stand there."""
        op = self._ops[event.number]
        if self._is_spare(event):
            return False
        after = self._step(op)
        if after is None:
            return False
        taken = self._taken | 1 << event.number
        if (taken, after) in self._been:
            return False
        self._been.add((taken, after))
        self._stack.append((event, self._key))
        self._taken, self._key = taken, after
        event.lift()
        if event.end is not None:
            event.end.lift()
            self._open -= 1
        return True

    def _untake(self) -> _Event:
        """Take the last operation out of the order again."""
        event, self._key = self._stack.pop()
        self._taken ^= 1 << event.number
        if event.end is not None:
            event.end.restore()
            self._open += 1
        event.restore()
        return event

    def _note(self, event: _Event) -> None:
        """Remember how far the best attempt came."""
        if len(self._stack) >= self.deepest:
            self.deepest = len(self._stack)
            self.stuck = self._ops[event.number]

    def _is_spare(self, event: _Event) -> bool:
        """Tell whether an operation of unknown outcome is not worth a try here."""
        op = self._ops[event.number]
        if op.outcome is not None:
            return False
        absent = self._key.version is None
        if absent and isinstance(op.operation, Delete):
            return True
        if self._key.lent and not _sees(op):
            return True
        other = event.before
        while other is not None and other is not self._head:
            if other.is_start and _are_twins(self._ops[other.number], op):
                return True
            other = other.before
        return False

    def _step(self, op: Op) -> Key | None:
        """Return the key after an operation; None where it can't have come next."""
        if self._key.lent and not _sees(op):
            return None
        match op.operation:
            case Get():
                return self._read(op)
            case Put(conditions=conditions) | Delete(conditions=conditions):
                holds = all(self._holds(each, op.failed) for each in conditions)
                if op.failed:
                    assert op.outcome is not None
                    return None if holds else self._seen(op.outcome.version)
                return self._write(op) if holds else None

    def _holds(self, condition: Condition, failed: bool) -> bool:
        """Tell whether a condition holds of the key, or may of one never seen."""
        key = self._key
        if key.version == UNSEEN and condition.match and not failed:
            named = condition.versions
            return named is None or any(version > key.floor for version in named)
        return condition.holds(key.version)

    def _read(self, op: Op) -> Key | None:
        """Read the key."""
        assert op.outcome is not None
        entry = op.outcome.entry
        if entry is None:
            return self._seen(None)
        if entry.value is not None and entry.value != self._key.value:
            return None
        return self._seen(entry.version)

    def _seen(self, version: int | None) -> Key | None:
        """Return the key where somebody was told its version; None where it is not."""
        key = self._key
        if key.version == UNSEEN and version is not None and version > key.floor:
            return Key(version, key.value, version)
        if key.version != version:
            return None
        return Key(version, key.value, key.floor) if key.lent else key

    def _write(self, op: Op) -> Key | None:
        """Write the key: known versions in their order."""
        floor = self._key.floor
        if isinstance(op.operation, Delete):
            return Key(None, None, floor, lent=op.outcome is None)
        assert isinstance(op.operation, Put)
        if op.outcome is None:
            return Key(UNSEEN, op.operation.value, floor, lent=True)
        version = op.outcome.version
        assert version is not None
        place = bisect_right(self._known, floor)
        if place == len(self._known) or self._known[place] != version:
            return None
        return Key(version, op.operation.value, version)


def linearizable(ops: Sequence[Op]) -> bool:
    """Tell whether operations on one key have an order that explains them all.

    Args:
        ops: all that were asked of one key, in any order.
    """
    return Search(ops).run()


def _with_versions(ops: Sequence[Op]) -> list[Op]:
    """Give writes of unknown outcome the versions under which they were read.

    Those that nobody can have seen are left out: nothing depends on them.
    """
    read = {
        op.outcome.entry.value: op.outcome.entry.version
        for op in ops
        if op.outcome is not None and op.outcome.entry is not None
    }
    written = {version_of(op) for op in ops if is_known_write(op)} | set(read.values())
    told = {version for op in ops for version in _told(op)}
    loose = bool(told - written) or any(_asks_existence(op) for op in ops)
    found = []
    for op in ops:
        if op.outcome is None and isinstance(op.operation, Put):
            version = read.get(op.operation.value)
            if version is not None:
                seen = Outcome(version=version)
                found.append(Op(op.client, op.operation, op.start, inf, seen))
            elif loose:
                found.append(op)
        elif op.outcome is not None or not isinstance(op.operation, Get):
            found.append(op)
    return found


def _told(op: Op) -> Iterator[int]:
    """Yield the versions that somebody was told, beside those of writes and reads."""
    if op.failed and op.outcome is not None and op.outcome.version is not None:
        yield op.outcome.version
    if not op.failed:
        for each in getattr(op.operation, "conditions", ()):
            yield from (each.versions or ()) if each.match else ()


def _asks_existence(op: Op) -> bool:
    """Tell whether an operation did what only a key of any version allows."""
    conditions = getattr(op.operation, "conditions", ())
    return not op.failed and any(
        each.versions is None and each.match for each in conditions
    )


def _are_twins(one: Op, other: Op) -> bool:
    """Tell whether two writes that nobody saw do the same."""
    if one.outcome is not None or type(one.operation) is not type(other.operation):
        return False
    return getattr(one.operation, "conditions", ()) == getattr(
        other.operation, "conditions", ()
    )


def _sees(op: Op) -> bool:
    """Tell whether an operation would have gone otherwise at another version."""
    conditions = getattr(op.operation, "conditions", ())
    return isinstance(op.operation, Get) or bool(conditions)


def is_known_write(op: Op) -> bool:
    """Tell whether an operation set the key to a known version."""
    is_put = isinstance(op.operation, Put) and op.outcome is not None
    return is_put and not op.failed


def version_of(op: Op) -> int:
    """Return the version of a known write."""
    assert op.outcome is not None
    assert op.outcome.version is not None
    return op.outcome.version


def _listed(ops: Sequence[Op]) -> _Event:
    """Return the head of a list of all starts and ends in the order of time."""
    events: list[tuple[float, int, _Event]] = []
    for number, op in enumerate(ops):
        start = _Event(number, True)
        events.append((op.start, 0, start))
        if op.end < inf:
            start.end = _Event(number, False)
            events.append((op.end, 1, start.end))
    events.sort(key=lambda each: (each[0], each[1], each[2].number))
    head = last = _Event(-1, False)
    for _, _, event in events:
        last.after, event.before = event, last
        last = event
    return head


def _said(outcome: Outcome) -> str:
    """Spell an answer."""
    if outcome.error is not None:
        return f"{outcome.error} at {outcome.version}"
    entry = outcome.entry
    value = f" {entry.value!r}" if entry is not None else ""
    return f"{outcome.version}{value}"
