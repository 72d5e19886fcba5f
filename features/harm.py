"""What the steps that harm a cluster share: whom to harm, and how to wait."""

import time

from cluster import eventually
from faults import FaultyCluster

SETTLE_S = 6.0
"""How long is watched for a gap after a node was killed."""

BACK_S = 60.0
"""How long a harmed cluster may take until it is green again."""


def faulty(context, *, proxied):
    """Give the scenario a cluster that can be harmed, instead of a plain one."""
    if not isinstance(context.cluster, FaultyCluster):
        context.cluster.close(keep=False)
        context.cluster = FaultyCluster(proxied=proxied)
    return context.cluster


def with_primaries(context, *, coordinator=False):
    """Choose a node with primaries, the coordinator or another."""
    cluster = context.cluster
    leader = cluster.coordinator()
    primaries = {each["primary"] for each in cluster.shards()}
    context.old_primaries = {
        each["shard"]: each["primary"] for each in cluster.shards()
    }
    found = [
        node
        for node in cluster.running()
        if node.name in primaries and (node is leader) is coordinator
    ]
    assert found, (leader.name, primaries)
    context.harmed = found[0]
    context.harmed_at = time.monotonic()
    return found[0]


def wait_until_green(cluster):
    """Wait until every node that runs is ready, and sees all copies in sync."""
    for node in cluster.running():
        eventually(node.green, BACK_S, f"{node.name} is ready, its health green", 0.2)
