"""Explanations, and moves by hand: they say what the allocator does."""

import pytest
from msgspec.structs import replace

from tests.core.allocation.draining import DrainPlay
from tests.core.allocation.parts import formed, member, members, node, with_shard
from tests.core.allocation.play import Play
from torua.core.allocation import GiveLead, MoveCopy, execute
from torua.core.allocation.deciders import FITTING, STANDING, Objection
from torua.core.allocation.explaining import explain
from torua.core.allocation.loads import wanted
from torua.core.allocation.placing import Role, Scene, place
from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.members import Member, Status
from torua.core.state import ClusterState, CopyState, Duty

ZERO = ShardId(0)
NEW = AllocId("f" * 32)
OBJECTING = {*STANDING, *FITTING}


def spare(state: ClusterState) -> NodeId:
    """Return a node without a copy of shard 0."""
    return min(set(state.nodes) - {copy.node for copy in state.shards[ZERO].copies})


def reason(
    state: ClusterState, target: NodeId, known: list[Member] | None = None
) -> tuple[str, str]:
    """Return what keeps a node from having shard 0, and why.

    Args:
        state: the committed state.
        target: which node.
        known: what membership believes; all alive by default.
    """
    scene = Scene(state, members(4) if known is None else known)
    told = explain(scene, state.shards[ZERO])
    name = state.nodes[target].name
    (found,) = [each for each in told.others if each.node == name]
    return found.decider, found.why


@pytest.mark.parametrize(
    ("change", "decider", "words"),
    [
        ({"roles": ("voter",)}, "role", "only votes"),
        ({"lost": True}, "lost", "no answers"),
        ({"leaving": True}, "leaving", "about to stop"),
        ({"duty": Duty.MAINTENANCE}, "maintenance", "in maintenance"),
        ({"duty": Duty.EVACUATING}, "evacuating", "evacuated"),
        ({"max_shards": 2}, "max_shards", "has 2 copies, and its --max-shards is 2"),
        ({"max_shards": 0}, "max_shards", "--max-shards is 0"),
        ({}, "copies", "has its 2 copies; the node has 2 copies, the others 2"),
    ],
)
def test_each_decider_is_named_in_words(
    change: dict[str, object], decider: str, words: str
) -> None:
    """What keeps a node from having a copy of shard 0."""
    state = formed(4, 2, 4)
    target = spare(state)
    entry = replace(state.nodes[target], **change)
    state = replace(state, nodes=state.nodes | {target: entry})
    found, why = reason(state, target)
    assert found == decider
    assert words in why


def test_what_membership_believes_is_told() -> None:
    """Silent, gone, begun anew."""
    state = formed(4, 2, 4)
    target = spare(state)
    number = int(target, 16)
    rest = [each for each in members(4) if each.node_id != target]
    assert reason(state, target, rest)[0] == "silent"
    for one, decider in (
        (member(number, status=Status.DEAD), "silent"),
        (member(number, status=Status.LEFT), "left"),
        (member(number, epoch=2), "life"),
    ):
        assert reason(state, target, [*rest, one])[0] == decider


def test_a_busy_node_is_throttled() -> None:
    """It recovers two copies already."""
    state = formed(4, 2, 4)
    target = spare(state)
    for number in (1, 2, 3):
        shard = state.shards[ShardId(number)]
        if target not in {copy.node for copy in shard.copies}:
            old = shard.in_sync[-1]
            move = MoveCopy(shard.shard, shard.shard_version, old, target, NEW)
            state = execute(state, move)
    scene = Scene(state, members(4))
    while scene.traffic.loads.inward[target] < 2:
        scene.traffic.gets(target, wanted(state.shards[ZERO], scene.site))
    (found,) = [
        each
        for each in explain(scene, state.shards[ZERO]).others
        if each.node == state.nodes[target].name
    ]
    assert found.decider == "throttle"
    placed = place(scene, state.shards[ZERO], target, Role.REPLICA, NEW)
    assert isinstance(placed, Objection)
    assert placed.decider == "throttle"


def test_copies_say_why_they_are_where_they_are() -> None:
    """In sync, being filled, moving away, on a lost node, on one that is emptied."""
    state = formed(4, 2, 4)
    shard = state.shards[ZERO]
    (first, second) = shard.copies

    def why(state: ClusterState) -> str:
        """Explain the second copy."""
        told = explain(Scene(state, members(4)), state.shards[ZERO])
        return told.copies[1].why

    assert "one of the 2 copies" in why(state)
    filled = replace(second, state=CopyState.INIT)
    assert "filled" in why(
        with_shard(state, in_sync=(first.alloc_id,), copies=(first, filled))
    )
    moving = replace(second, state=CopyState.RELOCATING)
    assert "moves away" in why(with_shard(state, copies=(first, moving)))
    for change, words in (
        ({"lost": True}, "60 s after"),
        ({"duty": Duty.MAINTENANCE}, "in maintenance; "),
    ):
        entry = replace(state.nodes[second.node], **change)
        other = replace(state, nodes=state.nodes | {second.node: entry})
        assert words in why(other)


def test_the_next_node_is_named_where_a_copy_is_missing() -> None:
    """One of those without an objection, and the other comes after it."""
    state = formed(4, 2, 4)
    shard = state.shards[ZERO]
    assert shard.primary is not None
    lead = shard.primary.alloc_id
    state = with_shard(
        state,
        in_sync=(lead,),
        copies=tuple(copy for copy in shard.copies if copy.alloc_id == lead),
    )
    told = explain(Scene(state, members(4)), state.shards[ZERO])
    assert told.wants == "1 more of its 2 copies"
    assert [each.decider for each in told.others] == ["balance"] * 3
    assert sum("gets the next copy" in each.why for each in told.others) == 1
    assert sum("comes first" in each.why for each in told.others) == 2


@pytest.mark.parametrize("kind", [Play, DrainPlay])
def test_nobody_is_given_what_a_decider_objects_to(kind: type[Play]) -> None:
    """Whatever reconcile adds was free to be added by what was explained before."""
    added = 0
    for seed in range(25):
        play = kind(seed, 2 + seed % 5, 1 + seed % 7, 1 + seed % 3)
        for _ in range(200):
            before, known = play.state, members_of(play)
            play.step()
            added += agrees(before, play.state, known)
    assert added > 50


def members_of(play: Play) -> list[Member]:
    """Return what a play's coordinator is told of lives."""
    return [
        member(
            number,
            play.epochs[number],
            Status.ALIVE if number in play.up else Status.SUSPECT,
        )
        for number in sorted(play.epochs)
    ]


def agrees(before: ClusterState, after: ClusterState, known: list[Member]) -> int:
    """Check every copy that was added, and count them.

    Args:
        before: the state that was explained; of the nodes, ``after`` tells.
        after: the state that followed.
        known: what membership believed.
    """
    count = 0
    scene = Scene(replace(after, shards=before.shards), known)
    for number, shard in before.shards.items():
        held = {copy.node for copy in shard.copies}
        new = {copy.node for copy in after.shards[number].copies} - held
        for target in new:
            count += 1
            if target in scene.state.nodes:
                objection = scene.objection(shard, target)
                assert objection is None or objection.decider == "throttle", objection
    return count


def test_a_hand_is_refused_by_the_same_deciders() -> None:
    """And where nothing objects, a command comes that is executed."""
    state = formed(4, 2, 4)
    shard, target = state.shards[ZERO], spare(state)
    scene = Scene(state, members(4))
    assert shard.primary is not None
    lead = shard.primary.node
    (other,) = [copy.node for copy in shard.copies if copy.node != lead]
    for where, role, decider in (
        (lead, Role.REPLICA, "same_node"),
        (lead, Role.PRIMARY, "same_node"),
        (target, Role.PRIMARY, "in_sync"),
    ):
        found = place(scene, shard, where, role, NEW)
        assert isinstance(found, Objection)
        assert found.decider == decider
    move = place(scene, shard, target, Role.REPLICA, NEW)
    assert isinstance(move, MoveCopy)
    assert move.alloc_id != shard.primary.alloc_id
    moved = execute(state, move)
    give = place(scene, shard, other, Role.PRIMARY, NEW)
    assert isinstance(give, GiveLead)
    assert execute(state, give) is not state
    again = place(Scene(moved, members(4)), moved.shards[ZERO], target, *HOW)
    assert isinstance(again, Objection)
    assert again.decider == "at_rest"
    entry = replace(state.nodes[other], duty=Duty.MAINTENANCE)
    drained = replace(state, nodes=state.nodes | {other: entry})
    refused = place(Scene(drained, members(4)), shard, other, Role.PRIMARY, NEW)
    assert isinstance(refused, Objection)
    assert refused.decider == "maintenance"


HOW = (Role.REPLICA, NEW)


def test_the_only_copy_moves_by_hand_too() -> None:
    """Its lead is handed over once the new one is in sync."""
    state = formed(4, 1, 2)
    shard = state.shards[ZERO]
    target = spare(state)
    move = place(Scene(state, members(2)), shard, target, *HOW)
    assert isinstance(move, MoveCopy)
    assert move.alloc_id == shard.copies[0].alloc_id
    assert move.node == target != node(9)
