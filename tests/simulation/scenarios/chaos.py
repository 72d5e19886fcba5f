"""Stories without a plan: any fault after any other."""

from tests.simulation import faults
from tests.simulation.cluster import DataCluster

DISKS = (
    (faults.disk_full, 6),
    (faults.disk_broken, 3),
    (faults.slow_disk, 5),
    (faults.restart, 6),
    (faults.blink, 1),
)

CONTROL = (
    (faults.crash, 4),
    (faults.restart, 6),
    (faults.cut, 8),
    (faults.one_way, 4),
    (faults.mend, 8),
    (faults.pause, 3),
    (faults.slow_disk, 2),
)


def everything(cluster: DataCluster) -> None:
    """Let anything happen."""
    faults.storm(cluster, 12.0)


def nothing(cluster: DataCluster) -> None:
    """Let nothing happen."""
    cluster.run(4.0)


def disks(cluster: DataCluster) -> None:
    """Let disks fail, be full, and be slow."""
    faults.storm(cluster, 12.0, DISKS)


def control(cluster: DataCluster) -> None:
    """Let connections break, while messages come late and twice."""
    faults.storm(cluster, 12.0, CONTROL)
