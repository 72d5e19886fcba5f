"""Tests for `torua.node.leaving`: what a node that stops waits for."""

from tests.core.allocation.parts import formed, node
from torua.core.allocation import FailCopy, Leave, execute
from torua.core.ids import ShardId
from torua.core.state import ClusterState, Copy, Shard
from torua.node.leaving import hands_over

ZERO = ShardId(0)


def parted(state: ClusterState) -> tuple[Shard, Copy, Copy]:
    """Return the only shard, its primary's copy and the other."""
    shard = state.shards[ZERO]
    assert shard.primary is not None
    lead = shard.primary.alloc_id
    first, second = sorted(shard.copies, key=lambda each: each.alloc_id != lead)
    return shard, first, second


def test_a_primary_waits_for_the_copy_that_can_lead() -> None:
    """A replica's node need not; nor a primary whose other copy is out of reach."""
    state = formed(1, 2, 2)
    _, lead, other = parted(state)
    assert hands_over(state, lead.node, (), ())
    assert not hands_over(state, other.node, (), ())
    assert not hands_over(state, lead.node, (other.node,), ())
    assert not hands_over(state, lead.node, (), (lead.alloc_id,))


def test_a_primary_waits_for_the_copy_that_is_not_in_sync_yet() -> None:
    """Until then it alone has what was acknowledged, and the shard would be red."""
    state = formed(1, 2, 2)
    shard, lead, other = parted(state)
    drop = FailCopy(ZERO, shard.primary_term, other.alloc_id, shard.shard_version)
    alone = execute(state, drop)
    assert alone.shards[ZERO].in_sync == (lead.alloc_id,)
    assert hands_over(alone, lead.node, (), ())


def test_a_primary_does_not_wait_for_one_that_stops_as_well() -> None:
    """Both would wait for each other."""
    state = formed(1, 2, 2)
    _, lead, other = parted(state)
    left = execute(state, Leave(other.node, 1))
    assert not hands_over(left, lead.node, (), ())


def test_an_only_copy_waits_for_nobody() -> None:
    """There is nobody to lead."""
    assert not hands_over(formed(1, 3, 1), node(1), (), ())
