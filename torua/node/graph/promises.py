"""Idempotency keys of statements: which can be kept, and that a key means one request.

Shards remember what they were asked to do under a key, each for itself (rule R11).  A
statement that only creates comes to the same groups whenever it is run, so each group
is done once, and answered as before; relationships have ids that derive from the key.
A statement that reads, changes or deletes may come to something else the second time,
which would be done as well: such promises are refused.

Which request a key stands for is remembered by the one shard where the key itself
hashes to, since two requests may come to different shards.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import structs

from torua.core.cypher.plan import CreateEdge, CreateNode, Plan
from torua.core.ids import ShardId
from torua.core.kv import Call, Group, IdempotencyKey, Operation, Outcome
from torua.core.reading import Token
from torua.errors import UnprocessableError

UNPROMISED = (
    "Idempotency-Key: it is kept for statements that only CREATE, of literals and "
    "parameters, between nodes named by their keys; this one might do something else "
    "the second time"
)


class Store(Protocol):
    """Keys of the whole cluster: see `torua.node.router`."""

    def shard_of_key(self, key: bytes) -> ShardId:
        """Return the shard of a key."""

    async def act(
        self, shard: ShardId, operations: Sequence[Operation], call: Call
    ) -> tuple[tuple[Outcome, ...], Token | None]:
        """Do operations at the primary of one shard.

        Args:
            shard: owns all their keys.
            operations: what to do, in order.
            call: who asks, and how long it waits.
        """


class Promises:
    """Sees to it that a key means one request, and one that can be kept.

    Invariants: it keeps nothing itself.
    """

    def __init__(self, store: Store) -> None:
        """Have keys remembered by ``store``."""
        self._store = store

    async def give(self, plan: Plan, call: Call) -> None:
        """Take note of a statement's key, before anything of it is done.

        Args:
            plan: of the statement.
            call: who asks; without a key there is nothing to do.

        Raises:
            UnprocessableError: the promise can't be kept, or the key was used for
                another request.
            ToruaError: nobody knows whether it was.
        """
        promise = call.idempotency
        if promise is None or not plan.write:
            return
        if not _only_creates(plan):
            raise UnprocessableError(UNPROMISED)
        mark = IdempotencyKey(f"{promise.key}\nstatement", promise.fingerprint)
        shard = self._store.shard_of_key(promise.key.encode())
        marked = structs.replace(call, idempotency=mark)
        await self._store.act(shard, (Group((), ()),), marked)


def _only_creates(plan: Plan) -> bool:
    """Tell whether a statement comes to the same groups whenever it is run."""
    if plan.writes is None:
        return False
    return all(
        isinstance(each, CreateNode)
        or (isinstance(each, CreateEdge) and not each.merge)
        for each in plan.writes.each
    )
