"""Steps: nodes and networks fail under clients that remember what they saw."""

import signal
import time

from behave import given, then, when
from cluster import STOP_S, eventually
from copies import check_copies
from harm import SETTLE_S, faulty, wait_until_green, with_primaries
from history import Asked, Load, ask, keys_of
from watchers import Reader, Repeaters

from torua.core.kv import Get, Put


@given("{count:d} nodes, with {copies:d} copies of each shard")
def nodes_with_copies(context, count, copies):
    """With a copy on as many nodes."""
    faulty(context, proxied=False).found(count, copies)


@given("{count:d} nodes behind a proxy, with {copies:d} copies of each shard")
def nodes_behind_proxy(context, count, copies):
    """They reach each other only by what the proxy carries."""
    faulty(context, proxied=True).found(count, copies)


@given("clients that remember what they saw")
def clients(context):
    """Start them, and wait until all shards are written."""
    context.load = Load(context.cluster)
    context.closing.append(context.load.abandon)
    context.load.start()
    context.load.wait_for_answers()


@when("a node with primaries is killed, though not the coordinator")
def kill_primary(context):
    """SIGKILL; then watch for a while."""
    with_primaries(context).kill()
    if context.cluster.replicas > 1:
        time.sleep(SETTLE_S)


@when("a node with primaries is killed, and others take over")
def kill_briefly(context):
    """SIGKILL; go on once all shards answer."""
    with_primaries(context).kill()
    context.load.wait_for_answers(20)


@when("the coordinator is killed, which has primaries")
def kill_coordinating_primary(context):
    """SIGKILL; then watch for a while."""
    with_primaries(context, coordinator=True).kill()
    time.sleep(SETTLE_S)


@then("no shard went without an answered write for longer than {seconds:d} seconds")
@then("no shard went without an answered write for longer than {seconds:d} second")
def gaps(context, seconds):
    """Look at the longest gap of each shard since the harm."""
    longest = context.load.gaps(context.harmed_at)
    print({shard: f"{gap:.2f} s" for shard, gap in longest.items()})
    assert max(longest.values()) <= seconds, longest


@when("the harmed node comes back")
def come_back(context):
    """Start it, and wait until all is green."""
    context.cluster.restart(context.harmed.name)
    wait_until_green(context.cluster)


@then("all that the clients saw has one order, and all copies are equal")
def verify(context):
    """Stop the clients, read everything back, judge, and compare."""
    wait_until_green(context.cluster)
    context.load.wait_for_answers(20)
    context.load.stop()
    print(context.load.verify())
    print(check_copies(context.cluster, context.cluster.replicas))


@when("a node with primaries hangs for {seconds:d} seconds, with clients attached")
def hang(context, seconds):
    """SIGSTOP, requests to it and around it meanwhile, SIGCONT."""
    node, load = with_primaries(context), context.load
    shards = [
        shard for shard, name in context.old_primaries.items() if name == node.name
    ]
    total = len(context.old_primaries)
    keys = list(keys_of(shards, "attached", total))
    others = [each for each in context.cluster.running() if each is not node]
    for key in keys:
        load.attach(Put(key, b"before"), others[0], 2000)
    time.sleep(0.3)
    node.signal(signal.SIGSTOP)
    end = time.monotonic() + seconds
    patience_ms = (seconds + 10) * 1000
    for key in keys:
        load.attach(Put(key, b"of the old term"), node, patience_ms)
        load.attach(Get(key), node, patience_ms)
    time.sleep(seconds / 2)
    for key in keys:
        load.attach(Put(key, b"of the new term"), others[0], 5000)
    time.sleep(1.0)
    for key in keys:
        load.attach(Get(key), node, patience_ms)
    time.sleep(max(0.0, end - time.monotonic()))
    node.signal(signal.SIGCONT)
    time.sleep(2.0)


@when("each node is stopped with SIGTERM and started again, in turn")
def roll(context):
    """Go on with the next when all is green again."""
    cluster = context.cluster
    context.harmed_at, context.exits = time.monotonic(), {}
    for node in cluster.running():
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        status = node.process.wait(2 * STOP_S)
        context.exits[node.name] = (status, time.monotonic() - began)
        cluster.restart(node.name)
        wait_until_green(cluster)
        context.load.wait_for_answers(10)


@then("each exited with 0 within {seconds:d} seconds")
def exited(context, seconds):
    """Look at what was noted."""
    print({name: f"{took:.1f} s" for name, (_, took) in context.exits.items()})
    for name, (status, took) in context.exits.items():
        assert (status, took <= seconds) == (0, True), (name, status, took)


@when("all nodes are killed under load and started again, {times:d} times")
def power_cuts(context, times):
    """SIGKILL to each before waiting for any."""
    cluster = context.cluster
    for _ in range(times):
        for node in cluster.running():
            node.signal(signal.SIGKILL)
        for node in list(cluster.nodes.values()):
            node.process.wait(STOP_S)
        began = time.monotonic()
        cluster.restart()
        wait_until_green(cluster)
        print(f"green {time.monotonic() - began:.1f} s after the start")
        context.load.wait_for_answers(20)


@given("clients that repeat each put under its idempotency key until it is answered")
def repeaters(context):
    """Each has keys of its own, and writes each once."""
    context.repeats = Repeaters(context.cluster)
    context.closing.append(context.repeats.stop)
    context.repeats.start(6)
    eventually(lambda: len(context.repeats.versions) > 100, 20, "100 puts are answered")


@then("each put was applied once, and every repetition is answered the same")
def applied_once(context):
    """Repeat some of them through other nodes; then look at the keys."""
    repeats, cluster = context.repeats, context.cluster
    repeats.stop()
    assert not repeats.wrong, repeats.wrong[:3]
    assert repeats.attempts > len(repeats.versions), "no put needed a repetition"
    nodes = cluster.running()
    for number, (key, version) in enumerate(sorted(repeats.versions.items())[-400:]):
        node = nodes[number % len(nodes)]
        again = ask(Asked(Put(key, key), node, 5000, f"once {key.decode()}"))[0]
        assert again.version == version, (key, version, again)
        found = ask(Asked(Get(key), node, 5000))[0]
        assert found.entry is not None, key
        assert (found.version, found.entry.value) == (version, key), (key, found)
    print(
        f"{len(repeats.versions)} puts in {repeats.attempts} attempts,"
        f" the slowest took {repeats.slowest_s:.2f} s"
    )


@given("a reader of all keys")
def reader(context):
    """It reads each in turn, through all nodes that are listed."""
    context.reader = Reader(context.cluster)
    context.closing.append(context.reader.stop)
    context.reader.start()


@when("a fourth node is told to join them")
def fourth_joins(context):
    """It knows one of them."""
    context.harmed_at = time.monotonic()
    context.harmed = context.cluster.join("node-4")


@then("it is listed within {seconds:d} seconds")
def listed(context, seconds):
    """By all others, as healthy, from when it was started."""
    cluster = context.cluster

    def seen():
        return all(
            {"node-4"}
            <= {
                each["name"]
                for each in node.json("/nodes")
                if each["status"] == "healthy"
            }
            for node in cluster.running()
        )

    left = context.harmed_at + seconds - time.monotonic()
    eventually(seen, left, "node-4 is listed as healthy by all")
    print(f"listed after {time.monotonic() - context.harmed_at:.1f} s")


@then("it holds its share within {seconds:d} seconds")
def share(context, seconds):
    """As many copies as the others, within one; and as many primaries."""
    cluster = context.cluster

    def counts():
        copies = {node.name: 0 for node in cluster.running()}
        primaries = dict(copies)
        for shard in cluster.shards():
            primaries[shard["primary"]] += 1
            for each in shard["copies"]:
                copies[each["node"]] += each["in_sync"]
        return copies, primaries

    def even():
        copies, primaries = counts()
        total = cluster.replicas * sum(primaries.values())
        return sum(copies.values()) == total and all(
            max(each.values()) - min(each.values()) <= 1 for each in (copies, primaries)
        )

    left = context.harmed_at + seconds - time.monotonic()
    eventually(even, left, f"copies and primaries are even: {counts()}", 0.2)
    print(f"even after {time.monotonic() - context.harmed_at:.1f} s: {counts()}")


@then("each key could be read all the time")
def readable(context):
    """No wrong answer, none absent, none later than a second."""
    context.reader.stop()
    took, key = context.reader.slowest
    print(f"{context.reader.count} reads, the slowest took {took:.2f} s ({key})")
    assert not context.reader.wrong, context.reader.wrong
    assert took < 1.0, context.reader.slowest
