"""What operators ask for by hand: moves, leads, and dead nodes removed."""

from random import Random

from msgspec.structs import replace

from tests.core.allocation.parts import formed, members, node, synced, with_shard
from torua.core.allocation import (
    Delays,
    Forget,
    GiveLead,
    HandOver,
    MoveCopy,
    SetDuty,
    execute,
    reconcile,
)
from torua.core.allocation.operating import refusal
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.state import ClusterState, CopyState, Duty, Shard

ZERO = ShardId(0)
NEW = AllocId("f" * 32)


def free(state: ClusterState, shard: Shard) -> NodeId:
    """Return a node without a copy of a shard.

    Args:
        state: names the nodes.
        shard: whose copies.
    """
    return min(set(state.nodes) - {copy.node for copy in shard.copies})


def replica(shard: Shard) -> AllocId:
    """Return a copy in sync that does not lead."""
    assert shard.primary is not None
    return next(each for each in shard.in_sync if each != shard.primary.alloc_id)


def gone(state: ClusterState, *numbers: int) -> ClusterState:
    """Have nodes be lost, and others lead.

    Args:
        state: to begin with.
        numbers: of which nodes.
    """
    lost = {node(number) for number in numbers}
    return reconcile(state, members(4), Random(1), lost=lost, delays=Delays())


def test_a_move_adds_first_and_the_old_copy_goes_when_the_new_is_in_sync() -> None:
    """The node that was named has it in the end, and as many have it as before."""
    state = formed(4, 2, 4)
    shard = state.shards[ZERO]
    old, target = replica(shard), free(state, shard)
    move = MoveCopy(ZERO, shard.shard_version, old, target, NEW)
    state = execute(state, move)
    assert execute(state, move) is state
    assert {c.state for c in state.shards[ZERO].copies if c.alloc_id == old} == {
        CopyState.RELOCATING
    }
    assert old in state.shards[ZERO].in_sync
    state = reconcile(synced(state), members(4), Random(1), delays=Delays())
    assert NEW in state.shards[ZERO].in_sync
    assert old not in {copy.alloc_id for copy in state.shards[ZERO].copies}


def test_a_move_that_a_decider_objects_to_is_not_begun() -> None:
    """Whatever the operator's node believed when it asked."""
    state = formed(4, 2, 4)
    shard = state.shards[ZERO]
    old, target = replica(shard), free(state, shard)
    move = MoveCopy(ZERO, shard.shard_version, old, target, NEW)
    for change in (
        {"lost": True},
        {"leaving": True},
        {"duty": Duty.MAINTENANCE},
        {"duty": Duty.EVACUATING},
        {"roles": ("voter",)},
        {"max_shards": 2},
        {"max_shards": 0},
    ):
        entry = replace(state.nodes[target], **change)
        other = replace(state, nodes=state.nodes | {target: entry})
        assert execute(other, move) is other, change
    here = replace(move, node=shard.copies[0].node)
    assert execute(state, here) is state
    assert execute(state, replace(move, node=node(9))) is state
    assert execute(state, replace(move, expect=0)) is state
    assert execute(state, replace(move, alloc_id=NEW)) is state
    busy = with_shard(state, successor=old, shard_version=shard.shard_version)
    assert execute(busy, move) is busy


def test_a_lead_is_given_to_a_copy_in_sync_and_to_no_other() -> None:
    """The primary hands over, and leads no more."""
    state = formed(4, 2, 4)
    shard = state.shards[ZERO]
    version, to = shard.shard_version, replica(shard)
    give = GiveLead(ZERO, version, to)
    after = execute(state, give)
    assert after.shards[ZERO].successor == to
    kept = reconcile(after, members(4), Random(1), delays=Delays())
    assert kept.shards[ZERO] is after.shards[ZERO]
    assert execute(after, give) is after
    handed = HandOver(ZERO, shard.primary_term, version + 1, to)
    led = execute(after, handed).shards[ZERO].primary
    assert led is not None
    assert led.alloc_id == to
    assert shard.primary is not None
    for wrong in (NEW, shard.primary.alloc_id):
        assert execute(state, replace(give, to=wrong)) is state
    where = next(copy.node for copy in shard.copies if copy.alloc_id == to)
    stops = replace(state.nodes[where], leaving=True)
    state = replace(state, nodes=state.nodes | {where: stops})
    assert execute(state, give) is state


def test_a_lost_node_is_removed_with_its_copies_where_others_have_them() -> None:
    """Its shards are rebuilt at once; it is not in the list any more."""
    state = gone(formed(8, 2, 4), 2)
    forget = Forget(node(2), 1)
    assert refusal(state, node(2)) == ""
    after = execute(state, forget)
    assert node(2) not in after.nodes
    for shard in after.shards.values():
        assert node(2) not in {copy.node for copy in shard.copies}
        assert shard.in_sync
    assert execute(after, forget) is after
    known = [each for each in members(4) if each.node_id != node(2)]
    rebuilt = reconcile(after, known, Random(1), delays=Delays())
    assert any(
        copy.state is CopyState.INIT
        for shard in rebuilt.shards.values()
        for copy in shard.copies
    )


def test_a_node_that_answers_or_is_needed_is_not_removed() -> None:
    """The reason names the shard."""
    state = formed(8, 2, 4)
    assert "answers" in refusal(state, node(1))
    assert execute(state, Forget(node(1), 1)) is state
    lost = gone(state, 1, 2, 3, 4)
    lead = lost.shards[ZERO].primary
    assert lead is not None
    assert "has no other primary" in refusal(lost, lead.node)
    needed = formed(8, 3, 4)
    shard = needed.shards[ZERO]
    copies = [copy.node for copy in shard.copies]
    assert shard.primary is not None
    others = [each for each in copies if each != shard.primary.node]
    numbers = [int(each, 16) for each in others]
    lost = gone(needed, *numbers)
    for number in numbers:
        assert "needs its copy in sync: 1 more are up, and 2" in refusal(
            lost, node(number)
        )
        assert execute(lost, Forget(node(number), 1)) is lost
    assert execute(lost, Forget(node(numbers[0]), 7)) is lost


def test_a_removed_node_that_comes_back_is_new() -> None:
    """It is taken in as any node, with its full share."""
    state = gone(formed(8, 2, 4), 2)
    state = execute(state, SetDuty(node(2), 0, Duty.MAINTENANCE))
    state = execute(state, Forget(node(2), 1))
    again = reconcile(state, members(4), Random(1), delays=Delays())
    assert again.nodes[node(2)].duty is Duty.FULL
