"""What a slow copy and a dead node cost those who ask others."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from faults import FaultyCluster
from rig import Effort, Measured, Node, cluster_of, metric, note, table

from torua.cli import loader
from torua.cli.load import Request, spelled
from torua.core.routing import even_slots, shard_of

LATER_S = 0.2
READS_PER_S = 200.0
CLIENTS = 20
"""So many ask for what a dead node has, again as soon as they are answered."""

CALM_S = 4.0
"""So long after the harm is mended all copies are read again."""


def slow(effort: Effort) -> str:
    """Measure reads while a copy answers late, and while a node is dead."""
    return f"{_slow(effort)}\n\n{_dead(effort)}"


def _slow(effort: Effort) -> str:
    """Measure a session's reads while one of three copies answers late."""
    rows: list[tuple[object, ...]] = []
    with _proxied(4, 3) as cluster:
        shard = cluster.shards()[0]
        copies = {copy["node"] for copy in shard["copies"]}
        (name,) = set(cluster.nodes) - copies
        reader = cluster.nodes[name]
        pool = [_session_read(reader, _key_of(0, len(cluster.shards())))]
        replica = min(copies - {shard["primary"]})
        for who, victim in (("a replica", replica), ("the primary", shard["primary"])):
            for when, seconds in (
                ("before", effort.seconds),
                ("in the first second", 1.0),
                ("from then on", effort.seconds),
            ):
                note(f"slow: {who}, {when}")
                if when == "in the first second":
                    for other in set(cluster.nodes) - {victim}:
                        cluster.proxy.delay(victim, other, LATER_S)
                found = _read(reader, pool, seconds)
                rows.append((who, when, *_told(found)))
            cluster.proxy.heal()
            time.sleep(CALM_S)
    said = (
        f"Four nodes, three copies. One without a copy of a shard is asked for"
        f" {READS_PER_S:.0f} reads a second of a session, due at that pace; from some"
        f" moment on all that one of the copies says arrives {LATER_S * 1000:.0f} ms"
        " later, at every node, by a proxy between them.\n\n"
    )
    heads = ("late is", "when", "p50 ms", "p99 ms", "most ms", "over 100 ms", "errors")
    return said + table(heads, rows)


def _dead(effort: Effort) -> str:
    """Measure what it costs that many ask for what only a dead node has."""
    seconds = effort.seconds + 3.0
    with cluster_of(3, 1) as cluster:
        shards = cluster.any().json("/shards")
        led = {each["primary"]: each["shard"] for each in shards}
        leader = cluster.coordinator().name
        victim = cluster.nodes[min(set(led) - {leader})]
        reader = next(each for each in cluster.running() if each is not victim)
        other = next(led[name] for name in sorted(led) if name != victim.name)
        alive = _session_read(reader, _key_of(other, len(shards)))
        path = f"/kv/{_key_of(led[victim.name], len(shards))}"
        gone = Request("get", spelled("GET", path))
        note("slow: a node is killed")
        victim.kill()
        before = metric(reader, "torua_net_requests_total")
        drive = loader.Drive((reader.url,), connections=CLIENTS, seconds=seconds)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            asking = executor.submit(loader.run, [gone], drive)
            beside = _read(reader, [alive], seconds)
            asked = asking.result()
        sent = metric(reader, "torua_net_requests_total") - before
        openings = metric(reader, "torua_node_breaker_openings_total")
        began = time.perf_counter()
        reader.ask("GET", path)
        told_ms = (time.perf_counter() - began) * 1000
    said = (
        f"Three nodes, one copy; a node is killed, and {CLIENTS} clients ask another"
        f" for what only it has, for {seconds:.0f} s, again as soon as they are"
        f" answered; beside them {READS_PER_S:.0f} reads a second of what is there.\n\n"
    )
    answers = ", ".join(f"{many:,} x {what}" for what, many in asked.errors.items())
    advised = f"{asked.advised:,}"
    row = (answers, advised, f"{openings:.0f}", f"{sent:,.0f}", f"{told_ms:.1f}")
    heads = ("answers", "with Retry-After", "openings", "messages to other nodes")
    heads = (*heads, "the last answer ms", "reads beside: p50 ms", "p99 ms", "most ms")
    more = ("over 100 ms", "errors")
    return said + table((*heads, *more), [(*row, *_told(beside))])


@contextmanager
def _proxied(nodes: int, replicas: int) -> Iterator[FaultyCluster]:
    """Run a cluster behind a proxy, green.

    Args:
        nodes: how many.
        replicas: copies of each shard.
    """
    cluster = FaultyCluster(proxied=True)
    try:
        cluster.found(nodes, replicas)
        yield cluster
    finally:
        cluster.close(keep=False)


def _key_of(shard: int, total: int) -> str:
    """Return a key of a shard.

    Args:
        shard: which.
        total: how many there are.
    """
    slots = even_slots(total)
    names = (f"slow-{number}" for number in range(100 * total))
    return next(name for name in names if shard_of(slots, name.encode()) == shard)


def _session_read(node: Node, key: str) -> Request:
    """Put a key, and spell the read of who did that."""
    answer = node.ask("PUT", f"/kv/{key}", b"value")
    assert answer.status == 204, (answer.status, answer.data)
    head = spelled("GET", f"/kv/{key}?consistency=session").removesuffix(b"\r\n")
    token = f"Torua-Token: {answer.headers['Torua-Token']}\r\n\r\n"
    return Request("get", head + token.encode())


def _read(node: Node, pool: list[Request], seconds: float) -> Measured:
    """Read at a pace.

    Args:
        node: whom to ask.
        pool: what.
        seconds: how long.
    """
    drive = loader.Drive((node.url,), connections=64, seconds=seconds, rate=READS_PER_S)
    return Measured(loader.run(pool, drive), 0.0)


def _told(found: Measured) -> tuple[object, ...]:
    """Spell what reads took."""
    late = f"{found.latencies.above(LATER_S / 2):,} of {found.latencies.count:,}"
    return (*found.percentiles(0.5, 0.99, 1), late, found.errors)
