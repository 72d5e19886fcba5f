"""Many operations in one request: each shard's part in portions, one after the other.

Parts of several shards are done at once, and so are those of several requests; but only
so much is under way to each node, and after each one the reactor turns, so
that whatever else is asked meanwhile waits for a portion and not for a request.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torua.core.ids import NodeId, ShardId
from torua.core.kv import (
    Call,
    IdempotencyKey,
    Operation,
    Outcome,
    Put,
    Single,
    portion_key,
)
from torua.core.reading import Position, Token
from torua.core.resilience.portions import ROOM, portions, weight_of
from torua.core.routing import shard_of
from torua.core.state import SlotRange
from torua.errors import MovedError, OutcomeUnknownError, ToruaError, UnavailableError
from torua.node.errands import Done

Apply = Callable[[ShardId, tuple[Operation, ...], Call], Awaitable[Done]]
"""Does operations at the primary of one shard, or raises why not."""

Primary = Callable[[ShardId], NodeId]
"""Tells where the primary of a shard is; UnavailableError where there is none."""


Owns = Callable[[ShardId, Sequence[Single]], int | None]
"""Tells by which slot table of now a shard owns all keys; None where it does not."""

ROUTED_AT_ONCE = 1000
"""So many keys are routed in a turn of the reactor, some microseconds each."""

NOBODY = NodeId("")
"""Leads the shards that have no primary just now."""


class _Places:
    """What is under way to one node.

    Invariants: what is taken and what is free make up the `ROOM`; who came first goes
    first; somebody waits only while there is no room for the first of them.
    """

    def __init__(self) -> None:
        """Begin with all of it free."""
        self._free = ROOM
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    def enter(self, weight: int) -> "Deferred[None]":
        """Return what fires once there is room, which is taken by then."""
        entered: Deferred[None] = Deferred()
        self._waiting.append((weight, entered))
        self._let_in()
        return entered

    def leave(self, weight: int) -> None:
        """Give room back."""
        self._free += weight
        self._let_in()

    def _let_in(self) -> None:
        """Let in who is first, while there is room."""
        while self._waiting and self._waiting[0][0] <= self._free:
            weight, entered = self._waiting.popleft()
            self._free -= weight
            entered.callback(None)


class Bulks:
    """The long requests that are worked on here.

    Invariants: of one shard's part of a request, a portion is begun only when the one
    before it is done, and none after one that failed; of all requests, only as much is
    under way to a node as its `ROOM` holds.
    """

    def __init__(
        self, clock: IReactorTime, apply: Apply, primary: Primary, owns: Owns
    ) -> None:
        """Begin with none.

        Args:
            clock: the reactor.
            apply: does a portion.
            primary: tells where it will be done.
            owns: tells whether it can be done there still.
        """
        self._owns = owns
        self._clock = clock
        self._apply = apply
        self._primary = primary
        self._places: dict[NodeId, _Places] = {}

    async def parts(
        self, slots: tuple[SlotRange, ...], operations: Sequence[Single]
    ) -> dict[ShardId, list[int]]:
        """Tell which shards a request concerns, and the places of their operations.

        Args:
            slots: the slot table, not empty.
            operations: of all shards.
        """
        found: dict[ShardId, list[int]] = {}
        for index, operation in enumerate(operations):
            if index and index % ROUTED_AT_ONCE == 0:
                await deferLater(self._clock, 0)
            found.setdefault(shard_of(slots, operation.key), []).append(index)
        return found

    async def part(
        self,
        shard: ShardId,
        operations: Sequence[Single],
        indexes: Sequence[int],
        call: Call,
    ) -> tuple[list[Outcome], Token | None]:
        """Do one shard's part of a request.

        What fails leaves other shards' parts alone: its operations have its error, and
        so do those behind it, of which nothing was done.

        Args:
            shard: owns all their keys.
            operations: what to do, in order.
            indexes: where they stand in the request.
            call: who asks, how long it waits, and by which slot table.

        Returns:
            One outcome each, but of those that have to be routed anew, for the slot
            table changed before they were begun; and a place in the shard's log behind
            all that was done.
        """
        until_s = self._clock.seconds() + call.timeout_s
        outcomes: list[Outcome] = []
        at: Position | None = None
        for number, places in enumerate(portions(map(_size, operations))):
            if number:
                await deferLater(self._clock, 0)
            portion = operations[places.start : places.stop]
            tags = indexes[places.start : places.stop]
            promise = _promise(call.idempotency, number, tags)
            asked = structs.replace(call, idempotency=promise)
            try:
                done = await self._steadily(shard, portion, (asked, until_s))
                if done is None:
                    break
            except ToruaError as error:
                outcomes += _failed(error, len(portion))
                left = len(operations) - len(outcomes)
                outcomes += _failed(_behind(error), left)
                break
            outcomes += done.outcomes
            at = done.at or at
        return outcomes, Token(shard, at) if at else None

    async def _steadily(
        self,
        shard: ShardId,
        operations: Sequence[Single],
        asked: tuple[Call, float],
    ) -> Done | None:
        """Do a portion though slots of others move; None where its own did."""
        call, until_s = asked
        while True:
            try:
                return await self._portion(shard, operations, (call, until_s))
            except MovedError:
                version = self._owns(shard, operations)
                if self._clock.seconds() >= until_s:
                    raise
                if version is None:
                    return None
                call = structs.replace(call, slots_version=version)

    async def _portion(
        self,
        shard: ShardId,
        operations: Sequence[Single],
        asked: tuple[Call, float],
    ) -> Done:
        """Do one portion of a part, when there is a place for it."""
        call, until_s = asked
        places = self._places_for(shard)
        weight = weight_of(len(operations), sum(map(_size, operations)))
        await places.enter(weight)
        try:
            left_s = until_s - self._clock.seconds()
            call = structs.replace(call, timeout_s=left_s)
            return await self._apply(shard, tuple(operations), call)
        finally:
            places.leave(weight)

    def _places_for(self, shard: ShardId) -> _Places:
        """Return what gives out the places where a shard is served, if it is."""
        try:
            node = self._primary(shard)
        except UnavailableError:
            node = NOBODY
        return self._places.setdefault(node, _Places())


def _size(operation: Single) -> int:
    """Tell about how many bytes an operation takes."""
    value = operation.value if isinstance(operation, Put) else b""
    return len(operation.key) + len(value)


def _promise(
    given: IdempotencyKey | None, number: int, tags: Sequence[int]
) -> IdempotencyKey | None:
    """Return what the caller's promise means for a portion: each is remembered.

    Args:
        given: the caller's promise, if it made one.
        number: of the portion.
        tags: where its operations stand in the request.
    """
    if given is None:
        return None
    key = portion_key(given.key, number)
    return structs.replace(given, key=key, tags=tuple(tags))


def _failed(error: ToruaError, count: int) -> Iterable[Outcome]:
    """Make the outcomes of operations that failed."""
    return (Outcome(error=error.code, detail=error.detail),) * count


def _behind(error: ToruaError) -> ToruaError:
    """Make the error of what was not begun because of another one."""
    if isinstance(error, OutcomeUnknownError):
        return UnavailableError(f"not begun, for of what is before it: {error.detail}")
    return error
