"""Every request finds its shard: here, or over the peer connection at its primary.

The slot table and the primaries are those of the last cluster state that this node
applied.  Where the node that is asked knows better, it refuses with the routing version
that it has, and the router waits for that state and tries again (rule R17).
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Protocol, TypeVar, cast

from msgspec import Struct, structs
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime

from torua.codec.plain import plain, shape
from torua.core.ids import NodeId, ShardId
from torua.core.kv import (
    Call,
    Delete,
    Entry,
    Get,
    IdempotencyKey,
    Operation,
    Outcome,
    Page,
    Put,
    Served,
)
from torua.core.merging import merge
from torua.core.routing import shard_of
from torua.core.state import ClusterState, Primary
from torua.errors import (
    StaleRouteError,
    ToruaError,
    UnavailableError,
    from_wire,
)
from torua.net.peers import Inbound, Lane

T = TypeVar("T")

KIND = "kv"
"""The kind of message by which routers forward to each other."""

ATTEMPTS_MAX = 4
"""How often a stale route is looked up again; each time the state has moved on."""

ROUTE_WAIT_S = 2.0
"""How long a request waits for a cluster state that another node already has."""

RETRY_AFTER_S = 1
"""What a client is told to wait where a shard has no primary: about a failover."""


class Apply(Struct, frozen=True, tag="apply"):
    """Do operations on one shard, in order."""

    shard: ShardId
    routing_version: int
    operations: tuple[Operation, ...]
    idempotency: IdempotencyKey | None = None


class Fetch(Struct, frozen=True, tag="fetch"):
    """Read one key of one shard."""

    shard: ShardId
    routing_version: int
    key: bytes


class Scan(Struct, frozen=True, tag="scan"):
    """List keys of one shard."""

    shard: ShardId
    routing_version: int
    prefix: bytes
    after: bytes
    limit: int
    values: bool


Errand = Apply | Fetch | Scan


class Found(Struct, frozen=True):
    """The answer to a `Fetch`; ``entry`` is None where the key is absent."""

    entry: Entry | None


class States(Protocol):
    """Where the last applied cluster state is found."""

    @property
    def state(self) -> ClusterState:
        """Return the last cluster state that this node applied."""

    def subscribe(self, callback: Callable[[ClusterState], None]) -> None:
        """Call back with each state that is applied from now on."""


class Shards(Protocol):
    """The primaries that this node holds.  All raise `ToruaError`s."""

    async def write(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations in order; one outcome each.

        Args:
            shard: whose primary is here.
            operations: what to do.
            call: who asks.
        """

    async def get(self, shard: ShardId, key: bytes, call: Call) -> Entry | None:
        """Read one key; None where it is absent.

        Args:
            shard: whose primary is here.
            key: which key.
            call: who asks.
        """

    async def scan(
        self, shard: ShardId, prefix: bytes, after: bytes, limit: int, values: bool
    ) -> Page:
        """List keys in byte order.

        Args:
            shard: whose primary is here.
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many.
            values: whether the values come too.
        """


class Peers(Protocol):
    """The connections to the other nodes."""

    def handle(
        self, kind: str, handler: Callable[[Inbound], Awaitable[object]]
    ) -> None:
        """Have requests of one kind answered.

        Args:
            kind: the kind of message.
            handler: what answers it.
        """

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
        """Ask another node.

        Args:
            node_id: whom.
            kind: the kind of message.
            body: what, as plain values.
            lane: its priority.
            timeout_s: how long to wait.
            request_id: stands in the log lines there.
            traceparent: passed on.
        """


class Router:
    """Keys and values of the whole cluster, as any node offers them.

    Invariants: nothing is served here for a shard whose primary, by the applied state,
    is elsewhere; a write is sent at most once for each time that it was refused unread.

    Threading: the reactor's thread only.
    """

    def __init__(
        self,
        me: NodeId,
        states: States,
        shards: Shards,
        peers: Peers,
        clock: IReactorTime,
    ) -> None:
        """Begin to answer the errands of other routers.

        Args:
            me: this node.
            states: the applied cluster state.
            shards: what this node holds.
            peers: the way to the other nodes.
            clock: the reactor.
        """
        self._me = me
        self._states = states
        self._shards = shards
        self._peers = peers
        self._clock = clock
        self._waiting: list[tuple[int, Deferred[None]]] = []
        states.subscribe(self._on_state)
        peers.handle(KIND, self._answer)

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key with its value, at its primary.

        Args:
            key: 1 to 1,024 bytes.
            call: who asks, and how long it waits.

        Returns:
            The entry, None where it is absent; and where it was served.
        """
        shard = self._shard(key)
        errand = Fetch(shard, self._version, key)
        found = await self._run(errand, call, Lane.READS, Found)
        return found.entry, self._served(shard)

    async def write(
        self, operation: Put | Delete, call: Call
    ) -> tuple[Outcome, Served]:
        """Do one write at its primary; raise the error that its outcome names.

        Args:
            operation: what to do.
            call: who asks, and how long it waits.
        """
        shard = self._shard(operation.key)
        (outcome,) = await self._apply(shard, (operation,), call)
        if outcome.error is not None:
            raise from_wire(outcome.error, outcome.detail, {"shard": shard})
        return outcome, self._served(shard)

    async def bulk(
        self, operations: Sequence[Operation], call: Call
    ) -> tuple[Outcome, ...]:
        """Do many operations, each shard's part at its primary, all parts at once.

        A part that fails leaves the others alone: its operations have its error.

        Args:
            operations: what to do; those on one key keep their order.
            call: who asks, and how long it waits.
        """
        parts: dict[ShardId, list[int]] = {}
        for index, operation in enumerate(operations):
            parts.setdefault(self._shard(operation.key), []).append(index)
        outcomes: list[Outcome] = [Outcome()] * len(operations)

        async def do(shard: ShardId, indexes: list[int]) -> None:
            """Do one shard's part, and put its outcomes where they belong.

            Args:
                shard: whose part.
                indexes: where its operations stand in the request.
            """
            part = tuple(operations[index] for index in indexes)
            for index, outcome in zip(
                indexes, await self._part(shard, part, call), strict=True
            ):
                outcomes[index] = outcome

        await _all(do(shard, indexes) for shard, indexes in parts.items())
        return tuple(outcomes)

    async def scan(
        self, prefix: bytes, after: bytes, limit: int, values: bool, call: Call
    ) -> Page:
        """List keys of all shards in byte order.

        Each shard lists as of its own instant; a key that is there throughout is listed
        exactly once.

        Args:
            prefix: what keys begin with.
            after: the key to go on after.
            limit: at most so many, 1 or more.
            values: whether the values come too.
            call: who asks, and how long it waits.
        """
        version = self._version

        async def part(shard: ShardId) -> Page:
            """List one shard."""
            errand = Scan(shard, version, prefix, after, limit, values)
            return await self._run(errand, call, Lane.READS, Page)

        self._shard(prefix or b"-")
        pages = await _all(part(shard) for shard in sorted(self._states.state.shards))
        return merge(pages, limit)

    @property
    def _version(self) -> int:
        """Return the routing version that this node has applied."""
        return self._states.state.routing_version

    def _shard(self, key: bytes) -> ShardId:
        """Return the shard of a key; UnavailableError before shards were given out."""
        slots = self._states.state.slots
        if not slots:
            raise UnavailableError(
                "the cluster has not given out its shards yet",
                retry_after=RETRY_AFTER_S,
            )
        return shard_of(slots, key)

    def _primary(self, shard: ShardId) -> Primary:
        """Return the primary of a shard; UnavailableError where it has none."""
        held = self._states.state.shards.get(shard)
        if held is None or held.primary is None:
            raise _no_primary(shard, "has no primary")
        return held.primary

    def _served(self, shard: ShardId) -> Served:
        """Tell where a shard is served."""
        node = self._primary(shard).node
        entry = self._states.state.nodes.get(node)
        return Served(shard, entry.name if entry else node)

    async def _part(
        self, shard: ShardId, operations: tuple[Operation, ...], call: Call
    ) -> tuple[Outcome, ...]:
        """Do one shard's part of a bulk request; an error becomes its outcomes."""
        try:
            return await self._apply(shard, operations, call)
        except ToruaError as error:
            failed = Outcome(error=error.code, detail=error.detail)
            return (failed,) * len(operations)

    async def _apply(
        self, shard: ShardId, operations: tuple[Operation, ...], call: Call
    ) -> tuple[Outcome, ...]:
        """Do operations at the primary of one shard."""
        errand = Apply(shard, self._version, operations, call.idempotency)
        reads = all(isinstance(operation, Get) for operation in operations)
        lane = Lane.READS if reads else Lane.WRITES
        return await self._run(errand, call, lane, tuple[Outcome, ...])

    async def _run(self, errand: Errand, call: Call, lane: Lane, kind: type[T]) -> T:
        """Have an errand done where its primary is, again where the route was stale."""
        deadline = self._clock.seconds() + call.timeout_s
        for _ in range(ATTEMPTS_MAX):
            primary = self._primary(errand.shard)
            left = deadline - self._clock.seconds()
            try:
                if primary.node == self._me:
                    return cast(T, await self._do(errand, call))
                answer = await self._peers.request(
                    primary.node,
                    KIND,
                    plain(errand),
                    lane=lane,
                    timeout_s=left,
                    request_id=call.request_id,
                    traceparent=call.traceparent,
                )
                return shape(answer, kind)
            except StaleRouteError as error:
                await self._wait_for(int(error.members.get("version") or 0), left)
                errand = structs.replace(errand, routing_version=self._version)
        raise _no_primary(errand.shard, "is moving")

    async def _do(self, errand: Errand, call: Call) -> object:
        """Do an errand at the primary that this node holds."""
        match errand:
            case Fetch(shard, _, key):
                return Found(await self._shards.get(shard, key, call))
            case Apply(shard, _, operations, _):
                return await self._shards.write(shard, operations, call)
            case Scan(shard, _, prefix, after, limit, values):
                return await self._shards.scan(shard, prefix, after, limit, values)

    async def _answer(self, inbound: Inbound) -> object:
        """Do another router's errand, or refuse it where its route is stale."""
        errand: Errand = shape(inbound.body, Errand)
        left = inbound.deadline - self._clock.seconds()
        await self._wait_for(errand.routing_version, left)
        if self._primary(errand.shard).node != self._me:
            raise StaleRouteError("its primary is elsewhere", version=self._version)
        call = Call(
            inbound.request_id,
            left,
            errand.idempotency if isinstance(errand, Apply) else None,
            inbound.traceparent,
        )
        return plain(await self._do(errand, call))

    async def _wait_for(self, version: int, left_s: float) -> None:
        """Wait until this node has applied a routing version, or the time is up."""
        if self._version >= version:
            return
        arrived: Deferred[None] = Deferred()
        self._waiting.append((version, arrived))
        arrived.addTimeout(max(0.0, min(left_s, ROUTE_WAIT_S)), self._clock)
        try:
            await arrived
        except Exception as error:
            raise UnavailableError(
                "this node is behind the cluster state", retry_after=RETRY_AFTER_S
            ) from error
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not arrived]

    def _on_state(self, state: ClusterState) -> None:
        """Let those go on who waited for this state."""
        ripe = [each for each in self._waiting if each[0] <= state.routing_version]
        for _, arrived in ripe:
            arrived.callback(None)


def _no_primary(shard: ShardId, why: str) -> UnavailableError:
    """Make the error of a shard that nobody can serve now."""
    return UnavailableError(
        f"shard {shard} {why}", shard=shard, retry_after=RETRY_AFTER_S
    )


async def _all(parts: Iterable[Coroutine[Deferred[T], object, T]]) -> list[T]:
    """Run coroutines at once, and return what each returned, in order."""
    running = [Deferred.fromCoroutine(part) for part in parts]
    try:
        return await gatherResults(running, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
        raise
