"""Whole clusters of the real membership machines, from seeds.

Completeness: who is gone is dead to all. Accuracy: who is there is dead to nobody.
"""

from functools import partial
from math import ceil, log2
from statistics import median

import pytest

from tests.simulation.membership_cluster import Cluster, Node
from torua.codec.datagrams import Kind, PacketCodec
from torua.core.members import Member, Meta, Status
from torua.core.membership import beliefs, machine
from torua.core.membership import messages as m
from torua.core.membership.machine import Membership
from torua.core.membership.timing import LAN, LOCAL, Timing, retransmit_limit

pytestmark = pytest.mark.simulation
SEEDS = range(3)


def all_see(nodes: list[Node], who: Node, *status: Status) -> bool:
    """Tell whether all others believe one thing of a node.

    Args:
        nodes: who is asked.
        who: about whom.
        status: any of these.
    """
    return all(node.status(who) in status for node in nodes if node is not who)


def all_know(nodes: list[Node], who: Node, epoch: int) -> bool:
    """Tell whether all believe all to live, and one of them a certain life.

    Args:
        nodes: who is asked.
        who: of whom.
        epoch: which life.
    """
    node_id = who.machine.me.node_id
    return all(
        node.live() == len(nodes) and node.machine.members[node_id].boot_epoch == epoch
        for node in nodes
    )


def deaths(nodes: list[Node]) -> list[tuple[str, str]]:
    """Tell who was ever called dead by whom."""
    return [
        (node.host, output.member.name)
        for node in nodes
        for _, output in node.seen
        if isinstance(output, m.MemberChanged) and output.member.status is Status.DEAD
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 20])
def test_nodes_find_each_other_and_miss_the_dead(count: int, seed: int) -> None:
    """Completeness: whoever is killed is dead to all, and to all in time."""
    cluster = Cluster(seed)
    nodes = cluster.form(count)
    assert [node.live() for node in nodes] == [count] * count
    assert deaths(nodes) == []
    victim, *rest = cluster.world.random.sample(nodes, count)
    victim.stop()
    if rest:
        limit = LOCAL.period_s * (2 * count + 30)
        cluster.run_until(lambda: all_see(rest, victim, Status.DEAD), limit)
    cluster.run(2.0)
    assert [node.live() for node in rest] == [count - 1] * (count - 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_half_a_cluster_dies_at_once(seed: int) -> None:
    """Completeness holds where helpers and confirmers die as well."""
    cluster = Cluster(seed)
    nodes = cluster.form(10)
    dead, rest = nodes[5:], nodes[:5]
    for node in dead:
        node.stop()
    cluster.run(6.0)
    assert all(all_see(rest, node, Status.DEAD) for node in dead)
    assert [node.live() for node in rest] == [5] * 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lossy_network_kills_nobody(seed: int) -> None:
    """Accuracy: a tenth of the datagrams lost, some doubled, some late."""
    cluster = Cluster(seed)
    cluster.network.loss, cluster.network.duplication = 0.1, 0.05
    cluster.network.reordering = 0.05
    nodes = cluster.form(10, settle=20.0)
    assert deaths(nodes) == []
    assert [node.live() for node in nodes] == [10] * 10


@pytest.mark.parametrize("seed", SEEDS)
def test_slow_nodes_blame_themselves_and_kill_nobody(seed: int) -> None:
    """Accuracy: two nodes take up to a whole timeout for whatever they do."""
    cluster = Cluster(seed)
    nodes = cluster.form(10)
    for slow in nodes[:2]:
        slow.slow = 1.2 * LOCAL.timeout_s
    cluster.run(20.0)
    assert deaths(nodes) == []
    assert max(node.machine.health_score for node in nodes[2:]) <= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_paused_nodes_kill_nobody_when_they_go_on(seed: int) -> None:
    """A node that stood still for long blames nobody; it refutes, and is back."""
    cluster = Cluster(seed)
    nodes = cluster.form(5)
    nodes[0].pause(10.0)
    cluster.run(9.5)
    assert all_see(nodes, nodes[0], Status.DEAD)
    seen = len(deaths(nodes[:1]))
    back = cluster.run_until(lambda: all(node.live() == 5 for node in nodes), limit=3.0)
    assert back < 3.0
    assert len(deaths(nodes[:1])) == seen == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_short_pauses_all_over_kill_nobody(seed: int) -> None:
    """Accuracy under overload: every node stands still now and then."""
    cluster = Cluster(seed)
    nodes = cluster.form(8)
    for _ in range(40):
        cluster.world.random.choice(nodes).pause(1.5 * LOCAL.period_s)
        cluster.run(0.5)
    assert deaths(nodes) == []


@pytest.mark.parametrize("channels", [("udp",), ("udp", "tcp")])
@pytest.mark.parametrize("seed", SEEDS)
def test_one_blocked_link_kills_nobody(seed: int, channels: tuple[str, ...]) -> None:
    """Accuracy on asymmetric links: helpers reach who one node does not."""
    cluster = Cluster(seed)
    nodes = cluster.form(6)
    cluster.network.block("n1", "n2", channels)  # type: ignore[arg-type]
    cluster.run(20.0)
    assert deaths(nodes) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_that_can_only_hear_is_dead(seed: int) -> None:
    """Completeness on asymmetric links: nothing of it arrives, so it is given up."""
    cluster = Cluster(seed)
    nodes = cluster.form(5)
    mute = nodes[3]
    for node in nodes:
        cluster.network.block(mute.host, node.host)
    cluster.run_until(lambda: all_see(nodes, mute, Status.DEAD), 8.0)
    cluster.network.heal()
    cluster.run_until(lambda: all(node.live() == 5 for node in nodes), 8.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_blocked_udp_with_open_tcp_kills_nobody_and_is_said(seed: int) -> None:
    """A firewall that knows only TCP (serf 283): a node stays, and operators hear."""
    cluster = Cluster(seed)
    nodes = cluster.form(5)
    for node in nodes:
        cluster.network.block("n2", node.host, ("udp",))
        cluster.network.block(node.host, "n2", ("udp",))
    cluster.run(20.0)
    assert deaths(nodes) == []
    for node in nodes:
        said = [out.member.name for _, out in node.seen if isinstance(out, m.TcpOnly)]
        assert set(said) == ({"n2"} if node.host != "n2" else {"n0", "n1", "n3", "n4"})
        assert len(said) == len(set(said))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ghost_of_the_same_name_dies_and_stays_dead(seed: int) -> None:
    """A node comes back with an empty disk, so as another (consul 6897)."""
    cluster = Cluster(seed)
    nodes = cluster.form(5)
    ghost = nodes[2]
    ghost.stop()
    fresh = cluster.add("n2", node_id="f" * 32)
    cluster.run(5.0)
    rest = [*nodes[:2], *nodes[3:], fresh]
    assert all_see(rest, ghost, Status.DEAD)
    assert [node.live() for node in rest] == [5] * 5
    assert not any(node.when(m.NameClash) for node in rest)
    cluster.run(40.0)
    assert all_see(rest, ghost, Status.DEAD)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_of_one_name_are_noticed(seed: int) -> None:
    """Two live nodes that bear one name are said aloud, and both live."""
    cluster = Cluster(seed)
    nodes = cluster.form(3)
    twin = cluster.make("elsewhere", name="n1")
    twin.tell(m.Start((nodes[0].machine.me.address,)))
    cluster.run(2.0)
    assert all(node.when(m.NameClash) for node in [*nodes, twin])
    assert [node.live() for node in [*nodes, twin]] == [4] * 4


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restart_is_back_at_once(seed: int) -> None:
    """A new life joins whether the old one was missed already or not."""
    cluster = Cluster(seed)
    nodes = cluster.form(5)
    for epoch, gone_s in ((2, 0.05), (3, 0.3), (4, 3.0)):
        nodes[4].stop()
        cluster.run(gone_s)
        nodes[4] = cluster.add("n4", epoch=epoch)
        back = partial(all_know, nodes, nodes[4], epoch)
        assert cluster.run_until(back, 3.0) < 1.0
        cluster.run(1.0)
        assert [node.live() for node in nodes] == [5] * 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copied_disk_ends_the_older_life(seed: int) -> None:
    """Of two lives of one node only the later goes on."""
    cluster = Cluster(seed)
    nodes = cluster.form(3)
    copy = cluster.add("copy", epoch=2, node_id=nodes[1].machine.me.node_id)
    cluster.run(3.0)
    assert nodes[1].when(m.Superseded) and not copy.when(m.Superseded)
    assert [node.live() for node in (nodes[0], nodes[2], copy)] == [3] * 3


@pytest.mark.parametrize("seed", SEEDS)
def test_who_left_is_gone_and_not_called_dead(seed: int) -> None:
    """A graceful leave reaches all within a period or two, without a suspicion."""
    cluster = Cluster(seed)
    nodes = cluster.form(10)
    nodes[7].tell(m.Leave())
    cluster.run_until(lambda: bool(nodes[7].when(m.LeaveDone)), LOCAL.leave_s + 0.1)
    nodes[7].stop()
    cluster.run_until(lambda: all_see(nodes, nodes[7], Status.LEFT), 1.0)
    cluster.run(3.0)
    assert all_see(nodes, nodes[7], Status.LEFT) and deaths(nodes) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_heals(seed: int) -> None:
    """Both sides bury each other, and take it back by refutation once they can."""
    cluster = Cluster(seed)
    nodes = cluster.form(6)
    sides = [[f"n{i}" for i in range(3)], [f"n{i}" for i in range(3, 6)]]
    cluster.network.partition(*sides)
    cluster.run(8.0)
    assert [node.live() for node in nodes] == [3] * 6
    cluster.network.heal()
    cluster.run_until(lambda: all(node.live() == 6 for node in nodes), 4.0)
    assert {node.machine.me.incarnation > 0 for node in nodes} == {True}


@pytest.mark.parametrize("seed", SEEDS)
def test_two_clusters_that_meet_stay_apart_and_say_so(seed: int) -> None:
    """Each refuses the other's members, on every node that meets one, and loudly."""
    cluster = Cluster(seed)
    ours = cluster.form(3)
    theirs = [cluster.add(f"m{index}", "m0") for index in range(3)]
    for node in ours:
        node.tell(m.UpdateMeta(Meta(cluster_uuid="ours")))
    cluster.run(2.0)
    for node in theirs:
        node.tell(m.UpdateMeta(Meta(cluster_uuid="theirs")))
    cluster.run(1.0)
    theirs[2].tell(m.Start((ours[0].machine.me.address,)))
    cluster.run(10.0)
    assert [node.live() for node in [*ours, *theirs]] == [3] * 6
    said = [len(node.when(m.ForeignCluster)) for node in [*ours, *theirs]]
    assert said[0] == said[5] == 1 and max(said) == 1
    assert deaths([*ours, *theirs]) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_that_met_before_they_had_a_cluster_part(seed: int) -> None:
    """Where two groups form clusters of their own, each lets the other's members go."""
    cluster = Cluster(seed)
    nodes = cluster.form(6)
    for index, node in enumerate(nodes):
        uuid = "ours" if index < 3 else "theirs"
        node.tell(m.UpdateMeta(Meta(cluster_uuid=uuid)))
    cluster.run_until(lambda: all(node.live() == 3 for node in nodes), 60.0)
    cluster.run(10.0)
    assert [node.live() for node in nodes] == [3] * 6
    sides = [{"n0", "n1", "n2"}, {"n3", "n4", "n5"}]
    assert not any({by, dead} <= side for by, dead in deaths(nodes) for side in sides)


def test_a_long_partition_heals_by_seeds_and_push_pull() -> None:
    """After the dead get no more gossip, exchanges with them and seeds still do."""
    cluster = Cluster(1)
    nodes = cluster.form(4)
    cluster.network.partition(["n0", "n1"], ["n2", "n3"])
    cluster.run(LOCAL.dead_gossip_s + 15.0)
    cluster.network.heal()
    cluster.run_until(lambda: all(node.live() == 4 for node in nodes), 20.0)


def test_seeds_may_come_later() -> None:
    """Who starts before its seed finds it whenever it comes."""
    cluster = Cluster(2)
    early = cluster.add("n1")
    cluster.run(15.0)
    assert early.live() == 1
    late = cluster.add("n0")
    cluster.run_until(lambda: early.live() == late.live() == 2, 4.0)


def test_equal_seeds_give_equal_histories() -> None:
    """Everything that chance decides comes from the seed."""
    histories = []
    for _ in range(2):
        cluster = Cluster(5)
        cluster.network.loss = 0.2
        nodes = cluster.form(5, settle=5.0)
        nodes[1].stop()
        cluster.run(5.0)
        histories.append([node.seen for node in nodes])
    assert histories[0] == histories[1]


# What is measured; docs/membership.md has the figures


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize("timing", [LOCAL, LAN])
def test_a_kill_is_noticed_in_time(timing: Timing, count: int) -> None:
    """Suspect within a round of probes, dead within the suspicion after it."""
    times = []
    for seed in range(20):
        cluster = Cluster(seed, timing)
        victim, *rest = cluster.form(count, settle=3.0 + seed * 0.013)
        victim.stop()
        times.append(notice(cluster, victim, rest))
    suspect, dead = zip(*times, strict=True)
    print(f"{count} nodes, period {timing.period_s} s, median and most:")
    print(f"  suspect after {median(suspect):.2f} and {max(suspect):.2f} s")
    print(f"  dead after {median(dead):.2f} and {max(dead):.2f} s")
    assert max(suspect) <= timing.period_s * (count + 1)
    assert max(dead) <= timing.period_s * (timing.mult * 3 + 1)


def notice(cluster: Cluster, victim: Node, rest: list[Node]) -> tuple[float, float]:
    """Tell after how many seconds a victim is suspect, and dead, to all the rest.

    Args:
        cluster: their world.
        victim: who was just killed.
        rest: the others.
    """
    gone = (Status.SUSPECT, Status.DEAD)
    suspect = cluster.run_until(lambda: all_see(rest, victim, *gone), 20.0)
    dead = cluster.run_until(lambda: all_see(rest, victim, Status.DEAD), 40.0)
    return suspect, suspect + dead


def test_a_rumour_reaches_500_nodes_in_logarithmic_time() -> None:
    """And the bytes that a node sends at rest and under news stay small."""
    cluster = Cluster(3, LAN)
    nodes = cluster.prime(500)
    codec = PacketCodec("torua", None)
    cluster.measure = lambda packet: len(codec.spell(packet, Kind.QUESTION))
    cluster.run(1.0)
    at_rest = cluster.bytes_sent / 500
    new = cluster.add("new")
    took = cluster.run_until(
        lambda: all(node.live() == 501 for node in cluster.nodes.values()), 5.0
    )
    assert new.live() == 501
    assert took <= LAN.gossip_s * ceil(log2(501))
    assert at_rest < 1000
    sent = cluster.bytes_sent
    cluster.run(1.0)
    spread = (cluster.bytes_sent - sent) / 501
    limit = retransmit_limit(LAN, 501)
    assert spread < at_rest + 250 * limit
    print(f"500 nodes: {took:.2f} s, {at_rest:.0f} B/s at rest, {spread:.0f} with news")
    assert deaths(nodes) == []


# The bug gallery: each is found


def test_rumours_without_epoch_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lives are not told apart, the last life's death keeps a restart out."""

    def blind(member: Member) -> tuple[int, bool, int, int]:
        """Weigh a belief without its life."""
        left = member.status is Status.LEFT
        return (0, left, member.incarnation, int(member.status))

    monkeypatch.setattr(beliefs, "precedence", blind)
    monkeypatch.setattr(machine, "precedence", blind)
    with pytest.raises((AssertionError, KeyError)):
        test_a_restart_is_back_at_once(1)


class Undead(Membership):
    """A machine that takes its own departure back when it is doubted.

    Invariants: none that it should have.
    """

    def _hear_of_self(self, member: Member) -> None:
        """Refute where it should be silent."""
        if self.me.status is Status.LEFT and member.status is not Status.LEFT:
            later = self.me.incarnation + 1
            self._change_me(status=Status.ALIVE, incarnation=later)
        super()._hear_of_self(member)


def test_left_resurrected_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later incarnation overrides a departure, who left comes back."""

    def forgetful(member: Member) -> tuple[int, bool, int, int]:
        """Weigh a departure as one more rank, and no more."""
        return (member.boot_epoch, False, member.incarnation, int(member.status))

    monkeypatch.setattr(beliefs, "precedence", forgetful)
    monkeypatch.setattr(machine, "precedence", forgetful)
    with pytest.raises(AssertionError):
        leave_under_doubt(0, Undead)


@pytest.mark.parametrize("seed", SEEDS)
def test_left_is_final_under_doubt(seed: int) -> None:
    """Those who doubt who left, for they were cut off, believe it in the end."""
    leave_under_doubt(seed, Membership)


def leave_under_doubt(seed: int, kind: type[Membership]) -> None:
    """Let a node leave while some are cut off, and stay on until they doubt it.

    Args:
        seed: of the world.
        kind: the machine of all nodes.
    """
    cluster = Cluster(seed, machine=kind)
    nodes = cluster.form(6)
    leaver, near, far = nodes[0], nodes[1:3], nodes[3:]
    cluster.network.partition(["n0", "n1", "n2"], [node.host for node in far])
    cluster.run(0.5)
    leaver.tell(m.Leave())
    cluster.run(4.0)
    assert all_see(near, leaver, Status.LEFT)
    assert all_see(far, leaver, Status.DEAD)
    cluster.network.heal()
    for _ in range(60):
        cluster.run(0.1)
        assert all_see(near, leaver, Status.LEFT)
    assert all_see(nodes[1:], leaver, Status.LEFT)
