"""Tests for `torua.core.coordination.lineage`: who goes on where a majority is lost."""

from itertools import count

from msgspec.structs import replace

from tests.core.allocation.parts import formed, node
from torua.core.coordination.lineage import adopted, alone, rests
from torua.core.coordination.messages import NOWHERE, Accepted, Facts
from torua.core.coordination.register import Register
from torua.core.ids import NodeId
from torua.core.state import ClusterState

VOTERS = (node(1), node(2), node(3))
NEW = "f" * 32


def kept(state: ClusterState, me: NodeId = VOTERS[0], term: int = 7) -> Facts:
    """Return what a voter of three keeps.

    Args:
        state: as it accepted it last.
        me: the voter.
        term: the highest that it joined.
    """
    accepted = Accepted(3, 9, state, VOTERS, VOTERS)
    return Facts(me, 5, state.cluster_uuid, term, accepted, committed=False)


def fresh() -> str:
    """Make an id that is no other's."""
    return f"{next(_NUMBERS):032x}"


_NUMBERS = count(1)


def test_a_survivor_alone_elects_itself_in_a_later_term() -> None:
    """Of the new cluster; the old one's members are strangers."""
    facts = alone(kept(formed(4, 2, 3)), NEW, fresh)
    assert facts.cluster_uuid == facts.accepted.state.cluster_uuid == NEW
    assert facts.accepted.position > (7, 9)
    assert facts.committed
    register = Register(facts)
    assert register.electorate(()) == (VOTERS[0],)
    assert register.elects({VOTERS[0]})
    assert not register.elects({VOTERS[1], VOTERS[2]})


def test_shards_with_a_copy_in_sync_go_on_with_it_under_a_new_history() -> None:
    """No other copy is counted on, and every term is past all that was."""
    state = formed(6, 2, 3)
    after = alone(kept(state), NEW, fresh).accepted.state
    going = [rest.shard for rest in rests(state, VOTERS[0]) if rest.goes_on]
    assert 0 < len(going) < len(state.shards)
    histories = {shard.history_uuid for shard in after.shards.values()}
    for number in going:
        shard, was = after.shards[number], state.shards[number]
        assert [copy.node for copy in shard.copies] == [VOTERS[0]]
        assert shard.primary is not None
        assert shard.in_sync == (shard.copies[0].alloc_id,)
        assert shard.primary.alloc_id in was.in_sync
        assert shard.history_uuid not in {s.history_uuid for s in state.shards.values()}
    assert len(histories) > len(going)
    for number, shard in after.shards.items():
        assert shard.primary_term > state.shards[number].primary_term + 99
        assert shard.shard_version > state.shards[number].shard_version + 99
    assert {n for n, entry in after.nodes.items() if not entry.lost} == {VOTERS[0]}


def test_shards_without_one_wait_as_they_were() -> None:
    """Their copies stay named, so that those that come back may be gone on with."""
    state = formed(6, 2, 3)
    after = alone(kept(state), NEW, fresh).accepted.state
    left = [rest for rest in rests(state, VOTERS[0]) if not rest.goes_on]
    for rest in left:
        shard, was = after.shards[rest.shard], state.shards[rest.shard]
        assert (shard.copies, shard.in_sync) == (was.copies, was.in_sync)
        assert shard.history_uuid == was.history_uuid
        assert set(rest.others) == {copy.node for copy in was.copies}


def test_a_copy_out_of_sync_is_no_reason_to_go_on() -> None:
    """It may lack what was acknowledged."""
    state = formed(1, 3, 3)
    shard = next(iter(state.shards.values()))
    mine = next(c.alloc_id for c in shard.copies if c.node == VOTERS[0])
    stale = tuple(alloc for alloc in shard.in_sync if alloc != mine)
    state = replace(state, shards={shard.shard: replace(shard, in_sync=stale)})
    (rest,) = rests(state, VOTERS[0])
    assert (rest.goes_on, rest.holds) == (False, True)
    after = alone(kept(state), NEW, fresh).accepted.state.shards[shard.shard]
    assert after.in_sync == stale


def test_another_survivor_forgets_the_old_cluster_but_no_term() -> None:
    """It stands for nothing, and can be told the state of the new one."""
    facts = adopted(kept(formed(4, 2, 3), VOTERS[1], term=12), NEW)
    assert (facts.cluster_uuid, facts.term) == (NEW, 12)
    assert facts.accepted.position == NOWHERE
    assert Register(facts).electorate(()) == ()
    assert facts.committed_voters == ()
