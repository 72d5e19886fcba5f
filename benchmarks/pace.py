"""How long requests take: at a pace, while a node is killed, in bad company."""

import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from chart import Axes, draw
from rig import (
    Cluster,
    Effort,
    Measured,
    Node,
    cluster_of,
    endpoints,
    fill,
    measured,
    memory_mib,
    metric,
    note,
    table,
)

from torua.cli import load, loader
from torua.cli.histogram import percentiles_ms
from torua.cli.http import Client
from torua.cli.load import Plan

SHARES = (0.1, 0.25, 0.5, 0.7, 0.85, 1.0)
"""Of the most that is done, what is offered."""

MANY = 600
"""Connections, when some of them may have to wait for a failover."""


def latency(effort: Effort) -> str:
    """Measure how long requests take at a pace, by what share of the most that is."""
    rows: list[tuple[str, ...]] = []
    lines: dict[str, list[tuple[float, float]]] = {"p50": [], "p99": [], "p99.9": []}
    with cluster_of(3, 2) as cluster:
        plan = Plan("mixed", keys=effort.keys)
        fill(cluster, plan)
        most = measured(cluster, plan, seconds=effort.seconds).per_s
        for share in SHARES[1::2] if effort.quick else SHARES:
            note(f"latency: {share:.0%} of {most:,.0f} a second")
            found = measured(
                cluster,
                plan,
                seconds=effort.seconds,
                connections=256,
                rate=share * most,
            )
            times = percentiles_ms(found.latencies, (0.5, 0.99, 0.999))
            for line, time_ms in zip(lines.values(), times, strict=True):
                line.append((share * most, time_ms))
            told = (f"{each:,.1f}" for each in times)
            rows.append((f"{share:.0%}", f"{share * most:,.0f}", *told, found.errors))
    axes = Axes("Latency by offered load", "requests a second", "ms", logarithmic=True)
    draw(effort.charts / "latency.svg", axes, lines)
    said = (
        "Three nodes, two copies, half puts, half gets; requests are due at a fixed"
        f" pace, and the time of each counts from then. The most, {most:,.0f} a second,"
        " is what 64 connections get that send as soon as they are answered.\n\n"
    )
    heads = ("of the most", "a second", "p50 ms", "p99 ms", "p99.9 ms", "errors")
    chart = f"\n\n![Latency by offered load]({effort.charts.name}/latency.svg)"
    return said + table(heads, rows) + chart


def kill(effort: Effort) -> str:
    """Measure latencies over a minute in which a node is killed and comes back."""
    rows: list[tuple[str, ...]] = []
    minute = 18.0 if effort.quick else 60.0
    with cluster_of(3, 2) as cluster:
        plan = Plan("mixed", keys=effort.keys)
        fill(cluster, plan)
        most = measured(cluster, plan, seconds=effort.seconds).per_s
        pool = load.requests_of(plan)
        for victim in (None, cluster.coordinator()):
            note(f"kill: {victim.name if victim else 'nobody'}")
            drive = loader.Drive(
                endpoints(cluster),
                connections=MANY,
                rate=most / 2,
                seconds=minute if victim else 2 * effort.seconds,
                again=True,
            )
            harm = threading.Thread(target=_harm, args=(cluster, victim, minute))
            harm.start()
            tally = loader.run(pool, drive)
            harm.join()
            found = Measured(tally, 0.0)
            late = f"{found.latencies.above(0.1):,} of {found.latencies.count:,}"
            times = found.percentiles(0.5, 0.99, 0.999, 1)
            who = "the coordinator" if victim else "nobody"
            rows.append((who, *times, late, found.errors))
    said = (
        f"Three nodes, two copies, half puts, half gets at half of the most"
        f" ({most / 2:,.0f} a second) for {minute:.0f} s, less where nobody is killed;"
        " the node that coordinates, which leads shards as well, is killed (-9) after a"
        " sixth of that, and started again after a third. A request whose connection"
        " is lost goes to another node at once, and its time counts from when it was"
        " due. What takes long is what the killed node led, or had a copy of: it waits"
        " for the failover. 504: a put without an idempotency key was under way to the"
        " killed node, and may be done or not.\n\n"
    )
    heads = ("killed", "p50 ms", "p99 ms", "p99.9 ms", "most ms", "over 100 ms")
    return said + table((*heads, "errors"), rows)


def _harm(cluster: Cluster, victim: Node | None, minute: float) -> None:
    """Kill a node and start it again, if it is given."""
    if victim is not None:
        time.sleep(minute / 6)
        victim.kill()
        time.sleep(minute / 6)
        cluster.restart(victim.name)


COMPANY = (
    ("nothing", None),
    ("puts of 16 MiB", Plan("put", 16 << 20, 4)),
    ("gets of 16 MiB", Plan("get", 16 << 20, 4)),
    ("bulks of 10,000 puts", Plan("bulk", keys=20_000, batch=10_000)),
    ("bulks of 10,000 gets", Plan("bulk-get", keys=20_000, batch=10_000)),
)
"""What is done beside small reads, by two clients each time."""

READS_PER_S = 200.0


def beside(effort: Effort) -> str:
    """Measure small reads while large values and long bulk requests are served."""
    rows = []
    with cluster_of(3, 2) as cluster:
        fill(cluster, Plan("put", keys=20_000))
        for name, plan in COMPANY:
            note(f"beside: {name}")
            before = stalls(cluster)
            found, others = in_company(cluster, plan, effort.seconds)
            rows.append(_row(name, found, others, stalls(cluster) - before))
    said = (
        f"Three nodes, two copies; {READS_PER_S:.0f} small reads a second, due at that"
        " pace, and beside them two clients that do something else without a pause."
        "\n\n"
    )
    heads = ("beside", "of that a second", "p50 ms", "p99 ms", "p99.9 ms", "most ms")
    return said + table((*heads, "over 100 ms", "stalls", "errors"), rows)


def _row(name: str, found: Measured, others: loader.Tally | None, many: int) -> tuple:
    """Spell what small reads took in some company."""
    did = f"{others.operations / others.seconds:,.1f}" if others else ""
    slow = f"{found.latencies.above(0.1)} of {found.latencies.count:,}"
    times = found.percentiles(0.5, 0.99, 0.999, 1)
    return (name, did, *times, slow, many, found.errors)


def in_company(
    cluster: Cluster, plan: Plan | None, seconds: float
) -> tuple[Measured, loader.Tally | None]:
    """Measure small reads while something else is done.

    Args:
        cluster: filled.
        plan: what else; None for nothing.
        seconds: how long.
    """
    small = Plan("get", keys=20_000)
    paced: dict[str, Any] = {"rate": READS_PER_S, "seconds": seconds}
    if plan is None:
        return measured(cluster, small, **paced), None
    if plan.workload == "get":
        load.fill(Client(endpoints(cluster)), plan)
    drive = loader.Drive(endpoints(cluster), connections=2, seconds=seconds + 1.5)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        others = executor.submit(loader.run, load.requests_of(plan), drive)
        found = measured(cluster, small, **paced)
        return found, others.result()


def stalls(cluster: Cluster) -> int:
    """Count the stalls of all reactors since they began."""
    return sum(
        int(metric(each, "torua_node_reactor_stalls_total"))
        for each in cluster.running()
    )


OVERLOADS = (
    ("mixed requests", Plan("mixed"), 64, 900),
    ("bulks of 400 puts", Plan("bulk", batch=400), 16, 300),
)
"""What is asked, by how many connections for the most that can be had, and by how many
when ten times of that is."""

TIMES = 10
PATIENCE_S = 0.1


def overload(effort: Effort) -> str:
    """Measure what is done while ten times what can be done is asked."""
    rows = []
    with cluster_of(3, 2) as cluster:
        for name, plan, usual, many in OVERLOADS:
            fill(cluster, plan)
            note(f"overload: {name}, the most")
            most = measured(cluster, plan, seconds=effort.seconds, connections=usual)
            rate = TIMES * most.per_s / load.requests_of(plan)[0].operations
            note(f"overload: {name}, {rate:,.0f} requests a second")
            with Watch(cluster) as watch:
                found = measured(
                    cluster,
                    plan,
                    seconds=2 * effort.seconds,
                    connections=many,
                    rate=rate,
                    patience_s=PATIENCE_S,
                )
            note(f"overload: {name}, after")
            after = measured(cluster, plan, seconds=effort.seconds, connections=usual)
            loads = (most, found, after)
            rows.append(_overload_row(name, loads, 2 * effort.seconds, watch))
    said = (
        "Three nodes, two copies. *Good* is what is answered within 1 s of when it was"
        f" due; {TIMES} times the most that 64 connections (16 for bulk) get is"
        " offered at a fixed pace by 900 (300), and then the first load again. What"
        " finds no free connection within 0.1 s is not sent. The share of a processor's"
        " second is what is done in it, good or late, by what the first load gets in"
        " one: other work on the machine does not change it by much.\n\n"
    )
    heads = ("what", "the most a second", "good while overloaded", "right after")
    heads = (*heads, "of a processor's second")
    more = ("p99 ms of good ones", "429", "with Retry-After", "MiB before", "most MiB")
    more = (*more, "generator's processors", "other errors")
    return said + table((*heads, *more), rows)


def _overload_row(
    name: str,
    loads: tuple[Measured, Measured, Measured],
    seconds: float,
    watch: "Watch",
) -> tuple[str, ...]:
    """Spell what became of an overload.

    Args:
        name: of what was asked.
        loads: the most that can be done, the overload, and the first again.
        seconds: how long more was offered; what is refused may be told so later.
        watch: what was seen from aside meanwhile.
    """
    most, found, after = loads
    good = sum(many for at, many in found.tally.good.items() if at < seconds) / seconds
    errors = dict(found.tally.errors)
    refused = errors.pop("429", 0)
    others = ", ".join(f"{many:,} x {what}" for what, many in errors.items()) or "0"
    return (
        name,
        f"{most.per_s:,.0f}",
        f"{good:,.0f} ({good / most.per_s:.0%})",
        f"{after.per_s:,.0f} ({after.per_s / most.per_s:.0%})",
        f"{found.per_cpu_s / most.per_cpu_s:.0%}",
        *found.percentiles(0.99),
        f"{refused:,}",
        "all" if found.tally.advised == refused else f"{found.tally.advised:,}",
        f"{watch.before_mib:,.0f}",
        f"{watch.most_mib:,.0f}",
        f"{found.tally.cpu_s / found.tally.seconds:.2f}",
        others,
    )


class Watch:
    """Looks at the memory of a cluster while it is overloaded.

    Invariants: the thread runs from entering to leaving.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Prepare to look."""
        self._nodes = cluster.running()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.before_mib = self.most_mib = memory_mib(self._nodes)

    def __enter__(self) -> "Watch":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join(30)

    def _look(self) -> None:
        """Note the most, now and then."""
        while not self._ended.wait(0.2):
            self.most_mib = max(self.most_mib, memory_mib(self._nodes))
