"""Copies apart over zones and hosts: as far as it goes, or forced."""

from msgspec.structs import replace

from tests.core.allocation.parts import member, members, node
from tests.core.allocation.play import counts
from tests.core.allocation.reported import on_host, zoned, zones_of
from tests.core.allocation.settling import Settling
from torua.core.allocation import MoveCopy
from torua.core.allocation.explaining import explain
from torua.core.allocation.placing import Role, Scene, place
from torua.core.ids import AllocId, ShardId
from torua.core.members import Status
from torua.core.state import ClusterState

FORCED = ("z1", "z2", "z3")


def is_spread(state: ClusterState, most: int) -> bool:
    """Tell whether no zone has more copies of a shard than ``most``.

    Args:
        state: the state.
        most: how many.
    """
    found = (zones_of(state, number) for number in state.shards)
    return all(zones.count(each) <= most for zones in found for each in zones)


def lose_zone(play: Settling, zone: str) -> None:
    """Lose all nodes of a zone, and let their copies be failed and given up.

    Args:
        play: the cluster.
        zone: which.
    """
    gone = {each.node_id for each in play.known if each.meta.zone == zone}
    play.lost = gone
    play.known = [
        replace(each, status=Status.DEAD) if each.node_id in gone else each
        for each in play.known
    ]
    play.step()
    for number, shard in play.state.shards.items():
        lost = [copy.alloc_id for copy in shard.copies if copy.node in gone]
        left = tuple(each for each in shard.in_sync if each not in lost)
        cut = replace(shard, in_sync=left, shard_version=shard.shard_version + 1)
        play.state = replace(play.state, shards=play.state.shards | {number: cut})
    play.step(61.0)


def test_zones_have_no_more_than_their_share_of_each_shard() -> None:
    """Three copies in three zones of two nodes: one each, and even."""
    play = Settling(zoned("z1", "z1", "z2", "z2", "z3", "z3"), 12, 3)
    assert all(zones_of(play.state, n) == ["z1", "z2", "z3"] for n in range(12))
    assert all(max(c.values()) - min(c.values()) <= 1 for c in counts(play.state))


def test_a_small_zone_has_its_share_though_its_node_has_more() -> None:
    """Three nodes in one zone and one in another: every shard is in both."""
    play = Settling(zoned("z1", "z1", "z1", "z2"), 12, 2)
    assert is_spread(play.state, 1)
    copies = counts(play.state)[0]
    assert copies[node(4)] == 12
    assert sorted(copies[node(each)] for each in (1, 2, 3)) == [4, 4, 4]


def test_a_node_in_a_new_zone_gets_a_copy_of_what_was_in_one() -> None:
    """What is crowded moves, one copy of each shard; nothing else does."""
    play = Settling(zoned("z1", "z1", "z1"), 9, 2)
    play.known.append(member(4, zone="z2"))
    play.rest()
    assert is_spread(play.state, 1)
    assert play.moves == 9


def test_without_force_a_lost_zones_copies_are_made_in_the_others() -> None:
    """Rather crowded than missing; and spread again when the zone is back."""
    play = Settling(zoned("z1", "z1", "z2", "z2"), 4, 2)
    whole = play.known
    lose_zone(play, "z2")
    play.rest()
    assert all(zones_of(play.state, n) == ["z1", "z1"] for n in range(4))
    play.known, play.lost = whole, set()
    play.rest()
    assert is_spread(play.state, 1)


def test_where_zones_are_forced_copies_rather_stay_away() -> None:
    """A lost zone's copies are not made in the others, and are when it is back."""
    play = Settling(zoned("z1", "z1", "z2", "z2"), 4, 2, forced_zones=("z1", "z2"))
    whole = play.known
    lose_zone(play, "z2")
    play.rest()
    up = [
        [copy for copy in shard.copies if copy.node not in play.lost]
        for shard in play.state.shards.values()
    ]
    assert [len(each) for each in up] == [1] * 4
    scene = Scene(play.state, play.known)
    told = explain(scene, play.state.shards[ShardId(0)])
    assert "zone" in {each.decider for each in told.others}
    play.known, play.lost = whole, set()
    play.rest()
    assert is_spread(play.state, 1)
    assert all(len(s.in_sync) == 2 for s in play.state.shards.values())


def test_a_forced_zone_without_nodes_keeps_its_share_free() -> None:
    """Three zones are named and two are there: two copies of three are made."""
    play = Settling(zoned("z1", "z1", "z2", "z2"), 6, 3, forced_zones=FORCED)
    assert all(zones_of(play.state, n) == ["z1", "z2"] for n in range(6))
    (first, *_) = explain(
        Scene(play.state, play.known), play.state.shards[ShardId(0)]
    ).others
    assert first.decider == "zone"
    assert "which is its share: copies are kept apart over z1, z2, z3" in first.why


def test_a_node_without_a_zone_gets_nothing_where_zones_are_forced() -> None:
    """Nobody knows what it would fail with."""
    play = Settling([*zoned("z1", "z2"), *members(3)[2:]], 4, 2, forced_zones=FORCED)
    assert counts(play.state)[0][node(3)] == 0
    (told,) = explain(
        Scene(play.state, play.known), play.state.shards[ShardId(0)]
    ).others
    assert told.why == "it has no zone, and copies are kept apart over z1, z2, z3"


def test_zones_named_later_move_what_is_crowded() -> None:
    """A configuration that changes is obeyed by moving."""
    play = Settling(zoned("", "", "", ""), 6, 2)
    play.known = zoned("z1", "z1", "z2", "z2")
    play.configure(forced_zones=("z1", "z2"))
    play.rest()
    assert is_spread(play.state, 1)


def test_hosts_are_kept_apart_where_there_are_more() -> None:
    """Two machines with two nodes each: a shard is on both."""
    known = [on_host(n, "10.0.0.1" if n < 3 else "10.0.0.2") for n in (1, 2, 3, 4)]
    play = Settling(known, 8, 2)
    for shard in play.state.shards.values():
        hosts = {play.state.nodes[copy.node].address.host for copy in shard.copies}
        assert len(hosts) == 2


def test_one_machine_is_a_whole_cluster_unless_hosts_are_forced() -> None:
    """Three nodes on loopback hold three copies; forced, one, and it is told why."""
    known = [on_host(number, "127.0.0.1") for number in (1, 2, 3)]
    play = Settling(known, 3, 3)
    assert all(len(shard.in_sync) == 3 for shard in play.state.shards.values())
    play = Settling(known, 3, 3, force_hosts=True)
    assert all(len(shard.in_sync) == 1 for shard in play.state.shards.values())
    told = explain(Scene(play.state, known), play.state.shards[ShardId(0)]).others
    assert {each.decider for each in told} == {"host"}
    assert "has a copy of this shard, and one is all" in told[0].why


def test_a_move_by_hand_takes_the_copy_that_makes_room_in_the_zone() -> None:
    """Into a zone that has its share another copy goes only for the one there."""
    play = Settling(zoned("z1", "z1", "z2", "z2"), 1, 2, forced_zones=("z1", "z2"))
    shard = play.state.shards[ShardId(0)]
    holders = {copy.node for copy in shard.copies}
    target = next(each for each in play.state.nodes if each not in holders)
    zone = play.state.nodes[target].zone
    found = place(
        Scene(play.state, play.known), shard, target, Role.REPLICA, AllocId("a" * 32)
    )
    assert isinstance(found, MoveCopy)
    gone = next(c for c in shard.copies if c.alloc_id == found.alloc_id)
    assert play.state.nodes[gone.node].zone == zone
