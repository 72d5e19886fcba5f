"""Steps: nodes start, share the work, stop and come back."""

from behave import given, step, then, when
from cluster import START_S, STOP_S, eventually, key_path, run_torua
from keys import check_all

ONE_COPY = ("--replicas", "1")


@given("{count:d} nodes")
@given("{count:d} node")
@when("{count:d} nodes are started")
@when("{count:d} node is started")
def form(context, count):
    """Start a cluster and wait until it is ready; one node alone keeps one copy."""
    context.cluster.form(count, *(ONE_COPY if count == 1 else ()))


@given("{count:d} nodes that keep one copy of each shard")
def form_with_one_copy(context, count):
    """Start a cluster in which a shard waits for its node."""
    context.cluster.form(count, *ONE_COPY)


@given("{count:d} nodes with the {preset} timings")
def form_with_preset(context, count, preset):
    """Start a cluster with other membership timings."""
    context.preset = preset
    context.cluster.form(count, "--preset", preset)


@when("{name} is started to join them")
def join(context, name):
    """Start another node with one seed."""
    cluster = context.cluster
    seed = cluster.any().about["cluster"]
    node = cluster.node(name)
    node.spawn("--join", seed, *cluster.options)
    node.wait_until_listening()
    cluster.wait_until_ready()


@given("{count:d} keys")
def put_keys(context, count):
    """Put some keys and remember on which shard each is."""
    cluster = context.cluster
    context.shard_of = {}
    nodes = cluster.running()
    for number in range(count):
        key, value = f"key-{number}", f"value {number} ".encode() * 10
        node = nodes[number % len(nodes)]
        answer = node.ask("PUT", key_path(key), value)
        assert answer.status == 204, (key, answer.status, answer.data)
        cluster.written[key] = value
        context.shard_of[key] = int(answer.headers["Torua-Shard"])


def is_healthy(node, count):
    """Tell whether a node sees so many healthy nodes, and a coordinator."""
    health, info = node.json("/health"), node.json("/cluster/info")
    return (
        info["healthy_nodes"] == info["total_nodes"] == count
        and health["coordinator"] is not None
        and health["status"] != "red"
        and info["assigned_shards"] == info["total_shards"]
    )


@then("the cluster is healthy, with {count:d} nodes and a coordinator")
@then("the cluster is healthy, with {count:d} node and a coordinator")
def healthy(context, count):
    """Wait until every node says so, and all name the same coordinator."""
    for node in context.cluster.running():
        eventually(
            lambda node=node: is_healthy(node, count),
            START_S,
            f"{node.name} sees {count} healthy nodes",
        )
    context.cluster.coordinator()


@then(
    "within {seconds:d} seconds the cluster is healthy, with {count:d} nodes"
    " and a coordinator"
)
def healthy_within(context, seconds, count):
    """Wait no longer than that until every node says so."""

    def all_healthy():
        return all(is_healthy(node, count) for node in context.cluster.running())

    took = eventually(all_healthy, seconds, "all nodes see a healthy cluster")
    print(f"healthy again after {took:.2f} s")


@then("{count:d} shards are shared {shares}")
def shared(context, count, shares):
    """Compare the primaries of all nodes, and of all shards."""
    for node in context.cluster.running():
        counts = sorted(each["primaries"] for each in node.json("/nodes"))
        assert "/".join(map(str, counts)) == shares, counts
        shards = node.json("/shards")
        assert [each["shard"] for each in shards] == list(range(count)), shards
        assert all(each["primary"] for each in shards), shards


@then("what is put through one node can be got through each other")
def put_here_get_there(context):
    """Put one key through each node, and get it through all."""
    cluster = context.cluster
    for node in cluster.running():
        cluster.put(f"put through {node.name}", node.name.encode(), node)
    check_all(cluster)


@then('"torua status" tells of {healthy} healthy nodes and shards shared {shares}')
def status_tells(context, healthy, shares):
    """Run the command against one node."""
    said = run_torua("--endpoint", context.cluster.any().url, "status")
    assert said.returncode == 0, said
    text = said.stdout.decode()
    assert f"{healthy} healthy" in text, text
    assert f"shared {shares}" in text, text


@step("{name} gets SIGTERM")
def terminate(context, name):
    """Ask a node to stop."""
    context.cluster.nodes[name].process.terminate()


@then("{name} exits with 0 within {seconds:d} seconds")
def exits(context, name, seconds):
    """Wait for its end."""
    status = context.cluster.nodes[name].process.wait(seconds)
    assert status == 0, f"exit status {status}"


@when("all nodes get SIGTERM")
def terminate_all(context):
    """Ask all to stop, and wait; remember whose the keys were."""
    nodes = context.cluster.running()
    context.primaries = {
        each["shard"]: each["primary"] for each in nodes[0].json("/shards")
    }
    for node in nodes:
        node.process.terminate()
    for node in nodes:
        assert node.process.wait(STOP_S) == 0, node.name


@when("all nodes are started again without any seed, one after the other")
def start_in_turn(context):
    """Do not wait for any, so that each sees the others come."""
    for node in context.cluster.nodes.values():
        node.spawn(*context.cluster.options)


@then("the moment each is ready, it serves the keys of its own shards")
def ready_means_serving(context):
    """Ask each node for its own keys as soon as it says that it is ready."""
    for node in context.cluster.nodes.values():
        node.wait_until_listening()
    waiting = list(context.cluster.nodes.values())

    def look():
        for node in [each for each in waiting if each.ready()]:
            waiting.remove(node)
            for key, shard in context.shard_of.items():
                if context.primaries[shard] == node.name:
                    answer = node.ask("GET", key_path(key))
                    assert answer.status == 200, (node.name, key, answer.data)
        return not waiting

    eventually(look, START_S, "all are ready", pause_s=0.002)


@when("{name} is started again without any seed")
def start_again(context, name):
    """Start a node on its old data dir and ports, without ``--join``."""
    context.cluster.restart(name)


@when("the killed node is started again")
def start_killed_again(context):
    """Start it on its old data dir and ports, without ``--join``."""
    context.cluster.restart(context.killed.name)
    context.cluster.wait_until_ready()


@then("every acknowledged key is there, through every node")
def all_there(context):
    """Get everything that was acknowledged, through each node."""
    context.cluster.wait_until_ready()
    check_all(context.cluster)
