"""What clients saw: requests and their answers, and what they may not contradict."""

from collections.abc import Iterable, Sequence
from math import inf

from msgspec import Struct, field

from tests.simulation.grouping import seen_apart, singles
from tests.simulation.linearizability import Op, Search, is_known_write, version_of
from torua.core.kv import Delete, Get, Operation, Outcome, Put


class HistoryError(AssertionError):
    """What clients saw cannot have come from one copy of each key."""


class Request:
    """A request of a client, with all its attempts under one idempotency key.

    Invariants: answered at most one way; unknown as long as an attempt is.
    """

    def __init__(
        self, client: str, operations: tuple[Operation, ...], start: float
    ) -> None:
        """Begin.

        Args:
            client: who asks.
            operations: what.
            start: when its first attempt was sent.
        """
        self.client = client
        self.operations = operations
        self.start = start
        self.end = inf
        self.outcomes: tuple[Outcome, ...] | None = None
        self.unknown = 0
        self.linearizable = True

    def __str__(self) -> str:
        """Spell it for whoever looks for what went wrong."""
        return f"{self.client} {self.operations} of {self.start:.6f}"

    def attempted(self) -> None:
        """Note that an attempt was sent: until it ends, it may have any outcome."""
        self.unknown += 1

    def refused(self) -> None:
        """Note that one attempt was not begun."""
        self.unknown -= 1

    def answered(self, outcomes: tuple[Outcome, ...], now: float) -> None:
        """Note an answer; HistoryError where another one came before (R11).

        Args:
            outcomes: one an operation.
            now: when.
        """
        if self.outcomes is None:
            self.outcomes, self.end = outcomes, now
        elif self.outcomes != outcomes:
            detail = f"{self} was answered {self.outcomes} and then {outcomes}"
            raise HistoryError(f"R11: {detail}")

    def ops(self) -> list[Op]:
        """Return its operations as its client saw them.

        Returns:
            None where no attempt was begun; without reads where nothing was answered.
        """
        if self.outcomes is None:
            if not self.unknown:
                return []
            return [
                Op(self.client, single, self.start)
                for each in self.operations
                for single, _ in singles(each, None)
                if not isinstance(single, Get)
            ]
        pairs = zip(self.operations, self.outcomes, strict=True)
        return [
            Op(self.client, single, self.start, self.end, told, self.linearizable)
            for operation, outcome in pairs
            for single, told in singles(operation, outcome)
        ]


class History(Struct):
    """All that clients asked and were told.

    Invariants: requests stand in the order in which they were begun.
    """

    requests: list[Request] = field(default_factory=list)

    def begin(
        self, client: str, operations: Iterable[Operation], now: float
    ) -> Request:
        """Note a new request.

        Args:
            client: who asks.
            operations: what.
            now: when.
        """
        request = Request(client, tuple(operations), now)
        self.requests.append(request)
        return request

    def by_key(self) -> dict[bytes, list[Op]]:
        """Return all operations, a list a key; a key that expires may be removed."""
        found: dict[bytes, list[Op]] = {}
        for request in self.requests:
            for op in request.ops():
                found.setdefault(op.operation.key, []).append(op)
                if isinstance(op.operation, Put) and op.operation.ttl_s is not None:
                    expiry = Op("expiry", Delete(op.operation.key), op.start)
                    found[op.operation.key].append(expiry)
        return found

    def check(self) -> None:
        """Raise HistoryError where clients saw what one copy could not show (R9)."""
        for key, ops in sorted(self.by_key().items()):
            check_key(key, [op for op in ops if op.linearizable])
            check_sessions(key, ops)
        for request in self.requests:
            if request.outcomes is None:
                continue
            apart = seen_apart(request.operations, request.outcomes)
            if apart is not None:
                raise HistoryError(f"R1: {request} saw a part of a group: {apart!r}")


def check_key(key: bytes, ops: Sequence[Op]) -> None:
    """Raise HistoryError where operations on one key have no order (R9).

    Args:
        key: which.
        ops: all that were asked of it.
    """
    search = Search(ops)
    if search.run():
        return
    stuck = search.stuck
    assert stuck is not None
    near = [op for op in ops if op.start <= stuck.end and op.end >= stuck.start - 1.0]
    lines = "\n  ".join(str(op) for op in sorted(near, key=lambda op: op.start)[-40:])
    raise HistoryError(f"R9: {key!r} has no order; stuck at {stuck}\n  {lines}")


def check_sessions(key: bytes, ops: Sequence[Op]) -> None:
    """Raise HistoryError where a client saw a key go back (R10).

    Only answers that name a version are compared: deletes have none.

    Args:
        key: which.
        ops: all that were asked of it, a client's one after the other.
    """
    newest: dict[str, int] = {}
    for op in sorted(ops, key=lambda each: each.start):
        version = op.outcome.version if op.outcome is not None else None
        if version is None:
            continue
        seen = newest.get(op.client, 0)
        if version < seen:
            raise HistoryError(f"R10: {key!r} went back from {seen} for {op}")
        newest[op.client] = version


def check_order(ops: Sequence[Op]) -> None:
    """Raise HistoryError where seqs of one shard contradict real time (R9).

    Args:
        ops: writes to keys of one shard, in any order.
    """
    writes = [op for op in ops if is_known_write(op)]
    ended = sorted(writes, key=lambda op: op.end)
    newest, index = 0, 0
    for op in sorted(writes, key=lambda each: each.start):
        while index < len(ended) and ended[index].end < op.start:
            newest = max(newest, version_of(ended[index]))
            index += 1
        if version_of(op) <= newest:
            raise HistoryError(f"R9: seq {newest} was acknowledged before {op} began")
