"""Stories in which copies and primaries move."""

from tests.simulation import faults
from tests.simulation.cluster import DataCluster

MOVES = (
    (faults.join, 3),
    (faults.leave, 2),
    (faults.restart, 5),
    (faults.cut, 1),
    (faults.blink, 1),
    (faults.slow_disk, 1),
)


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
