"""Watermarks, back-off and versions: what the state alone does not tell."""

from msgspec.structs import replace

from tests.core.allocation.parts import formed, member, members, node
from tests.core.allocation.play import counts
from tests.core.allocation.reported import GIB, report_to, reporting
from tests.core.allocation.settling import Settling
from torua.core.allocation import CopyLost, MarkInSync, Outlook, Rebalance, execute
from torua.core.allocation.explaining import explain
from torua.core.allocation.outlook import BACKOFF_MAX_S, BACKOFF_S
from torua.core.allocation.placing import Scene
from torua.core.allocation.relieving import flooded
from torua.core.builds import Build
from torua.core.ids import AllocId, ShardId
from torua.core.reporting import NodeReport, Sight
from torua.core.state import Shard
from torua.core.views import NodeReason, ShardExplained

ZERO = ShardId(0)


def lead_of(shard: Shard) -> AllocId:
    """Return which copy leads a shard."""
    assert shard.primary is not None
    return shard.primary.alloc_id


def reason(told: ShardExplained, name: str) -> NodeReason:
    """Return what is said of a node without a copy.

    Args:
        told: the explanation.
        name: the node's.
    """
    return next(each for each in told.others if each.node == name)


def test_above_the_low_watermark_a_node_gets_no_copies() -> None:
    """It keeps what it has, and gets its share once there is room."""
    play = Settling(members(3), 6, 2)
    play.known.append(member(4))
    play.outlook.report(node(4), NodeReport(1, 860 * GIB, 1000 * GIB))
    play.rest()
    assert counts(play.state)[0][node(4)] == 0
    scene = Scene(play.state, play.known, play.outlook)
    told = reason(explain(scene, play.state.shards[ZERO]), "n4")
    assert told.decider == "disk"
    assert told.why == (
        "its disk is 86.0% full: above the low watermark of 85% it gets no copies"
    )
    report_to(play.outlook, play.state, disks={4: 50})
    play.rest()
    assert counts(play.state)[0][node(4)] == 3


def test_a_disk_that_a_shard_would_fill_is_not_given_it() -> None:
    """What is on its way counts as well."""
    state = formed(1, 1, 2)
    (holder,) = (copy.node for copy in state.shards[ZERO].copies)
    other = next(each for each in sorted(state.nodes) if each != holder)
    number = sorted(state.nodes).index(other) + 1
    outlook = reporting(state, sizes={0: 100 * GIB}, disks={number: 84})
    told = explain(Scene(state, members(2), outlook), state.shards[ZERO])
    assert told.others[0].why == (
        "with this shard of 100.0 GiB its disk would be 94.0% full, above the high "
        "watermark of 90%"
    )


def test_above_the_high_watermark_copies_move_off_until_it_is_below() -> None:
    """As many as that takes by their sizes, and the large ones; not all."""
    play = Settling(members(4), 12, 2)
    sizes = dict.fromkeys(range(12), 10 * GIB)
    before = counts(play.state)[0][node(1)]
    play.outlook = reporting(play.state, sizes=sizes, disks={1: 92})
    scene = Scene(play.state, play.known, play.outlook)
    mine = next(
        shard
        for shard in play.state.shards.values()
        if any(copy.node == node(1) for copy in shard.copies)
    )
    why = next(each.why for each in explain(scene, mine).copies if each.node == "n1")
    assert "the node's disk is 92.0% full: above the high watermark of 90%" in why
    for _ in range(5):
        play.step()
        left = counts(play.state)[0][node(1)]
        used = 92 - (before - left)
        report_to(play.outlook, play.state, sizes=sizes, disks={1: used})
    assert left == before - 3
    play.rest()
    assert counts(play.state)[0][node(1)] == before - 3


def test_above_the_flood_watermark_its_shards_take_no_writes_until_below_high() -> None:
    """The node is marked, and stays so while it is above the high watermark."""
    play = Settling(members(3), 3, 2)
    for used, full in ((94, False), (96, True), (93, True), (89, False)):
        play.outlook = reporting(play.state, disks={1: used})
        play.step()
        assert play.state.nodes[node(1)].disk_full is full
        held = {
            number
            for number, shard in play.state.shards.items()
            if any(copy.node == node(1) for copy in shard.copies)
        }
        assert set(flooded(play.state)) == (held if full else set())
    play.outlook = reporting(play.state, disks={1: 96})
    play.step()
    play.outlook = Outlook()
    play.step()
    assert play.state.nodes[node(1)].disk_full


def test_full_disks_everywhere_move_nothing() -> None:
    """There is nowhere to go."""
    play = Settling(members(3), 6, 2)
    sizes = dict.fromkeys(range(6), GIB)
    play.outlook = reporting(play.state, sizes=sizes, disks={1: 92, 2: 93, 3: 94})
    play.rest()
    assert play.moves == 0


def test_after_a_failure_a_node_gets_no_copy_of_the_shard_for_longer_each_time() -> (
    None
):
    """Another node does; and where there is none, it is told until when."""
    play = Settling(members(2), 1, 2)
    waits = []
    for _ in range(8):
        shard = play.state.shards[ZERO]
        lost = next(c for c in shard.copies if c.alloc_id != lead_of(shard))
        command = CopyLost(ZERO, lost.alloc_id, 1)
        after = execute(play.state, command)
        play.outlook.note(play.state, after, command, play.now)
        play.state = after
        waits.append(play.outlook.wait(ZERO, lost.node, play.now)[0])
        play.step(0.0)
        assert len(play.state.shards[ZERO].copies) == 1
        play.step(waits[-1] + 1.0)
        assert len(play.state.shards[ZERO].copies) == 2
    assert waits[:3] == [BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S]
    assert waits[-1] == BACKOFF_MAX_S


def test_a_back_off_is_explained_and_ends_when_a_copy_is_in_sync() -> None:
    """In words, with how often and until when."""
    play = Settling(members(3), 1, 2)
    shard = play.state.shards[ZERO]
    target = next(
        n for n in play.state.nodes if n not in {c.node for c in shard.copies}
    )
    old = next(c for c in shard.copies if c.alloc_id != lead_of(shard))
    moved = replace(old, node=target)
    gone = replace(shard, copies=tuple(moved if c is old else c for c in shard.copies))
    state = replace(play.state, shards={ZERO: gone})
    command = CopyLost(ZERO, old.alloc_id, 1)
    after = execute(state, command)
    play.outlook.note(state, after, command, 0.0)
    sight = play.outlook.sight(4.0)
    scene = Scene(after, play.known, Outlook(sight))
    told = reason(explain(scene, after.shards[ZERO]), after.nodes[target].name)
    assert told.decider == "back_off"
    assert told.why == (
        "a copy of this shard failed there 1 time running; it is tried again in 6 s"
    )
    mark = MarkInSync(ZERO, 1, old.alloc_id, 1, gone.shard_version)
    unsynced = replace(gone, in_sync=(lead_of(shard),))
    state = replace(state, shards={ZERO: unsynced})
    play.outlook.note(state, execute(state, mark), mark, 0.0)
    assert play.outlook.sight(0.0) == Sight()


def test_a_node_that_can_not_keep_what_is_written_gets_nothing() -> None:
    """Its program knows other feature levels than the cluster is at."""
    play = Settling(members(3), 2, 2)
    old = replace(play.state.nodes[node(1)], build=Build((1, 1), (1, 1)))
    state = replace(
        play.state, feature_level=2, nodes=play.state.nodes | {node(1): old}
    )
    scene = Scene(state, play.known)
    for shard in state.shards.values():
        for told in explain(scene, shard).others:
            if told.node == "n1":
                assert told.decider == "version"
                assert told.why == (
                    "it knows feature levels 1, and the cluster is at 2"
                )
    assert node(1) not in scene.site.takers


def test_reports_of_other_lives_and_of_gone_nodes_are_forgotten() -> None:
    """What a node said before it was started anew says nothing of its disk now."""
    state = formed(2, 2, 3)
    outlook = reporting(state)
    outlook.report(node(1), replace(outlook.reports[node(1)], boot_epoch=7))
    fewer = {each: entry for each, entry in state.nodes.items() if each != node(2)}
    outlook.keep(replace(state, nodes=fewer))
    assert set(outlook.reports) == {node(3)}


def test_an_outlook_is_hurried_until_there_is_nothing_to_do() -> None:
    """What an operator asked for is not asked for ever."""
    state = formed(2, 2, 3)
    outlook = Outlook()
    outlook.note(state, execute(state, Rebalance()), Rebalance(), 0.0)
    assert outlook.is_hurried
    shard = replace(state.shards[ZERO], in_sync=state.shards[ZERO].in_sync[:1])
    outlook.rest(replace(state, shards=state.shards | {ZERO: shard}))
    assert outlook.is_hurried
    outlook.rest(state)
    assert not outlook.is_hurried
