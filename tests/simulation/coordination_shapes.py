"""The clusters that the simulations of coordination play with."""

from tests.simulation.coordination_faults import play
from tests.simulation.coordination_world import Cluster, Machine
from torua.core.coordination.machine import Coordination

SHAPES: tuple[tuple[int, bool, int | None], ...] = (
    (1, False, None),
    (2, False, None),
    (3, False, None),
    (5, False, None),
    (2, True, None),
    (3, True, None),
    (5, False, 3),
)
"""Data nodes, whether there is a tiebreaker, and how many nodes are expected."""


def cluster_of(seed: int, make: Machine = Coordination) -> Cluster:
    """Make the cluster that a seed stands for, with a good or a bad network.

    Args:
        seed: chooses the shape, too.
        make: the machine's class, or one that breaks a rule.
    """
    size, tiebreaker, expect = SHAPES[seed % len(SHAPES)]
    rough = seed // len(SHAPES) % 2 == 1
    return Cluster(
        seed, size, tiebreaker=tiebreaker, rough=rough, expect=expect, make=make
    )


def played(seed: int, make: Machine = Coordination) -> Cluster:
    """Play a seed to its end, and return the cluster; RuleBrokenError on the way.

    Args:
        seed: which story.
        make: the machine's class, or one that breaks a rule.
    """
    cluster = cluster_of(seed, make)
    play(cluster)
    return cluster
