"""A cluster under load and faults for minutes: ``python -m features.chaos --help``.

Every ten seconds one thing goes wrong, chosen by the seed: a node is killed, or hangs;
the coordinator is killed; a node is cut off, or hears nobody; connections break within
frames.  Each fault is over before the next begins, and the next waits until all copies
are in sync again; so every gap in service is that of a single fault.

In the end all that the clients saw must have one order, every acknowledged write must
be there, all copies must be equal, and no gap longer than `GAP_S`.  What was found is
printed as Markdown; the exit status tells whether it is good.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from copies import check_copies
from faults import FaultyCluster, FaultyNode
from harm import wait_until_green
from history import Load

PERIOD_S = 10.0
GAP_S = 5.0
DOWN_S = 3.0
HUNG_S = 4.0
APART_S = 5.0

Fault = Callable[["Chaos"], str]


class Chaos:
    """One run.

    Invariants: between two faults every node runs and the network is whole.
    """

    def __init__(self, nodes: int, replicas: int, seed: int) -> None:
        """Start the cluster and the clients.

        Args:
            nodes: how many.
            replicas: copies of each shard.
            seed: for faults and clients.
        """
        self.dice = random.Random(seed)
        self.cluster = FaultyCluster(proxied=True)
        self.cluster.found(nodes, replicas)
        self.load = Load(self.cluster, seed)
        self.load.start()
        self.load.wait_for_answers()
        self.worst: list[tuple[float, str]] = []

    def run(self, minutes: float) -> None:
        """Do one fault after the other.

        Args:
            minutes: for so long.
        """
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            began = time.monotonic()
            told = self.dice.choice(FAULTS)(self)
            wait_until_green(self.cluster)
            green_s = time.monotonic() - began
            self.load.wait_for_answers(10)
            time.sleep(max(0.0, began + PERIOD_S - time.monotonic()))
            gaps = self.load.gaps(began)
            longest = max(gaps.values())
            shard = max(gaps, key=gaps.__getitem__)
            self.worst.append((longest, told))
            print(
                f"| {time.strftime('%X')} | {told} | {longest:.2f} s (shard {shard})"
                f" | {green_s:.1f} s |{'' if longest <= GAP_S else ' TOO LONG'}",
                flush=True,
            )
            assert not self.load.wrong, self.load.wrong[:3]

    def kill(self, node: FaultyNode) -> str:
        """Kill a node, and start it again."""
        node.kill()
        time.sleep(DOWN_S)
        self.cluster.restart(node.name)
        return node.name

    def any(self) -> FaultyNode:
        """Choose a node."""
        return self.dice.choice(list(self.cluster.nodes.values()))


def kill_any(chaos: Chaos) -> str:
    """Kill any node."""
    return f"kill -9 of {chaos.kill(chaos.any())}"


def kill_coordinator(chaos: Chaos) -> str:
    """Kill the coordinator."""
    return f"kill -9 of the coordinator {chaos.kill(chaos.cluster.coordinator())}"


def pause(chaos: Chaos) -> str:
    """Stop a node for a while."""
    node = chaos.any()
    node.signal(signal.SIGSTOP)
    time.sleep(HUNG_S)
    node.signal(signal.SIGCONT)
    return f"pause of {node.name} for {HUNG_S:.0f} s"


def part(chaos: Chaos) -> str:
    """Cut a node off."""
    node = chaos.any()
    chaos.cluster.proxy.isolate(node.name)
    time.sleep(APART_S)
    chaos.cluster.proxy.heal()
    return f"partition of {node.name} for {APART_S:.0f} s"


def deafen(chaos: Chaos) -> str:
    """Let a node hear nobody."""
    node = chaos.any()
    for name in chaos.cluster.proxy.names:
        if name != node.name:
            chaos.cluster.proxy.block(name, node.name)
    time.sleep(APART_S)
    chaos.cluster.proxy.heal()
    return f"{node.name} hears nobody for {APART_S:.0f} s"


def cut(chaos: Chaos) -> str:
    """Break connections within frames."""
    names = chaos.cluster.proxy.names
    for _ in range(8):
        one, other = chaos.dice.sample(names, 2)
        chaos.cluster.proxy.cut(one, other, chaos.dice.randrange(1, 3000))
        time.sleep(0.4)
    chaos.cluster.proxy.heal()
    return "8 connections cut within frames"


FAULTS: list[Fault] = [
    kill_any,
    kill_any,
    kill_coordinator,
    pause,
    part,
    part,
    deafen,
    cut,
]


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m features.chaos")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"`{parser.prog} {' '.join(sys.argv[1:])}`\n")
    chaos = Chaos(given.nodes, given.replicas, given.seed)
    print("| at | fault | longest gap | green after |\n|---|---|---|---|", flush=True)
    is_good = False
    try:
        chaos.run(given.minutes)
        chaos.load.stop()
        wait_until_green(chaos.cluster)
        print(f"\n{chaos.load.verify()}")
        print(check_copies(chaos.cluster, given.replicas, 60.0))
        longest, told = max(chaos.worst)
        print(f"{len(chaos.worst)} faults; the longest gap: {longest:.2f} s, {told}")
        is_good = longest <= GAP_S
    finally:
        chaos.load.abandon()
        chaos.cluster.close(keep=not is_good)
        if not is_good:
            print(f"NOT GOOD; kept for a look: {chaos.cluster.root}")
    raise SystemExit(not is_good)


if __name__ == "__main__":
    main()
