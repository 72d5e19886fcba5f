"""Tests for `torua.core.allocation`."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from torua.core.allocation import MarkStarted, execute, reconcile
from torua.core.configuration import Configuration, Replication
from torua.core.ids import Address, NodeId, ShardId
from torua.core.members import Member, Meta, Status
from torua.core.routing import shard_of
from torua.core.state import ClusterState, CopyState, Settings


def member(number: int, **meta: object) -> Member:
    """Make a live member.

    Args:
        number: which.
        meta: what it says of itself.
    """
    name = f"n{number:03}"
    said = replace(Meta(), **meta)
    return Member(NodeId(name), name, Address("h", number), 1, 0, Status.ALIVE, said)


def formed(members: list[Member], shards: int, expected: int = 1) -> ClusterState:
    """Return the state of a new cluster after it was reconciled once.

    Args:
        members: who lives.
        shards: how many there shall be.
        expected: how many nodes must be there first.
    """
    settings = Settings(shards=shards, expected_nodes=expected)
    alone = Configuration(Replication(replicas=1))
    state = ClusterState(cluster_uuid="u", settings=settings, configuration=alone)
    return reconcile(state, members, Random(1))


@given(st.integers(1, 100), st.integers(1, 1024), st.integers(0, 10), st.randoms())
def test_first_copies_are_even_within_one_and_on_data_nodes_only(
    nodes: int, shards: int, voters: int, random: Random
) -> None:
    """However many nodes and shards: shares differ by one at most, and it converges."""
    members = [member(number) for number in range(nodes)]
    others = [member(200 + each, roles=("voter",)) for each in range(voters)]
    state = formed([*members, *others], shards)
    assert reconcile(state, [*members, *others], random) is state
    primaries = Counter(s.primary.node for s in state.shards.values() if s.primary)
    counts = [primaries[each.node_id] for each in members]
    assert sum(counts) == shards == len(state.shards)
    assert max(counts) - min(counts) <= 1
    owner = shard_of(state.slots, b"key")
    assert owner in state.shards
    assert state.routing_version == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 20))
def test_no_node_gets_more_than_it_takes(limits: list[int], shards: int) -> None:
    """Capacity is kept to; where there is not enough in all, nothing is assigned."""
    members = [member(i, max_shards=limit) for i, limit in enumerate(limits)]
    state = formed(members, shards)
    held = Counter(s.copies[0].node for s in state.shards.values())
    assert all(held[NodeId(f"n{i:03}")] <= limit for i, limit in enumerate(limits))
    assert len(state.shards) == (shards if sum(limits) >= shards else 0)


def test_nothing_is_assigned_before_all_expected_nodes_are_there() -> None:
    """The node that registers first does not get everything."""
    one, two, three = (member(number) for number in range(3))
    state = formed([one, two], 4, expected=3)
    assert (len(state.nodes), state.shards, state.slots) == (2, {}, ())
    gone = replace(three, status=Status.DEAD)
    assert reconcile(state, [one, two, gone], Random(1)) is state
    full = reconcile(state, [one, two, three], Random(1))
    counts = Counter(s.copies[0].node for s in full.shards.values())
    assert sorted(counts.values()) == [1, 1, 2]


def test_a_first_copy_is_started_once_by_the_life_that_was_meant() -> None:
    """MarkStarted of another copy, life or term does nothing, nor does a second one."""
    state = formed([member(0)], 1)
    (shard,) = state.shards.values()
    assert (shard.in_sync, shard.copies[0].state) == ((), CopyState.INIT)
    assert shard.primary is not None
    right = MarkStarted(ShardId(0), shard.primary.alloc_id, 1, 1)
    for wrong in (
        replace(right, shard=ShardId(9)),
        replace(right, alloc_id="other"),
        replace(right, boot_epoch=2),
        replace(right, term=2),
    ):
        assert execute(state, wrong) is state
    started = execute(state, right)
    (after,) = started.shards.values()
    assert after.in_sync == (shard.primary.alloc_id,)
    assert after.copies[0].state is CopyState.STARTED
    assert after.shard_version == shard.shard_version + 1
    assert execute(started, right) is started


def test_a_rebooted_primary_gets_a_new_term_and_keeps_its_copy() -> None:
    """A later life of its node: term, shard version and routing version rise."""
    state = formed([member(0)], 1)
    again = reconcile(state, [replace(member(0), boot_epoch=7)], Random(1))
    before, after = state.shards[ShardId(0)], again.shards[ShardId(0)]
    assert before.primary is not None
    assert after.primary == replace(before.primary, boot_epoch=7)
    assert (after.primary_term, after.shard_version) == (2, 2)
    assert after.copies == before.copies
    assert again.routing_version == state.routing_version + 1
    assert again.nodes[NodeId("n000")].boot_epoch == 7


def test_copies_of_the_dead_stay_where_their_disk_is() -> None:
    """Nothing is made anew and empty for a node that is dead, or that left."""
    members = [member(0), member(1)]
    state = formed(members, 4)
    for status in (Status.DEAD, Status.LEFT):
        gone = replace(members[1], status=status)
        assert reconcile(state, [members[0], gone], Random(1)) is state


def test_nodes_come_move_and_go() -> None:
    """Addresses are brought up to date, old lives ignored, who left is let go."""
    state = formed([member(0)], 1)
    two = member(1)
    joined = reconcile(state, [member(0), two], Random(1))
    assert set(joined.nodes) == {"n000", "n001"}
    moved = replace(two, address=Address("other", 1))
    there = reconcile(joined, [member(0), moved], Random(1))
    assert there.nodes[NodeId("n001")].address == Address("other", 1)
    old = replace(two, boot_epoch=0)
    assert reconcile(there, [member(0), old], Random(1)) is there
    left = replace(moved, status=Status.LEFT)
    assert reconcile(there, [member(0), left], Random(1)).nodes == state.nodes
