"""Tests for `torua.core.allocation.failover` and what leads to it."""

from random import Random

from msgspec.structs import replace

from tests.core.allocation.parts import formed, member, members, node, with_shard
from torua.core.allocation import Delays, reconcile
from torua.core.ids import NodeId, ShardId
from torua.core.members import Status
from torua.core.state import ClusterState, Primary, Shard

ZERO = ShardId(0)


def one(state: ClusterState) -> Shard:
    """Return the only shard."""
    return state.shards[ZERO]


def led(state: ClusterState) -> Primary:
    """Return who leads it."""
    primary = one(state).primary
    assert primary is not None
    return primary


def number(where: NodeId) -> int:
    """Return the number of a node."""
    return int(where, 16)


def test_a_lost_primary_is_followed_by_a_copy_in_sync() -> None:
    """In the next term; the old one stays in sync until the new one fails it."""
    state = formed(1, 3, 3)
    old = led(state)
    after = reconcile(state, members(3), Random(1), lost={old.node})
    assert led(after).node != old.node
    assert led(after).alloc_id in one(state).in_sync
    assert one(after).primary_term == one(state).primary_term + 1
    assert one(after).in_sync == one(state).in_sync
    assert after.routing_version == state.routing_version + 1
    again = reconcile(after, members(3), Random(1), lost={old.node})
    assert one(again).primary == one(after).primary


def test_a_copy_out_of_sync_is_never_promoted() -> None:
    """The shard waits, red, and names whom it waits for."""
    state = formed(1, 2, 2)
    old = led(state)
    state = with_shard(state, in_sync=(old.alloc_id,))
    after = reconcile(state, members(2), Random(1), lost={old.node})
    assert one(after).primary == old
    assert one(after).primary_term == one(state).primary_term


def test_a_node_that_left_is_lost_at_once() -> None:
    """Nobody waits for checks that it will not answer."""
    state = formed(1, 2, 2)
    old = led(state)
    known = [
        replace(each, status=Status.LEFT) if each.node_id == old.node else each
        for each in members(2)
    ]
    assert led(reconcile(state, known, Random(1))).node != old.node


def test_a_copy_in_a_life_that_the_state_does_not_know_is_not_promoted() -> None:
    """It has been dead in between, and who knows what it kept."""
    state = formed(1, 2, 2)
    old = led(state)
    known = [
        replace(each, boot_epoch=2, status=Status.DEAD)
        if each.node_id != old.node
        else each
        for each in members(2)
    ]
    after = reconcile(state, known, Random(1), lost={old.node})
    assert led(after) == old


def test_a_primary_that_was_started_anew_leads_in_a_new_term() -> None:
    """Alone in sync, its copy goes on, in its new life."""
    state = formed(1, 1, 1)
    after = reconcile(state, [member(1, epoch=5)], Random(1))
    assert led(after).alloc_id == led(state).alloc_id
    assert led(after).boot_epoch == 5
    assert one(after).primary_term == one(state).primary_term + 1


def test_a_restart_gives_the_lead_to_whoever_can_take_it_at_once() -> None:
    """A settled copy first; where all have just started, the one that led before."""
    state = formed(1, 2, 2)
    old = led(state)
    known = [member(number(old.node), epoch=2)]
    known += [each for each in members(2) if each.node_id != old.node]
    delays = Delays()
    reconcile(state, members(2), Random(1), delays=delays, now=100.0)
    fresh = reconcile(state, known, Random(1), delays=delays, now=101.0)
    assert led(fresh).alloc_id == old.alloc_id
    delays = Delays()
    reconcile(state, members(2), Random(1), delays=delays, now=100.0)
    settled = reconcile(state, known, Random(1), delays=delays, now=130.0)
    assert led(settled).alloc_id != old.alloc_id


def test_the_shards_of_a_lost_node_are_shared_by_the_others() -> None:
    """Whoever leads fewest gets the next."""
    state = formed(12, 3, 4)
    after = reconcile(state, members(4), Random(1), lost={node(1)})
    counts = [
        sum(s.primary is not None and s.primary.node == node(n) for s in shards)
        for shards in [after.shards.values()]
        for n in (2, 3, 4)
    ]
    assert sum(counts) == 12
    assert max(counts) - min(counts) <= 2


def test_nothing_was_lost_where_nothing_was_ever_in_sync() -> None:
    """Before the first copy has started, any other may start instead."""
    state = formed(1, 2, 2)
    old = led(state)
    state = with_shard(state, in_sync=())
    after = reconcile(state, members(2), Random(1), lost={old.node})
    assert led(after).node != old.node
    assert one(after).in_sync == ()
