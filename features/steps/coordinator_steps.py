"""Steps: the coordinator dies, a majority is stopped, all die at once."""

import signal
import time

from behave import given, then, when
from cluster import eventually, key_path
from keys import Writers

SLOW_S = 2.0
"""A shard on a live node may feel the election, but not stop for it."""


@given("clients that go on reading and writing keys of all shards")
def background_by_shard(context):
    """One client for each shard, through the nodes that will live."""
    cluster = context.cluster
    coordinator = cluster.coordinator()
    live = [node for node in cluster.running() if node is not coordinator]
    shards = live[0].json("/shards")
    context.primaries = {f"shard {each['shard']}": each["primary"] for each in shards}
    context.writers = Writers(cluster, live)
    context.closing.append(context.writers.stop)
    for each in shards:
        keys = [key for key, at in context.shard_of.items() if at == each["shard"]]
        context.writers.start(f"shard {each['shard']}", keys, timeout_ms=1000)


@given("clients that go on writing new keys")
def background_new_keys(context):
    """Three clients, through all nodes; then wait until they are at work."""
    cluster = context.cluster
    context.writers = Writers(cluster, cluster.running())
    context.closing.append(context.writers.stop)
    for number in range(3):
        name = f"writer-{number}"
        context.writers.start(name, [f"{name}/{turn}" for turn in range(100_000)])
    eventually(lambda: len(cluster.written) > 300, 30, "300 keys are acknowledged")


@when("the coordinator is killed")
def kill_coordinator(context):
    """Let the clients work first; remember when it happened."""
    writers = context.writers
    eventually(lambda: min(writers.done.values()) > 20, 30, "all shards are written")
    context.killed = context.cluster.coordinator()
    context.killed.kill()
    context.killed_at = time.monotonic()


@then("the others agree on another coordinator within {seconds:d} seconds")
def another_coordinator(context, seconds):
    """Ask them until they do; print how long it took since the kill."""
    others = context.cluster.running()

    def agreed():
        names = {node.json("/health")["coordinator"] for node in others}
        return len(names) == 1 and not names & {None, context.killed.name}

    left = context.killed_at + seconds - time.monotonic()
    eventually(agreed, left, "the others agree on another coordinator")
    print(f"another coordinator after {time.monotonic() - context.killed_at:.2f} s")


@then("keys of the shards on live nodes were served all the time")
def served_meanwhile(context):
    """Stop the clients; those of live shards saw no error and no long wait."""
    writers = context.writers
    before = dict(writers.done)
    eventually(
        lambda: all(
            writers.done[name] > before[name] + 20
            for name, primary in context.primaries.items()
            if primary != context.killed.name
        ),
        10,
        "clients of live shards go on",
    )
    writers.stop()
    for name, primary in context.primaries.items():
        print(
            f"{name} on {primary}: {writers.done[name]} writes,"
            f" {len(writers.failures[name])} failed,"
            f" slowest {writers.slowest_s[name] * 1000:.0f} ms"
        )
        if primary != context.killed.name:
            assert not writers.failures[name], writers.failures[name][:5]
            assert writers.slowest_s[name] < SLOW_S


@when("the two others than {name} are stopped with SIGSTOP")
def stop_others(context, name):
    """Remember which keys are theirs."""
    cluster = context.cluster
    primaries = {
        each["shard"]: each["primary"] for each in cluster.any().json("/shards")
    }
    context.their_keys = [
        key for key, shard in context.shard_of.items() if primaries[shard] != name
    ]
    context.stopped = [node for node in cluster.running() if node.name != name]
    for node in context.stopped:
        node.signal(signal.SIGSTOP)


@then("within {seconds:d} seconds {name} has no coordinator")
def no_coordinator(context, seconds, name):
    """Ask it until it says so."""
    node = context.cluster.nodes[name]
    took = eventually(
        lambda: node.json("/health")["coordinator"] is None,
        seconds,
        f"{name} has no coordinator",
    )
    print(f"no coordinator after {took:.2f} s")
    assert node.json("/health")["status"] == "red"
    assert node.json("/cluster/info")["coordinator"] is None


@then("{name} is not ready, and says why")
def not_ready(context, name):
    """Expect a 503 with a sentence."""
    answer = context.cluster.nodes[name].ask("GET", "/ready")
    assert answer.status == 503, answer.status
    print(f"not ready: {answer.json()['detail']}")
    assert answer.json()["detail"]


@then("{name} answers for the keys of the others with an error, not with silence")
def refuses(context, name):
    """Ask with a deadline; 503 for nothing done, 504 for an unknown outcome."""
    node = context.cluster.nodes[name]
    for key in context.their_keys[:3]:
        for method in ("GET", "PUT"):
            began = time.monotonic()
            target = f"{key_path(key)}?timeout_ms=2000"
            answer = node.ask(method, target, b"lost" if method == "PUT" else None)
            assert answer.status in {503, 504}, (method, answer.status, answer.data)
            assert time.monotonic() - began < 5
            if method == "PUT":
                context.cluster.maybe.setdefault(key, set()).add(b"lost")


@when("they go on with SIGCONT")
def go_on(context):
    """Let the stopped ones run again."""
    for node in context.stopped:
        node.signal(signal.SIGCONT)


@when("all nodes are killed at once")
def kill_all(context):
    """SIGKILL to each before waiting for any; then no client is left."""
    cluster = context.cluster
    context.cluster_id = cluster.any().json("/cluster/info")["cluster_id"]
    running = cluster.running()
    for node in running:
        node.signal(signal.SIGKILL)
    for node in running:
        node.kill()
    context.writers.stop()
    print(f"{len(cluster.written)} keys were acknowledged")


@when("all nodes are started again without any seed")
def restart_all(context):
    """On their old data dirs and ports, without ``--join``."""
    context.cluster.restart()
    context.cluster.wait_until_ready()


@then("it is the same cluster as before")
def same_cluster(context):
    """Compare the cluster id on all nodes."""
    assert context.cluster_id
    for node in context.cluster.running():
        assert node.json("/cluster/info")["cluster_id"] == context.cluster_id
