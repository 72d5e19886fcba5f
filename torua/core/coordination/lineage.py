"""Where the majority of voters is lost for good: a new cluster goes on with the rest.

An operator decides it, with the nodes stopped: nobody else can know that the others
will never come back.  The new cluster has a uuid of its own (C6), so that those who do
come back after all are strangers to it, and it to them.

One survivor begins it (`alone`); other survivors can be brought into it (`adopted`),
and then belong to the old cluster no more: under their old ids they never vote there
again, and in the new one they never voted before (C8).
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from torua.core.allocation.editing import find
from torua.core.coordination.messages import Accepted, Facts
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, CopyState, Primary, Shard

SKIPPED = 1000
"""How far terms and versions of shards jump: past all that the lost ever counted, so
that a copy that comes back with the new cluster knows no later one."""


class Rest(Struct, frozen=True):
    """What a survivor has of a shard.

    Attributes:
        shard: which.
        goes_on: whether its copy is in sync, so that the shard goes on with it.
        holds: whether it has a copy at all.
        others: who else had a copy in sync.
    """

    shard: ShardId
    goes_on: bool
    holds: bool
    others: tuple[NodeId, ...]


def rests(state: ClusterState, me: NodeId) -> tuple[Rest, ...]:
    """Tell of each shard what would be left of it with one node.

    Args:
        state: as the node accepted it last.
        me: the node.
    """
    return tuple(_rest(state.shards[shard], me) for shard in sorted(state.shards))


def alone(facts: Facts, cluster_uuid: str, fresh: Callable[[], str]) -> Facts:
    """Make this node the only voter of a new cluster, with all that it knows.

    Shards of which it has a copy in sync go on with that one, under new histories; the
    others keep the copies that the state names, and wait: for a node that has one in
    sync, or for an operator who accepts the loss.

    Args:
        facts: what the node keeps.
        cluster_uuid: a new one.
        fresh: makes ids.
    """
    me, was = facts.node_id, facts.accepted
    nodes = {
        node: replace(entry, lost=node != me) for node, entry in was.state.nodes.items()
    }
    shards = {
        number: _lead(shard, was.state, me, fresh())
        for number, shard in was.state.shards.items()
    }
    state = replace(
        was.state,
        cluster_uuid=cluster_uuid,
        nodes=nodes,
        shards=shards,
        routing_version=was.state.routing_version + SKIPPED,
    )
    term = facts.term + 1
    accepted = Accepted(term, was.version + 1, state, (me,), (me,))
    return replace(
        facts, cluster_uuid=cluster_uuid, term=term, accepted=accepted, committed=True
    )


def adopted(facts: Facts, cluster_uuid: str) -> Facts:
    """Have this node belong to another cluster, of which it knows nothing yet.

    Args:
        facts: what the node keeps.
        cluster_uuid: that one's.
    """
    return replace(
        facts, cluster_uuid=cluster_uuid, accepted=Accepted(), committed=False
    )


def _rest(shard: Shard, me: NodeId) -> Rest:
    """Tell what would be left of one shard."""
    in_sync = [find(shard, alloc) for alloc in shard.in_sync]
    holders = [copy.node for copy in in_sync if copy is not None]
    return Rest(
        shard.shard,
        me in holders,
        any(copy.node == me for copy in shard.copies),
        tuple(node for node in holders if node != me),
    )


def _lead(shard: Shard, state: ClusterState, me: NodeId, history: str) -> Shard:
    """Begin another history of a shard with this node's copy, if that is in sync.

    Else it keeps its history: copies out of sync are of that one, and may be needed.
    """
    shard = replace(
        shard,
        shard_version=shard.shard_version + SKIPPED,
        primary_term=shard.primary_term + SKIPPED,
        successor=None,
    )
    mine = next((copy for copy in shard.copies if copy.node == me), None)
    if mine is None or mine.alloc_id not in shard.in_sync:
        return shard
    return replace(
        shard,
        primary=Primary(mine.alloc_id, me, state.nodes[me].boot_epoch),
        history_uuid=history,
        in_sync=(mine.alloc_id,),
        copies=(Copy(mine.alloc_id, me, CopyState.STARTED),),
        damaged=0,
    )
