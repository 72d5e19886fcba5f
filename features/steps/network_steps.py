"""Steps: the proxy between nodes breaks what it carries."""

import time

from behave import when
from harm import wait_until_green, with_primaries


@when("for {seconds:d} seconds a node with primaries is cut off from all others")
def cut_off(context, seconds):
    """Both ways, TCP and UDP."""
    context.cluster.proxy.isolate(with_primaries(context).name)
    time.sleep(seconds)


@when("for {seconds:d} seconds the coordinator is cut off from all others")
def cut_off_coordinator(context, seconds):
    """Both ways, TCP and UDP."""
    context.cluster.proxy.isolate(with_primaries(context, coordinator=True).name)
    time.sleep(seconds)


@when("for {seconds:d} seconds nothing passes from a node with primaries to the others")
def mute(context, seconds):
    """It hears all."""
    node = with_primaries(context)
    for other in context.cluster.running():
        if other is not node:
            context.cluster.proxy.block(node.name, other.name)
    time.sleep(seconds)


@when("for {seconds:d} seconds nothing passes from the others to a node with primaries")
def deafen(context, seconds):
    """All hear it."""
    node = with_primaries(context)
    for other in context.cluster.running():
        if other is not node:
            context.cluster.proxy.block(other.name, node.name)
    time.sleep(seconds)


@when(
    "for {seconds:d} seconds a primary's connection to a replica is open but carries"
    " nothing"
)
def half_open(context, seconds):
    """Datagrams pass, so that membership sees no harm."""
    node = with_primaries(context)
    replicas = {
        copy["node"]
        for shard in context.cluster.shards()
        if shard["primary"] == node.name
        for copy in shard["copies"]
    } - {node.name}
    context.cluster.proxy.half_open(node.name, min(replicas))
    time.sleep(seconds)


@when(
    "for {seconds:d} seconds connections between all nodes break in the middle of"
    " frames"
)
def break_often(context, seconds):
    """Every half second, each after another number of bytes."""
    with_primaries(context)
    proxy, names = context.cluster.proxy, list(context.cluster.nodes)
    for turn in range(2 * seconds):
        source, target = names[turn % 3], names[(turn + 1 + turn // 3 % 2) % 3]
        proxy.cut(source, target, 1 + 97 * turn % 1500)
        time.sleep(0.5)


@when(
    "for {seconds:d} seconds all that a node with primaries says arrives {delay_ms:d}"
    " ms later"
)
def slow_link(context, seconds, delay_ms):
    """Both TCP and UDP."""
    node = with_primaries(context)
    for other in context.cluster.running():
        if other is not node:
            context.cluster.proxy.delay(node.name, other.name, delay_ms / 1000)
    time.sleep(seconds)


@when("for {seconds:d} seconds half of all datagrams are lost")
def lossy(context, seconds):
    """TCP is as ever."""
    with_primaries(context)
    proxy = context.cluster.proxy
    for source in proxy.names:
        for target in proxy.names:
            if source != target:
                proxy.lose(source, target, 0.5)
    time.sleep(seconds)


@when("the network is whole again")
def heal(context):
    """Undo everything, and wait until all is green."""
    context.cluster.proxy.heal()
    wait_until_green(context.cluster)
