"""How a node full of data is emptied: ``python benchmarks/evacuation.py``.

Three nodes with two copies of each shard are filled until each holds so many MiB; then
one is evacuated, while clients with one retry read and write, and stopped.  Health and
the task's progress are looked at all the time, and printed as Markdown.
"""

import argparse
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

from cluster import STOP_S, Cluster, eventually, key_path
from patient import Patient

NODES, SHARDS, COPIES = 3, 6, 2
VALUE_BYTES = 256 << 10
FILLERS = 4
LOOK_S = 0.5
GREEN_S = 120.0


class Look(NamedTuple):
    """The state of things at one moment."""

    at: float
    health: str
    task: dict[str, Any]
    left: int


def fill(cluster: Cluster, mebibytes: int) -> float:
    """Put values until each node holds so much; return the seconds that it took.

    Args:
        cluster: an empty one.
        mebibytes: of values, a node.
    """
    values = mebibytes * NODES // COPIES * (1 << 20) // VALUE_BYTES
    nodes = cluster.running()
    dice = random.Random(1)  # noqa: S311
    block = dice.randbytes(VALUE_BYTES)
    began = time.monotonic()

    def put(number: int) -> None:
        """Put one value, again where that was refused."""
        node = nodes[number % len(nodes)]
        value = number.to_bytes(8) + block[8:]
        eventually(
            lambda: node.ask("PUT", key_path(f"fill/{number}"), value).status == 204,
            GREEN_S,
            f"value {number} is taken",
        )

    with ThreadPoolExecutor(FILLERS) as pool:
        list(pool.map(put, range(values)))
    return time.monotonic() - began


def watch(cluster: Cluster, name: str, task: str) -> list[Look]:
    """Look at an evacuation until it is over.

    Args:
        cluster: all of it.
        name: of the node.
        task: that follows it.
    """
    other = next(node for node in cluster.running() if node.name != name)
    looks: list[Look] = []
    while not looks or looks[-1].task["state"] == "running":
        told = other.json(f"/tasks/{task}")
        copies = [copy for shard in other.json("/shards") for copy in shard["copies"]]
        left = sum(copy["node"] == name for copy in copies)
        looks.append(
            Look(time.monotonic(), other.json("/health")["status"], told, left)
        )
        time.sleep(LOOK_S)
    return looks


def show(looks: list[Look]) -> None:
    """Print every change of an evacuation, as rows."""
    print("| s | health | done | bytes left, MiB | eta, s | truly left, s |")
    print("|---|---|---|---|---|---|")
    said = None
    for look in looks:
        task, facts = look.task, look.task["facts"]
        if (task["done"], look.health) != said:
            said = (task["done"], look.health)
            print(
                f"| {look.at - looks[0].at:.1f} | {look.health}"
                f" | {task['done']} of {task['total']}"
                f" | {facts.get('bytes_left', 0) / 2**20:.0f} | {task['eta']}"
                f" | {looks[-1].at - look.at:.1f} |"
            )


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mebibytes", type=int, default=1024, help="on each node")
    given = parser.parse_args()
    cluster = Cluster()
    kept = True
    try:
        words = ("--shards", str(SHARDS), "--replicas", str(COPIES))
        cluster.form(NODES, *words, "--preset", "local")
        print(f"filled in {fill(cluster, given.mebibytes):.0f} s")
        eventually(cluster.any().green, GREEN_S, "it is green")
        name = f"node-{NODES}"
        node = cluster.nodes[name]
        patient = Patient(
            lambda: [each.url for each in cluster.running()], pause_s=0.02
        )
        patient.start(4)
        held = node.json(f"/nodes/{name}/info")["copies"]
        size = sum(copy["bytes"] for copy in held) / 2**20
        answer = cluster.any().ask("POST", f"/nodes/{name}/evacuate", b"")
        began = time.monotonic()
        looks = watch(cluster, name, answer.json()["task"])
        print(f"{name}, {size:.0f} MiB: {looks[-1].task['state']} after", end=" ")
        print(f"{looks[-1].at - began:.1f} s\n")
        show(looks)
        wrong = [each for each in looks if each.task["done"] + each.left != len(held)]
        node.signal(signal.SIGTERM)
        status = node.process.wait(STOP_S)
        time.sleep(2)
        colours = {look.health for look in looks}
        colours.add(cluster.any().json("/health")["status"])
        patient.stop()
        print(f"\nSIGTERM: exit {status}; health {colours}; progress other than what")
        print(f"the shards say: {len(wrong)} of {len(looks)} looks; {patient.report()}")
        patient.check()
        kept = False
    finally:
        cluster.close(keep=kept)


if __name__ == "__main__":
    main()
