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
from torua.core.kv import Call, IdempotencyKey, Operation, Outcome, Put, Single
from torua.core.reading import Position, Token
from torua.core.resilience.portions import ROOM, portions, weight_of
from torua.core.routing import shard_of
from torua.core.state import SlotRange
from torua.errors import OutcomeUnknownError, ToruaError, UnavailableError
from torua.node.errands import Done

Apply = Callable[[ShardId, tuple[Operation, ...], Call], Awaitable[Done]]
"""Does operations at the primary of one shard, or raises why not."""

Primary = Callable[[ShardId], NodeId]
"""Tells where the primary of a shard is; UnavailableError where there is none."""


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

    def __init__(self, clock: IReactorTime, apply: Apply, primary: Primary) -> None:
        """Begin with none.

        Args:
            clock: the reactor.
            apply: does a portion.
            primary: tells where it will be done.
        """
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
        self, shard: ShardId, operations: Sequence[Single], call: Call
    ) -> tuple[list[Outcome], Token | None]:
        """Do one shard's part of a request.

        What fails leaves other shards' parts alone: its operations have its error, and
        so do those behind it, of which nothing was done.

        Args:
            shard: owns all their keys.
            operations: what to do, in order.
            call: who asks, and how long it waits.

        Returns:
            One outcome each; and a place in the shard's log behind all that was done.
        """
        until_s = self._clock.seconds() + call.timeout_s
        outcomes: list[Outcome] = []
        at: Position | None = None
        for number, places in enumerate(portions(map(_size, operations))):
            if number:
                await deferLater(self._clock, 0)
            portion = operations[places.start : places.stop]
            try:
                done = await self._portion(shard, portion, (call, number, until_s))
            except ToruaError as error:
                outcomes += _failed(error, len(portion))
                left = len(operations) - len(outcomes)
                outcomes += _failed(_behind(error), left)
                break
            outcomes += done.outcomes
            at = done.at or at
        return outcomes, Token(shard, at) if at else None

    async def _portion(
        self,
        shard: ShardId,
        operations: Sequence[Single],
        made: tuple[Call, int, float],
    ) -> Done:
        """Do one portion of a part, when there is a place for it."""
        call, number, until_s = made
        places = self._places_for(shard)
        weight = weight_of(len(operations), sum(map(_size, operations)))
        await places.enter(weight)
        try:
            call = structs.replace(
                call,
                timeout_s=until_s - self._clock.seconds(),
                idempotency=_promise(call.idempotency, number),
            )
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


def _promise(given: IdempotencyKey | None, number: int) -> IdempotencyKey | None:
    """Return what the caller's promise means for a portion: each is remembered."""
    if given is None or number == 0:
        return given
    return structs.replace(given, key=f"{given.key}\n{number}")


def _failed(error: ToruaError, count: int) -> Iterable[Outcome]:
    """Make the outcomes of operations that failed."""
    return (Outcome(error=error.code, detail=error.detail),) * count


def _behind(error: ToruaError) -> ToruaError:
    """Make the error of what was not begun because of another one."""
    if isinstance(error, OutcomeUnknownError):
        return UnavailableError(f"not begun, for of what is before it: {error.detail}")
    return error
