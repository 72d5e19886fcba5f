"""What all parts of the suite stand on: clusters, loads, and what they cost."""

import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

from cluster import Cluster, Node, eventually

from torua.cli import load, loader
from torua.cli.histogram import Histogram, percentiles_ms
from torua.cli.http import Client

CONNECTIONS = 64
SETTLE_S = 0.5


class Effort(NamedTuple):
    """How much of a part is done.

    Attributes:
        seconds: how long a load is measured.
        rounds: how often, where it is done in turns.
        keys: how many a cluster is filled with.
        quick: whether only a first look is wanted.
        charts: where plots go.
    """

    seconds: float
    rounds: int
    keys: int
    quick: bool
    charts: Path


class Measured(NamedTuple):
    """What a load gave, and the processor time that all nodes took for it."""

    tally: loader.Tally
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Return operations a second."""
        return self.tally.operations / self.tally.seconds

    @property
    def per_cpu_s(self) -> float:
        """Return operations for each second of a processor, without the generator's."""
        return self.tally.operations / max(self.cpu_s, 1e-9)

    @property
    def latencies(self) -> Histogram:
        """Return the latencies of all kinds of requests together."""
        total = Histogram()
        for each in self.tally.latencies.values():
            total.merge(each)
        return total

    def percentiles(self, *fractions: float) -> tuple[str, ...]:
        """Spell percentiles in milliseconds; dashes where nothing was answered."""
        latencies = self.latencies
        if not latencies.count:
            return ("-",) * len(fractions)
        return tuple(f"{each:,.1f}" for each in percentiles_ms(latencies, fractions))

    @property
    def errors(self) -> str:
        """Spell how many requests failed, and how."""
        found = self.tally.errors.items()
        return ", ".join(f"{many:,} x {what}" for what, many in found) or "0"


@contextmanager
def cluster_of(nodes: int, replicas: int, *options: str) -> Iterator[Cluster]:
    """Run a cluster on loopback, green, with the defaults of ``twist torua-node``.

    Args:
        nodes: how many.
        replicas: copies of each shard.
        options: more, for each node.
    """
    cluster = Cluster()
    try:
        cluster.form(nodes, "--replicas", str(replicas), *options)
        yield cluster
    finally:
        cluster.close(keep=False)


def endpoints(cluster: Cluster) -> tuple[str, ...]:
    """Return where the nodes that run are."""
    return tuple(each.url for each in cluster.running())


def processes_of(nodes: Iterable[Node]) -> list[psutil.Process]:
    """Return the processes of nodes, their children too."""
    found = []
    for each in nodes:
        if each.runs:
            process = psutil.Process(each.process.pid)
            found += [process, *process.children(recursive=True)]
    return found


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Return the processor time that processes took since they began."""
    return sum(sum(each.cpu_times()[:2]) for each in processes)


def memory_mib(nodes: Iterable[Node]) -> float:
    """Return the resident memory of nodes, their children's too."""
    return sum(each.memory_info().rss for each in processes_of(nodes)) / (1 << 20)


def metric(node: Node, name: str) -> float:
    """Return one figure of a node's metrics, all labels together.

    Args:
        node: that runs.
        name: as Prometheus has it.
    """
    text = node.ask("GET", "/metrics").data.decode()
    found = re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.MULTILINE)
    return sum(float(each) for each in found)


def fill(cluster: Cluster, plan: load.Plan) -> None:
    """Put every key of a plan once."""
    load.fill(Client(endpoints(cluster)), plan)


def measured(
    cluster: Cluster,
    plan: load.Plan,
    *,
    seconds: float,
    connections: int = CONNECTIONS,
    **more: object,
) -> Measured:
    """Load a cluster by a process of its own, and return what that gave.

    Args:
        cluster: green.
        plan: what to ask.
        seconds: how long.
        connections: how many, spread over the nodes.
        more: of `loader.Drive`.
    """
    drive = loader.Drive(
        endpoints(cluster), connections=connections, seconds=seconds, **more
    )
    pool = load.requests_of(plan)
    time.sleep(SETTLE_S)
    processes = processes_of(cluster.running())
    before = cpu_s(processes)
    tally = loader.run(pool, drive)
    return Measured(tally, cpu_s(processes) - before)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Spell a table in Markdown.

    Args:
        columns: their heads.
        rows: of cells.
    """
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def note(what: str) -> None:
    """Tell who watches how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


__all__ = [
    "CONNECTIONS",
    "Cluster",
    "Effort",
    "Measured",
    "Node",
    "cluster_of",
    "cpu_s",
    "endpoints",
    "eventually",
    "fill",
    "measured",
    "memory_mib",
    "metric",
    "note",
    "processes_of",
    "table",
]
