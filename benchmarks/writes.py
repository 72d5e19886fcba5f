"""What a write costs the processor below HTTP and sockets: three nodes in one process.

``python -m benchmarks.writes`` runs the nodes' machines, their logs and maps on a real
disk, and all that they say to each other spelled and read, on a clock that is moved by
hand.  So what else the machine does shows little: figures are of the thread's processor
time, the best of several rounds.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.node.several_nodes import Several
from torua.core.kv import Get, Operation, Put

KEYS = 10_000
ROUNDS = 7
STEPS = 6
"""So often all nodes' threads run until a write is done."""

BULK = 25
"""Of a hundred operations of a request, the part of one shard of four."""


class Bench:
    """Three nodes with three copies of one shard.

    Invariants: time passes only in `step`.
    """

    def __init__(self, directory: Path) -> None:
        """Start them.

        Args:
            directory: of their data dirs.
        """
        self._nodes = Several(directory)
        self._nodes.settle(3.0)
        self._dice = Random(1)  # noqa: S311 it is for keys

    def put(self) -> tuple[Operation, ...]:
        """Make a write of one key."""
        return (Put(self._key(), b"v" * 100),)

    def puts(self) -> tuple[Operation, ...]:
        """Make a shard's part of a bulk of puts."""
        return tuple(Put(key, b"v" * 100) for key in self._keys())

    def gets(self) -> tuple[Operation, ...]:
        """Make a shard's part of a bulk of gets."""
        return tuple(Get(key) for key in self._keys())

    def measure(
        self, make: Callable[[], tuple[Operation, ...]], at_once: int, turns: int
    ) -> float:
        """Tell how many microseconds an operation takes all nodes together.

        Args:
            make: makes a request.
            at_once: so many are under way.
            turns: so many times.
        """
        best = float("inf")
        each = len(make())
        for _ in range(ROUNDS):
            begun = time.thread_time()
            for _ in range(turns):
                self._turn(make, at_once)
            took = time.thread_time() - begun
            best = min(best, took / turns / at_once / each * 1e6)
        return best

    def _turn(self, make: Callable[[], tuple[Operation, ...]], at_once: int) -> None:
        """Have some requests done."""
        done = [self._nodes.nodes[0].begin(*make()) for _ in range(at_once)]
        for _ in range(STEPS):
            self._nodes.clock.advance(0.0005)
            while any([self._nodes.work(n) for n in self._nodes.nodes.values()]):
                self._nodes.clock.advance(0)
        assert all(each.called for each in done), "a request is not done"
        self._nodes.network.sent.clear()

    def _key(self) -> bytes:
        """Choose a key."""
        return b"bench/%08d" % self._dice.randrange(KEYS)

    def _keys(self) -> list[bytes]:
        """Choose keys that differ."""
        return [b"bench/%08d" % n for n in self._dice.sample(range(KEYS), BULK)]

    def close(self) -> None:
        """Stop the nodes."""
        self._nodes.close()


def main() -> None:
    """Measure, and print a table."""
    gc.disable()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place))
        bench.measure(bench.puts, 2, 60)
        rows = [
            (f"put, {at_once} at a time", bench.measure(bench.put, at_once, 40))
            for at_once in (1, 4, 16)
        ]
        rows.append((f"put, {BULK} in a bulk", bench.measure(bench.puts, 2, 40)))
        rows.append((f"get, {BULK} in a bulk", bench.measure(bench.gets, 2, 40)))
        bench.close()
    print("| what | µs of processor time, all three nodes |\n|---|---|")
    for name, took_us in rows:
        print(f"| {name} | {took_us:.0f} |")


if __name__ == "__main__":
    main()
