"""Measure what the graph engine does for a shard copy, and print a table.

    python -m benchmarks.engines [--engine ladybug|kuzu] [--nodes 50000]

One graph of persons who know each other, in a file: COPY, the apply of groups of rows
(a third each: new nodes, changed nodes, new relationships), point reads, and hops.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from torua.core.graph.fragments import Expand, Fetch, Fragment
from torua.core.graph.schema import Column, Graph, NodeTable, RelTable
from torua.core.graph.types import Kind, Type
from torua.storage.graphapply import apply
from torua.storage.graphread import answer
from torua.storage.graphrows import Edge, Node, Rows
from torua.storage.kuzu import Engine, Limits

PERSON = NodeTable(
    16,
    "Person",
    (Column(0, "id", Type(Kind.INT64)), Column(1, "name", Type(Kind.STRING))),
    "id",
)
KNOWS = RelTable(18, "KNOWS", ((16, 16),), (Column(0, "since", Type(Kind.INT64)),))
GRAPH = Graph(graph_id=5, name="people", nodes=(PERSON,), rels=(KNOWS,))
DEGREE = 3


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def filled(engine: Engine, count: int, dice: random.Random) -> None:
    """Copy persons, and relationships between them; say how fast."""
    ids = list(range(count))
    hidden = {"tv_ghost": [False] * count, "tv_ver": ids, "tv_born": ids}
    people = pa.table({"id": ids, "name": [f"p{i}" for i in ids], **hidden})
    took = timed(lambda: engine.load(GRAPH, "Person", None, people))
    print(f"COPY of nodes             {count / took:>10,.0f} rows/s")
    sources = [dice.randrange(count) for _ in range(count * DEGREE)]
    targets = [dice.randrange(count) for _ in sources]
    ends = {"tv_from": sources, "tv_to": targets, "tv_s": sources, "tv_d": targets}
    edges = pa.table({**ends, "since": sources, "tv_id": [b"x"] * len(sources)})
    took = timed(lambda: engine.load(GRAPH, "KNOWS", ("Person", "Person"), edges))
    print(f"COPY of relationships     {len(sources) / took:>10,.0f} rows/s")


def group(size: int, first: int, count: int, dice: random.Random) -> Rows:
    """Make a group of changes, a third of each sort."""
    rows = Rows(GRAPH, keys=False)
    third = max(1, size // 3)
    old = [dice.randrange(count) for _ in range(third)]
    new = range(first, first + third)
    nodes = {str(i).encode(): Node(i, {0: i, 1: "new"}, 1, 1) for i in (*old, *new)}
    rows.nodes[16] = nodes
    rows.edges[18, 16, 16] = {
        str(i).encode(): Edge((i, o), b"n", {0: 1}, 1, 1, fresh=True)
        for i, o in zip(new, old, strict=True)
    }
    return rows


def applied(engine: Engine, count: int, dice: random.Random) -> None:
    """Apply groups of several sizes; say how fast."""
    first = count
    for size in (10, 100, 1000):
        done, took = 0, 0.0
        while took < 2.0:
            rows = group(size, first, count, dice)
            first += size
            with engine.once() as session:
                session.do("BEGIN TRANSACTION")
                began = time.perf_counter()
                apply(session, rows)
                session.do("COMMIT")
                took += time.perf_counter() - began
            done += rows.count
        print(f"apply, groups of {size:>5}    {done / took:>10,.0f} rows/s")
    print(
        f"CHECKPOINT                {timed(lambda: engine.rows('CHECKPOINT')):>10.3f} s"
    )


def read(engine: Engine, count: int, dice: random.Random) -> None:
    """Fetch and expand by one key and by many; say how long it takes."""
    pair = ("Person", "Person")
    for keys in (1, 10, 50, 1000):
        asked: dict[str, Callable[[tuple[int, ...]], Fragment]] = {
            "fetch": lambda ids: Fetch("Person", ids),
            "expand out": lambda ids: Expand("KNOWS", pair, ids),
            "expand in": lambda ids: Expand("KNOWS", pair, ids, outgoing=False),
        }
        for name, make in asked.items():
            times = []
            for _ in range(20):
                fragment = make(tuple(dice.randrange(count) for _ in range(keys)))
                with engine.once() as session:
                    times.append(
                        timed(lambda: answer(session, GRAPH, fragment, lambda: 60.0))  # noqa: B023
                    )
            middle = sorted(times)[len(times) // 2]
            print(f"{name:<10} of {keys:>4} keys       {middle * 1000:>10.1f} ms")


def main() -> None:
    """Measure one engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="ladybug")
    parser.add_argument("--nodes", type=int, default=50_000)
    options = parser.parse_args()
    dice = random.Random(1)  # noqa: S311
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(Path(directory) / "db", Limits(), options.engine)
        engine.create(GRAPH, hidden=True)
        filled(engine, options.nodes, dice)
        applied(engine, options.nodes, dice)
        read(engine, options.nodes, dice)
        engine.close()


if __name__ == "__main__":
    main()
