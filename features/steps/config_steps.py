"""Steps: the configuration changes while nodes are paused, killed, or at work."""

import json
import signal
import threading
import time

import urllib3
from behave import given, then, when
from cluster import eventually, run_torua
from harm import wait_until_green

KEY = "allocation.rebuild_after_s"
PATH = "/cluster/config"


def put(node, changes, timeout_s=15.0, **headers):
    """Ask one node for a change."""
    body = json.dumps(changes).encode()
    return node.ask(
        "PUT", PATH, body, timeout_s, Content_Type="application/json", **headers
    )


def told(node):
    """Return who has acknowledged and who has not, as a node says."""
    view = node.json(PATH)
    return set(view["acknowledged"]), set(view["pending"])


class Changer:
    """Changes one key again and again, each time to a value used once.

    Attributes:
        done: values by the version that an answer told.
        refused: values that an answer said were not taken.
        unknown: values of which nobody knows.
        seen: values that some node showed.
    """

    def __init__(self, cluster):
        """Begin at once."""
        self.cluster = cluster
        self.done, self.refused, self.unknown = {}, set(), set()
        self.seen = set()
        self.trouble = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        """Ask no more."""
        self._ended.set()
        self._thread.join()

    def _run(self):
        """Change, through the nodes in turn."""
        value = 1000
        nodes = list(self.cluster.nodes.values())
        try:
            while not self._ended.wait(0.01):
                value += 1
                self._change(nodes[value % len(nodes)], float(value))
                self._look(nodes[(value + 1) % len(nodes)])
        except BaseException as error:
            self.trouble = error
            raise

    def _change(self, node, value):
        """Change once, for the version that the node shows."""
        try:
            version = node.ask("GET", PATH, timeout_s=5.0).headers.get("ETag")
            if version is None:
                return
            answer = put(node, {KEY: value}, If_Match=version)
        except urllib3.exceptions.NewConnectionError:
            self.refused.add(value)
        except urllib3.exceptions.HTTPError:
            self.unknown.add(value)
        else:
            if answer.status == 200:
                self._acknowledged(version, answer.json(), value)
            elif answer.status in {412, 503}:
                self.refused.add(value)
            else:
                assert answer.status == 504, (answer.status, answer.data)
                self.unknown.add(value)

    def _acknowledged(self, version, view, value):
        """Look that the answer tells of this change, or of one after it."""
        number = int(version.strip('"')) + 1
        assert view["version"] >= number, (version, view)
        assert number not in self.done, (number, value, self.done[number])
        self.done[number] = value
        if view["version"] == number:
            assert view["config"][KEY] == value, (value, view)

    def _look(self, node):
        """Note what a node shows."""
        try:
            answer = node.ask("GET", PATH, timeout_s=5.0)
        except urllib3.exceptions.HTTPError:
            return
        if answer.status == 200:
            self.seen.add(answer.json()["config"][KEY])


@when("a node other than the coordinator is stopped with SIGSTOP")
def pause(context):
    """Remember which."""
    cluster = context.cluster
    coordinator = cluster.coordinator()
    context.paused = next(n for n in cluster.running() if n is not coordinator)
    context.paused.signal(signal.SIGSTOP)
    context.awake = [n for n in cluster.running() if n is not context.paused]


@when('"{key}" is set to {value:d} through another node')
def change(context, key, value):
    """Remember the answer, and how long it took."""
    began = time.monotonic()
    context.answer = put(context.awake[-1], {key: value})
    context.took = time.monotonic() - began
    context.changed = (key, value)


@then(
    "the answer within {seconds:d} seconds says that all but the stopped one "
    "acknowledged"
)
def said(context, seconds):
    """Look at it."""
    print(f"answered after {context.took:.2f} s")
    assert context.took < seconds
    assert context.answer.status == 200, (context.answer.status, context.answer.data)
    view = context.answer.json()
    key, value = context.changed
    assert view["config"][key] == value
    assert set(view["acknowledged"]) == {node.name for node in context.awake}
    assert view["pending"] == [context.paused.name]


@then("every node that runs says so later")
def said_later(context):
    """Ask them."""
    names = {node.name for node in context.awake}
    for node in context.awake:
        assert told(node) == (names, {context.paused.name}), told(node)


@when("the stopped one goes on")
def go_on(context):
    """Wake it."""
    context.paused.signal(signal.SIGCONT)


@then("within {seconds:d} seconds every node says that all acknowledged")
def all_acknowledged(context, seconds):
    """Ask them until they do; they agree on what holds, too."""
    nodes = context.cluster.running()
    names = {node.name for node in nodes}

    def agreed():
        if not all(node.ready() and told(node) == (names, set()) for node in nodes):
            return False
        views = [node.json(PATH) for node in nodes]
        return len({(each["version"], str(each["config"])) for each in views}) == 1

    took = eventually(agreed, seconds, "all have acknowledged")
    print(f"all acknowledged after {took:.2f} s")


@given("a client that goes on changing the configuration")
def changing(context):
    """Wait until it does."""
    context.changer = Changer(context.cluster)
    context.closing.append(context.changer.stop)
    eventually(lambda: len(context.changer.done) > 10, 20, "changes are made")


@when("the coordinator is killed and started again, {times:d} times")
def kill_again(context, times):
    """Each time once changes are made again."""
    cluster, changer = context.cluster, context.changer
    for _ in range(times):
        killed = cluster.coordinator()
        before = len(changer.done)
        killed.kill()
        eventually(lambda: len(changer.done) > before + 10, 20, "changes are made")  # noqa: B023
        cluster.restart(killed.name)
        cluster.wait_until_ready()


@then("what was acknowledged was committed, and what was refused was not")
def judge(context):
    """Every version that is known was shown so, or not at all."""
    changer = context.changer
    changer.stop()
    assert changer.trouble is None, changer.trouble
    last = [node.json(PATH) for node in context.cluster.running()]
    shown = changer.seen | {view["config"][KEY] for view in last}
    counts = [len(each) for each in (changer.done, changer.refused, changer.unknown)]
    print("done, refused, unknown: {}, {}, {}".format(*counts))
    assert not shown & changer.refused, shown & changer.refused
    newest = max(last, key=lambda view: view["version"])
    assert newest["version"] >= max(changer.done)
    final = newest["config"][KEY]
    assert final == changer.done.get(newest["version"], final)
    assert final in {*changer.done.values(), *changer.unknown}


@when("each shard is to have {first:d} copies, then {second:d}, then {third:d}")
def copies(context, first, second, third):
    """One number after another, each until all copies are in sync."""
    cluster = context.cluster
    context.harmed_at = time.monotonic()
    for count in (first, second, third):
        assert put(cluster.any(), {"replication.replicas": count}).status == 200

        def made():
            shards = cluster.any().json("/shards")
            return all(
                len([c for c in shard["copies"] if c["in_sync"]])
                == len(shard["copies"])
                == count  # noqa: B023
                for shard in shards
            )

        took = eventually(made, 30, f"each shard has {count} copies")
        print(f"{count} copies of each after {took:.2f} s")
        wait_until_green(cluster)


@when('"torua config set" is told "{first}" and "{second}"')
def set_wrong(context, first, second):
    """Remember what it says."""
    url = context.cluster.any().url
    context.done = run_torua("--endpoint", url, "config", "set", first, second)
    context.named = [each.partition("=")[0] for each in (first, second)]


@then("it names both in one line, and nothing has changed")
def refused(context):
    """Look at the line, the exit code and the version."""
    line = context.done.stderr.decode()
    assert context.done.returncode == 5, (context.done.returncode, line)
    assert all(each in line for each in context.named), line
    assert line.count("\n") == 1, line
    assert context.cluster.any().json(PATH)["version"] == 1
