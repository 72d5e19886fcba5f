"""What a cluster takes: memory by keys, time to start, time to recover by its log."""

import signal
import time

from rig import Cluster, Effort, cluster_of, eventually, fill, memory_mib, note, table

from torua.cli.load import Plan

WITHIN_S = 120.0


def memory(effort: Effort) -> str:
    """Measure memory by the number of keys, and how soon a node starts with them."""
    counts = (50_000,) if effort.quick else (100_000, 400_000)
    rows = []
    with cluster_of(3, 2) as cluster:
        began = memory_mib(cluster.running())
        rows.append(("0", f"{began:,.0f}", "", *started(cluster)))
        for count in counts:
            note(f"memory: {count} keys")
            fill(cluster, Plan("put", keys=count))
            held = memory_mib(cluster.running())
            per_million = (held - began) / count * 1e6
            rows.append(
                (f"{count:,}", f"{held:,.0f}", f"{per_million:,.0f}", *started(cluster))
            )
    said = (
        "Three nodes, two copies, keys of 14 bytes and values of 100; memory is that"
        " of all three nodes, resident, right after the keys were put; it holds what"
        " of the log and of the maps is kept for speed, and is bounded. *Stopped* is"
        " after SIGTERM to all; then all are started, until all is green.\n\n"
    )
    heads = ("keys", "MiB", "MiB a million keys", "stopped s", "green s", "MiB then")
    return said + table(heads, rows)


def started(cluster: Cluster) -> tuple[str, str, str]:
    """Stop and start all nodes; spell how long each took, and what they take then."""
    stopped_s = ended(cluster, signal.SIGTERM)
    green_s = up(cluster)
    held = memory_mib(cluster.running())
    return f"{stopped_s:.1f}", f"{green_s:.1f}", f"{held:,.0f}"


def ended(cluster: Cluster, number: signal.Signals) -> float:
    """End all nodes by a signal, at once; return how many seconds it took."""
    nodes = cluster.running()
    began = time.monotonic()
    for each in nodes:
        each.signal(number)
    for each in nodes:
        each.process.wait(30)
    return time.monotonic() - began


def up(cluster: Cluster) -> float:
    """Start all nodes; return how many seconds passed until all is green."""
    began = time.monotonic()
    cluster.restart()
    for each in cluster.running():
        eventually(each.green, WITHIN_S, f"{each.name} is green")
    return time.monotonic() - began


def recovery(effort: Effort) -> str:
    """Measure how long a killed cluster takes to be green, by what was written."""
    rows = []
    written = 0
    with cluster_of(3, 2) as cluster:
        for mib in (0, 64) if effort.quick else (0, 32, 128, 512):
            note(f"recovery: {mib} MiB")
            keys = ((mib << 20) - written) // 10_000
            if keys:
                fill(cluster, Plan("put", 10_000, keys))
                written = mib << 20
            ended(cluster, signal.SIGKILL)
            rows.append((mib, f"{up(cluster):.1f}"))
    said = (
        "Three nodes, two copies, values of 10,000 bytes. All nodes are killed (-9) at"
        " once after so much was written, and started again; a log keeps up to 256"
        " MiB. Of each time some seconds are the start of Python and the election.\n\n"
    )
    return said + table(("MiB written", "green after s"), rows)
