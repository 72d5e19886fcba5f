"""Load and bytes: what moves for their sake, and that it ends."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.allocation.parts import members, node
from tests.core.allocation.play import counts
from tests.core.allocation.reported import GIB, report_to
from tests.core.allocation.settling import Settling
from torua.core.allocation import Rebalance, execute
from torua.core.allocation.planning import plan
from torua.core.ids import NodeId, ShardId


def heat(play: Settling, loads: dict[int, float]) -> dict[NodeId, float]:
    """Return the load of what each node leads.

    Args:
        play: the cluster.
        loads: of its shards.
    """
    found = dict.fromkeys(play.state.nodes, 0.0)
    for number, shard in play.state.shards.items():
        assert shard.primary is not None
        found[shard.primary.node] += loads.get(number, 0.0)
    return found


def led(play: Settling, which: NodeId) -> list[int]:
    """Return the shards that a node leads.

    Args:
        play: the cluster.
        which: node.
    """
    return [
        number
        for number, shard in play.state.shards.items()
        if shard.primary is not None and shard.primary.node == which
    ]


def settle(
    play: Settling,
    loads: dict[int, float] | None = None,
    sizes: dict[int, int] | None = None,
) -> None:
    """Let a cluster rest under a steady load, looked at for a while.

    Args:
        play: the cluster.
        loads: of its shards.
        sizes: of its shards.
    """
    for _ in range(50):
        report_to(play.outlook, play.state, loads=loads, sizes=sizes)
        play.step(10.0)


def is_even(play: Settling) -> bool:
    """Tell whether copies and primaries are even within one."""
    return all(max(c.values()) - min(c.values()) <= 1 for c in counts(play.state))


def test_of_two_hot_shards_on_one_node_one_is_led_elsewhere() -> None:
    """Its lead is handed over, and another handed back: counts stay even."""
    play = Settling(members(3), 6, 3)
    hot = led(play, node(1))
    loads = dict.fromkeys(range(6), 20.0) | dict.fromkeys(hot, 1000.0)
    assert max(heat(play, loads).values()) == 2000.0
    settle(play, loads)
    assert max(heat(play, loads).values()) <= 1020.0
    assert is_even(play)
    assert play.moves == 0
    assert 1 <= play.hand_overs <= 2


def test_one_hot_shard_is_left_alone_by_what_else_was_there() -> None:
    """Nothing can make it less; what can is that its node leads little else."""
    play = Settling(members(3), 6, 3)
    hot, warm = led(play, node(1))
    loads = {hot: 1000.0, warm: 500.0}
    settle(play, loads)
    assert max(heat(play, loads).values()) == 1000.0


def test_what_is_hot_by_itself_stays() -> None:
    """To move it would only make another node as hot."""
    play = Settling(members(3), 3, 3)
    settle(play, {0: 5000.0})
    assert play.hand_overs == play.moves == 0


def test_small_loads_move_nothing() -> None:
    """However uneven: it is not worth a hand-over."""
    play = Settling(members(3), 6, 3)
    settle(play, dict.fromkeys(led(play, node(1)), 40.0))
    assert play.hand_overs == play.moves == 0


def test_with_one_copy_of_each_a_hot_shard_moves_itself() -> None:
    """There is nobody to hand over to; a cool one comes back for it."""
    play = Settling(members(2), 4, 1)
    loads = dict.fromkeys(led(play, node(1)), 1000.0)
    settle(play, loads)
    assert max(heat(play, loads).values()) == 1000.0
    assert play.moves == 2
    assert is_even(play)


@settings(deadline=None, max_examples=12)
@given(
    nodes=st.integers(2, 8),
    shards=st.integers(2, 24),
    rf=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_under_a_steady_load_changes_end_and_counts_stay_even(
    nodes: int, shards: int, rf: int, seed: int
) -> None:
    """Whatever the load and the sizes; and nobody is hotter than before."""
    play = Settling(members(nodes), shards, rf)
    random = Random(seed)
    loads = {each: random.choice((0.0, 10.0, 500.0, 3000.0)) for each in range(shards)}
    sizes = {each: random.choice((0, GIB, 20 * GIB)) for each in range(shards)}
    before = max(heat(play, loads).values())
    settle(play, loads, sizes)
    assert is_even(play)
    assert max(heat(play, loads).values()) <= before
    moved = (play.moves, play.hand_overs)
    settle(play, loads, sizes)
    assert (play.moves, play.hand_overs) == moved
    assert play.hand_overs <= 4 * shards


def test_a_load_that_jumps_to_and_fro_moves_little() -> None:
    """Twice a minute for an hour, two shards of one node and two of another in turn."""
    play = Settling(members(3), 6, 3)
    one, two = led(play, node(1)), led(play, node(2))
    for turn in range(120):
        for _ in range(6):
            loads = dict.fromkeys(one if turn % 2 else two, 2000.0)
            report_to(play.outlook, play.state, loads=loads)
            play.step(5.0)
    assert play.hand_overs <= 8
    assert play.moves == 0


def test_large_shards_are_shared_out() -> None:
    """The node with the large copies gives some, and gets small ones back."""
    play = Settling(members(2), 8, 1)
    mine = led(play, node(1))
    sizes = dict.fromkeys(range(8), GIB) | dict.fromkeys(mine, 20 * GIB)
    settle(play, sizes=sizes)
    held = {
        each: sum(
            sizes[number]
            for number, shard in play.state.shards.items()
            if shard.copies[0].node == each
        )
        for each in play.state.nodes
    }
    assert abs(held[node(1)] - held[node(2)]) <= 20 * GIB
    assert is_even(play)
    assert play.moves == 4


def test_bytes_below_what_is_worth_a_move_stay() -> None:
    """Nothing is copied for the sake of some megabytes."""
    play = Settling(members(2), 8, 1)
    mine = led(play, node(1))
    settle(play, sizes=dict.fromkeys(mine, GIB // 16))
    assert play.moves == 0


def test_balance_that_is_off_moves_nothing_until_it_is_asked_for() -> None:
    """Then all that there is to do is done, once."""
    play = Settling(members(2), 8, 2, rebalance=False)
    play.known += [members(3)[2]]
    play.rest()
    assert play.moves == 0
    same = execute(play.state, Rebalance())
    play.outlook.note(play.state, same, Rebalance(), play.now)
    play.rest()
    assert play.moves == 5
    assert is_even(play)


def test_a_plan_names_what_comes_next() -> None:
    """Copies from nodes that have most to the one that has none; leads likewise."""
    play = Settling(members(2), 8, 2)
    known = [*play.known, members(3)[2]]
    told = plan(play.state, known, play.outlook)
    assert {each.target for each in told} == {"n3"}
    assert len([each for each in told if each.role == "replica"]) == 5
    hot = led(play, node(1))
    report_to(play.outlook, play.state, loads=dict.fromkeys(hot, 1000.0))
    (lead, back) = plan(play.state, play.known, play.outlook)
    assert {lead.role, back.role} == {"primary"}
    assert {lead.source, lead.target} == {"n1", "n2"}
    assert ShardId(lead.shard) in play.state.shards
