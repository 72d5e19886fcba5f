"""Stories that others had to live through; each found data lost, or lies told."""

from collections.abc import Callable

from tests.simulation import faults
from tests.simulation.cluster import DataCluster

LIVELY_S = 15.0
"""A single fault keeps no shard from answering writes for so long."""

FLIPS = ((faults.flip, 4), (faults.restart, 3), (faults.blink, 1), (faults.cut, 1))
WIPES = ((faults.wipe, 3), (faults.restart, 3), (faults.blink, 1), (faults.cut, 1))
KILLS = ((faults.blink, 5), (faults.restart, 6), (faults.crash, 3), (faults.pause, 1))
SLOWNESS = ((faults.slow_disk, 4), (faults.crash, 1), (faults.restart, 3))


def isolated_primary(cluster: DataCluster) -> None:
    """Isolate a primary, but not from its clients, again and again."""
    for _ in range(3):
        faults.isolate_primary(cluster)
        cluster.run(cluster.world.random.uniform(1.0, 6.0))
        cluster.mend()
        cluster.run(cluster.world.random.uniform(0.0, 2.0))


def deaf_primary(cluster: DataCluster) -> None:
    """Let a primary hear no other node, though all hear it: writes go on elsewhere.

    Args:
        cluster: whose shards have to be served throughout.
    """
    node = faults.primary(cluster)
    if node is not None:
        _outlive(cluster, lambda: faults.deafen(cluster, node))


def one_fault(cluster: DataCluster) -> None:
    """Let one node be killed, paused, deaf, mute or alone, for good: all goes on.

    Args:
        cluster: whose shards have to be served throughout.
    """
    node = faults.primary(cluster)
    if node is None:
        return
    others = [name for name in sorted(cluster.nodes) if name != node.id]
    kinds = (
        lambda: faults.kill(cluster, node),
        lambda: faults.pause_node(cluster, node, 60.0),
        lambda: faults.deafen(cluster, node),
        lambda: faults.silence(cluster, node),
        lambda: cluster.network.partition([node.id], others),
    )
    _outlive(cluster, cluster.world.random.choice(kinds))


def _outlive(cluster: DataCluster, fault: Callable[[], None]) -> None:
    """Demand that every shard goes on through a fault, and behind it."""
    fault()
    cluster.run(LIVELY_S)
    for _ in range(2):
        cluster.lively(LIVELY_S)
    cluster.mend()
    cluster.lively(LIVELY_S)


def paused_primary(cluster: DataCluster) -> None:
    """Pause a primary for a minute, with clients attached."""
    cluster.think_s = 0.5
    node = faults.primary(cluster)
    if node is not None:
        faults.pause_node(cluster, node, 60.0)
    cluster.run(64.0)


def power_loss(cluster: DataCluster) -> None:
    """Kill all nodes at once, again and again."""
    for _ in range(4):
        cluster.run(cluster.world.random.uniform(0.0, 3.0))
        faults.power_loss(cluster)
        cluster.run(3.0)


def stale_copy(cluster: DataCluster) -> None:
    """Part a replica from all, lose the primary, and only then bring the replica back.

    Args:
        cluster: whose copy is stale.
    """
    shard = cluster.data.state.shards[cluster.shard_of(b"k0")]
    lead = faults.primary(cluster, shard.shard)
    others = [copy.node for copy in shard.copies if lead and copy.node != lead.id]
    if lead is None or not others:
        return
    rest = [name for name in cluster.nodes if name != others[0]]
    cluster.network.partition([others[0]], rest)
    cluster.run(cluster.world.random.uniform(0.5, 5.0))
    if lead.machine is not None:
        faults.kill(cluster, lead)
    cluster.mend()
    cluster.run(8.0)
    faults.start(lead)
    cluster.run(4.0)


def silent_drop(cluster: DataCluster) -> None:
    """Let what a primary sends to one replica vanish."""
    for _ in range(3):
        node = faults.primary(cluster)
        others = [name for name in cluster.nodes if node and name != node.id]
        if node is not None:
            target = cluster.world.random.choice(others)
            cluster.network.block(node.id, target)
            cluster.run(cluster.world.random.uniform(0.2, 4.0))
            if cluster.world.random.random() < 0.5:
                cluster.network.cut(node.id, target)
        cluster.mend()
        cluster.run(1.0)


def recreate(cluster: DataCluster) -> None:
    """Delete and recreate two keys, while primaries change."""
    faults.storm(cluster, 12.0, KILLS)


def overload(cluster: DataCluster) -> None:
    """Ask for more than is admitted, while disks are slow."""
    faults.storm(cluster, 5.0, SLOWNESS)


def deposed_leader(cluster: DataCluster) -> None:
    """Pause and part primaries, so that others lead, and let them go on."""
    for _ in range(3):
        node = faults.primary(cluster)
        if node is not None:
            faults.pause_node(cluster, node, cluster.world.random.uniform(1.5, 6.0))
        cluster.run(cluster.world.random.uniform(3.0, 7.0))
        faults.isolate_primary(cluster)
        cluster.run(cluster.world.random.uniform(1.0, 4.0))
        cluster.mend()


def nonce_reuse(cluster: DataCluster) -> None:
    """Hold answers to a primary's barriers back until others have written.

    Args:
        cluster: whose messages are long under way.
    """
    number = cluster.shard_of(b"k0")
    for _ in range(3):
        node = faults.primary(cluster, number)
        if node is not None:
            others = [name for name in cluster.nodes if name != node.id]
            cluster.network.partition([node.id], others)
        cluster.run(cluster.world.random.uniform(5.0, 8.0))
        cluster.mend()
        cluster.run(4.0)


def late_acks(cluster: DataCluster) -> None:
    """Restart primaries whose disks are slower than those of the others.

    Args:
        cluster: whose primaries come back in later terms, having lost their tips.
    """
    dice = cluster.world.random
    for _ in range(8):
        node = faults.primary(cluster)
        if node is not None:
            node.store.delay = (0.02, 0.3)
            cluster.run(dice.uniform(0.1, 1.0))
            if node.machine is not None:
                faults.kill(cluster, node, silent=True)
                node.start()
        cluster.run(dice.uniform(0.1, 1.5))
    for node in cluster.data_nodes:
        node.store.delay = (0.0005, 0.004)


def apply_save(cluster: DataCluster) -> None:
    """Kill nodes between any two things that they do."""
    faults.storm(cluster, 12.0, ((faults.restart, 1),), pace=0.8)


def bit_flips(cluster: DataCluster) -> None:
    """Damage copies, as long as another in-sync one is whole."""
    faults.storm(cluster, 14.0, FLIPS, pace=3.0)


def empty_disk(cluster: DataCluster) -> None:
    """Bring nodes back at once with empty disks."""
    faults.storm(cluster, 14.0, WIPES, pace=4.0)
