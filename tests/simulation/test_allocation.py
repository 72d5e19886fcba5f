"""Failover in whole clusters of the real coordination machine."""

import pytest

from tests.simulation.allocation_cluster import Keepers
from tests.simulation.coordination_faults import play, recover

pytestmark = pytest.mark.simulation


def whole(seed: int, size: int, replicas: int) -> Keepers:
    """Return a cluster of which all copies are in sync.

    Args:
        seed: of all that happens.
        size: how many nodes.
        replicas: copies of each shard.
    """
    cluster = Keepers(seed, size, replicas)
    for node in cluster.nodes.values():
        node.start()
    recover(cluster)
    cluster.world.run(cluster.world.now + cluster.world.random.uniform(5.0, 7.0))
    for shard in cluster.shards().values():
        assert len(shard.in_sync) == len(shard.copies) == replicas
    return cluster


def outage(cluster: Keepers, *, coordinator: bool, reset: bool) -> float:
    """Kill a node, and tell how long it was until others led its shards.

    Args:
        cluster: a whole one.
        coordinator: whether it is the node that coordinates, or another.
        reset: whether its connections break, as those of a killed process do; else it
            is only silent, as after a loss of power.
    """
    leader = cluster.leader()
    victim = next(
        node
        for node in cluster.nodes.values()
        if (node is leader) == coordinator and cluster.led_by(node.id)
    )
    begun = cluster.world.now
    victim.crash()
    for node in cluster.running() if reset else ():
        node.cut(victim.id)
    while cluster.led_by(victim.id):
        cluster.world.run(cluster.world.now + 0.01)
        assert cluster.world.now < begun + 10.0
    return cluster.world.now - begun


@pytest.mark.parametrize(
    ("coordinator", "reset", "limit"),
    [(False, True, 0.3), (False, False, 2.2), (True, True, 0.8), (True, False, 4.0)],
)
def test_a_killed_primary_is_followed_in_time(
    coordinator: bool, reset: bool, limit: float
) -> None:
    """Well within 3 s, and 5 s where the coordinator dies with it."""
    times = [
        outage(whole(seed, 3 + seed % 2, 2), coordinator=coordinator, reset=reset)
        for seed in range(12)
    ]
    assert max(times) < limit, sorted(times)


@pytest.mark.parametrize("seed", range(24))
def test_storms_promote_only_copies_in_sync(seed: int) -> None:
    """R2, R7 and R21 hold in all that is committed under every fault there is."""
    cluster = Keepers(seed, 3 + seed % 3, 2 + seed % 2, rough=seed % 4 == 3)
    play(cluster)
    assert cluster.allocation.promotions
