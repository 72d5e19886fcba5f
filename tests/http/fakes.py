"""Keys, values and a cluster that stand for the real ones."""

from collections.abc import Sequence

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredQueue

from torua.core import views
from torua.core.allocation.placing import Role
from torua.core.changes import Change
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.kv import (
    Call,
    Delete,
    Entry,
    Get,
    Outcome,
    Page,
    Put,
    Served,
    Single,
)
from torua.core.routing import slot_of
from torua.core.state import Spans
from torua.errors import (
    NotFoundError,
    PreconditionError,
    ToruaError,
    UnprocessableError,
    from_wire,
)

SHARDS = 4


class FakeKeyValue:
    """Keys and values in memory, with versions, conditions and idempotency.

    Invariants: versions rise and never repeat.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: dict[bytes, Entry] = {}
        self.version = 0
        self.answered: dict[str, tuple[bytes, Outcome]] = {}
        self.calls: list[Call] = []
        self.writes: list[Single] = []
        self.failure: Exception | None = None
        self.gate: Deferred[None] | None = None

    async def _enter(self, call: Call) -> None:
        """Note a call; fail or wait where the test wants it."""
        self.calls.append(call)
        if self.gate is not None:
            await self.gate
        if self.failure is not None:
            raise self.failure

    def _served(self, key: bytes) -> Served:
        """Say that the key's shard served."""
        return Served(slot_of(key) % SHARDS, "n1", f"t{self.version}")

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key.

        Args:
            key: which.
            call: who asks.
        """
        await self._enter(call)
        return self.entries.get(key), self._served(key)

    async def write(
        self, operation: Put | Delete, call: Call
    ) -> tuple[Outcome, Served]:
        """Write a key, or give the first outcome again.

        Args:
            operation: what to do.
            call: who asks.
        """
        await self._enter(call)
        outcome = self._once(operation, call)
        if outcome.error is not None:
            raise from_wire(outcome.error, outcome.detail, {})
        return outcome, self._served(operation.key)

    def _once(self, operation: Put | Delete, call: Call) -> Outcome:
        """Do a write unless its idempotency key was seen."""
        promise = call.idempotency
        if promise is None:
            return self._apply(operation)
        if promise.key not in self.answered:
            outcome = self._apply(operation)
            self.answered[promise.key] = (promise.fingerprint, outcome)
        fingerprint, outcome = self.answered[promise.key]
        if fingerprint != promise.fingerprint:
            raise UnprocessableError("the idempotency key was used for another request")
        return outcome

    def _apply(self, operation: Single) -> Outcome:
        """Do one operation."""
        entry = self.entries.get(operation.key)
        if isinstance(operation, Get):
            return Outcome(entry.version if entry else None, entry)
        version = entry.version if entry else None
        if not all(each.holds(version) for each in operation.conditions):
            code = PreconditionError.code
            return Outcome(version, error=code, detail="it does not hold")
        self.writes.append(operation)
        if isinstance(operation, Delete):
            self.entries.pop(operation.key, None)
            return Outcome()
        self.version += 1
        self.entries[operation.key] = Entry(
            operation.key,
            self.version,
            len(operation.value),
            operation.content_type,
            operation.value,
        )
        return Outcome(self.version)

    async def bulk(
        self, operations: Sequence[Single], call: Call
    ) -> tuple[tuple[Outcome, ...], str]:
        """Do many operations in order.

        Args:
            operations: which.
            call: who asks.
        """
        await self._enter(call)
        outcomes = tuple(self._apply(operation) for operation in operations)
        return outcomes, f"t{self.version}"

    async def scan(
        self, prefix: bytes, after: bytes, limit: int, values: bool, call: Call
    ) -> Page:
        """List keys in order.

        Args:
            prefix: what they begin with.
            after: the key to go on after.
            limit: how many at most.
            values: whether values come too.
            call: who asks.
        """
        await self._enter(call)
        keys = sorted(k for k in self.entries if k.startswith(prefix) and k > after)
        more = keys[limit - 1] if len(keys) > limit else None
        return Page(tuple(self.entries[key] for key in keys[:limit]), more)


class FakeOverview:
    """A cluster of one node that fares as the test says.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin ready and green."""
        self.reason: str | None = None
        self.failure: ToruaError | None = None

    def health(self) -> views.Health:
        """Tell how the cluster fares."""
        return views.Health("green", "n1", "n1")

    def unready(self) -> str | None:
        """Tell why not ready."""
        return self.reason

    def info(self) -> views.ClusterInfo:
        """Describe the cluster."""
        return views.ClusterInfo(
            "u", "torua", NodeId("a" * 8), 1, 1, 2, 1, 1, 4, 4, "green", 1.5
        )

    async def listing(self, call: Call) -> tuple[views.NodeView, ...]:
        """Describe the node.

        Args:
            call: ignored.
        """
        node_id = NodeId("a" * 8)
        address, http = "127.0.0.1:7441", "127.0.0.1:7440"
        roles = ("data", "voter")
        return (
            views.NodeView(
                node_id, "n1", address, http, "healthy", True, 4, 4, roles, "", "0", 0
            ),
        )

    async def node(self, id_or_name: str, call: Call) -> views.NodeDetail:
        """Describe the node, or say that it is not known.

        Args:
            id_or_name: which.
            call: who asks.
        """
        if id_or_name not in ("n1", "naïve/1", "a" * 8):
            raise NotFoundError(f"no node {id_or_name}")
        copy = views.CopyPosition(ShardId(0), AllocId("x"), "primary", "open", 7, 1, 2)
        return views.NodeDetail(
            NodeId("a" * 8), id_or_name, "", "healthy", 1, 0.1, 2.0, None, (copy,)
        )

    async def shards(self, call: Call) -> tuple[views.ShardView, ...]:
        """Describe a shard."""
        if self.failure is not None:
            raise self.failure
        copy = views.ShardCopyView("n1", "primary", "open", True, 7)
        return (views.ShardView(ShardId(0), "green", "n1", (copy,), 1, 2),)


class FakeBatch(Struct, frozen=True):
    """What a feed hands on."""

    events: tuple[tuple[Change, str], ...] = ()
    cursor: str = "c"
    gone: str | None = None


class FakeFeed:
    """A feed that hands on what the test gives it.

    Invariants: batches come in order.
    """

    def __init__(self) -> None:
        """Begin without a batch."""
        self.batches: DeferredQueue[FakeBatch] = DeferredQueue()
        self.cursor = "begin"
        self.asked = 0
        self.closed = 0

    async def next(self) -> FakeBatch:
        """Wait for the next batch."""
        self.asked += 1
        return await self.batches.get()

    def close(self) -> None:
        """Note that nobody listens."""
        self.closed += 1


class FakeFeeds:
    """Opens the one feed there is.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with a feed that nobody asked for."""
        self.feed = FakeFeed()
        self.asked: list[tuple[bytes, str]] = []
        self.failure: ToruaError | None = None

    async def open(self, prefix: bytes, since: str, call: Call) -> FakeFeed:
        """Open it, or fail as the test wants it.

        Args:
            prefix: noted.
            since: noted.
            call: who asks.
        """
        self.asked.append((prefix, since))
        if self.failure is not None:
            raise self.failure
        return self.feed


class FakeOperations:
    """Notes what operators ask for.

    Invariants: none.
    """

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.asked: list[tuple[object, ...]] = []
        self.failure: ToruaError | None = None

    def _note(self, *asked: object) -> None:
        """Note what is asked for, or fail as the test wants it."""
        self.asked.append(asked)
        if self.failure is not None:
            raise self.failure

    async def maintenance(
        self, names: Sequence[str], enabled: bool, call: Call
    ) -> dict[str, str]:
        """Note it.

        Args:
            names: of which nodes.
            enabled: as it was said.
            call: who asks.
        """
        self._note("maintenance", tuple(names), enabled)
        return dict.fromkeys(names, "maintenance" if enabled else "full")

    async def evacuate(self, name: str, call: Call) -> tuple[str, str]:
        """Note it.

        Args:
            name: of which node.
            call: who asks.
        """
        self._note("evacuate", name)
        return name, "task-1"

    async def remove(self, name: str, call: Call) -> str:
        """Note it.

        Args:
            name: of which node.
            call: who asks.
        """
        self._note("remove", name)
        return name

    async def rebalance(self, dry_run: bool, call: Call) -> views.Balance:
        """Note it.

        Args:
            dry_run: noted.
            call: ignored.
        """
        self._note("rebalance", dry_run)
        return views.Balance(False, 2, 1, 0)

    async def explain(self, shard: ShardId, call: Call) -> views.ShardExplained:
        """Note it.

        Args:
            shard: noted.
            call: ignored.
        """
        self._note("explain", shard)
        copy = views.CopyReason("n1", "primary", "started", True, "it is one of 2")
        other = views.NodeReason("n2", "maintenance", "it is in maintenance")
        return views.ShardExplained(shard, "", (copy,), (other,))

    async def assign(
        self, shard: ShardId, name: str, role: Role, dry_run: bool, call: Call
    ) -> views.Assigned:
        """Note it.

        Args:
            shard: which.
            name: of which node.
            role: what it shall be.
            dry_run: as it was said.
            call: who asks.
        """
        self._note("assign", shard, name, role, dry_run)
        return views.Assigned(shard, name, role.value, "n1", dry_run)

    async def split(
        self, shard: ShardId, spans: Spans | None, call: Call
    ) -> tuple[ShardId, str]:
        """Note it.

        Args:
            shard: which.
            spans: what is to move.
            call: who asks.
        """
        self._note(shard, spans)
        return ShardId(9), "split-9"

    async def cancel_split(self, shard: ShardId, call: Call) -> ShardId:
        """Note it.

        Args:
            shard: which.
            call: who asks.
        """
        self._note(shard)
        return ShardId(9)

    async def force_allocate(
        self, shard: ShardId, id_or_name: str, accept_data_loss: bool, call: Call
    ) -> None:
        """Note it.

        Args:
            shard: which.
            id_or_name: whose copy.
            accept_data_loss: as it was said.
            call: who asks.
        """
        self._note(shard, id_or_name, accept_data_loss)
