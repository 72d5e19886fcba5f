"""Steps: graphs are loaded and written while nodes and their workers fail."""

import signal
import threading
import time

from behave import given, then, when
from cluster import START_S, eventually
from copies import check_copies
from graphs import (
    MARKS,
    Beside,
    Counters,
    Writers,
    check_network,
    cypher,
    define,
    files_of,
    import_file,
    rows,
    workers,
)
from harm import wait_until_green, with_primaries
from views import check_views

from tests.graph import network

STORAGE, QUERY = "torua.storage.worker", "torua.storage.query_worker"
"""What stands in the command lines of worker processes."""

HARMFUL = (
    "RETURN size(range(1, 1000000000))",
    "MATCH (a:Mark), (b:Mark), (c:Mark), (d:Mark), (e:Mark), (f:Mark), (g:Mark),"
    " (h:Mark), (i:Mark), (j:Mark), (k:Mark), (l:Mark)"
    " RETURN count(a.v+b.v+c.v+d.v+e.v+f.v+g.v+h.v+i.v+j.v+k.v+l.v)",
    "RETURN rels(NULL)",
    "MATCH (n:Mark) RETURN properties(NULL, 'id')",
    "UNWIND range(1, 100000000) AS x RETURN collect(x)",
)
LIMIT_MS = 5000
IMPORTING_TRIES = 20
COUNTING_S = 5.0
BESIDE_S = 2.0
"""What reads of keys may take meanwhile, all but one in a hundred."""


@given("clients that write nodes and relationships")
def writers(context):
    """Define their tables, start them, and wait until they are answered."""
    define(context.cluster.any(), MARKS)
    context.writers = Writers(context.cluster)
    context.closing.append(context.writers.abandon)
    context.writers.start()
    context.writers.wait_for_answers(40)


@when("the sample network is loaded")
def load_sample(context):
    """Each file at another node."""
    define(context.cluster.any(), tuple(network.ddl()))
    nodes = context.cluster.running()
    for turn, (table, path, more) in enumerate(files_of(network.SAMPLE)):
        report = import_file(nodes[turn % len(nodes)], table, path, more)
        assert not report.get("errors"), (path.name, report)


@when("the sample network is loaded, and a node is killed meanwhile")
def load_while_killing(context):
    """Each file is imported anew, under its name, until it is in."""
    cluster = context.cluster
    define(cluster.any(), tuple(network.ddl()))
    victim = with_primaries(context)
    threading.Timer(0.4, victim.kill).start()
    for table, path, more in files_of(network.SAMPLE):
        import_again(cluster, table, path, f"{more}&import_id={path.stem}")
    eventually(lambda: not victim.runs, START_S, "the victim is dead")


def import_again(cluster, table, path, more):
    """Import a file, again and again while it fails."""
    for _ in range(IMPORTING_TRIES):
        try:
            import_file(cluster.any(), table, path, more)
        except Exception as error:
            last = error
            time.sleep(0.5)
        else:
            return
    raise last


@then("every node shows all tables as they are in the files")
def shows_all(context):
    """Asked by Cypher, at each node."""
    wait_until_green(context.cluster)
    for node in context.cluster.running():
        print(node.name, check_network(node, network.SAMPLE))


@then("all that the clients wrote is there")
def all_written(context):
    """Stop them; compare what each node shows with what may be."""
    wait_until_green(context.cluster)
    context.writers.wait_for_answers(20)
    context.writers.stop()
    for node in context.cluster.running():
        print(node.name, context.writers.check(node))


@then("all copies are equal, and each graph is what its map says")
def copies_equal(context):
    """Maps row by row, and engines beside maps."""
    print(check_copies(context.cluster, context.cluster.replicas))
    print(check_views(context.cluster))


@when("the storage worker of each node is killed in turn")
def kill_storage_workers(context):
    """Each is replaced, and writes go on."""
    kill_workers(context, STORAGE)


@when("the query workers of each node are killed in turn")
def kill_query_workers(context):
    """Each is replaced, and writes go on."""
    kill_workers(context, QUERY)


def kill_workers(context, kind):
    """Kill the workers of a kind, node by node."""
    for node in context.cluster.running():
        found = workers(node, kind)
        assert found, f"{node.name} has no {kind}"
        for each in found:
            each.send_signal(signal.SIGKILL)
        context.writers.wait_for_answers(20)


@when("statements run that take all memory, all time, or crash the engine")
def harmful(context):
    """One after the other at one node; remember how each ended, and when."""
    node = context.cluster.any()
    context.ends = []
    node.ask("PUT", "/kv/beside", b"x")
    with Beside(node) as beside:
        for text in HARMFUL:
            began = time.monotonic()
            reply = cypher(node, text, timeout_ms=LIMIT_MS)
            context.ends.append((text, reply, time.monotonic() - began))
            context.writers.wait_for_answers(5)
    context.beside = beside


@then("each was answered with an error within its limits")
def refused(context):
    """No 500, and not much later than asked; others go on."""
    for text, reply, took_s in context.ends:
        print(f"{took_s:.1f} s {reply.detail}: {text}")
        assert reply.status in (413, 422, 503, 504), (text, reply)
        assert took_s < LIMIT_MS / 1000 + 3, (text, took_s)
    assert rows(context.cluster.any(), "RETURN 1") == [[1]]
    print(context.beside.told())
    assert context.beside.quantile(0.99) < BESIDE_S


@when("nodes and workers are killed for {seconds:d} seconds")
def kill_all_kinds(context, seconds):
    """In turn, each back before the next."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        kill_workers(context, STORAGE)
        kill_workers(context, QUERY)
        victim = with_primaries(context)
        victim.kill()
        context.writers.wait_for_answers(20)
        context.cluster.restart(victim.name)
        wait_until_green(context.cluster)


@when("{count:d} clients count in one node, and make one another's nodes")
def count_together(context, count):
    """Each turn at another node; remember how often it was done, and how often not."""
    cluster = context.cluster
    define(cluster.any(), MARKS)
    rows(cluster.any(), "CREATE (:Mark {id: 0, v: 0})")
    context.counted = Counters(cluster, count)
    context.counted.run(COUNTING_S)


@then("what was counted is what was answered, and nothing was made twice")
def counted_right(context):
    """At every node."""
    for node in context.cluster.running():
        print(node.name, context.counted.check(node))
