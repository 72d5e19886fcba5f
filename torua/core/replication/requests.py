"""The requests of clients that a primary has admitted and not answered yet.

A request waits for the tip that it was judged by to be committed (R8).  One that
changed nothing, and so is proven by no record of its own, also waits for a barrier that
was asked for after it came; so does a read, whose value is at the checkpoint already.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum

from msgspec import Struct, field

from torua.core.kv import IdempotencyKey, Outcome
from torua.core.replication.messages import Limits
from torua.core.replication.tip import Tip
from torua.errors import OverloadedError, ToruaError

PROOF_AGAIN_S = 0.05
"""Between a barrier that failed and the next for the same request."""

PROOF_S = 3.0
"""A request that is not proven by then is refused: a failover takes no longer."""


class Proof(Enum):
    """What shows that an answer was the primary's to give."""

    COMMIT = "commit"
    BARRIER = "barrier"
    PASSED = "passed"


class Waiting(Struct, eq=False):
    """A request that was admitted and not answered yet.

    Invariants: ``seq`` is the tip that it was judged by, its own records included; they
    are those from ``first`` on.
    """

    requests: list[int]
    first: int
    seq: int
    cost: int
    idempotency: IdempotencyKey | None
    outcomes: list[Outcome] = field(default_factory=list)
    read_bytes: int = 0
    proof: Proof = Proof.COMMIT
    since: float = 0.0

    def extend(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of its next operations."""
        self.outcomes.extend(outcomes)
        self.read_bytes += sum(map(_read_size, outcomes))

    @property
    def effectless(self) -> bool:
        """Whether no record of its own is in the log."""
        return self.seq < self.first and self.idempotency is None


class Requests:
    """All that wait, in the order in which they were admitted.

    Invariants: whoever waits for the checkpoint does so in order of seqs; ``count`` and
    ``cost`` are of those that were not taken out yet; a request is taken out once.

    Attributes:
        count: how many requests wait.
        cost: what they hold in memory, in bytes.
    """

    def __init__(self, limits: Limits) -> None:
        """Have none; ``limits`` says how many may be."""
        self.count = self.cost = self._peers = 0
        self._limits = limits
        self._queue: deque[Waiting] = deque()
        self._by_key: dict[str, Waiting] = {}
        self._unproven: dict[int, Waiting] = {}
        self._again: list[int] = []
        self._again_at: float | None = None

    def __bool__(self) -> bool:
        """Whether anybody waits for the checkpoint."""
        return bool(self._queue)

    @property
    def crowded(self) -> bool:
        """Whether as many wait as may."""
        return self.count >= self._limits.requests

    def overfull(self, tip: Tip, records: int, cost: int) -> ToruaError | None:
        """Tell that there is no room for a write; None where there is.

        Args:
            tip: takes its records.
            records: how many at most.
            cost: what its operations hold in memory, in bytes.
        """
        limits = self._limits
        if (
            self.count < limits.requests
            and len(tip) + records <= limits.records
            and tip.cost + self.cost + cost <= limits.bytes
        ):
            return None
        return OverloadedError("too many writes are in flight on this shard")

    def same(self, key: IdempotencyKey | None) -> Waiting | None:
        """Return the request in flight with an idempotency key."""
        return None if key is None else self._by_key.get(key.key)

    def attach(self, waiting: Waiting, request: int) -> None:
        """Let another request wait for the same answer.

        Args:
            waiting: what is in flight.
            request: gets its answer too.
        """
        waiting.requests.append(request)
        self.count += 1

    def add(self, waiting: Waiting, committed: int) -> None:
        """Let a request wait for the checkpoint, for a barrier, or for both.

        Args:
            waiting: the request.
            committed: the checkpoint.
        """
        self.count += 1
        self.cost += waiting.cost
        if waiting.seq > committed:
            self._queue.append(waiting)
        if waiting.idempotency is not None:
            self._by_key[waiting.idempotency.key] = waiting
        if waiting.proof is Proof.BARRIER:
            self._unproven[waiting.requests[0]] = waiting

    def take(self, committed: int) -> Iterator[Waiting]:
        """Take out, in order, who waits for no more than the checkpoint."""
        while self._queue and self._queue[0].seq <= committed:
            waiting = self._queue.popleft()
            if waiting.proof is not Proof.BARRIER:
                self._leave(waiting)
                yield waiting

    def passed(self, request: int, committed: int) -> Waiting | None:
        """Note that a barrier was passed; take the request out if that was all.

        Args:
            request: for which it was.
            committed: the checkpoint.
        """
        waiting = self._unproven.pop(request, None)
        if waiting is None:
            return None
        waiting.proof = Proof.PASSED
        if waiting.seq > committed:
            return None
        if waiting in self._queue:
            self._queue.remove(waiting)
        self._leave(waiting)
        return waiting

    def failed(self, request: int, now: float) -> Waiting | None:
        """Note that a barrier was not passed; take the request out in the end.

        Args:
            request: for which it was.
            now: the monotonic clock.
        """
        waiting = self._unproven.get(request)
        if waiting is None:
            return None
        if now - waiting.since < PROOF_S:
            self._again.append(request)
            if self._again_at is None:
                self._again_at = now + PROOF_AGAIN_S
            return None
        del self._unproven[request]
        if waiting in self._queue:
            self._queue.remove(waiting)
        self._leave(waiting)
        return waiting

    def retries(self, now: float) -> list[int]:
        """Return the requests for which another barrier is due."""
        if self._again_at is None or now < self._again_at:
            return []
        found, self._again, self._again_at = self._again, [], None
        return [each for each in dict.fromkeys(found) if each in self._unproven]

    def need(self, peers: int, now: float) -> None:
        """Ask for all barriers anew where one who is gone need not say yes any more.

        Args:
            peers: how many other copies have to.
            now: the monotonic clock.
        """
        if peers < self._peers and self._unproven:
            self._again, self._again_at = list(self._unproven), now
        self._peers = peers

    def next_deadline(self) -> float | None:
        """Tell when another barrier is due; None while none is."""
        return self._again_at

    def drop(self) -> list[Waiting]:
        """Take all out, in the order of the queue, then those that are unproven."""
        found = [*self._queue, *self._unproven.values()]
        self._queue.clear()
        self._unproven.clear()
        self._again, self._again_at = [], None
        unique = list({id(waiting): waiting for waiting in found}.values())
        for waiting in unique:
            self._leave(waiting)
        return unique

    def _leave(self, waiting: Waiting) -> None:
        """Count a request no more."""
        self.count -= len(waiting.requests)
        self.cost -= waiting.cost
        if waiting.idempotency is not None:
            del self._by_key[waiting.idempotency.key]


def _read_size(outcome: Outcome) -> int:
    """Return how many bytes of a value an outcome carries."""
    entry = outcome.entry
    return 0 if entry is None or entry.value is None else len(entry.value)
