"""Steps: a graph that is larger than what a query may have."""

import time

from behave import given, then, when
from bounds import (
    MIB,
    QUERY,
    STORAGE,
    Sizes,
    SmallOnes,
    load,
    refused_gathers,
    warm,
)

SLACK = 256 * MIB
"""What a worker is beside what it was given: code, stacks, buffers."""

NODE = 768 * MIB
"""What a node may be: its code, what it hands on, and what statements gathered."""


@given("{count:d} nodes with {shards:d} shards, and these bounds in MiB")
def nodes_with_bounds(context, count, shards):
    """With two copies of each shard; remember the bounds."""
    (row,) = context.table
    context.query_memory = int(row["query-memory"]) * MIB
    context.query_budget = int(row["query-budget"]) * MIB
    context.graph_memory = int(row["graph-memory"]) * MIB
    options = [f"--{name}={value}" for name, value in row.items()]
    fixed = ("--preset=local", "--replicas=2", f"--shards={shards}")
    context.cluster.form(count, *fixed, *options)


@given("a graph of {mebibytes:d} MiB")
def graph_of_size(context, mebibytes):
    """Of which most is text; it must not be small beside what a statement may have."""
    assert mebibytes * MIB >= 2 * context.query_budget
    context.sizes = Sizes(context.cluster)
    began = time.monotonic()
    with context.sizes:
        context.pages = load(context.cluster, mebibytes)
        warm(context.cluster, context.pages)
    print(
        f"loaded {context.pages} pages in {time.monotonic() - began:.0f} s;"
        f" at most: {context.sizes.told()}"
    )


@when("it is asked for whole for {seconds:d} seconds, and for little beside that")
def asked_whole(context, seconds):
    """Remember what came of the large statements; the small ones are checked."""
    ends = time.monotonic() + seconds
    context.sizes = Sizes(context.cluster)
    with context.sizes, SmallOnes(context.cluster, context.pages) as small:
        context.replies = refused_gathers(
            context.cluster, lambda: time.monotonic() < ends
        )
    print(small.told())
    assert set(small.took_s) == {"route", "scatter", "frontier"}


@then("what is large is refused with its estimate, and what is little answered")
def refused_with_estimate(context):
    """Each refusal says how much it would be, and how much it may."""
    print(f"{len(context.replies)} refused")
    for reply in context.replies:
        assert reply.status == 422, reply.detail
        assert reply.body["type"].endswith("query-too-large"), reply.detail
        assert reply.body["limit"] == context.query_budget, reply.body
        assert reply.body["estimate"] > context.query_budget, reply.body


@then("no process grew beyond its bound, or had to be replaced")
def bounded(context):
    """As it was while the statements ran."""
    most, pids = context.sizes.most, context.sizes.pids
    print(f"at most: {context.sizes.told()}")
    nodes = len(context.cluster.running())
    assert len(pids[STORAGE]) == nodes, pids
    assert len(pids[QUERY]) <= 2 * nodes, pids
    assert most[STORAGE] < context.graph_memory + SLACK, most
    assert most[QUERY] < context.query_memory + SLACK, most
    assert most["node"] < NODE, most
