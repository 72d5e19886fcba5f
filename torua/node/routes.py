"""Which shard a request is for: by the slot table of now, and anew where that changed.

A split changes the table while requests are under way.  What was routed by the old one
is refused by whoever has the new one, before anything is done (rule R17); it is then
routed again, within its time.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torua.core.ids import ShardId
from torua.core.kv import Call, Operation, Single, keys_of
from torua.core.reading import Level
from torua.core.routing import shard_of
from torua.core.splitting.moving import is_born, is_own
from torua.core.state import SlotRange
from torua.errors import MovedError, UnavailableError
from torua.node.dispatch import Dispatch, States
from torua.node.refusals import RETRY_AFTER_S

T = TypeVar("T")


class Routes:
    """The slot table of the applied state.

    Invariants: it keeps nothing.

    Threading: the reactor's thread only.
    """

    def __init__(self, states: States, dispatch: Dispatch, clock: IReactorTime) -> None:
        """Route by the applied state.

        Args:
            states: where that is found.
            dispatch: waits for newer ones.
            clock: the reactor.
        """
        self._states = states
        self._dispatch = dispatch
        self._clock = clock

    @property
    def version(self) -> int:
        """The version of the slot table by which shards are chosen now."""
        return self._states.state.slots_version

    @property
    def slots(self) -> tuple[SlotRange, ...]:
        """The slot table; UnavailableError before there is one."""
        slots = self._states.state.slots
        if not slots:
            raise UnavailableError(
                "the cluster has not given out its shards yet",
                retry_after=RETRY_AFTER_S,
            )
        return slots

    def owner(self, key: bytes) -> tuple[ShardId, int]:
        """Return the shard of a key, and the version of the table that says so."""
        return shard_of(self.slots, key), self.version

    def owns(self, shard: ShardId, operations: Sequence[Single]) -> int | None:
        """Return the table's version where a shard owns all keys; None where not.

        Args:
            shard: which.
            operations: each on a key.
        """
        slots = self.slots
        owned = all(shard_of(slots, each.key) == shard for each in operations)
        return self.version if owned else None

    def check(self, shard: ShardId, operations: Sequence[Operation]) -> int:
        """Return the table's version; MovedError where a shard does not own all keys.

        Args:
            shard: chosen by this table, or by an older one.
            operations: of that shard, as it was then.
        """
        slots = self.slots
        keys = [key for each in operations for key in keys_of(each)]
        if self.version > 1 and any(
            shard_of(slots, key) != shard for key in keys if not is_own(key)
        ):
            raise MovedError(f"some of it is no longer of shard {shard}", shard=shard)
        return self.version

    async def routed(
        self, attempt: Callable[[Call], Coroutine[Deferred[T], object, T]], call: Call
    ) -> T:
        """Do something once more where slots moved before it was begun.

        Args:
            attempt: chooses shards by the slot table of now.
            call: who asks, and how long it waits.
        """
        began, left = self._clock.seconds(), call
        while True:
            try:
                return await attempt(left)
            except MovedError:
                left_s = began + call.timeout_s - self._clock.seconds()
                if left_s <= 0:
                    raise
                left = structs.replace(call, timeout_s=left_s)

    async def caught_up(self, call: Call) -> None:
        """Wait until this node knows where the slots went that a session saw moved.

        A shard that was made by a split is in tokens only once it had its slots.
        """
        seen = call.reading.seen
        if seen and call.reading.level is Level.SESSION:
            shards = [token.shard for token in seen]
            await self._dispatch.until(
                lambda state: all(
                    shard in state.shards and is_born(state, shard) for shard in shards
                ),
                call.timeout_s,
            )
