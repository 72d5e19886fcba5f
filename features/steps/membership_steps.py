"""Steps: a node dies and comes back, as the others see it."""

import time

from behave import then, when
from cluster import START_S, eventually


def view(node, name):
    """Return what a node says of another."""
    return next((each for each in node.json("/nodes") if each["name"] == name), None)


@when("a node other than the coordinator is killed")
def kill_other(context):
    """Remember who it was, and when."""
    cluster = context.cluster
    coordinator = cluster.coordinator()
    context.killed = next(node for node in cluster.running() if node is not coordinator)
    context.life = context.killed.life()
    context.killed.kill()
    context.killed_at = time.monotonic()


@then(
    "on all others it is suspect within {suspect:d} seconds, then dead within {dead:d}"
)
def suspect_then_dead(context, suspect, dead):
    """Watch all others at once; print when each saw what."""
    name, seen = context.killed.name, {}
    others = context.cluster.running()

    def watch():
        for node in others:
            status = view(node, name)["status"]
            if status != "healthy":
                moments = seen.setdefault(node.name, {})
                moments.setdefault(status, time.monotonic() - context.killed_at)
        return len(seen) == len(others) and all(
            "dead" in each for each in seen.values()
        )

    eventually(watch, dead, f"{name} is dead on all others", pause_s=0.02)
    for node, moments in seen.items():
        told = ", ".join(f"{word} after {at:.2f} s" for word, at in moments.items())
        print(f"{context.preset}: on {node}: {told}")
        assert list(moments) == ["suspect", "dead"], moments
        assert moments["suspect"] <= suspect, moments
        assert moments["dead"] <= dead, moments


@then(
    "it is the same node in a later life, healthy on all nodes within {seconds:d}"
    " seconds"
)
def same_node(context, seconds):
    """Compare id and epoch; then ask all others."""
    node, before = context.killed, context.life
    after = node.life()
    assert after["node_id"] == before["node_id"]
    assert after["boot_epoch"] > before["boot_epoch"], (before, after)
    took = eventually(
        lambda: all(
            view(each, node.name)["status"] == "healthy"
            for each in context.cluster.running()
        ),
        min(seconds, START_S),
        f"{node.name} is healthy on all",
    )
    print(f"healthy again {took:.2f} s after it was ready")
    for each in context.cluster.running():
        same = [one for one in each.json("/nodes") if one["name"] == node.name]
        assert [one["node_id"] for one in same] == [before["node_id"]], same
