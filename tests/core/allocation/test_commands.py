"""Tests for `torua.core.allocation.commands`: CAS, and nothing but CAS."""

from random import Random

from msgspec.structs import replace

from tests.core.allocation.parts import blank, formed, in_sync, members, node, started
from torua.core.allocation import (
    Command,
    CopyLost,
    FailCopy,
    ForceAllocate,
    HandOver,
    Leave,
    execute,
    reconcile,
)
from torua.core.ids import AllocId, ShardId
from torua.core.state import ClusterState, CopyState, Shard

ZERO = ShardId(0)


def one(state: ClusterState) -> Shard:
    """Return the only shard."""
    return state.shards[ZERO]


def replica(state: ClusterState) -> AllocId:
    """Return a copy that does not lead."""
    shard = one(state)
    assert shard.primary is not None
    lead = shard.primary.alloc_id
    return next(each.alloc_id for each in shard.copies if each.alloc_id != lead)


def fail(state: ClusterState, alloc_id: AllocId) -> FailCopy:
    """Return the primary's word that a copy does not get on.

    Args:
        state: the state that it applied.
        alloc_id: which copy.
    """
    shard = one(state)
    return FailCopy(ZERO, shard.primary_term, alloc_id, shard.shard_version)


def test_the_first_copy_and_then_the_others_become_in_sync() -> None:
    """MarkStarted puts the primary in sync, MarkInSync whoever caught up with it."""
    state = reconcile(blank(1, 2, 2), members(2), Random(1))
    assert one(state).in_sync == ()
    early = in_sync(state, ZERO, replica(state))
    assert execute(state, early) is state
    state = execute(state, started(one(state)))
    state = execute(state, in_sync(state, ZERO, replica(state)))
    assert set(one(state).in_sync) == {each.alloc_id for each in one(state).copies}
    assert {each.state for each in one(state).copies} == {CopyState.STARTED}


def test_a_second_of_any_command_does_nothing() -> None:
    """A doubled command returns the very same state."""
    state = formed(1, 3, 3)
    shard = one(state)
    first = replica(state)
    mine = node(3)
    commands: list[Command] = [
        fail(state, first),
        HandOver(ZERO, shard.primary_term, shard.shard_version, first),
        CopyLost(ZERO, first, 1),
        Leave(mine, 1),
        ForceAllocate(ZERO, shard.shard_version, mine, AllocId("f" * 32), "h", True),
    ]
    for command in commands:
        after = execute(state, command)
        assert after is not state, command
        assert execute(after, command) is after, command


def test_a_stale_version_term_or_life_does_nothing() -> None:
    """Whatever the sender believed must still be so."""
    state = formed(1, 3, 3)
    failed = execute(state, fail(state, replica(state)))
    good = in_sync(failed, ZERO, replica(state))
    assert execute(failed, good) is not failed
    for stale in (
        replace(good, expect=good.expect - 1),
        replace(good, term=good.term + 1),
        replace(good, boot_epoch=2),
    ):
        assert execute(failed, stale) is failed
    for bad in (
        replace(fail(state, replica(state)), term=9),
        fail(failed, AllocId("")),
    ):
        assert execute(failed, bad) is failed
    assert execute(state, CopyLost(ZERO, replica(state), 2)) is state
    assert execute(state, Leave(node(1), 2)) is state


def test_failing_a_copy_that_is_not_in_sync_still_raises_the_version() -> None:
    """So that a MarkInSync under way for it comes too late."""
    state = formed(1, 2, 2)
    other = replica(state)
    state = execute(state, fail(state, other))
    late = in_sync(state, ZERO, other)
    state = execute(state, fail(state, other))
    assert execute(state, late) is state


def test_the_primary_never_fails_itself() -> None:
    """So the in-sync set is never empty."""
    state = formed(1, 2, 2)
    primary = one(state).primary
    assert primary is not None
    assert execute(state, fail(state, primary.alloc_id)) is state


def test_a_failed_copy_stays_to_catch_up() -> None:
    """It leaves the in-sync set, and keeps its id."""
    state = formed(1, 2, 2)
    other = replica(state)
    state = execute(state, fail(state, other))
    assert other not in one(state).in_sync
    assert [c.state for c in one(state).copies if c.alloc_id == other] == ["init"]


def test_a_hand_over_goes_to_a_copy_in_sync_in_a_new_term() -> None:
    """One out of sync is refused."""
    state = formed(1, 2, 2)
    other, before = replica(state), one(state)
    give = HandOver(ZERO, before.primary_term, before.shard_version, other)
    after = one(execute(state, give))
    assert after.primary is not None
    assert after.primary.alloc_id == other
    assert after.primary_term == before.primary_term + 1
    assert after.in_sync == before.in_sync
    failed = execute(state, fail(state, other))
    refused = replace(give, expect=one(failed).shard_version)
    assert execute(failed, refused) is failed


def test_a_lost_copy_goes_but_never_the_last() -> None:
    """A lost primary leaves the shard without one, for its copies in sync to lead."""
    state = formed(1, 2, 2)
    primary = one(state).primary
    assert primary is not None
    lost = execute(state, CopyLost(ZERO, primary.alloc_id, 1))
    assert one(lost).primary is None
    assert len(one(lost).copies) == len(one(lost).in_sync) == 1
    led = one(reconcile(lost, members(2), Random(1)))
    assert led.primary is not None
    assert led.primary.alloc_id == one(lost).in_sync[0]
    assert led.primary_term == one(state).primary_term + 1
    last = one(led_state := reconcile(lost, members(2), Random(1)))
    report = CopyLost(ZERO, last.in_sync[0], 1)
    alone = execute(led_state, report)
    assert one(alone).is_damaged
    assert one(alone).copies == last.copies
    assert execute(alone, report) is alone


def test_a_node_that_leaves_is_waited_for_by_nobody() -> None:
    """Its copy leaves the in-sync set while enough remain, and stays assigned."""
    state = formed(1, 3, 3)
    other = replica(state)
    where = next(c.node for c in one(state).copies if c.alloc_id == other)
    after = execute(state, Leave(where, 1))
    assert after.nodes[where].leaving
    assert other not in one(after).in_sync
    assert len(one(after).copies) == 3
    assert execute(after, in_sync(after, ZERO, other)) is after
    tight = replace(state, shards={ZERO: replace(one(state), min_copies=3)})
    assert other in one(execute(tight, Leave(where, 1))).in_sync


def test_a_node_that_leaves_is_counted_on_where_the_others_are_lost() -> None:
    """A shard whose other copy is lost may need the one that only stops."""
    state = formed(1, 2, 2)
    other = replica(state)
    where = next(c.node for c in one(state).copies if c.alloc_id == other)
    primary = one(state).primary
    assert primary is not None
    entry = replace(state.nodes[primary.node], lost=True)
    state = replace(state, nodes=state.nodes | {primary.node: entry})
    assert other in one(execute(state, Leave(where, 1))).in_sync


def test_a_primary_that_leaves_hands_over_and_is_gone() -> None:
    """Its own copy leaves the in-sync set with the hand-over."""
    state = formed(1, 2, 2)
    shard = one(state)
    assert shard.primary is not None
    state = execute(state, Leave(shard.primary.node, 1))
    assert one(state).in_sync == shard.in_sync
    other = replica(state)
    give = HandOver(ZERO, shard.primary_term, one(state).shard_version, other)
    state = execute(state, give)
    assert one(state).in_sync == (other,)
    assert len(one(state).copies) == 2


def test_only_accepted_data_loss_goes_on_without_a_copy_in_sync() -> None:
    """Under a new history, from a stale copy or from an empty one."""
    state = formed(1, 3, 3)
    stale = replica(state)
    where = next(c.node for c in one(state).copies if c.alloc_id == stale)
    version = one(state).shard_version
    force = ForceAllocate(ZERO, version, where, stale, "new")
    assert execute(state, force) is state
    after = one(execute(state, replace(force, accept_data_loss=True)))
    assert after.in_sync == (stale,)
    assert (after.history_uuid, after.primary_term) == ("new", 2)
    assert sorted(c.state for c in after.copies) == ["init", "init", "started"]
    empty = replace(force, alloc_id=AllocId("e" * 32), accept_data_loss=True)
    after = one(execute(state, empty))
    assert after.in_sync == ()
    assert len({c.node for c in after.copies}) == 3
    assert after.primary is not None
    assert after.primary.alloc_id == "e" * 32
