"""Stories in which copies and primaries move."""

from collections.abc import Sequence

from msgspec.structs import replace

from tests.simulation import faults
from tests.simulation.cluster import DataCluster
from torua.core.allocation import Configure, Forget, SetDuty
from torua.core.configuration import Value
from torua.core.ids import NodeId
from torua.core.reporting import CopyReport, NodeReport
from torua.core.state import ClusterState, Duty

MOVES = (
    (faults.join, 3),
    (faults.leave, 2),
    (faults.restart, 5),
    (faults.cut, 1),
    (faults.blink, 1),
    (faults.slow_disk, 1),
)


def order(cluster: DataCluster, duties: Sequence[Duty]) -> None:
    """Have an operator ask for another duty of some node.

    Args:
        cluster: where.
        duties: one of which is asked for.
    """
    node, dice = faults.some(cluster), cluster.world.random
    if node is None or not node.state.nodes:
        return
    entry = node.state.nodes[dice.choice(sorted(node.state.nodes))]
    duty = dice.choice(duties)
    cluster.world.note("operator", entry.node_id, duty.value)
    node.submit(SetDuty(entry.node_id, entry.duty_version, duty))


def drain(cluster: DataCluster) -> None:
    """Have a node emptied."""
    order(cluster, (Duty.MAINTENANCE, Duty.EVACUATING))


def refill(cluster: DataCluster) -> None:
    """Have a node take its share again."""
    order(cluster, (Duty.FULL,))


def forget(cluster: DataCluster) -> None:
    """Have a node removed whose disk is lost."""
    node = faults.some(cluster)
    known = node.state.nodes if node else {}
    dead = sorted(each for each in known if each in cluster.gone)
    if node is not None and dead:
        node.submit(Forget(dead[0], known[dead[0]].boot_epoch))


DUTIES = (
    (drain, 8),
    (refill, 4),
    (forget, 2),
    (faults.crash, 1),
    (faults.restart, 5),
    (faults.blink, 1),
    (faults.cut, 1),
    (faults.pause, 1),
    (faults.leave, 1),
    (faults.join, 1),
    (faults.wipe, 1),
    (faults.slow_disk, 1),
)


def duties(cluster: DataCluster) -> None:
    """Put nodes into maintenance, and evacuate some, amid faults."""
    cluster.add().start()
    cluster.run(2.0)
    drain(cluster)
    cluster.run(3.0)
    faults.storm(cluster, 16.0, DUTIES, pace=2.0)


DISKS = (10, 10, 10, 10, 10, 10, 87, 92, 96)
"""How full disks may be, in percent."""


def tell(
    cluster: DataCluster, *, calm: bool = False, disks: Sequence[int] = DISKS
) -> None:
    """Have all nodes report disks and loads to all that may coordinate.

    Args:
        cluster: where.
        calm: whether nothing is stored or loaded; else it is left to chance.
        disks: how full the disks may be, by chance.
    """
    for node in cluster.data_nodes:
        if node.machine is not None and not node.paused:
            for number in sorted(node.state.nodes):
                used = cluster.world.random.choice(disks)
                report = _report(cluster, node.state, number, calm)
                report = replace(report, disk_used=used << 30, disk_total=100 << 30)
                node.machine.report(number, report)


def _report(
    cluster: DataCluster, state: ClusterState, number: NodeId, calm: bool
) -> NodeReport:
    """Make a node's report."""
    dice = cluster.world.random
    copies = tuple(
        CopyReport(
            shard.shard,
            copy.alloc_id,
            0 if calm else dice.choice((0, 1 << 30, 40 << 30)),
            0.0 if calm else dice.choice((0.0, 200.0, 5000.0)),
        )
        for shard in state.shards.values()
        for copy in shard.copies
        if copy.node == number
    )
    return NodeReport(state.nodes[number].boot_epoch, copies=copies)


REPORTS = (
    (tell, 12),
    (faults.crash, 2),
    (faults.restart, 5),
    (faults.blink, 1),
    (faults.cut, 1),
    (faults.pause, 1),
    (faults.leave, 1),
    (faults.join, 1),
    (faults.slow_disk, 1),
)


def reports(cluster: DataCluster) -> None:
    """Have copies and leads move by what nodes report, which is left to chance."""
    for _ in range(4):
        tell(cluster, disks=(10,))
        cluster.run(3.0)
    cluster.add().start()
    faults.storm(cluster, 16.0, REPORTS, pace=2.0)
    tell(cluster, calm=True, disks=(10,))


def reconfigure(cluster: DataCluster) -> None:
    """Have an operator ask for another number of copies; it may come too late."""
    node, dice = faults.some(cluster), cluster.world.random
    if node is None or not node.state.nodes:
        return
    wanted: dict[str, Value] = {
        "replication.replicas": dice.randint(1, 3),
        "replication.min_copies": dice.choice((None, 1)),
    }
    cluster.world.note("operator", node.id, *wanted.values())
    version = node.state.configuration.version
    node.submit(Configure(f"{dice.getrandbits(64):x}", version, wanted))


NUMBERS = (
    (reconfigure, 10),
    (faults.crash, 2),
    (faults.restart, 5),
    (faults.blink, 1),
    (faults.cut, 1),
    (faults.pause, 1),
    (faults.leave, 1),
    (faults.join, 1),
    (faults.slow_disk, 1),
)


def numbers(cluster: DataCluster) -> None:
    """Change the number of copies up and down under load, amid faults."""
    for _ in range(3):
        reconfigure(cluster)
        cluster.run(3.0)
    faults.storm(cluster, 16.0, NUMBERS, pace=3.0)


def joins(cluster: DataCluster) -> None:
    """Let nodes join and leave, with a little trouble on the way."""
    cluster.add().start()
    cluster.run(12.0)
    faults.storm(cluster, 10.0, MOVES, pace=3.0)


def leaves(cluster: DataCluster) -> None:
    """Restart each node in turn, as an operator does."""
    for node in cluster.data_nodes:
        if node.machine is None:
            continue
        faults.stop(cluster, node, 1.5)
        cluster.run(2.5)
        faults.start(node)
        cluster.run(2.5)
