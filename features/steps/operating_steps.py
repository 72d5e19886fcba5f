"""Steps: a cluster is operated while clients use it."""

import json
import re
import shutil
import signal
import threading
import time

import urllib3
from behave import given, then, when
from cluster import START_S, STOP_S, eventually, key_path, run_torua
from keys import check_all
from patient import Patient
from up_steps import cluster_file

CLIENTS = 4
REST_S = 240.0
MARGIN = 1.1
"""Of bytes that move, of those that have to."""


def use(context, endpoints, **how):
    """Have clients at work, until the end of the scenario at the latest."""
    context.patient = Patient(endpoints, **how)
    context.closing.append(context.patient.stop)
    context.patient.start(CLIENTS)
    eventually(lambda: context.patient.done > 300, 30, "300 requests are answered")


@when("clients with one retry read and write")
def use_local(context):
    """At the nodes of ``torua up``."""
    use(context, lambda: list(cluster_file(context)["endpoints"]))


@when('"torua rolling-restart" is run')
def rolling_restart(context):
    """Remember who was which process, and who coordinated."""
    nodes = cluster_file(context)["nodes"]
    context.before = {each["name"]: each["pid"] for each in nodes}
    status = run_torua("nodes", "-o", "json", cwd=context.cluster.root)
    led = [each["name"] for each in json.loads(status.stdout) if each["coordinator"]]
    began = time.monotonic()
    done = run_torua("rolling-restart", cwd=context.cluster.root)
    print(f"{done.stdout.decode()}{time.monotonic() - began:.1f} s")
    assert done.returncode == 0, done
    context.led = led
    context.order = [
        line.split(":")[0]
        for line in done.stdout.decode().splitlines()
        if ": restarted;" in line
    ]


@then("every node has a new process, and the coordinator was the last")
def new_processes(context):
    """The order is what the command said."""
    after = {each["name"]: each["pid"] for each in cluster_file(context)["nodes"]}
    assert sorted(context.order) == sorted(after), context.order
    assert context.order[-1:] == context.led, (context.order, context.led)
    assert not set(after.values()) & set(context.before.values()), after


@then("no client saw a failed request, and no write is lost")
def no_failure(context):
    """Print what they saw."""
    context.patient.stop()
    print(context.patient.report())
    context.patient.check()
    check_all(context.cluster)


@given("{count:d} nodes, with {shards:d} shards of {replicas:d} copies")
def form_with_shards(context, count, shards, replicas):
    """Wait until all are ready."""
    words = ("--shards", str(shards), "--replicas", str(replicas))
    context.cluster.form(count, *words)
    eventually(lambda: at_rest(context), REST_S, "the cluster is at rest")


@given("{count:d} values of {size:d} bytes")
def put_values(context, count, size):
    """By one client, through the nodes in turn."""
    nodes = context.cluster.running()
    for number in range(count):
        node = nodes[number % len(nodes)]
        context.cluster.put(f"value/{number}", number.to_bytes(4) * (size // 4), node)


@given("clients with one retry that use all nodes")
def use_all(context):
    """Those that run, whichever these are."""
    cluster = context.cluster
    use(context, lambda: [each.url for each in cluster.running() if each.about])
    context.watch = Watch(context)
    context.closing.append(context.watch.stop)


class Watch:
    """Sees which copies there are, all the time, and so which were made."""

    def __init__(self, context):
        """Begin."""
        self._context = context
        self._stop = threading.Event()
        self.seen = {}
        self.look()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def look(self):
        """Note every copy, and how many bytes it holds at most."""
        for node in self._context.cluster.running():
            try:
                copies = node.json(f"/nodes/{node.name}/info")["copies"]
            except (AssertionError, urllib3.exceptions.HTTPError, AttributeError):
                continue
            for each in copies:
                held = self.seen.get(each["alloc_id"], 0)
                self.seen[each["alloc_id"]] = max(held, each["bytes"] or 0)

    def stop(self):
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self):
        """Look again and again."""
        while not self._stop.wait(0.2):
            self.look()


def at_rest(context):
    """Tell whether all is green and nothing is to be moved."""
    node = context.cluster.any()
    answer = node.ask(
        "POST", "/cluster/rebalance", b"{}", Content_Type="application/json"
    )
    told = answer.json()
    shards = node.json("/shards")
    whole = all(
        shard["state"] == "green" and len(shard["copies"]) == 2 for shard in shards
    )
    return whole and told["even"] and not told["under_way"]


def counts(context):
    """Return how many copies, and how many primaries, each data node has."""
    nodes = [each for each in context.cluster.any().json("/nodes")]
    nodes = [each for each in nodes if each["status"] == "healthy"]
    return {each["name"]: (each["shard_count"], each["primaries"]) for each in nodes}


def rebalance(context, enabled):
    """Have balance sought, or not."""
    words = ("config", "set", f"allocation.rebalance={enabled}")
    done = run_torua("--endpoint", context.cluster.any().url, *words)
    assert done.returncode == 0, done


@when("{count:d} nodes join")
def join(context, count):
    """Begin to balance when all are there, and wait until that rests."""
    cluster = context.cluster
    context.known = dict(context.watch.seen)
    seed = cluster.any().about["cluster"]
    number = len(cluster.nodes)
    new = [cluster.node(f"node-{number + each}") for each in range(1, count + 1)]
    rebalance(context, "false")
    for each in new:
        each.spawn("--join", seed, *cluster.options)
    for each in new:
        each.wait_until_listening()
    eventually(
        lambda: len(counts(context)) == number + count, START_S, "all know the new"
    )
    rebalance(context, "true")
    took = eventually(
        lambda: (
            min(each for each, _ in counts(context).values()) > 1 and at_rest(context)
        ),
        REST_S,
        "balance rests",
    )
    print(f"{count} joined: {took:.1f} s")


@when("{name} leaves and is stopped")
def leave(context, name):
    """By the command, then SIGTERM."""
    node = context.cluster.nodes[name]
    context.known = dict(context.watch.seen)
    context.had = counts(context)[name][0]
    began = time.monotonic()
    done = run_torua("--endpoint", context.cluster.any().url, "nodes", "leave", name)
    print(f"{done.stdout.decode()}{time.monotonic() - began:.1f} s")
    assert done.returncode == 0, done
    node.signal(signal.SIGTERM)
    assert node.process.wait(STOP_S) == 0, node.tail()
    node.about = {}
    eventually(lambda: at_rest(context), REST_S, "balance rests")


def come_to_rest(context, least):
    """Check the balance; note what moved since the last change, and what had to."""
    has = counts(context)
    context.watch.look()
    for number in (0, 1):
        each = [count[number] for count in has.values()]
        assert max(each) - min(each) <= 1, has
    seen, known = context.watch.seen, context.known
    new = [size for alloc, size in seen.items() if alloc not in known]
    mean = sum(seen.values()) / len(seen)
    context.moves.append((sum(new), least * mean))
    print(f"{has}: {len(new)} copies moved, {sum(new)} bytes, of {least} x {mean:.0f}")


@then("the copies are even within one, where {least:d} had to move")
def even_after_join(context, least):
    """The new nodes' share."""
    context.moves = []
    come_to_rest(context, least)


@then("the copies are even within one, where as many had to move as it had")
def even_after_leave(context):
    """The leaver's copies."""
    come_to_rest(context, context.had)


@then("no more than a tenth more bytes moved than had to")
def least_moved(context):
    """In all."""
    moved, least = map(sum, zip(*context.moves, strict=True))
    print(f"{moved / least:.2f} of what had to move")
    assert moved <= MARGIN * least, context.moves


@when("{names} are killed for good")
def kill_for_good(context, names):
    """Their disks are gone, too."""
    context.shards = context.cluster.any().json("/shards")
    context.old = context.cluster.any().json("/cluster/info")["cluster_id"]
    for name in names.split(" and "):
        context.cluster.nodes[name].kill()
        shutil.rmtree(context.cluster.nodes.pop(name).data_dir)


@when("{first}, {second} and {third} are killed")
def kill_three(context, first, second, third):
    """Their disks are not gone."""
    context.shards = context.cluster.any().json("/shards")
    context.old = context.cluster.any().json("/cluster/info")["cluster_id"]
    for name in (first, second, third):
        context.cluster.nodes[name].kill()
    left = context.cluster.running()
    eventually(
        lambda: all(each.json("/health")["coordinator"] is None for each in left),
        START_S,
        "the majority is missed",
    )


def offline(context, name, *words):
    """Run a command on the data dir of a node that is stopped."""
    directory = str(context.cluster.nodes[name].data_dir)
    done = run_torua(*words, "--data-dir", directory)
    print(done.stdout.decode() + done.stderr.decode())
    return done


@when('{name} is stopped, and "torua unsafe-bootstrap" tells what would be lost')
def tell_loss(context, name):
    """Nothing is changed by that."""
    node = context.cluster.nodes[name]
    running = offline(context, name, "unsafe-bootstrap", "--accept-data-loss")
    assert b"in use by process" in running.stderr, running
    node.signal(signal.SIGTERM)
    assert node.process.wait(STOP_S) == 0
    kept = (node.data_dir / "votes").read_bytes()
    told = offline(context, name, "unsafe-bootstrap")
    assert told.returncode == 1, told
    assert b"red: needs force-allocate" in told.stdout, told
    assert b"LOST" in told.stdout, told
    assert (node.data_dir / "votes").read_bytes() == kept


@when('"torua unsafe-bootstrap" is run with the loss accepted')
def bootstrap(context):
    """On the node that is left."""
    begin_anew(context, next(iter(context.cluster.nodes)))


@when('{name} is stopped, and "torua unsafe-bootstrap" is run with the loss accepted')
def stop_and_bootstrap(context, name):
    """Stopped in good order."""
    node = context.cluster.nodes[name]
    node.signal(signal.SIGTERM)
    node.process.wait(STOP_S)
    begin_anew(context, name)


def begin_anew(context, name):
    """Begin a new cluster with one node."""
    done = offline(context, name, "unsafe-bootstrap", "--accept-data-loss")
    assert done.returncode == 0, done
    context.survivors = [name]
    context.new = re.search(r"voter of cluster (\w+)", done.stdout.decode()).group(1)
    assert context.new != context.old


@when("{name} is stopped, and detached to the new cluster")
def detach(context, name):
    """Stopped in good order."""
    node = context.cluster.nodes[name]
    node.signal(signal.SIGTERM)
    node.process.wait(STOP_S)
    words = ("detach", "--cluster", context.new, "--accept-data-loss")
    assert offline(context, name, *words).returncode == 0
    context.survivors.append(name)


@when("{name} is started, and {count:d} new nodes join it")
def start_and_join(context, name, count):
    """Wait until it has a coordinator; itself."""
    cluster = context.cluster
    cluster.restart(name)
    seed = cluster.nodes[name].about["cluster"]
    new = [cluster.node(f"new-{number}") for number in range(count)]
    for each in new:
        each.spawn("--join", seed, *cluster.options)
    for each in new:
        each.wait_until_listening()
    cluster.coordinator()


@when("{first} is started, and {second} joins it")
def start_both(context, first, second):
    """They knew each other before; the seed is said all the same."""
    cluster = context.cluster
    cluster.restart(first)
    node = cluster.nodes[second]
    node.spawn("--join", cluster.nodes[first].about["cluster"], *cluster.options)
    node.wait_until_listening()
    cluster.coordinator()


@when("shards that are red go on with what {name} has")
def force(context, name):
    """By hand, one after the other, once it leads what it can."""
    node = context.cluster.nodes[name]

    def red():
        return [e["shard"] for e in node.json("/shards") if e["state"] == "red"]

    kept = in_sync_on(context)
    missing = [e["shard"] for e in context.shards if e["shard"] not in kept]
    eventually(lambda: red() == missing, START_S, "what can go on does")
    for number in missing:
        words = ("shard", "force-allocate", str(number), "--node", name)
        done = run_torua("--endpoint", node.url, *words, "--accept-data-loss")
        assert done.returncode == 0, done
    print(f"red were: {missing}")


@when("{first} and {second} are removed from the list")
def remove(context, first, second):
    """So that nobody waits for them."""
    url = context.cluster.any().url
    for name in (first, second):
        done = run_torua("--endpoint", url, "nodes", "leave", name)
        assert done.returncode == 0, done


def in_sync_on(context):
    """Return the shards of which a survivor had a copy in sync."""
    return {
        shard["shard"]
        for shard in context.shards
        for copy in shard["copies"]
        if copy["in_sync"] and copy["node"] in context.survivors
    }


@then("the new cluster is whole, and has all that node-1 had in sync")
def whole_again(context):
    """After the copies were made anew."""
    context.cluster.wait_until_ready()
    has_what_survived(context)


@then("the new cluster has all that node-4 and node-5 had in sync")
def all_of_two(context):
    """Shards of which neither had one stay red."""
    node = context.cluster.nodes[context.survivors[0]]
    kept = in_sync_on(context)

    def served():
        return {e["shard"] for e in node.json("/shards") if e["state"] != "red"} == kept

    eventually(served, REST_S, f"shards {kept} are served, the others red")
    has_what_survived(context)


def has_what_survived(context):
    """Get every key of a shard that a survivor had in sync; others may be absent."""
    kept = in_sync_on(context)
    node = context.cluster.nodes[context.survivors[0]]
    found = 0
    for key, value in context.cluster.written.items():
        answer = node.ask("GET", key_path(key))
        if context.shard_of[key] in kept:
            assert (answer.status, answer.data) == (200, value), (key, answer.status)
            found += 1
        else:
            assert answer.status in {404, 503}, (key, answer.status)
    print(f"{found} of {len(context.cluster.written)} keys are there")
    node.ask("PUT", key_path("a/new/key"), b"1")


@then("every node is in one cluster with another id")
def another_id(context):
    """The id that the command told."""
    ids = {e.json("/cluster/info")["cluster_id"] for e in context.cluster.running()}
    assert ids == {context.new}, ids


@when("{first} and {second} come back with their old data")
def come_back(context, first, second):
    """They know the survivors' addresses, and look for them."""
    context.strangers = [context.cluster.nodes[name] for name in (first, second)]
    for each in context.strangers:
        each.spawn(*context.cluster.options)
        each.wait_until_listening()


@then("{first} and {second} are refused, and stay apart")
def apart(context, first, second):
    """The survivors say so once, naming the first that they met."""
    node = context.cluster.nodes[context.survivors[0]]
    eventually(lambda: lines(node), START_S, "a stranger is named")
    assert len(lines(node)) == 1, lines(node)
    listed = {each["name"]: each["status"] for each in node.json("/nodes")}
    assert {listed[first], listed[second]} == {"dead"}, listed
    for each in context.strangers:
        assert each.ask("GET", "/ready").status == 503
        assert each.json("/cluster/info")["cluster_id"] == context.old
        each.kill()


def lines(node):
    """Return what a node says of other clusters."""
    text = node.log.read_text(errors="replace").splitlines()
    return [line for line in text if "another cluster" in line]


@given("{count:d} nodes with 2 copies of each shard, and one that only votes")
def form_with_tiebreaker(context, count):
    """The last one; all wait for all."""
    cluster = context.cluster
    cluster.options = ["--replicas", "2", "--preset", "local"]
    context.voter = f"node-{count + 1}"
    words = ["--bootstrap-expect", str(count + 1), *cluster.options]
    first = cluster.node("node-1")
    first.spawn(*words)
    first.wait_until_listening()
    words += ["--join", first.about["cluster"]]
    for number in range(2, count + 2):
        node = cluster.node(f"node-{number}")
        role = ["--role", "voter"] if node.name == context.voter else []
        node.spawn(*words, *role)
        node.wait_until_listening()
    cluster.wait_until_ready()


@then("the one that only votes has no copies")
def no_copies(context):
    """And is listed with its role."""
    listed = {each["name"]: each for each in context.cluster.any().json("/nodes")}
    voter = listed[context.voter]
    assert (voter["roles"], voter["shard_count"]) == (["voter"], 0), voter
    data = [each for each in listed.values() if each is not voter]
    assert all(each["shard_count"] == 4 for each in data), listed


@when("each of the three is killed in turn, and comes back")
def kill_in_turn(context):
    """Remember how long the others took to serve all keys for writing."""
    cluster = context.cluster
    context.took = {}
    for name in list(cluster.nodes):
        node = cluster.nodes[name]
        node.kill()
        other = cluster.any()

        def writes(other=other):
            return all(
                other.ask("PUT", key_path(key), value, timeout_s=2.0).status == 204
                for key, value in cluster.written.items()
            )

        context.took[name] = eventually(patiently(writes), 30, f"all without {name}")
        role = ["--role", "voter"] if name == context.voter else []
        node.spawn(*cluster.options, *role)
        node.wait_until_listening()
        cluster.wait_until_ready()


def patiently(condition):
    """Take a broken or late answer for a no."""

    def asked():
        try:
            return condition()
        except urllib3.exceptions.HTTPError:
            return False

    return asked


@then("the others served all keys each time, within {seconds:d} seconds of the kill")
def served_each_time(context, seconds):
    """Print how long it took."""
    print({name: f"{took:.1f} s" for name, took in context.took.items()})
    assert max(context.took.values()) < seconds, context.took
    check_all(context.cluster)
