"""Steps: some parts are slow or gone, and others are asked."""

import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from behave import then, when
from cluster import eventually, key_path
from harm import with_primaries
from history import keys_of

SLOW_S = 0.1
"""A read on this machine takes a few milliseconds."""

FEW = 8
"""Reads that may find out that a copy is slow, in as many seconds."""


def read(context, seconds):
    """Read one key again and again; return how long each took, and who served it."""
    node, path = context.reader, key_path(context.key)
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        answer = node.ask(
            "GET",
            f"{path}?consistency=session",
            timeout_s=10.0,
            Torua_Token=context.token,
        )
        took_s = time.monotonic() - began
        assert answer.status == 200, (answer.status, answer.data)
        found.append((took_s, answer.headers["Torua-Served-By"]))
        time.sleep(0.005)
    counts = Counter(name for _, name in found)
    slowest = sorted(round(took_s, 3) for took_s, _ in found)[-5:]
    print(len(found), "reads", dict(counts), "slowest", slowest)
    return found


def metric(node, name):
    """Return a metric of a node, all labels together."""
    text = node.ask("GET", "/metrics").data.decode()
    found = re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.M)
    return sum(float(each) for each in found)


@when("a node reads at any copy of a shard that it has no copy of")
def choose(context):
    """Find a shard, a node without a copy of it, and the nodes with one."""
    cluster = context.cluster
    shard = cluster.shards()[0]
    context.shard = shard
    context.copies = {copy["node"] for copy in shard["copies"]}
    (name,) = set(cluster.nodes) - context.copies
    context.reader = cluster.nodes[name]
    total = len(cluster.shards())
    (context.key,) = keys_of([shard["shard"]], "slow", total)
    answer = context.reader.ask("PUT", key_path(context.key), b"value")
    assert answer.status == 204, (answer.status, answer.data)
    context.token = answer.headers["Torua-Token"]


@then("all three copies are read")
def all_read(context):
    """None is forgotten."""
    names = Counter(name for _, name in read(context, 1.0))
    assert set(names) == context.copies, names


@when("what it hears of {copy} comes {delay_ms:d} ms later")
def slow_down(context, copy, delay_ms):
    """Only the way to the node that reads is slow; what the copies do is not."""
    primary = context.shard["primary"]
    context.slow = primary if copy == "the primary" else min(context.copies - {primary})
    delay_s = delay_ms / 1000
    context.cluster.proxy.delay(context.slow, context.reader.name, delay_s)


@then("after a second it reads there seldom, and quickly all the same")
def seldom(context):
    """The second in which it is found out, and then some."""
    read(context, 1.0)
    found = read(context, 5.0)
    there = sum(name == context.slow for _, name in found)
    assert there <= FEW / 2, there
    assert len(found) > 100, len(found)


@then("within {seconds:d} seconds all three copies are read")
def read_again(context, seconds):
    """Each gets its turn again."""

    def all_read() -> bool:
        counts = Counter(name for _, name in read(context, 0.5))
        return len(counts) == 3 and min(counts.values()) > 3

    eventually(all_read, seconds, "all three copies are read")


@when("one of those copies hangs for {seconds:d} seconds, which is not the primary")
def hang_copy(context, seconds):
    """SIGSTOP; read meanwhile; SIGCONT."""
    read(context, 0.5)
    node = context.cluster.nodes[min(context.copies - {context.shard["primary"]})]
    node.signal(signal.SIGSTOP)
    try:
        context.reads = read(context, seconds)
    finally:
        node.signal(signal.SIGCONT)


@then("few reads were slow, and none failed")
def few_slow(context):
    """Those that were, asked the node that hung."""
    slow = [took_s for took_s, _ in context.reads if took_s > SLOW_S]
    assert len(slow) <= FEW, slow
    assert max(took_s for took_s, _ in context.reads) < 3.0


@when("{count:d} clients ask one node for what another has, which is killed")
def ask_the_dead(context, count):
    """Each asks again and again for 8 seconds, however it is answered."""
    node = with_primaries(context)
    context.reader = next(each for each in context.cluster.running() if each != node)
    led = [shard for shard, name in context.old_primaries.items() if name == node.name]
    (context.key,) = keys_of(led[:1], "dead", len(context.old_primaries))
    context.before = metric(context.reader, "torua_net_requests_total")
    node.kill()
    end = time.monotonic() + 8.0

    def client(_):
        """Ask until the end."""
        answers = 0
        while time.monotonic() < end:
            get(context)
            answers += 1
        return answers

    with ThreadPoolExecutor(count) as pool:
        print(sum(pool.map(client, range(count))), "answers")


def get(context):
    """Read the key where only the dead node has it."""
    return context.reader.ask("GET", key_path(context.key), timeout_s=20.0)


@then("it was left alone once, and few requests were sent to it")
def left_alone(context):
    """By the metrics of the node that was asked."""
    openings = metric(context.reader, "torua_node_breaker_openings_total")
    sent = metric(context.reader, "torua_net_requests_total") - context.before
    print(f"{openings} openings, {sent} requests to other nodes")
    assert openings == 1


@then("who asks then is told so within {seconds:d} seconds")
def told(context, seconds):
    """503, and when to come again."""
    began = time.monotonic()
    answer = get(context)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), answer.data
    assert time.monotonic() - began < seconds


@then("within {seconds:d} seconds it is asked again")
def asked_again(context, seconds):
    """The key is absent, and the node says so."""
    eventually(lambda: get(context).status == 404, seconds, "it is asked again")
