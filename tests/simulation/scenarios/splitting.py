"""Stories in which shards are split, by operators who also call it off."""

from collections.abc import Callable, Sequence

from tests.simulation import faults
from tests.simulation.cluster import DataCluster
from tests.simulation.cluster_copy import Errand
from torua.core.ids import AllocId, ShardId
from torua.core.kv import Get
from torua.core.splitting.commands import BeginSplit, CancelSplit
from torua.core.splitting.moving import half_of
from torua.core.state import Phase, Split

SHARDS_MAX = 6
"""More are not made, so that each is asked for something."""


def split(cluster: DataCluster) -> None:
    """Have some shard split.

    Its child begins where the parent is led, or on any node.

    Args:
        cluster: where.
    """
    node, dice = faults.some(cluster), cluster.world.random
    if node is None or not node.state.shards:
        return
    state = node.state
    shard = dice.choice(sorted(state.shards))
    led = state.shards[shard].primary
    if led is None or len(state.shards) >= SHARDS_MAX:
        return
    number = cluster.number()
    command = BeginSplit(
        parent=shard,
        expect=state.slots_version,
        spans=half_of(state, shard),
        child=ShardId(max(state.shards) + 1),
        node=dice.choice([led.node, *sorted(state.nodes)]),
        alloc_id=AllocId(f"split{number}"),
        history_uuid=f"history{number}",
        base=node.wall_ns // 1000,
    )
    cluster.world.note("operator", command)
    node.submit(command)


def cancel(cluster: DataCluster) -> None:
    """Have some split called off."""
    node, under_way = faults.some(cluster), ongoing(cluster)
    if node is not None and under_way is not None:
        command = CancelSplit(under_way.child, under_way.child_history)
        cluster.world.note("operator", command)
        node.submit(command)


def ongoing(cluster: DataCluster) -> Split | None:
    """Return some split that is under way."""
    splits = cluster.data.state.splits
    return splits[min(splits)] if splits else None


def hurt_child(cluster: DataCluster) -> None:
    """Kill the primary of a shard that is being filled, and start its node again."""
    _hurt(cluster, childs=True)


def hurt_parent(cluster: DataCluster) -> None:
    """Kill the primary of a shard that is split, and start its node again."""
    _hurt(cluster, childs=False)


def _hurt(cluster: DataCluster, *, childs: bool) -> None:
    """Kill a primary that takes part in a split."""
    under_way = ongoing(cluster)
    if under_way is None:
        return
    number = under_way.child if childs else under_way.parent
    node = faults.primary(cluster, number)
    if node is not None:
        faults.kill(cluster, node)
        later = cluster.world.random.uniform(0.0, 4.0)
        cluster.world.at(later, faults.start, node)


def part_owners(cluster: DataCluster) -> None:
    """Let the primaries of a split hear nothing of each other."""
    under_way = ongoing(cluster)
    if under_way is None:
        return
    ends = [faults.primary(cluster, n) for n in (under_way.parent, under_way.child)]
    if ends[0] is not None and ends[1] is not None and ends[0] is not ends[1]:
        cluster.network.cut(ends[0].id, ends[1].id)


MOSTLY_SPLITS = (
    (split, 12),
    (cancel, 2),
    (hurt_child, 4),
    (hurt_parent, 4),
    (part_owners, 3),
    (faults.restart, 6),
    (faults.blink, 2),
    (faults.cut, 2),
    (faults.one_way, 1),
    (faults.mend, 4),
    (faults.pause, 2),
    (faults.leave, 1),
    (faults.join, 1),
    (faults.jump, 1),
    (faults.slow_disk, 2),
)


CONTROL = (
    (hurt_child, 2),
    (hurt_parent, 2),
    (faults.restart, 3),
    (faults.cut, 6),
    (faults.blink, 2),
    (faults.pause, 2),
    (faults.mend, 4),
)


def splits(cluster: DataCluster) -> None:
    """Split shards amid faults."""
    split(cluster)
    cluster.run(1.5)
    faults.storm(cluster, 14.0, MOSTLY_SPLITS, pace=2.5)


def calmly(cluster: DataCluster) -> None:
    """Split shards, one after the other, and let nothing else happen."""
    for _ in range(3):
        split(cluster)
        cluster.run(4.0)


def at_the_turn(cluster: DataCluster) -> None:
    """Hurt who takes part just when the slots go from one to the other."""
    _turns(cluster, (hurt_child, hurt_parent, part_owners, faults.pause))


def deaf_at_the_turn(cluster: DataCluster) -> None:
    """Have a primary of a split hear nobody, or reach nobody, or stand still then.

    Args:
        cluster: whose coordinator may be the one that is hurt.
    """

    def ails(cluster: DataCluster) -> None:
        """Hurt one of the two, and mend it behind the bounds of a turn.

        Args:
            cluster: where.
        """
        under_way, dice = ongoing(cluster), cluster.world.random
        if under_way is None:
            return
        number = dice.choice([under_way.parent, under_way.child])
        node = faults.primary(cluster, number)
        if node is None:
            return
        kind = dice.choice(["deaf", "mute", "paused"])
        if kind == "paused":
            faults.pause_node(cluster, node, dice.uniform(0.3, 4.0))
        elif kind == "deaf":
            faults.deafen(cluster, node)
        else:
            faults.silence(cluster, node)
        cluster.world.at(dice.uniform(0.3, 5.0), cluster.mend)

    _turns(cluster, (ails,))


def dark_at_the_turn(cluster: DataCluster) -> None:
    """Cut the power of all nodes just then, and call splits off."""
    _turns(cluster, (faults.power_loss, faults.power_loss, cancel))


def behind_at_the_turn(cluster: DataCluster) -> None:
    """Let a copy of the new shard hear of its slots before it hears of its records.

    It has the last record in its log, and is not told that that is committed, while
    all nodes are asked by sessions that saw nothing yet.

    Args:
        cluster: where.
    """
    dice = cluster.world.random
    for _ in range(4):
        split(cluster)
        waited = 0.0
        while waited < 5.0 and not _part_copy(cluster):
            cluster.run(0.001)
            waited += 0.001
        for _ in range(dice.randrange(10, 40)):
            _ask_all(cluster)
            cluster.run(0.02)
        cluster.mend()
        cluster.run(dice.uniform(0.3, 1.0))


def _part_copy(cluster: DataCluster) -> bool:
    """Let the new shard's primary not reach a copy that is a record behind.

    Args:
        cluster: where.

    Returns:
        Whether there is one, while nobody has the slots.
    """
    under_way = ongoing(cluster)
    if under_way is None or under_way.phase is not Phase.CLOSING:
        return False
    lead = faults.primary(cluster, under_way.child)
    for node in cluster.data_nodes:
        for copy in node.copies.values():
            behind = copy.disk.durable.last > copy.view.applied_seq
            if (
                copy.shard.shard == under_way.child
                and behind
                and lead not in {None, node}
            ):
                assert lead is not None, "just looked at"
                cluster.network.block(lead.id, node.id)
                return True
    return False


def late_at_the_turn(cluster: DataCluster) -> None:
    """Let the old shard's primary hear late that slots go, or what others keep of it.

    Until it hears, it does what it is asked, though the new shard's primary knows that
    the slots are nobody's; and what waits to be kept elsewhere is above its checkpoint
    while it says where its log ends.

    Args:
        cluster: where clients write all the time.
    """
    dice = cluster.world.random
    for _ in range(4):
        _split_until(cluster, _part_parent, 0.001)
        cluster.run(dice.uniform(0.1, 1.2))
        cluster.mend()
        cluster.run(dice.uniform(0.3, 1.0))


def _part_parent(cluster: DataCluster) -> bool:
    """Let a split's old primary not hear that slots are given away, or not hear acks.

    The coordinator takes its time from then on: the slots are nobody's for long.

    Args:
        cluster: where.

    Returns:
        Whether such a state is on its way, and the old primary's node is up.
    """
    under_way, leader = ongoing(cluster), cluster.leader()
    lead = None if under_way is None else faults.primary(cluster, under_way.parent)
    if under_way is None or lead is None or leader is None or leader.machine is None:
        return False
    published = leader.machine.register.facts.accepted.state
    split_next = published.splits.get(under_way.child)
    if split_next is None or split_next.phase is not Phase.CLOSING:
        return False
    copies = published.shards[under_way.parent].copies
    others = {leader.id, *(copy.node for copy in copies)} - {lead.id}
    cluster.network.block(cluster.world.random.choice(sorted(others)), lead.id)
    usual, leader.disk.delay = leader.disk.delay, (0.02, 0.1)
    cluster.world.at(1.0, setattr, leader.disk, "delay", usual)
    return True


def _ask_all(cluster: DataCluster) -> None:
    """Read some key at each node, as fresh as may be; the rules see what is shown."""
    client = cluster.clients[0].name
    for node in cluster.edges():
        reads = (Get(cluster.key()),)
        errand = Errand(cluster.number(), (client,), reads, None, ())
        cluster.network.send(client, node, errand, "tcp")


def control(cluster: DataCluster) -> None:
    """Begin splits and call them off, while commands come late and twice."""
    faults.storm(cluster, 14.0, ((split, 10), (cancel, 6), *CONTROL), pace=2.5)


def _turns(
    cluster: DataCluster, kinds: Sequence[Callable[[DataCluster], None]]
) -> None:
    """Split four times, and let something happen when the slots are about to go.

    Args:
        cluster: where.
        kinds: what may happen.
    """
    dice = cluster.world.random
    for _ in range(4):
        _split_until(cluster, _closes, 0.01)
        cluster.run(dice.uniform(0.0, 0.12))
        dice.choice(kinds)(cluster)
        cluster.run(dice.uniform(0.5, 4.0))


def _split_until(
    cluster: DataCluster, happens: Callable[[DataCluster], bool], step_s: float
) -> None:
    """Split, and play on until something happens, for 5 s at most.

    Args:
        cluster: where.
        happens: is asked before each step.
        step_s: how long one is.
    """
    split(cluster)
    waited = 0.0
    while waited < 5.0 and not happens(cluster):
        cluster.run(step_s)
        waited += step_s


def _closes(cluster: DataCluster) -> bool:
    """Tell whether a split is closing."""
    splits = cluster.data.state.splits.values()
    return any(each.phase is not Phase.COPYING for each in splits)
