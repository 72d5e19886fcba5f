"""Steps: disks fail, are full, and change what they keep."""

import contextlib
import shutil
import sqlite3
import subprocess
import time

from behave import given, then, when
from cluster import START_S, STOP_S, eventually, key_path
from harm import SETTLE_S, faulty, with_primaries


@when("the log of a node with primaries fails with {error}")
def fail_log(context, error):
    """From now on, at each fdatasync."""
    with_primaries(context).harm("sync", error, "/log/")
    time.sleep(SETTLE_S)


@when("for {seconds:d} seconds the log of a node with primaries fails with {error}")
def fail_log_for(context, seconds, error):
    """At each append."""
    with_primaries(context).harm("append", error, "/log/")
    time.sleep(seconds)


@then("that node exits with an error that names the log")
def exits(context):
    """With a status other than 0, and a line for the operator."""
    node = context.harmed
    assert node.process.wait(STOP_S) != 0
    lines = [line for line in node.tail().splitlines() if "critical" in line]
    assert any("/log/" in line for line in lines), node.tail()
    print(lines[0])


@when("its disk is mended and it comes back")
def mended(context):
    """Start it again if it exited; it comes back by itself otherwise."""
    node = context.harmed
    node.mend()
    free = getattr(context, "filler", None)
    if free is not None:
        free.unlink()
    print(f"{node.name} {'runs' if node.runs else 'had exited'}")
    if not node.runs:
        context.cluster.restart(node.name)


@then("each shard answers writes again within {seconds:d} seconds")
def answers_again(context, seconds):
    """Wait for some on each."""
    context.load.wait_for_answers(10, seconds)


@given("a small disk for {name}")
def small_disk(context, name):
    """A tmpfs over its data dir, where mounting is allowed; else skip."""
    cluster = faulty(context, proxied=False)
    directory = cluster.node(name).data_dir
    directory.mkdir()
    if not mount(directory, "96m"):
        context.scenario.skip("mounting a tmpfs is not allowed here")
        return
    context.small = cluster.node(name)
    close = cluster.close

    def close_and_unmount(*, keep):
        """Keep nothing on it: it is gone with its mount."""
        for node in cluster.nodes.values():
            node.close()
        unmount(directory)
        close(keep=keep)

    cluster.close = close_and_unmount


def mount(directory, size):
    """Mount a tmpfs; tell whether that worked."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "torua", str(directory)]
    return shutil.which("mount") is not None and run(command)


def unmount(directory):
    """Undo it, though a process may still hold files."""
    run(["umount", "-l", str(directory)])


def run(command):
    """Run a command; tell whether it succeeded."""
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0


@when("the small disk is full for {seconds:d} seconds")
def fill(context, seconds):
    """With a file of somebody else."""
    context.harmed, context.harmed_at = context.small, time.monotonic()
    context.filler = context.small.data_dir / "filler"
    with context.filler.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1 << 16))
        except OSError as error:
            print(f"the disk is full: {error}")
    time.sleep(seconds)


@when("on the harmed node a bit flips in the middle of the log")
def flip_log(context):
    """In the middle of what is not zero."""
    flip(newest_log(context.harmed))


@when("on the harmed node a bit flips in a map")
def flip_map(context):
    """In the first map of it."""
    flip(some_map(context.harmed))


@when("on the harmed node a map is deleted")
def delete_map(context):
    """Without what SQLite keeps beside it."""
    some_map(context.harmed).unlink()


@when("on the harmed node a map is cut in the middle")
def cut_map(context):
    """To half its size."""
    cut(some_map(context.harmed))


@when("on the harmed node the log is cut in the middle")
def cut_log(context):
    """To half of what is not zero."""
    cut(newest_log(context.harmed))


@when("on the harmed node the log is deleted")
def delete_log(context):
    """All segments of it."""
    for path in (context.harmed.data_dir / "log").iterdir():
        path.unlink()


def newest_log(node):
    """Return the newest segment of a node's log."""
    return max((node.data_dir / "log").glob("*.log"))


def some_map(node):
    """Return the largest map of a node, with all that was in its WAL."""
    path = max(
        (node.data_dir / "shards").rglob("map.db"), key=lambda one: one.stat().st_size
    )
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def flip(path):
    """Flip a bit in the middle."""
    data = bytearray(path.read_bytes())
    middle = len(bytes(data).rstrip(b"\0")) // 2
    data[middle] ^= 0x10
    path.write_bytes(data)
    print(f"flipped a bit at {middle} of {path} ({len(data)} bytes)")


def cut(path):
    """Cut a file in the middle of what is not zero."""
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: len(data) // 2])
    print(f"cut {path} at {len(data) // 2}")


@then("its copies are rebuilt within {seconds:d} seconds")
def rebuilt(context, seconds):
    """It runs, and all is green."""
    node = context.harmed
    assert node.runs, node.tail()
    took = eventually(node.green, seconds, f"{node.name} is green", 0.2)
    print(f"green {took:.1f} s later")


@when("the harmed node comes back with an empty disk")
def empty_disk(context):
    """Under its old name, but as a new node: it needs a seed."""
    cluster, node = context.cluster, context.harmed
    shutil.rmtree(node.data_dir)
    node.spawn("--join", cluster.any().about["cluster"], *cluster.options)
    node.wait_until_listening()


@when("the harmed node comes back, or refuses to")
def back_or_refuses(context):
    """Wait until it is the one or the other."""
    node = context.harmed
    node.spawn(*context.cluster.options)

    def decided():
        return not node.runs or node.listens()

    eventually(decided, START_S, f"{node.name} listens or exits")
    if node.runs:
        node.wait_until_listening()


@then("its shards are red or whole, health says why, and no read is wrong")
def red_or_whole(context):
    """Ask for every key; wrong or absent is what must not be."""
    cluster = context.cluster
    time.sleep(3.0)
    refused = set()
    other = next(each for each in cluster.running() if each is not context.harmed)
    for key, value in cluster.written.items():
        answer = other.ask("GET", f"{key_path(key)}?timeout_ms=300")
        if answer.status == 200:
            assert answer.data == value, (key, answer.data, value)
        else:
            assert answer.status == 503, (key, answer.status, answer.data)
            refused.add(key)
    print(f"{len(refused)} of {len(cluster.written)} keys are refused")
    print(context.harmed.tail()[-400:])
    for node in cluster.running():
        health = node.json("/health")
        print(health)
        if refused:
            assert health["status"] == "red", health
            assert health["reasons"], health
