"""What operators have done to the cluster."""

from typing import Annotated

from msgspec import Meta, Struct

from torua.core.allocation.placing import Role
from torua.core.ids import ShardId
from torua.core.state import SLOTS
from torua.errors import MalformedError, NotFoundError
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.messages import Answer, Ask, spelled
from torua.http.routes import Route
from torua.http.seams import Operations

SHARDS_MAX = 1 << 20
"""No cluster has so many."""


class ForceAllocateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /shards/force-allocate``; the node by id or by name."""

    shard: int
    node: str
    accept_data_loss: bool = False


class MaintenanceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /nodes/maintenance``; the nodes by id or by name."""

    nodes: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    enabled: bool


class AssignBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /shards/assign``; the node by id or by name."""

    shard: int
    node: str
    role: Role = Role.REPLICA
    dry_run: bool = False


Slot = Annotated[int, Meta(ge=0, lt=SLOTS)]


class SplitBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /shards/{n}/split``; None moves the upper half."""

    slots: Annotated[list[tuple[Slot, Slot]], Meta(min_length=1)] | None = None


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

    async def maintenance(self, ask: Ask) -> Answer:
        """Answer POST once all nodes are in maintenance, or take their share again."""
        body = read_body(ask, MaintenanceBody)
        call = ask.call(parameters.timeout_s(ask.query))
        duties = await self._operations.maintenance(body.nodes, body.enabled, call)
        return spelled(ask, {"nodes": duties})

    async def evacuate(self, ask: Ask) -> Answer:
        """Answer POST once it is begun, with the task that follows it."""
        call = ask.call(parameters.timeout_s(ask.query))
        node, task = await self._operations.evacuate(ask.variables["node"], call)
        return spelled(ask, {"node": node, "task": task})

    async def remove(self, ask: Ask) -> Answer:
        """Answer DELETE once a dead node does not belong any more."""
        call = ask.call(parameters.timeout_s(ask.query))
        node = await self._operations.remove(ask.variables["node"], call)
        return spelled(ask, {"node": node})

    async def split(self, ask: Ask) -> Answer:
        """Answer POST once it is begun, with the new shard and the task."""
        body = read_body(ask, SplitBody) if ask.body else SplitBody()
        spans = None if body.slots is None else tuple(sorted(body.slots))
        call = ask.call(parameters.timeout_s(ask.query))
        child, task = await self._operations.split(_shard(ask), spans, call)
        return spelled(ask, {"shard": _shard(ask), "child": child, "task": task})

    async def cancel_split(self, ask: Ask) -> Answer:
        """Answer DELETE once it is called off."""
        call = ask.call(parameters.timeout_s(ask.query))
        child = await self._operations.cancel_split(_shard(ask), call)
        return spelled(ask, {"shard": _shard(ask), "child": child})

    async def rebalance(self, ask: Ask) -> Answer:
        """Answer POST, once balance is sought, with what is still to be moved."""
        call = ask.call(parameters.timeout_s(ask.query))
        dry_run = parameters.boolean(ask.query, "dry_run")
        return spelled(ask, await self._operations.rebalance(dry_run, call))

    async def explain(self, ask: Ask) -> Answer:
        """Answer GET with the reasons for where a shard's copies are."""
        if "shard" not in ask.query:
            raise MalformedError("shard: which one is to be explained")
        number = parameters.whole(ask.query, "shard", 0, range(SHARDS_MAX))
        call = ask.call(parameters.timeout_s(ask.query))
        return spelled(ask, await self._operations.explain(ShardId(number), call))

    async def assign(self, ask: Ask) -> Answer:
        """Answer POST once it is begun, or with the decider that forbids it."""
        body = read_body(ask, AssignBody)
        call = ask.call(parameters.timeout_s(ask.query))
        shard = ShardId(body.shard)
        assigned = await self._operations.assign(
            shard, body.node, body.role, body.dry_run, call
        )
        return spelled(ask, assigned)


def _shard(ask: Ask) -> ShardId:
    """Read the number in the path."""
    text = ask.variables["shard"]
    if not (text.isascii() and text.isdigit() and int(text) < SHARDS_MAX):
        raise NotFoundError(f"there is no shard {text!r}")
    return ShardId(int(text))


def routes(operations: Operations) -> tuple[Route, ...]:
    """List what serves operators."""
    handlers = OperationHandlers(operations)
    return (
        Route("/nodes/maintenance", "POST", handlers.maintenance),
        Route("/nodes/<node>/evacuate", "POST", handlers.evacuate),
        Route("/nodes/<node>", "DELETE", handlers.remove),
        Route("/cluster/rebalance", "POST", handlers.rebalance),
        Route("/shards/explain", "GET", handlers.explain),
        Route("/shards/assign", "POST", handlers.assign),
        Route("/shards/force-allocate", "POST", handlers.force_allocate),
        Route("/shards/<shard>/split", "POST", handlers.split),
        Route("/shards/<shard>/split", "DELETE", handlers.cancel_split),
    )
