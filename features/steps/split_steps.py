"""Steps: a shard becomes two."""

import itertools
import json
import time

from behave import given, then, when
from cluster import eventually

from torua.core.routing import even_slots, shard_of

BATCH = 2000


@given("{count:d} more keys in shard {shard:d}")
def more_keys(context, count, shard):
    """Put them all, in batches."""
    slots = even_slots(len(context.cluster.any().json("/shards")))
    keys = (f"more/{number}" for number in itertools.count())
    mine = (key for key in keys if shard_of(slots, key.encode()) == shard)
    context.more = list(itertools.islice(mine, count))
    for start in range(0, count, BATCH):
        lines = [
            json.dumps({"op": "put", "key": key, "value": "v" * 100})
            for key in context.more[start : start + BATCH]
        ]
        body = "\n".join(lines).encode()
        kind = {"Content_Type": "application/x-ndjson"}
        answer = context.cluster.any().ask("POST", "/bulk", body, **kind)
        assert answer.status == 200 and not answer.json()["errors"], answer.data[:500]


@when("shard {shard:d} is split")
def split(context, shard):
    """Ask for it."""
    context.harmed_at = time.monotonic()
    answer = context.cluster.any().ask("POST", f"/shards/{shard}/split")
    assert answer.status == 200, answer.data
    context.split = answer.json()


@when("the primary of the new shard is killed and started again")
def kill_child(context):
    """As soon as there is one."""
    kill(context, context.split["child"])


@when("the primary of the old shard is killed and started again")
def kill_parent(context):
    """After the other came back."""
    kill(context, context.split["shard"])


def kill(context, shard):
    """Kill the node that leads a shard, and start it again a second later."""

    def primary():
        """Name it."""
        shards = context.cluster.any().json("/shards")
        return next((e["primary"] for e in shards if e["shard"] == shard), None)

    eventually(primary, 20, "the shard has a primary")
    name = primary()
    context.cluster.nodes[name].kill()
    time.sleep(1.0)
    context.cluster.restart(name)


@then("the split is done within {seconds:d} seconds")
def done(context, seconds):
    """Ask for the shards, and for the task where its node lived."""

    def over():
        """Tell whether the new shard is green, and nothing is split any more."""
        tasks = context.cluster.any().json("/tasks")
        mine = [each for each in tasks if each["id"] == context.split["task"]]
        assert all(each["state"] != "failed" for each in mine), mine
        return bool(mine) and mine[0]["state"] == "done"

    eventually(over, seconds, "the split is done")
    print(f"split in {time.monotonic() - context.harmed_at:.1f} s")


@then("the more keys are all there, each listed once")
def listed(context):
    """Follow the pages to the end."""
    node, found, after = context.cluster.any(), [], None
    while True:
        fields = {"limit": "1000", "prefix": "more"}
        fields |= {"after": after} if after is not None else {}
        page = node._pool.request("GET", "/kv", fields=fields, retries=False).json()
        found += [item["key"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert len(found) == len(set(found)), "a key is listed twice"
    assert set(found) == set(context.more), len(set(context.more) - set(found))
