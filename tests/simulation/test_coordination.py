"""Whole clusters of the real coordination machine, under every fault there is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.coordination_faults import (
    calm_majority,
    reborn_coordinators,
    recover,
)
from tests.simulation.coordination_shapes import played
from tests.simulation.coordination_world import Cluster
from torua.core.coordination.machine import Mode
from torua.core.coordination.messages import Event

pytestmark = pytest.mark.simulation

ROOT = Path(__file__).parent.parent.parent
SEEDS = range(100)

REGRESSIONS = (
    8,
    23,
    28,
    63,
    68,
    78,
    100,
    141,
    147,
    160,
    175,
    203,
    730,
    733,
    1047,
    1263,
    1566,
)
"""Seeds that once found something, in the product or in the simulation itself."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_story_keeps_every_rule(seed: int) -> None:
    """Storms of faults break none of C1 to C13, and the cluster is whole after them."""
    played(seed)


@pytest.mark.parametrize("seed", [seed for seed in REGRESSIONS if seed not in SEEDS])
def test_what_was_found_once_does_not_come_back(seed: int) -> None:
    """Stories that broke a rule once keep every rule now."""
    played(seed)


@pytest.mark.parametrize("seed", range(3))
def test_coordinators_reborn_at_once_do_no_harm(seed: int) -> None:
    """Votes for the last life of a coordinator do not count in the next."""
    reborn_coordinators(Cluster(seed, 3, rough=True))


def formed(size: int, *, tiebreaker: bool = False, seed: int = 1) -> Cluster:
    """Return a cluster that has just become whole.

    Args:
        size: how many data nodes.
        tiebreaker: whether there is a node that only votes.
        seed: of all that happens.
    """
    cluster = Cluster(seed, size, tiebreaker=tiebreaker)
    for node in cluster.nodes.values():
        node.start()
    recover(cluster)
    return cluster


@pytest.mark.parametrize(
    ("size", "tiebreaker", "voters"),
    [
        (1, False, 1),
        (2, False, 1),
        (3, False, 3),
        (4, False, 3),
        (5, False, 5),
        (2, True, 3),
        (3, True, 3),
    ],
)
def test_the_number_of_voters_follows_the_nodes(
    size: int, tiebreaker: bool, voters: int
) -> None:
    """As many nodes vote as give an odd number."""
    assert len(formed(size, tiebreaker=tiebreaker).voters()) == voters


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_another_coordinator_within_three_seconds(reset: bool, seed: int) -> None:
    """A killed coordinator is replaced within 3 s; within 0.8 s after a reset."""
    cluster = formed(3, seed=seed)
    old = cluster.leader()
    assert old is not None
    old.crash()
    if reset:
        for node in cluster.running():
            cluster.network.cut(old.id, node.id)
    start = cluster.world.now
    while cluster.leader() is None:
        cluster.world.run(cluster.world.now + 0.01)
    assert cluster.world.now - start < (0.8 if reset else 3.0)


def test_a_third_node_gives_a_single_voter_two_more() -> None:
    """A cluster founded by one node has three voters once three nodes are there."""
    cluster = formed(1)
    for _ in range(2):
        cluster.add().start()
    recover(cluster)
    assert len(cluster.voters()) == 3


def test_a_cluster_shrinks_to_three_voters_and_no_further() -> None:
    """Of five voters two die, then one more: three voters remain, and two suffice."""
    cluster = formed(5)
    for count in (2, 1):
        for node in cluster.running()[-count:]:
            node.crash()
        cluster.world.run(cluster.world.now + 15.0)
        assert len(cluster.voters()) == 3
    assert cluster.leader() is not None


def test_all_killed_at_once_are_the_same_cluster_again() -> None:
    """After a full restart the uuid, the shards and their copies are the old ones."""
    cluster = formed(3)
    leader = cluster.leader()
    assert leader is not None and leader.machine is not None
    before = leader.machine.applied.state
    for node in cluster.running():
        node.crash()
    recover(cluster)
    leader = cluster.leader()
    assert leader is not None and leader.machine is not None
    after = leader.machine.applied.state
    assert after.cluster_uuid == before.cluster_uuid
    owners = [(each.copies, each.history_uuid) for each in before.shards.values()]
    assert owners == [(s.copies, s.history_uuid) for s in after.shards.values()]
    terms = [(shard, each.primary_term) for shard, each in after.shards.items()]
    assert terms == [(s, each.primary_term + 1) for s, each in before.shards.items()]


def test_without_a_majority_nobody_coordinates() -> None:
    """Two of three nodes are stopped: the third steps down, and all come back."""
    cluster = formed(3)
    survivor, *others = cluster.running()
    for node in others:
        node.pause()
    cluster.world.run(cluster.world.now + 4.0)
    assert survivor.machine is not None
    assert survivor.machine.mode is Mode.CANDIDATE
    recover(cluster)


def test_a_calm_cluster_elects_once() -> None:
    """Without a fault the first coordinator stays, and nothing is published."""
    cluster = formed(5)
    elected, published = (
        cluster.noticed[Event.ELECTED],
        cluster.noticed[Event.PUBLISHED],
    )
    cluster.world.run(cluster.world.now + 60.0)
    assert cluster.noticed[Event.ELECTED] == elected == 1
    assert cluster.noticed[Event.PUBLISHED] == published
    calm_majority(cluster)


def trace_of(seed: int) -> str:
    """Play a seed, and return the digest of its trace."""
    return played(seed).world.digest()


def test_a_seed_is_one_history_whatever_the_hash_seed() -> None:
    """Nothing in the machine depends on how Python hashes."""
    code = "from tests.simulation.test_coordination import *; print(trace_of(3))"
    seen = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashseed},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for hashseed in ("1", "2")
    }
    assert seen == {trace_of(3)}
