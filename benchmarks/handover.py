"""What writers see of hand-overs: ``python benchmarks/handover.py``.

Clients without retries write to one shard of a local cluster, through all nodes, while
its primary is handed from node to node by ``POST /shards/assign``.  Printed are, as
Markdown, the requests that did not succeed and the longest time without an acknowledged
write around each hand-over, beside as many windows of the same length without one.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from http.client import NO_CONTENT, OK
from itertools import pairwise
from os import getloadavg
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

import urllib3
from cluster import Cluster, eventually, key_path

from torua.core.ids import ShardId

SHARD = ShardId(0)
KEYS = 64
WINDOW_S = 3.0
WITHIN_S = 30.0


class Writers:
    """Clients that write to one shard and never try again.

    Invariants: ``acked`` is in the order of time, but for threads that overtake.
    """

    def __init__(self, cluster: Cluster, keys: list[str]) -> None:
        """Prepare; each client has a part of the ``keys``."""
        self._cluster = cluster
        self._keys = keys
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.acked: list[float] = []
        self.failed: Counter[str] = Counter()

    def start(self, clients: int) -> None:
        """Have so many clients begin."""
        for number in range(clients):
            mine = self._keys[number::clients]
            thread = threading.Thread(target=self._run, args=(number, mine))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop all, and wait for their last requests."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def gap(self, began: float, ended: float) -> float:
        """Return the longest time without an acknowledged write.

        Args:
            began: from when on.
            ended: until when.
        """
        within = sorted(each for each in self.acked if began <= each <= ended)
        times = [began, *within, ended]
        return max(after - before for before, after in pairwise(times))

    def _run(self, number: int, keys: list[str]) -> None:
        """Write one key after the other, through one node after the other."""
        nodes = self._cluster.running()
        turn = number
        while not self._stop.is_set():
            turn += 1
            node, key = nodes[turn % len(nodes)], keys[turn % len(keys)]
            try:
                answer = node.ask("PUT", key_path(key), b"%d" % turn)
            except urllib3.exceptions.HTTPError as error:
                self.failed[type(error).__name__] += 1
                continue
            if answer.status == NO_CONTENT:
                self.acked.append(time.monotonic())
            else:
                self.failed[str(answer.status)] += 1


def keys_of(cluster: Cluster, count: int) -> list[str]:
    """Return keys that live on the shard.

    Args:
        cluster: all of it green.
        count: how many.
    """
    node, found = cluster.any(), []
    for number in range(100 * count):
        key = f"handover/{number}"
        if node.ask("PUT", key_path(key), b"0").headers["Torua-Shard"] == str(SHARD):
            found.append(key)
        if len(found) == count:
            return found
    raise RuntimeError("too few keys are on the shard")


def hand_over(cluster: Cluster) -> None:
    """Have the shard's primary go to its other copy, and wait until it is there."""
    node = cluster.any()
    shard = next(each for each in node.json("/shards") if each["shard"] == SHARD)
    target = next(
        each["node"] for each in shard["copies"] if each["node"] != shard["primary"]
    )
    body = {"shard": SHARD, "node": target, "role": "primary"}
    answer = node.ask(
        "POST",
        "/shards/assign",
        json.dumps(body).encode(),
        Content_Type="application/json",
    )
    if answer.status != OK:
        raise RuntimeError(answer.data.decode())

    def leads() -> bool:
        """Tell whether the target leads."""
        now = next(each for each in node.json("/shards") if each["shard"] == SHARD)
        return now["primary"] == target

    eventually(leads, WITHIN_S, f"{target} leads")


def windows(cluster: Cluster, writers: Writers, times: int, *, go: bool) -> list[float]:
    """Return the longest gap of each of some windows of time.

    Args:
        cluster: all of it green.
        writers: who write.
        times: how many windows.
        go: whether the primary is handed over in each.
    """
    gaps = []
    for _ in range(times):
        began = time.monotonic()
        if go:
            hand_over(cluster)
        time.sleep(max(0.0, began + WINDOW_S - time.monotonic()))
        gaps.append(writers.gap(began, time.monotonic()))
    return gaps


def still(cluster: Cluster) -> None:
    """Have nothing moved for the sake of balance: hand-overs are ours."""
    answer = cluster.any().ask(
        "PUT",
        "/cluster/config",
        b'{"allocation.rebalance": false}',
        Content_Type="application/json",
    )
    if answer.status != OK:
        raise RuntimeError(answer.data.decode())


def measured(cluster: Cluster, writers: Writers, times: int) -> None:
    """Print what the writers see, first without hand-overs, then of each.

    Args:
        cluster: all of it green.
        writers: at work.
        times: how many hand-overs.
    """
    print("| | times | median gap | longest | failed | acknowledged | load |")
    print("|---|---|---|---|---|---|---|")
    for name, go in (("at rest", False), ("handed over", True)):
        failed, acked = writers.failed.total(), len(writers.acked)
        gaps = windows(cluster, writers, times, go=go)
        failed = writers.failed.total() - failed
        acked = len(writers.acked) - acked
        cells = (
            *(name, times, f"{median(gaps):.2f} s", f"{max(gaps):.2f} s"),
            *(failed, f"{acked:,}", f"{getloadavg()[0]:.0f}"),
        )
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    if writers.failed:
        print(f"\n{dict(writers.failed)}")


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--preset", default="lan")
    given = parser.parse_args()
    cluster = Cluster()
    try:
        cluster.form(given.nodes, "--preset", given.preset, "--replicas", "2")
        still(cluster)
        writers = Writers(cluster, keys_of(cluster, KEYS))
        writers.start(given.writers)
        try:
            measured(cluster, writers, given.times)
        finally:
            writers.stop()
    finally:
        cluster.close(keep=False)


if __name__ == "__main__":
    main()
