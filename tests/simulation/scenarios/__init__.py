"""The stories that simulated clusters live through, by name.

Each is played on a cluster of three or five nodes with two or three copies a shard, as
the seed says, and ends by healing everything and checking all rules (`finish`).
"""

from collections.abc import Callable

from msgspec import Struct

from tests.simulation.cluster import DataCluster
from tests.simulation.scenarios import chaos, findings, moving, splitting

Story = Callable[[DataCluster], None]


class Scenario(Struct, frozen=True):
    """A story, and where it comes from.

    Attributes:
        story: what happens, once clients are at work.
        about: where it was found.
        shape: nodes and copies; None for what the seed says.
        options: attributes of the cluster, by name.
        whole: whether the nodes run the real membership machine, too.
    """

    story: Story
    about: str
    shape: tuple[int, int] | None = None
    options: dict[str, float] = {}
    whole: bool = False


SHAPES = ((3, 2), (3, 3), (5, 2), (5, 3), (4, 2))

SCENARIOS: dict[str, Scenario] = {
    "chaos": Scenario(
        chaos.everything, "any fault after any other", options={"data_mishaps": 0.0005}
    ),
    "whole": Scenario(
        chaos.everything, "any fault, with membership and all", whole=True
    ),
    "whole-one-fault": Scenario(
        findings.one_fault, "one lasting fault, with membership and all", whole=True
    ),
    "calm": Scenario(chaos.nothing, "no fault at all"),
    "isolated-primary": Scenario(
        findings.isolated_primary, "isolated primary with clients (Elasticsearch 1.x)"
    ),
    "deaf-primary": Scenario(
        findings.deaf_primary, "a primary that is heard by all, and hears nobody"
    ),
    "one-fault": Scenario(
        findings.one_fault, "one node killed, paused, deaf, mute or alone, for good"
    ),
    "paused-primary": Scenario(
        findings.paused_primary, "SIGSTOP of the primary for 60 s"
    ),
    "power-loss": Scenario(findings.power_loss, "power loss of all copies at once"),
    "stale-copy": Scenario(
        findings.stale_copy, "stale copy promoted (ES #20031)", shape=(3, 2)
    ),
    "failed-cas": Scenario(
        findings.isolated_primary,
        "dirty read through a failed CAS (ES #52400)",
        options={"keys": 1, "conditional": 0.8},
    ),
    "silent-drop": Scenario(
        findings.silent_drop, "silent drop between primary and one replica"
    ),
    "recreate": Scenario(
        findings.recreate,
        "delete and recreate with delayed replication",
        options={"keys": 2, "deletes": 0.3, "disorder": 0.2},
    ),
    "overload": Scenario(
        findings.overload,
        "overload in mid-bulk (ES 9.5.2)",
        options={"think_s": 0.002, "requests_max": 6, "bulks": 0.3},
    ),
    "deposed-leader": Scenario(
        findings.deposed_leader,
        "stale read of a deposed leader (etcd 0.4, RedisRaft)",
        options={"keys": 2},
    ),
    "nonce-reuse": Scenario(
        findings.nonce_reuse,
        "nonce reuse under pause (etcd #20418)",
        shape=(3, 2),
        options={"keys": 1, "disorder": 0.1, "travel_s": 0.15, "think_s": 0.02},
    ),
    "late-acks": Scenario(
        findings.late_acks,
        "acknowledgements of a term that is over, and of a life",
        shape=(3, 2),
        options={"disorder": 0.5, "think_s": 0.01},
    ),
    "apply-save": Scenario(
        findings.apply_save,
        "kill between apply and index save (etcd #13766)",
        options={"data_mishaps": 0.004},
    ),
    "joins-moves": Scenario(
        moving.joins, "joins and moves under writes (Dgraph 1.0.2)"
    ),
    "reports": Scenario(
        moving.reports, "copies and leads moved by reports of disks and loads"
    ),
    "duties": Scenario(moving.duties, "nodes emptied by operators amid faults"),
    "numbers": Scenario(
        moving.numbers, "the number of copies changed up and down amid faults"
    ),
    "leaves": Scenario(moving.leaves, "rolling restarts by SIGTERM"),
    "splits": Scenario(
        splitting.splits,
        "shards split under writes, amid faults",
        options={"retention": 0.002, "data_mishaps": 0.0002},
    ),
    "splits-calm": Scenario(splitting.calmly, "shards split one after the other"),
    "splits-turn": Scenario(
        splitting.at_the_turn,
        "faults just when slots go from one shard to another",
        options={"retention": 0.0, "think_s": 0.015},
    ),
    "splits-deaf": Scenario(
        splitting.deaf_at_the_turn,
        "deaf, mute and paused primaries just then",
        options={"retention": 0.0, "think_s": 0.015},
    ),
    "splits-late": Scenario(
        splitting.late_at_the_turn,
        "primaries that hear late that their slots go, or who keeps what they do",
        shape=(5, 2),
        options={"retention": 0.0, "think_s": 0.005},
    ),
    "splits-behind": Scenario(
        splitting.behind_at_the_turn,
        "copies that hear of the slots before they hear of what is committed",
        options={"retention": 0.0},
    ),
    "splits-dark": Scenario(
        splitting.dark_at_the_turn,
        "power loss of all nodes just then",
        options={"retention": 0.001},
    ),
    "splits-control": Scenario(
        splitting.control,
        "splits begun and called off by late and doubled commands",
        options={"disorder": 0.25},
    ),
    "bit-flips": Scenario(findings.bit_flips, "bit flips on a minority (NATS 2.12)"),
    "empty-disk": Scenario(
        findings.empty_disk, "fast restart with an empty disk (KIP-903)"
    ),
    "disks": Scenario(chaos.disks, "EIO, ENOSPC, slow syncs"),
    "groups": Scenario(
        chaos.everything,
        "groups of writes under any fault",
        options={"groups": 0.5, "keys": 3, "conditional": 0.5, "think_s": 0.02},
    ),
    "groups-lost-power": Scenario(
        findings.power_loss,
        "groups of writes when all copies lose power at once",
        options={"groups": 0.6, "keys": 2},
    ),
    "control": Scenario(
        chaos.control,
        "late and doubled control messages",
        options={"disorder": 0.25},
    ),
}


def cluster_of(name: str, seed: int) -> DataCluster:
    """Make the cluster that a seed stands for in a scenario.

    Args:
        name: of the scenario.
        seed: of everything that happens.
    """
    scenario = SCENARIOS[name]
    size, replicas = scenario.shape or SHAPES[seed % len(SHAPES)]
    cluster = DataCluster(seed, size, replicas, whole_nodes=scenario.whole)
    for option, value in scenario.options.items():
        setattr(cluster, option, value)
    cluster.network.delay = (0.0005, cluster.travel_s)
    return cluster


def play(name: str, cluster: DataCluster) -> None:
    """Play a scenario to its end; an AssertionError where a rule is broken.

    Args:
        name: of the scenario.
        cluster: as `cluster_of` made it.
    """
    mishaps, cluster.data_mishaps = cluster.data_mishaps, 0.0
    cluster.form()
    cluster.begin()
    cluster.data_mishaps = mishaps
    SCENARIOS[name].story(cluster)
    cluster.finish()


def played(name: str, seed: int) -> DataCluster:
    """Play a seed of a scenario, and return the cluster as it is in the end.

    Args:
        name: of the scenario.
        seed: of everything that happens.
    """
    cluster = cluster_of(name, seed)
    play(name, cluster)
    return cluster
