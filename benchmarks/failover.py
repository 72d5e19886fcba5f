"""How long writes stop when a node is killed: ``python benchmarks/failover.py``.

A local cluster under a steady client; nodes with primaries are killed with SIGKILL, one
after the other, each started again before the next.  For every shard whose primary was
there it measures the longest time without an answered write, and prints the
distribution as Markdown.  In the end everything that the clients saw is checked.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

from copies import check_copies
from faults import FaultyCluster, FaultyNode
from harm import wait_until_green
from history import Load

BEFORE_S = 0.3
"""The gap may begin with the last answer before the kill."""

WATCHED_S = 5.0
REST_S = 1.0


def choose(cluster: FaultyCluster, turn: int, *, coordinator: bool) -> FaultyNode:
    """Choose a node with primaries.

    Args:
        cluster: all of it green.
        turn: so that all have theirs.
        coordinator: whether it shall be the coordinator, or another.
    """
    leader = cluster.coordinator()
    primaries = {each["primary"] for each in cluster.shards()}
    found = [
        node
        for node in cluster.running()
        if node.name in primaries and (node is leader) is coordinator
    ]
    assert found, f"no such node: {leader.name} coordinates, primaries on {primaries}"
    return found[turn % len(found)]


def kills(
    cluster: FaultyCluster, load: Load, times: int, *, coordinator: bool
) -> list[float]:
    """Kill so many times; return the gap of each shard concerned.

    Args:
        cluster: all of it green.
        load: its clients.
        times: how often.
        coordinator: whether the coordinator is killed, or another.
    """
    gaps = []
    for turn in range(times):
        node = choose(cluster, turn, coordinator=coordinator)
        mine = [
            each["shard"] for each in cluster.shards() if each["primary"] == node.name
        ]
        began = time.monotonic() - BEFORE_S
        node.kill()
        time.sleep(WATCHED_S)
        load.wait_for_answers(5)
        found = load.gaps(began)
        gaps += [found[shard] for shard in mine]
        told = " ".join(f"{found[shard]:.2f}" for shard in mine)
        print(f"kill {turn + 1} of {node.name}: {told}", file=sys.stderr, flush=True)
        cluster.restart(node.name)
        wait_until_green(cluster)
        time.sleep(REST_S)
    return gaps


def row(name: str, times: int, gaps: list[float]) -> str:
    """Spell one line of the table.

    Args:
        name: who was killed.
        times: how often.
        gaps: of all shards concerned, in seconds.
    """
    cuts = quantiles(gaps, n=100, method="inclusive")
    cells = [f"{value:.2f} s" for value in (cuts[49], cuts[89], cuts[98], max(gaps))]
    return f"| {name} | {times} | {len(gaps)} | {' | '.join(cells)} |"


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--coordinator-kills", type=int, default=20)
    parser.add_argument("--preset", default="lan")
    given = parser.parse_args()
    cluster = FaultyCluster()
    try:
        cluster.found(given.nodes, given.replicas, preset=given.preset)
        load = Load(cluster, clients=2)
        load.start()
        load.wait_for_answers()
        rows = []
        for name, times, coordinator in (
            ("a primary's node", given.kills, False),
            ("the coordinator, with primaries", given.coordinator_kills, True),
        ):
            if times:
                gaps = kills(cluster, load, times, coordinator=coordinator)
                rows.append(row(name, times, gaps))
        load.stop()
        print("| killed | times | shards | p50 | p90 | p99 | worst |")
        print("|---|---|---|---|---|---|---|")
        print("\n".join(rows))
        print(f"\n{load.verify()}\n{check_copies(cluster, given.replicas)}")
    except BaseException:
        cluster.close(keep=True)
        print(f"kept for a look: {cluster.root}", file=sys.stderr)
        raise
    cluster.close(keep=False)


if __name__ == "__main__":
    main()
