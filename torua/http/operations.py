"""What operators have done to the cluster."""

from msgspec import Struct

from torua.core.ids import ShardId
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.messages import Answer, Ask, spelled
from torua.http.seams import Operations


class ForceAllocateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /shards/force-allocate``; the node by id or by name."""

    shard: int
    node: str
    accept_data_loss: bool = False


class OperationHandlers:
    """Answers what operators ask for.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, operations: Operations) -> None:
        """Have it done by ``operations``."""
        self._operations = operations

    async def force_allocate(self, ask: Ask) -> Answer:
        """Answer POST once the shard goes on, or with the rule that forbids it."""
        body = read_body(ask, ForceAllocateBody)
        call = ask.call(parameters.timeout_s(ask.query))
        shard, lossy = ShardId(body.shard), body.accept_data_loss
        await self._operations.force_allocate(shard, body.node, lossy, call)
        return spelled(ask, {"shard": body.shard, "node": body.node})
