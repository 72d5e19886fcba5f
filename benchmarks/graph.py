"""How fast a graph over shards is: ``python benchmarks/graph.py DIRECTORY``.

The social network's files are imported into three nodes with two copies a shard, and
into one engine in this process.  Counts are compared with the files; the forty queries
are run on both, their answers compared, and the best of some runs told beside each
other; then point reads, hops and writes are counted for a few seconds each.  Markdown
comes out.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

import pyarrow as pa
from copies import check_copies
from faults import FaultyCluster
from graphs import check_network, cypher, define, files_of, import_file

from tests.graph import network
from tests.graph.answers import Answer, answer_of, difference
from tests.graph.queries import FORTY, Query
from tests.graph.statements import Statement
from torua.core.graph.ddl import parse_ddl
from torua.core.graph.defining import define as defined
from torua.core.graph.schema import MAIN_GRAPH
from torua.storage.kuzu import Engine, Limits

CLIENTS = 4
ARROW = "application/vnd.apache.arrow.stream"


def load(cluster: FaultyCluster, directory: Path) -> list[str]:
    """Import all files, one after the other; return a table.

    Args:
        cluster: with an empty graph.
        directory: where the files are.
    """
    define(cluster.any(), tuple(network.ddl()))
    lines = ["| file | rows | rows/s |", "|---|---|---|"]
    began, total = time.monotonic(), 0
    for table, path, more in files_of(directory):
        start = time.monotonic()
        import_file(cluster.any(), table, path, more)
        took_s = time.monotonic() - start
        count = len(path.read_text().splitlines()) - 1
        total += count
        lines.append(f"| {path.name} | {count:,} | {count / took_s:,.0f} |")
    took_s = time.monotonic() - began
    lines.append(f"| all | {total:,} | {total / took_s:,.0f} |")
    return lines


def one_engine(directory: Path) -> tuple[Engine, float]:
    """Copy all files into one engine; return it, and how many rows a second it took.

    Args:
        directory: where the files are.
    """
    graph = MAIN_GRAPH
    for text in network.ddl():
        ddl = parse_ddl(text)
        assert ddl is not None, text
        graph = defined(graph, ddl)
    content = network.content(directory)
    shape = network.shape()
    engine = Engine(None, Limits(512 << 20, 1 << 36, 2))
    engine.create(graph, hidden=False)
    total, began = 0, time.monotonic()
    for table, rows in content.nodes.items():
        columns = dict(zip(shape.nodes[table], zip(*rows, strict=True), strict=True))
        engine.load(graph, table, None, pa.table(columns))
        total += len(rows)
    for place, rows in content.rels.items():
        names = ("tv_from", "tv_to", *shape.rels[place])
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        engine.load(graph, place[0], (place[1], place[2]), pa.table(columns))
        total += len(rows)
    return engine, total / (time.monotonic() - began)


def timed(run: Callable[[], Answer], times: int) -> tuple[Answer, float]:
    """Run something some times; return its last answer, and the median of milliseconds.

    Args:
        run: what to do.
        times: how often, after once that does not count.
    """
    answer, took = run(), []
    for _ in range(times):
        began = time.perf_counter()
        answer = run()
        took.append((time.perf_counter() - began) * 1000)
    return answer, median(took)


def compare(
    cluster: FaultyCluster, engine: Engine, query: Query, times: int
) -> tuple[str, str]:
    """Run a query on both sides; return a line of the table, and what differs.

    Args:
        cluster: holds the network.
        engine: holds it too.
        query: to run.
        times: how often.
    """
    node = cluster.any()

    def shards() -> Answer:
        """Ask the cluster."""
        reply = cypher(node, query.text, query.parameters, accept=ARROW)
        if reply.status != 200:
            return Answer(error=reply.detail)
        table = pa.ipc.open_stream(reply.data).read_all()
        return answer_of(table, str(reply.body["stats"]["strategy"]))

    def alone() -> Answer:
        """Ask the engine."""
        return answer_of(engine.run(query.text, query.parameters))

    expected, alone_ms = timed(alone, times)
    found, shards_ms = timed(shards, times)
    statement = Statement(query.text, query.parameters, ordered=query.ordered)
    told = difference(statement, expected, found)
    within = shards_ms <= max(3 * alone_ms, 30.0)
    strategy = found.strategy + ("" if found.strategy == query.strategy else " (!)")
    line = (
        f"| {query.name} | {strategy} | {len(expected.rows):,} | {alone_ms:.1f} |"
        f" {shards_ms:.1f} | {'yes' if within else 'no'} | {'no' if told else 'yes'} |"
    )
    return line, told


def rate(
    cluster: FaultyCluster, text: str, make: Callable[[int], dict], seconds: float
) -> str:
    """Have some clients run one statement for a while; return how many a second.

    Args:
        cluster: each client has its node.
        text: the statement.
        make: makes parameters of a number.
        seconds: how long.
    """
    nodes = cluster.running()
    counts, took = [0] * CLIENTS, []
    ends = time.monotonic() + seconds

    def client(me: int) -> None:
        """Be one client."""
        node = nodes[me % len(nodes)]
        while time.monotonic() < ends:
            began = time.perf_counter()
            reply = cypher(node, text, make(me + CLIENTS * counts[me]))
            assert reply.status == 200, reply.detail
            took.append((time.perf_counter() - began) * 1000)
            counts[me] += 1

    threads = [threading.Thread(target=client, args=(me,)) for me in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took.sort()
    return (
        f"{sum(counts) / seconds:,.0f} | {took[len(took) // 2]:.1f} |"
        f" {took[len(took) * 99 // 100]:.1f}"
    )


def rates(cluster: FaultyCluster, directory: Path, seconds: float) -> list[str]:
    """Count reads and writes a second; return a table.

    Args:
        cluster: holds the network.
        directory: its files.
        seconds: how long each.
    """
    people = [row[0] for row in network.node_rows(directory, "Person")]

    def one(number: int) -> dict:
        """Name one person."""
        return {"id": people[number * 7 % len(people)]}

    def two(number: int) -> dict:
        """Name two persons."""
        pair = people[number * 7 % len(people)], people[number * 13 % len(people)]
        return {"a": pair[0], "b": pair[1], "d": number}

    point = "MATCH (p:Person {id: $id}) RETURN p.firstName, p.lastName"
    hop = "MATCH (p:Person {id: $id})-[:knows]->(f:Person) RETURN f.id"
    edge = (
        "MATCH (a:Person {id: $a}), (b:Person {id: $b})"
        " CREATE (a)-[:knows {creationDate: $d}]->(b)"
    )
    update = "MATCH (p:Person {id: $id}) SET p.browserUsed = 'none'"
    return [
        "| what | a second | p50 ms | p99 ms |",
        "|---|---|---|---|",
        f"| point reads | {rate(cluster, point, one, seconds)} |",
        f"| one hop | {rate(cluster, hop, one, seconds)} |",
        f"| single-edge writes | {rate(cluster, edge, two, seconds)} |",
        f"| updates of a property | {rate(cluster, update, one, seconds)} |",
    ]


def measure(cluster: FaultyCluster, given: argparse.Namespace) -> int:
    """Do all of it; return how many answers differ.

    Args:
        cluster: just founded.
        given: the command line.
    """
    told = load(cluster, given.directory)
    print("\n".join(told), flush=True)
    print("\n" + check_network(cluster.any(), given.directory), flush=True)
    engine, speed = one_engine(given.directory)
    print(f"\nOne engine's COPY: {speed:,.0f} rows/s\n", flush=True)
    print("| query | strategy | rows | one engine ms | shards ms | in bounds | equal |")
    print("|---|---|---|---|---|---|---|")
    wrong = []
    for query in FORTY:
        line, difference_ = compare(cluster, engine, query, given.times)
        print(line, flush=True)
        wrong += [f"{query.name}: {difference_}"] if difference_ else []
    print("\n" + "\n".join(rates(cluster, given.directory, given.seconds)))
    print("\n" + "\n".join(wrong))
    print(check_copies(cluster, given.replicas))
    return len(wrong)


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="the social network's files")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    cluster = FaultyCluster()
    try:
        cluster.replicas = given.replicas
        cluster.form(
            given.nodes,
            *("--preset", "local", "--replicas", str(given.replicas)),
            *("--shards", str(given.shards)),
        )
        wrong = measure(cluster, given)
    except BaseException:
        print(cluster.logs(), file=sys.stderr)
        cluster.close(keep=True)
        print(f"kept for a look: {cluster.root}", file=sys.stderr)
        raise
    cluster.close(keep=False)
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))
