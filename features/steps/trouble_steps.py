"""Steps: what users do wrong, what disks and strangers do."""

import random
import shlex
import socket
import struct
import subprocess
import time
from contextlib import suppress

import psutil
from behave import given, then, when
from cluster import START_S, clean_environment, eventually, node_command
from keys import check_all

HUGE = 100 * 1000 * 1000
MEMORY_SPARE = 40 << 20


def run_wrong(context, *words):
    """Run a node that is expected to end by itself; keep what it says."""
    defaults = {
        "--data-dir": str(context.cluster.root / "wrong"),
        "--http": "127.0.0.1:0",
        "--cluster": "127.0.0.1:0",
    }
    given_names = set(words[::2])
    options = [
        part
        for name, value in defaults.items()
        if name not in given_names
        for part in (name, value)
    ]
    context.ended = subprocess.run(
        node_command([*options, *words]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=START_S,
        env=clean_environment(),
        cwd=context.cluster.root,
        check=False,
    )
    print(context.ended.stderr.decode(errors="replace"))


@when('a node is started with "{options}"')
def start_wrong(context, options):
    """Start it and wait for its end."""
    run_wrong(context, *shlex.split(options))


def check_one_line(context, words):
    """Expect an exit status other than 0 and one line that holds some words."""
    assert context.ended.returncode != 0, context.ended
    lines = context.ended.stderr.decode().strip().splitlines()
    assert len(lines) == 1, lines
    assert words in lines[0], (words, lines)


@then('it ends with an error, saying "{words}" in one line')
def says(context, words):
    """Look at standard error and the exit status."""
    check_one_line(context, words)


@given("a program that holds a {kind} port")
def hold_port(context, kind):
    """Bind it in this very process."""
    udp = kind.endswith("UDP")
    holder = socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    holder.bind(("127.0.0.1", 0))
    if not udp:
        holder.listen()
    context.closing.append(holder.close)
    context.port = holder.getsockname()[1]


@when("a node is started on that {kind} port")
def start_on_port(context, kind):
    """Start it and wait for its end."""
    option = "--http" if kind == "HTTP" else "--cluster"
    run_wrong(context, option, f"127.0.0.1:{context.port}")


@then("it ends with an error, naming the port, in one line")
def names_port(context):
    """Look at standard error and the exit status."""
    check_one_line(context, str(context.port))


@when("another node is started on its data dir")
def start_on_same_dir(context):
    """Start it and wait for its end."""
    run_wrong(context, "--data-dir", str(context.cluster.any().data_dir))


@then("it ends with an error, naming the data dir, in one line")
def names_dir(context):
    """Look at standard error and the exit status."""
    check_one_line(context, str(context.cluster.any().data_dir))


@then("the first node serves on")
def serves_on(context):
    """Put and get a key."""
    context.cluster.put("still", b"here")
    check_all(context.cluster)


def kept_file(node, what):
    """Return the file of a data dir that a scenario means."""
    patterns = {"the log": "log/**/*", "a map": "shards/**/map.db"}
    found = [
        path
        for path in node.data_dir.glob(patterns.get(what, what))
        if path.is_file() and path.stat().st_size
    ]
    return max(found, key=lambda path: len(path.read_bytes().rstrip(b"\0")))


@when("a bit of {what} flips")
def flip(context, what):
    """In the middle of what is not zero."""
    path = kept_file(context.cluster.nodes["node-1"], what)
    data = bytearray(path.read_bytes())
    middle = len(bytes(data).rstrip(b"\0")) // 2
    data[middle] ^= 0x10
    path.write_bytes(data)
    context.damaged = path
    print(f"flipped a bit at {middle} of {path.name} ({len(data)} bytes)")


@when("{name} is started again")
def start_again(context, name):
    """Start it, and wait until it listens or ends."""
    node = context.cluster.nodes[name]
    context.damaged_log_from = node.log.stat().st_size
    node.spawn()
    ready = node.data_dir / "node.json"

    def decided():
        if not node.runs:
            return True
        told = ready.read_text() if ready.exists() else ""
        return f'"pid":{node.process.pid}' in told.replace(" ", "")

    eventually(decided, START_S, f"{name} listens or ends")


@then("it refuses to start, naming {what}, or says what is lost, or serves all keys")
def refuses_or_serves(context, what):
    """Where it runs, nothing acknowledged may be missing but what it calls lost."""
    node = context.cluster.nodes["node-1"]
    if node.runs:
        node.wait_until_listening()

        def decided():
            health = node.json("/health")
            lost = "no other copy has all" in str(health["reasons"])
            red = health["status"] == "red" and lost
            return red or (node.ready() and health["status"] == "green")

        eventually(decided, START_S, "it is healthy, or says what is damaged")
        red = node.json("/health")["status"] == "red"
        check_all(context.cluster, or_refused=red)
        print(f"it serves every acknowledged key{' or says that it is lost' * red}")
        return
    said = node.log.read_bytes()[context.damaged_log_from :].decode(errors="replace")
    print(said)
    assert node.process.returncode != 0
    assert context.damaged.name in said or context.damaged.parent.name in said, said
    assert "Traceback" not in said, said


@when("garbage is sent to the cluster ports of {name}, by UDP and by TCP")
def send_garbage(context, name):
    """Datagrams and connections of many kinds, from a seed."""
    node = context.cluster.nodes[name]
    context.drops = node.drops()
    dice = random.Random(7)
    address = ("127.0.0.1", node.cluster_port)
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        for size in (0, 1, 7, 64, 500, 1400, 9000, 60000):
            for _ in range(10):
                sender.sendto(dice.randbytes(size), address)
    texts = (b"GET / HTTP/1.1\r\nHost: torua\r\n\r\n", b"\0" * 64, b"\xff" * 4096)
    for text in (*texts, *(dice.randbytes(1 << power) for power in range(0, 16, 3))):
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(text)
    with socket.create_connection(address, timeout=5):
        pass


@then("{name} has counted what it dropped")
def counted(context, name):
    """Compare its counters of drops with before."""
    node, before = context.cluster.nodes[name], context.drops
    eventually(lambda: node.drops() - before, 10, f"{name} counts what it dropped")
    print(f"{name} dropped: {dict(node.drops() - before)}")


@when("a frame header of 100 MB is sent to the TCP port of {name}")
def send_huge_header(context, name):
    """Bare, as a peer, and as an exchange; then as much as it takes of the body."""
    node = context.cluster.nodes[name]
    context.drops = node.drops()
    context.memory = psutil.Process(node.process.pid).memory_info().rss
    address = ("127.0.0.1", node.cluster_port)
    header = struct.pack(">IBBII", HUGE, 0, 1, 1, 0)
    context.connections = []
    for preamble in (b"", b"torua\0P1", b"torua\0X1"):
        connection = socket.create_connection(address, timeout=10)
        context.closing.append(connection.close)
        context.connections.append(connection)
        with suppress(ConnectionError):
            connection.sendall(preamble + header + bytes(1000))


@then("{name} closes those connections, has counted them, and holds no such memory")
def closed(context, name):
    """Read each to its end; look at the process."""
    node = context.cluster.nodes[name]
    for connection in context.connections:
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    eventually(
        lambda: (node.drops() - context.drops).total() >= len(context.connections),
        10,
        f"{name} counts each connection",
    )
    print(f"{name} dropped: {dict(node.drops() - context.drops)}")
    memory = psutil.Process(node.process.pid).memory_info().rss
    assert memory < context.memory + MEMORY_SPARE, (context.memory, memory)


@when('a node of the cluster "{label}" is told to join them')
def start_stranger(context, label):
    """It waits for a cluster, for ever."""
    cluster = context.cluster
    target = cluster.any()
    context.drops = target.drops()
    context.stranger = cluster.node("stranger")
    context.stranger.spawn("--cluster-name", label, "--join", target.about["cluster"])
    context.stranger.wait_until_listening()


@given("{count:d} nodes that share a secret")
def form_with_secret(context, count):
    """The secret is a file, as long as it must be."""
    secret = context.cluster.root / "secret"
    secret.write_text("only for members of this cluster")
    context.cluster.form(count, "--cluster-secret", str(secret))


@when("a node without that secret is told to join them")
def start_without_secret(context):
    """It waits for a cluster, for ever."""
    cluster = context.cluster
    target = cluster.any()
    context.drops = target.drops()
    context.stranger = cluster.node("stranger")
    context.stranger.spawn("--join", target.about["cluster"])
    context.stranger.wait_until_listening()


@then("the stranger is not ready, and is no member")
def no_member(context):
    """Ask both sides; then end it, so that others' checks pass it by."""
    stranger = context.stranger
    assert not stranger.ready()
    members = [
        each["name"]
        for node in context.cluster.running()
        if node is not stranger
        for each in node.json("/nodes")
    ]
    assert "stranger" not in members, members
    stranger.kill()


@given("another cluster of one node")
def another_cluster(context):
    """It has an id of its own."""
    cluster = context.cluster
    context.ours = cluster.any().json("/cluster/info")["cluster_id"]
    context.stranger = cluster.node("stranger")
    context.stranger.spawn("--bootstrap-expect", "1", "--replicas", "1")
    context.stranger.wait_until_listening()
    eventually(context.stranger.green, START_S, "the other cluster is ready")
    context.theirs = context.stranger.json("/cluster/info")["cluster_id"]
    assert context.ours != context.theirs


@when("that one node is started again to join the three")
def join_other_cluster(context):
    """With a seed of the three."""
    stranger, seed = context.stranger, context.cluster.nodes["node-1"]
    stranger.kill()
    context.log_sizes = {
        node.name: node.log.stat().st_size for node in context.cluster.nodes.values()
    }
    stranger.spawn("--join", seed.about["cluster"])
    stranger.wait_until_listening()
    eventually(stranger.green, START_S, "the other cluster is ready again")


@then("both clusters keep their ids and their members, and a log says why")
def both_stay(context):
    """Look for the other cluster's id in the logs; then at what both say."""

    def told():
        return any(names_other(context, node) for node in context.cluster.running())

    eventually(told, 15, "a log names the other cluster")
    stranger = context.stranger
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for node in context.cluster.running():
            ours = node is not stranger
            info, names = node.json("/cluster/info"), node.json("/nodes")
            assert info["cluster_id"] == (context.ours if ours else context.theirs)
            strangers = [each for each in names if each["name"] == "stranger"]
            assert bool(strangers) is not ours, names
            assert len(names) == (3 if ours else 1), names
    stranger.kill()


def names_other(context, node):
    """Tell whether a node's log speaks of a cluster that is not its own."""
    text = node.log.read_bytes()[context.log_sizes[node.name] :].decode()
    other = context.theirs if node is not context.stranger else context.ours
    lines = [line for line in text.splitlines() if other in line]
    if lines:
        print(f"{node.name}: {lines[0]}")
    return bool(lines)
