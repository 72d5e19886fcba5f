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

NODE = 512 * MIB
"""What a node may be: its code, what it hands on, and what statements gathered."""

STATEMENTS_S = 8.0


@given(
    "{count:d} nodes whose query workers have {memory:d} MiB, statements {budget:d},"
    " and graphs {graphs:d}"
)
def nodes_with_bounds(context, count, memory, budget, graphs):
    """With two copies of each shard; remember the bounds."""
    context.query_memory, context.query_budget = memory * MIB, budget * MIB
    context.graph_memory = graphs * MIB
    context.cluster.form(
        count,
        *("--preset", "local", "--replicas", "2"),
        *("--query-memory", str(memory), "--query-budget", str(budget)),
        *("--graph-memory", str(graphs)),
    )


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


@when("it is asked for whole, again and again, and for little beside that")
def asked_whole(context):
    """Remember what came of the large statements; the small ones are checked."""
    ends = time.monotonic() + STATEMENTS_S
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
