"""How much a cluster does: by copies, by nodes, in bulk, by the size of values."""

from collections.abc import Iterator

from rig import Cluster, Effort, Measured, cluster_of, fill, measured, note, table

from torua.cli.load import Plan

HEADS = ("a second", "a processor's second", "p50 ms", "p99 ms", "errors")


def cells(found: Measured) -> tuple[str, ...]:
    """Spell what a load gave, for the columns of `HEADS`."""
    p50, p99 = found.percentiles(0.5, 0.99)
    return (f"{found.per_s:,.0f}", f"{found.per_cpu_s:,.0f}", p50, p99, found.errors)


def copies(effort: Effort) -> str:
    """Measure single requests with two and three copies of each shard."""
    rows = []
    for replicas in (2, 3):
        with cluster_of(3, replicas) as cluster:
            fill(cluster, Plan("put", keys=effort.keys))
            for workload in ("put", "get", "mixed"):
                note(f"copies: {replicas} copies, {workload}")
                plan = Plan(workload, keys=effort.keys)
                found = measured(cluster, plan, seconds=effort.seconds)
                rows.append((workload, replicas, *cells(found)))
    said = "Three nodes, 64 connections, values of 100 bytes.\n\n"
    return said + table(("request", "copies", *HEADS), rows)


def nodes(effort: Effort) -> str:
    """Measure one, three and five nodes."""
    rows = []
    for count in (1, 3) if effort.quick else (1, 3, 5):
        replicas = min(2, count)
        with cluster_of(count, replicas, "--shards", "12") as cluster:
            fill(cluster, Plan("put", keys=effort.keys))
            for workload in ("put", "get", "bulk"):
                note(f"nodes: {count} nodes, {workload}")
                plan = Plan(workload, keys=effort.keys)
                connections = 8 if workload == "bulk" else 64
                found = measured(
                    cluster, plan, seconds=effort.seconds, connections=connections
                )
                rows.append((workload, count, replicas, *cells(found)))
    rows.sort(key=lambda row: ("put get bulk".index(row[0]), row[1]))
    said = (
        "Twelve shards. All nodes and the generator share one machine, so that more"
        " nodes have no more processors: what one second of a processor does tells how"
        " it scales.\n\n"
    )
    return said + table(("request", "nodes", "copies", *HEADS), rows)


def bulk(effort: Effort) -> str:
    """Measure bulk requests, in both formats."""
    rows = []
    with cluster_of(3, 2) as cluster:
        fill(cluster, Plan("put", keys=effort.keys))
        for workload, plan in _bulk_plans(effort):
            note(f"bulk: {workload}, {plan.batch} a request, cbor {plan.cbor}")
            found = measured(cluster, plan, seconds=effort.seconds, connections=8)
            form = "CBOR" if plan.cbor else "JSON"
            rows.append((workload, form, plan.batch, *cells(found)))
    said = (
        "Three nodes, two copies, 8 connections, values of 100 bytes; latencies are"
        " those of whole requests.\n\n"
    )
    return said + table(("operation", "format", "a request", *HEADS), rows)


def _bulk_plans(effort: Effort) -> Iterator[tuple[str, Plan]]:
    """Name what is asked in bulk."""
    for workload, name in (("bulk", "put"), ("bulk-get", "get")):
        for cbor in (False, True):
            for batch in (500,) if effort.quick else (100, 1000):
                plan = Plan(workload, keys=effort.keys, batch=batch, cbor=cbor)
                yield name, plan


def sizes(effort: Effort) -> str:
    """Measure values of 100 bytes to 1 MiB."""
    rows = []
    with cluster_of(3, 2) as cluster:
        few, more = (100, 10_000, 1 << 20), (100, 1_000, 10_000, 100_000, 1 << 20)
        for size in few if effort.quick else more:
            rows += _of_size(cluster, size, effort)
    said = "Three nodes, two copies, 16 connections.\n\n"
    return said + table(("request", "bytes", "MiB a second", *HEADS), rows)


def _of_size(cluster: Cluster, size: int, effort: Effort) -> Iterator[tuple]:
    """Measure values of one size."""
    keys = max(16, min(2000, (64 << 20) // size))
    fill(cluster, Plan("put", size, keys))
    for workload in ("put", "get"):
        note(f"sizes: {size} bytes, {workload}")
        plan = Plan(workload, size, keys)
        found = measured(cluster, plan, seconds=effort.seconds, connections=16)
        volume = found.per_s * size / (1 << 20)
        yield (workload, f"{size:,}", f"{volume:,.1f}", *cells(found))
