"""Nodes in maintenance, and nodes that are evacuated."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core.allocation.draining import DrainPlay
from tests.core.allocation.parts import formed, member, members, node
from tests.core.allocation.play import counts
from torua.core.allocation import Delays, Leave, SetDuty, execute, reconcile
from torua.core.members import Status
from torua.core.state import Duty

SEEDS = 100


def quiet(seed: int, nodes: int, shards: int, rf: int) -> DrainPlay:
    """Return a cluster whose copies are all in sync.

    Args:
        seed: of what is left to chance.
        nodes: how many.
        shards: how many.
        rf: copies of each.
    """
    play = DrainPlay(seed, nodes, shards, rf)
    play.calm()
    return play


def is_even(play: DrainPlay, *without: int) -> bool:
    """Tell whether copies and primaries are even within one.

    Args:
        play: the cluster.
        without: nodes that are to have nothing.
    """
    for count in counts(play.state):
        for number in without:
            if count.pop(node(number)):
                return False
        if max(count.values()) - min(count.values()) > 1:
            return False
    return True


@settings(deadline=None, max_examples=40)
@given(
    nodes=st.integers(2, 12),
    shards=st.integers(1, 40),
    rf=st.integers(1, 3),
    seed=st.integers(0, 999),
    duty=st.sampled_from([Duty.MAINTENANCE, Duty.EVACUATING]),
)
@example(nodes=5, shards=24, rf=3, seed=0, duty=Duty.EVACUATING)
def test_all_moves_off_a_node_and_hardly_anything_else(
    nodes: int, shards: int, rf: int, seed: int, duty: Duty
) -> None:
    """The rest is even; what it had moved once, and at most two more to be even."""
    nodes = max(nodes, rf + 1)
    play = quiet(seed, nodes, shards, rf)
    had = counts(play.state)[0][node(1)]
    play.have(1, duty)
    play.calm()
    assert play.drained(1)
    assert is_even(play, 1)
    assert had <= play.moves <= had + 2
    settled = play.state
    play.reconcile()
    assert play.state is settled


@pytest.mark.parametrize("rf", [1, 2, 3])
def test_duties_amid_faults_lose_nothing_and_calm_brings_balance(rf: int) -> None:
    """R1, R2, R3, R7, R16 and R21 at every change; even once all take their share."""
    for seed in range(SEEDS):
        play = DrainPlay(seed, 1 + seed % 5, 1 + seed % 7, rf)
        for _ in range(300):
            play.step()
        play.calm()
        play.full()
        play.calm()
        assert is_even(play), (seed, counts(play.state))
        want = min(rf, len(play.state.nodes))
        for shard in play.state.shards.values():
            assert len(shard.copies) == len(shard.in_sync) == want


def test_primaries_go_first() -> None:
    """No copy is added anywhere before a node leads nothing that another could lead."""
    play = quiet(7, 4, 12, 2)
    play.have(2, Duty.EVACUATING)
    for _ in range(20):
        play.reconcile()
        led = counts(play.state)[1][node(2)]
        for shard in play.state.shards.values():
            leads = shard.primary is not None and shard.primary.node == node(2)
            assert not leads or len(shard.copies) == 2
        if not led:
            break
        play.obey()
    assert counts(play.state)[1][node(2)] == 0


def test_what_can_be_nowhere_else_stays_and_only_the_lead_goes() -> None:
    """Two nodes, two copies: there is no third."""
    play = quiet(1, 2, 6, 2)
    play.have(1, Duty.MAINTENANCE)
    play.calm()
    copies, primaries = counts(play.state)
    assert copies == {node(1): 6, node(2): 6}
    assert primaries == {node(1): 0, node(2): 6}
    assert play.moves == 0
    play.have(2, Duty.MAINTENANCE)
    play.calm()
    assert counts(play.state)[1] == primaries
    play.have(1, Duty.FULL)
    play.calm()
    assert counts(play.state)[1] == {node(1): 6, node(2): 0}


def test_a_node_that_takes_its_share_again_gets_it_back() -> None:
    """Turning maintenance off is all there is to do."""
    play = quiet(2, 4, 16, 2)
    play.have(3, Duty.MAINTENANCE)
    play.calm()
    play.have(3, Duty.FULL)
    play.calm()
    assert is_even(play)


def test_a_leader_that_stops_hands_over_to_one_in_maintenance_if_need_be() -> None:
    """Better there than nowhere."""
    play = quiet(3, 2, 4, 2)
    play.have(2, Duty.MAINTENANCE)
    play.calm()
    leave = Leave(node(1), 1)
    play.change(play.do(play.state, leave), leave)
    for _ in range(10):
        play.reconcile()
        play.obey()
    assert counts(play.state)[1] == {node(1): 0, node(2): 4}


def test_a_new_node_in_a_cluster_gets_nothing_while_in_maintenance() -> None:
    """It stays empty until it takes its share."""
    play = quiet(4, 3, 9, 2)
    play.epochs[4] = 1
    play.up.add(4)
    play.reconcile()
    play.have(4, Duty.MAINTENANCE)
    play.calm()
    assert play.drained(4)
    play.have(4, Duty.FULL)
    play.calm()
    assert is_even(play)


def test_a_late_or_doubled_duty_does_nothing() -> None:
    """Its version is one that was seen long ago (R21)."""
    state = formed(4, 2, 3)
    on = SetDuty(node(1), 0, Duty.MAINTENANCE)
    state = execute(state, on)
    assert state.nodes[node(1)].duty is Duty.MAINTENANCE
    assert execute(state, on) is state
    state = execute(state, SetDuty(node(1), 1, Duty.FULL))
    assert execute(state, on) is state
    assert execute(state, SetDuty(node(9), 0, Duty.FULL)) is state


def test_a_duty_outlives_a_life_and_maintenance_a_stop() -> None:
    """A node that stopped evacuated is gone; one in maintenance is to come back."""
    for duty, stays in ((Duty.MAINTENANCE, True), (Duty.EVACUATING, False)):
        state = execute(formed(1, 1, 3), SetDuty(node(1), 0, duty))
        holder = next(iter(state.shards.values())).copies[0].node
        for number in (n for n in (1, 2, 3) if node(n) != holder):
            state = execute(state, SetDuty(node(number), 0, duty))
            again = [*members(3), member(number, epoch=2)]
            after = reconcile(state, again, Random(1), delays=Delays())
            assert after.nodes[node(number)].boot_epoch == 2
            assert after.nodes[node(number)].duty is duty
            gone = [*members(3), member(number, status=Status.LEFT)]
            after = reconcile(state, gone, Random(1), delays=Delays())
            assert (node(number) in after.nodes) is stays
