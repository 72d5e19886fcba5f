"""What a cluster holds after minutes of load: ``python benchmarks/soak.py``.

Clients that share keys, and writers of larger values, so that the log passes its
retention.  Memory, file descriptors, threads and disk of every node are looked at every
few seconds, and printed as Markdown; a figure is bounded where it is hardly greater in
the last third than in the second.  In the end all that the clients saw is checked.
"""

import argparse
import random
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import urllib3

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

from cluster import key_path
from copies import check_copies
from faults import FaultyCluster, FaultyNode
from history import Load

SAMPLE_S = 5.0
KEYS = 400
SIZES = (200, 2_000, 20_000, 200_000)
"""Of the values of the writers, in bytes."""

SPARE = {"rss_mib": 24.0, "fds": 12.0, "threads": 2.0, "disk_mib": 96.0}
"""What a figure may rise by: caches, connections, a segment of the log and a map."""


class Sample(NamedTuple):
    """One look at one node."""

    rss_mib: float
    fds: float
    threads: float
    disk_mib: float


def look(node: FaultyNode) -> Sample:
    """Look at a node's process and its data dir."""
    process = psutil.Process(node.process.pid)
    disk = 0
    for path in node.data_dir.rglob("*"):
        try:
            disk += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    with process.oneshot():
        rss, threads = process.memory_info().rss, process.num_threads()
    return Sample(rss / 2**20, process.num_fds(), threads, disk / 2**20)


class Writers:
    """Writers of larger values, a few keys again and again.

    Invariants: errors are counted, nothing is repeated.
    """

    def __init__(self, cluster: FaultyCluster, count: int) -> None:
        """Start so many.

        Args:
            cluster: through all of its nodes.
            count: how many.
        """
        self._cluster = cluster
        self._stop = threading.Event()
        self.bytes = 0
        self.errors = 0
        self._threads = [
            threading.Thread(target=self._write, args=(number,), daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _write(self, number: int) -> None:
        """Write on."""
        dice = random.Random(number)  # noqa: S311
        nodes = self._cluster.running()
        while not self._stop.is_set():
            value = dice.randbytes(dice.choice(SIZES))
            target = key_path(f"soak/{number}/{dice.randrange(KEYS)}")
            try:
                answer = dice.choice(nodes).ask("PUT", target, value)
                done = answer.status == 204
            except urllib3.exceptions.HTTPError:
                done = False
            self.bytes += len(value) * done
            self.errors += not done
            self._stop.wait(0.02)


def judge(samples: list[Sample]) -> list[str]:
    """Return the cells of a node: each figure at the start, in between, at the end."""
    third = len(samples) // 3
    cells = []
    for field in Sample._fields:
        values = [getattr(each, field) for each in samples]
        middle, last = max(values[third : 2 * third]), max(values[2 * third :])
        verdict = "" if last <= middle + SPARE[field] else " **GROWS**"
        cells.append(f"{values[0]:.0f} / {middle:.0f} / {last:.0f}{verdict}")
    return cells


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--writers", type=int, default=3)
    given = parser.parse_args()
    cluster = FaultyCluster()
    kept = True
    try:
        cluster.found(given.nodes, given.replicas)
        load = Load(cluster)
        load.start()
        writers = Writers(cluster, given.writers)
        samples: dict[str, list[Sample]] = {name: [] for name in cluster.nodes}
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            for name, node in cluster.nodes.items():
                samples[name].append(look(node))
            time.sleep(SAMPLE_S)
        writers.stop()
        load.stop()
        print(
            f"{given.minutes:g} minutes, {given.nodes} nodes, {given.replicas} copies:"
            f" {writers.bytes / 2**20:.0f} MiB in larger values"
            f" ({writers.errors} errors), longest gap"
            f" {max(load.gaps().values()):.2f} s\n"
        )
        print("First / most in the second third / most in the last third.\n")
        print("| node | memory, MiB | descriptors | threads | disk, MiB |")
        print("|---|---|---|---|---|")
        for name, seen in samples.items():
            print(f"| {name} | {' | '.join(judge(seen))} |")
        print(f"\n{load.verify()}\n{check_copies(cluster, given.replicas)}")
        kept = False
    finally:
        cluster.close(keep=kept)
        if kept:
            print(f"kept for a look: {cluster.root}", file=sys.stderr)


if __name__ == "__main__":
    main()
