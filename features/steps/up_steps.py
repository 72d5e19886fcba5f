"""Steps: a whole cluster by one command."""

import json
import os
import signal
import subprocess

import psutil
from behave import then, when
from cluster import STOP_S, clean_environment, eventually, run_torua, torua_command

READY_S = 60.0
VALUE = bytes(range(256)) * 3


def cluster_file(context):
    """Return what ``torua up`` wrote for the commands."""
    path = context.cluster.root / "torua-data" / "cluster.json"
    return json.loads(path.read_text())


def said(context):
    """Return what this run of ``torua up`` printed so far."""
    return context.up_log.read_bytes()[context.up_from :].decode()


@when('"torua up" is run')
def run_up(context):
    """Wait until it says that the cluster is ready."""
    context.up_log = context.cluster.root / "up.log"
    context.up_from = context.up_log.stat().st_size if context.up_log.exists() else 0
    with context.up_log.open("ab") as output:
        context.up = subprocess.Popen(
            torua_command("up", "--preset", "local"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=context.cluster.root,
            env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    context.closing.append(lambda up=context.up: end(context, up))

    def ready():
        assert context.up.poll() is None, said(context)
        return "ready after" in said(context)

    eventually(ready, READY_S, "torua up is ready")


def end(context, up):
    """End it and all its nodes, however it is; show what it said if asked."""
    if up.poll() is not None:
        return
    print(said(context))
    children = psutil.Process(up.pid).children(recursive=True)
    for process in (up, *children):
        process.kill()
    up.wait(STOP_S)


@then('it says where each node is, and "torua status" finds {healthy} healthy nodes')
def says_where(context, healthy):
    """The command finds the endpoints by itself, in the same directory."""
    text = said(context)
    for node in cluster_file(context)["nodes"]:
        assert f"http://{node['http']}" in text, text
        assert node["name"] in text, text
    assert "curl" in text, text
    status = run_torua("status", cwd=context.cluster.root)
    assert status.returncode == 0, status
    assert f"{healthy} healthy" in status.stdout.decode(), status
    assert "shared 1/1/2" in status.stdout.decode(), status


@then('"torua kv" puts bytes through one node and gets them through another')
def put_and_get(context):
    """By standard input and output."""
    first, *_, last = cluster_file(context)["endpoints"]
    put = run_torua("--endpoint", first, "kv", "put", "up/bytes", stdin=VALUE)
    assert put.returncode == 0, put
    got = run_torua("--endpoint", last, "kv", "get", "up/bytes")
    assert (got.returncode, got.stdout) == (0, VALUE), got
    absent = run_torua("--endpoint", last, "kv", "get", "up/nothing")
    assert absent.returncode == 1, absent


@then('"torua kv" still gets the bytes')
def get_again(context):
    """By the endpoints of the directory."""
    got = run_torua("kv", "get", "up/bytes", cwd=context.cluster.root)
    assert (got.returncode, got.stdout) == (0, VALUE), got


@then('a second "torua up" in the same directory is refused in one line')
def second_up(context):
    """It must not disturb the first."""
    second = run_torua("up", cwd=context.cluster.root)
    assert second.returncode not in {0, None}, second
    assert second.stderr.count(b"\n") == 1, second


@when("one of its nodes is killed")
def kill_one(context):
    """By the process id that the file tells."""
    context.victim = cluster_file(context)["nodes"][1]
    os.kill(context.victim["pid"], signal.SIGKILL)


@then("it says so and starts that node again")
def restarted(context):
    """Wait for the new process, and until it serves."""
    name = context.victim["name"]
    eventually(
        lambda: f"{name}: started again" in said(context), 15, f"{name} starts again"
    )
    assert f"{name} ended with signal SIGKILL" in said(context), said(context)
    again = next(
        each for each in cluster_file(context)["nodes"] if each["name"] == name
    )
    assert again["pid"] not in {None, context.victim["pid"]}

    def healthy():
        status = run_torua("status", cwd=context.cluster.root)
        return "3/3 healthy" in status.stdout.decode()

    eventually(healthy, READY_S, "all nodes are healthy again", pause_s=0.3)


@when("it gets Ctrl-C")
def interrupt(context):
    """Remember the processes that must end."""
    context.pids = [node["pid"] for node in cluster_file(context)["nodes"]]
    context.up.send_signal(signal.SIGINT)


@then("it ends with 0, and no node is left")
def all_gone(context):
    """Wait for its end; look for the processes."""
    assert context.up.wait(STOP_S + 5) == 0, said(context)
    left = [pid for pid in context.pids if psutil.pid_exists(pid)]
    assert not left, left
    assert cluster_file(context)["pid"] is None
