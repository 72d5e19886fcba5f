"""Stand-ins for the parts that the router and the overview talk to."""

from collections.abc import Callable, Sequence
from inspect import isawaitable

from msgspec import structs
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import Clock

from torua.codec.plain import decode, encode
from torua.core import views
from torua.core.ids import Address, AllocId, NodeId, ShardId
from torua.core.kv import Call, Delete, Entry, Get, Group, Operation, Outcome, Page, Put
from torua.core.members import Member, Meta, Status
from torua.core.reading import Position
from torua.core.resilience.policies import Policies
from torua.core.routing import even_slots
from torua.core.state import (
    ClusterState,
    Copy,
    CopyState,
    NodeEntry,
    Primary,
    Settings,
    Shard,
)
from torua.errors import (
    OutcomeUnknownError,
    ToruaError,
    UnavailableError,
    from_wire,
)
from torua.net.peers import Inbound, Lane
from torua.node.errands import Peers
from torua.node.targets import Targets

ONE, TWO = NodeId("1" * 32), NodeId("2" * 32)


def alloc(shard: int) -> AllocId:
    """Name the only copy of a shard."""
    return AllocId(f"{shard:032x}")


def replica(shard: int) -> AllocId:
    """Name the second copy of a shard."""
    return AllocId(f"{shard + 100:032x}")


def with_replica(state: ClusterState, shard: int, node: NodeId) -> ClusterState:
    """Give a shard a second copy, in sync.

    Args:
        state: to begin with.
        shard: which.
        node: where its second copy is.
    """
    held = state.shards[ShardId(shard)]
    more = structs.replace(
        held,
        rf=2,
        copies=(*held.copies, Copy(replica(shard), node, CopyState.STARTED)),
        in_sync=(*held.in_sync, replica(shard)),
    )
    return structs.replace(state, shards=state.shards | {ShardId(shard): more})


def state_of(
    primaries: dict[int, NodeId], version: int = 1, term: int = 1
) -> ClusterState:
    """Make a state in which each shard has one started copy, its primary.

    Args:
        primaries: the node of each shard's copy.
        version: the routing version.
        term: of all primaries.
    """
    nodes = {
        node: NodeEntry(node, f"n{node[0]}", 1, Address("h", int(node[0])), "")
        for node in (ONE, TWO)
    }
    shards = {
        ShardId(shard): Shard(
            shard=ShardId(shard),
            shard_version=1,
            primary_term=term,
            primary=Primary(alloc(shard), node, 1),
            in_sync=(alloc(shard),),
            copies=(Copy(alloc(shard), node, CopyState.STARTED),),
            history_uuid="h",
            rf=1,
            min_copies=1,
        )
        for shard, node in primaries.items()
    }
    return ClusterState(
        cluster_uuid="c" * 32,
        cluster_name="torua",
        settings=Settings(shards=len(shards)),
        nodes=nodes,
        shards=shards,
        slots=even_slots(len(shards)) if shards else (),
        routing_version=version,
    )


class States:
    """What coordination tells; tests set it.

    Invariants: whoever subscribed hears of each state that is set.
    """

    def __init__(self, state: ClusterState) -> None:
        """Begin with a state that was applied long ago."""
        self.state = state
        self.term = 1
        self.version = 1
        self.coordinator: NodeId | None = ONE
        self._callbacks: list[Callable[[ClusterState], None]] = []

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Remember whom to call."""
        self._callbacks.append(callback)

    def apply(self, state: ClusterState) -> None:
        """Apply another state."""
        self.state = state
        for callback in self._callbacks:
            callback(state)


class Holdings:
    """Shards in a dict, without a disk.

    Invariants: only shards in ``held`` are served.
    """

    def __init__(self, *held: int) -> None:
        """Hold some shards."""
        self.held = {shard: dict[bytes, Entry]() for shard in held}
        self.calls: list[Call] = []
        self.broken: dict[ShardId, str] = {}
        self.resting: set[ShardId] = set()
        self.error: ToruaError | None = None
        self.errors: list[ToruaError] = []
        self.gate: Deferred[None] | None = None
        self.takeover: Deferred[None] | None = None
        self.waits_s: list[float] = []
        self.applied: dict[int, int] = {}
        self.allocs: dict[int, AllocId] = {}
        self.history = "h"

    def _shard(self, shard: ShardId) -> dict[bytes, Entry]:
        """Return a shard, or refuse."""
        if self.errors:
            raise self.errors.pop(0)
        if self.error is not None:
            raise self.error
        if shard not in self.held:
            raise UnavailableError(f"shard {shard} is not here")
        return self.held[shard]

    async def taken_over(self, shard: ShardId, size: int, within_s: float) -> bool:
        """Wait for the end of a takeover, if there is one.

        Args:
            shard: whose.
            size: of what is asked.
            within_s: how long its caller waits.
        """
        if self.takeover is None:
            return False
        self.waits_s.append(within_s)
        await self.takeover
        return True

    async def write(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations, each with the next version.

        Args:
            shard: whose.
            operations: puts, gets and deletes, unconditional.
            call: who asks.
        """
        self.calls.append(call)
        if self.gate is not None:
            await self.gate
        entries = self._shard(shard)
        return tuple(self._do(entries, each) for each in operations)

    def _do(self, entries: dict[bytes, Entry], operation: Operation) -> Outcome:
        """Do one operation."""
        match operation:
            case Put(key, value) if any(
                not c.holds(None) for c in operation.conditions
            ):
                return Outcome(error="precondition-failed", detail="it is not so")
            case Put(key, value):
                version = len(entries) + 1
                entries[key] = Entry(key, version, len(value), value=value)
                return Outcome(version)
            case Get(key):
                found = entries.get(key)
                return Outcome(found.version if found else None, found)
            case Delete(key):
                entries.pop(key, None)
                return Outcome()
            case Group(writes=writes):
                for write in writes:
                    self._do(entries, write)
                return Outcome(len(entries))

    async def get(self, shard: ShardId, key: bytes, call: Call) -> Entry | None:
        """Read one key.

        Args:
            shard: whose.
            key: which.
            call: who asks.
        """
        self.calls.append(call)
        if self.gate is not None:
            await self.gate
        return self._shard(shard).get(key)

    def position(self, shard: ShardId) -> Position | None:
        """Tell what a copy has applied: as set, or as many records as keys."""
        if shard not in self.held:
            return None
        return Position(self.history, self.applied.get(shard, len(self.held[shard])))

    async def reached(self, shard: ShardId, seq: int, timeout_s: float) -> None:
        """Refuse: nothing is applied meanwhile.

        Args:
            shard: whose.
            seq: which record.
            timeout_s: how long it may take.
        """
        raise UnavailableError(f"shard {shard} lags")

    def peek(self, shard: ShardId, key: bytes) -> Entry | None:
        """Read one key at any copy.

        Args:
            shard: whose.
            key: which.
        """
        return self._shard(shard).get(key)

    def peek_page(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys at any copy.

        Args:
            shard: whose.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """
        return self._page(shard, prefix, after, limit, values)

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys.

        Args:
            shard: whose.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """
        return self._page(shard, prefix, after, limit, values)

    def _page(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys.

        Args:
            shard: whose.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """
        entries = self._shard(shard)
        keys = sorted(k for k in entries if k.startswith(prefix) and k > after)
        items = [
            entries[k] if values else structs.replace(entries[k], value=None)
            for k in keys[:limit]
        ]
        return Page(tuple(items), items[-1].key if len(keys) > limit else None)

    def positions(self) -> tuple[views.CopyPosition, ...]:
        """Tell how far each copy is."""
        return tuple(
            views.CopyPosition(
                ShardId(shard),
                self.allocs.get(shard, alloc(shard)),
                "primary",
                "started",
                7,
                len(held),
                0,
            )
            for shard, held in self.held.items()
        )

    def serving(self, shard: ShardId) -> bool:
        """Tell whether a shard is served."""
        return shard in self.held and shard not in self.resting

    def failures(self) -> dict[ShardId, str]:
        """Tell which copies do not serve."""
        return self.broken


class Wire:
    """Connects the peers of a test, through real CBOR and no socket.

    Invariants: what one side asks is spelled and read as on the wire.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with nobody."""
        self.clock = clock
        self.ends: dict[NodeId, End] = {}
        self.silent: set[NodeId] = set()
        self.asked: list[tuple[NodeId, str, Lane]] = []

    def end(self, node: NodeId) -> "End":
        """Return the end of a node, made at first."""
        return self.ends.setdefault(node, End(self, node))


class End(Peers):
    """One node's end of a `Wire`.

    Invariants: a node that is not on the wire cannot be reached.
    """

    def __init__(self, wire: Wire, node: NodeId) -> None:
        """Begin with no handler.

        Args:
            wire: what connects the ends.
            node: whose end.
        """
        self._wire = wire
        self._node = node
        self._handlers: dict[str, Callable[[Inbound], object]] = {}

    def handle(self, kind: str, handler: Callable[[Inbound], object]) -> None:
        """Remember a handler.

        Args:
            kind: of which messages.
            handler: what answers them.
        """
        self._handlers[kind] = handler

    def send(
        self, node_id: NodeId, kind: str, body: object, *, lane: Lane = Lane.CONTROL
    ) -> None:
        """Have the other end's handler take a notice, if it is there.

        Args:
            node_id: to whom.
            kind: of which handler.
            body: plain values.
            lane: its priority.
        """
        sent = Deferred.fromCoroutine(
            self.request(node_id, kind, body, lane=lane, timeout_s=1.0)
        )
        sent.addErrback(lambda failure: failure.trap(UnavailableError) and None)

    async def request(  # noqa: PLR0913
        self,
        node_id: NodeId,
        kind: str,
        body: object,
        *,
        lane: Lane,
        timeout_s: float,
        request_id: str = "",
        traceparent: str = "",
    ) -> object:
        """Have the other end's handler answer, at once.

        Args:
            node_id: whom.
            kind: of which handler.
            body: plain values.
            lane: its priority.
            timeout_s: how long it may take.
            request_id: passed on.
            traceparent: passed on.
        """
        self._wire.asked.append((node_id, kind, lane))
        other = self._wire.ends.get(node_id)
        if other is None:
            raise UnavailableError("no connection")
        if node_id in self._wire.silent:
            await self._silence(timeout_s)
        inbound = Inbound(
            self._node,
            1,
            kind,
            decode(encode(body)),
            self._wire.clock.seconds() + timeout_s,
            request_id,
            traceparent,
        )
        try:
            answer = other._handlers[kind](inbound)
            answer = await answer if isawaitable(answer) else answer
        except ToruaError as error:
            raise from_wire(error.code, error.detail, dict(error.members)) from None
        return decode(encode(answer))

    async def _silence(self, timeout_s: float) -> None:
        """Wait for an answer in vain."""
        waiting: Deferred[None] = Deferred()
        waiting.addTimeout(timeout_s, self._wire.clock)
        try:
            await waiting
        except DeferredTimeout as error:
            raise OutcomeUnknownError("no answer") from error


def targets(
    node: NodeId,
    clock: Clock,
    is_live: Callable[[NodeId], bool] = lambda _: True,
    policies: Policies | None = None,
) -> Targets:
    """Make what a router decides by.

    Args:
        node: whose.
        clock: the reactor.
        is_live: what membership believes.
        policies: which decisions are made.
    """
    registry = CollectorRegistry()
    made = Targets(node, clock, registry, is_live=is_live)
    made.use(policies or Policies())
    return made


def member(node: NodeId, status: Status = Status.ALIVE) -> Member:
    """Make a member.

    Args:
        node: who.
        status: what is believed of it.
    """
    address = Address("h", int(node[0]))
    return Member(node, f"n{node[0]}", address, 1, 0, status, Meta(max_shards=5))


def with_history(states: States, history: str) -> ClusterState:
    """Make a state in which all shards began another history.

    Args:
        states: has the state to begin with.
        history: its name.
    """
    state = states.state
    shards = {
        shard: structs.replace(held, history_uuid=history)
        for shard, held in state.shards.items()
    }
    return structs.replace(state, shards=shards)
