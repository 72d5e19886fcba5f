"""Joins, losses and returns in quiet clusters of all sizes: even, in few moves."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.allocation.parts import formed, member, members, node
from tests.core.allocation.play import Play, counts
from tests.core.allocation.settling import Settling
from torua.core.allocation import Delays, Leave, reconcile
from torua.core.allocation.delays import JOINS_S
from torua.core.configuration import Configuration, Replication
from torua.core.ids import ShardId
from torua.core.state import CopyState

SIZES = {
    "nodes": st.integers(1, 19),
    "shards": st.integers(1, 64),
    "rf": st.integers(1, 3),
    "seed": st.integers(0, 999),
}


def quiet(seed: int, nodes: int, shards: int, rf: int) -> Play:
    """Return a cluster whose copies are all in sync.

    Args:
        seed: of what is left to chance.
        nodes: how many.
        shards: how many.
        rf: copies of each.
    """
    play = Play(seed, nodes, shards, rf)
    play.calm()
    assert play.moves == 0
    return play


def lose(play: Play, number: int) -> None:
    """Crash a node, and let the coordinator know.

    Args:
        play: the cluster.
        number: which node.
    """
    play.up.discard(number)
    play.lost.add(number)
    play.leads = {k: lead for k, lead in play.leads.items() if lead.node != number}


def is_even(play: Play) -> bool:
    """Tell whether copies and primaries are even within one."""
    return all(max(c.values()) - min(c.values()) <= 1 for c in counts(play.state))


@settings(deadline=None, max_examples=25)
@given(**SIZES)
def test_a_node_that_joins_gets_its_share_and_no_copy_moves_twice(
    nodes: int, shards: int, rf: int, seed: int
) -> None:
    """As many copies move as the new node lacks, or as there were too few."""
    play = quiet(seed, nodes, shards, rf)
    play.epochs[nodes + 1] = 1
    play.up.add(nodes + 1)
    play.calm()
    assert is_even(play)
    total = shards * min(rf, nodes + 1)
    assert play.moves == (shards if rf > nodes else total // (nodes + 1))
    settled = play.state
    play.now += 1000.0
    play.reconcile()
    assert play.state is settled


@settings(deadline=None, max_examples=15)
@given(**SIZES)
def test_a_lost_node_is_replaced_after_the_delay_and_not_before(
    nodes: int, shards: int, rf: int, seed: int
) -> None:
    """Its copies are made anew, and hardly others; primaries go over at once."""
    rf = max(rf, 2)
    nodes = nodes + rf
    play = quiet(seed, nodes, shards, rf)
    before = counts(play.state)[0][node(1)]
    lose(play, 1)
    for _ in range(5):
        play.now += 1.0
        play.obey()
        play.reconcile()
    assert play.moves == 0
    led = [s.primary.node for s in play.state.shards.values() if s.primary]
    assert node(1) not in led
    assert len(led) == shards
    play.now += 60.0
    for _ in range(60):
        for lead in play.leads.values():
            play.fail(lead)
        play.obey()
        play.reconcile()
        play.now += 1.0
    copies = counts(play.state)[0]
    assert before <= play.moves <= before + 2 + before // 8
    assert copies.pop(node(1)) == 0
    assert max(copies.values()) - min(copies.values()) <= 1


def test_where_one_takes_less_than_its_share_the_others_are_even() -> None:
    """What it may not have is not left to lie with one of them."""
    play = Settling([member(1, max_shards=2), member(2)], 12, 1)
    assert sorted(counts(play.state)[0].values()) == [2, 10]
    play.known.append(member(3))
    play.rest()
    assert sorted(counts(play.state)[0].values()) == [2, 5, 5]
    assert play.moves == 5


def test_a_node_that_is_back_in_time_keeps_its_copies() -> None:
    """They catch up under the ids that they had."""
    play = quiet(1, 3, 6, 2)
    ids = {c.alloc_id for s in play.state.shards.values() for c in s.copies}
    lose(play, 1)
    for _ in range(30):
        play.now += 1.0
        for lead in play.leads.values():
            play.fail(lead)
        play.obey()
        play.reconcile()
    play.calm()
    assert play.moves == 0
    assert is_even(play)
    assert ids == {c.alloc_id for s in play.state.shards.values() for c in s.copies}


def test_too_few_copies_are_rebuilt_at_once() -> None:
    """Where writes are refused, nobody waits for the delay."""
    state = formed(1, 3, 4)
    shard = state.shards[ShardId(0)]
    assert shard.primary is not None
    primary = shard.primary
    others = [c for c in shard.copies if c.alloc_id != primary.alloc_id]
    cut = replace(
        shard,
        in_sync=(primary.alloc_id,),
        copies=tuple(
            c if c not in others else replace(c, state=CopyState.INIT)
            for c in shard.copies
        ),
    )
    state = replace(state, shards={shard.shard: cut})
    lost = {c.node for c in others}
    after = reconcile(state, members(4), Random(1), lost=lost, delays=Delays())
    assert len(after.shards[shard.shard].copies) == 4
    patient = replace(cut, min_copies=1)
    one = Configuration(Replication(3, min_copies=1))
    state = replace(state, shards={shard.shard: patient}, configuration=one)
    after = reconcile(state, members(4), Random(1), lost=lost, delays=Delays())
    assert after.shards == state.shards
    assert [node for node, entry in after.nodes.items() if entry.lost] == sorted(lost)


def test_a_node_that_leaves_hands_its_primaries_over_first() -> None:
    """Then its copies stay assigned, and come back in its next life."""
    play = quiet(3, 3, 9, 2)
    before = counts(play.state)[0]
    leave = Leave(node(2), 1)
    play.change(play.do(play.state, leave), leave)
    for _ in range(10):
        play.reconcile()
        play.obey()
    copies, primaries = counts(play.state)
    assert primaries[node(2)] == 0
    assert copies == before
    assert play.moves == 0
    play.calm()
    assert is_even(play)
    assert play.moves == 0


def test_no_node_recovers_more_than_it_may_at_once() -> None:
    """A node that joins gets two copies at a time, once it has been there a moment."""
    play = quiet(5, 3, 32, 2)
    play.epochs[4] = 1
    play.up.add(4)
    play.reconcile()
    assert play.moves == 0
    play.now += JOINS_S
    play.reconcile()
    inward = Counter(
        copy.node
        for shard in play.state.shards.values()
        for copy in shard.copies
        if copy.alloc_id not in shard.in_sync
    )
    assert inward == {node(4): 2}
