"""A graph that is larger than what a query may have: is memory bounded then?"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import psutil
from cluster import Cluster, Node
from graphs import Reply, cypher, define, rows, workers
from msgspec import json

STORAGE, QUERY = "torua.storage.worker", "torua.storage.query_worker"
"""What stands in the command lines of worker processes."""

TABLES = (
    "CREATE NODE TABLE Page(id INT64 PRIMARY KEY, n INT64, title STRING, text STRING)",
    "CREATE REL TABLE cites(FROM Page TO Page)",
)
TEXT_BYTES = 4096
CITED = (1, 7, 101)
"""A page cites those that stand so many further on, round and round."""

FILE_ROWS = 1000
MIB = 1 << 20

GATHERS = (
    "MATCH (p:Page) RETURN p",
    "MATCH (p:Page) WITH p.text AS t ORDER BY t RETURN collect(t)",
    "MATCH (a:Page)-[:cites]->(b:Page)-[:cites]->(c:Page) RETURN a.text, c.text",
    "MATCH (p:Page) WHERE p.n >= 0 RETURN p",
    "MATCH (p:Page) WHERE p.n >= 0 SET p.title = p.text",
)
"""Each would bring all texts to one node."""


def page(number: int) -> dict[str, object]:
    """Make a page, the same each time."""
    word = hashlib.blake2b(str(number).encode()).hexdigest()
    text = word * (TEXT_BYTES // len(word))
    return {"id": number, "n": number % 97, "title": f"t{word[:8]}", "text": text}


def load(cluster: Cluster, mebibytes: int) -> int:
    """Make a graph of that size, each file imported at another node; return its rows.

    Args:
        cluster: where.
        mebibytes: of texts.
    """
    count = mebibytes * MIB // TEXT_BYTES
    nodes = cluster.running()
    define(cluster.any(), TABLES)
    for turn, first in enumerate(range(0, count, FILE_ROWS)):
        numbers = range(first, min(count, first + FILE_ROWS))
        lines = [json.encode(page(number)) for number in numbers]
        put_in(nodes[turn % len(nodes)], "Page", lines)
    for turn, first in enumerate(range(0, count, 10 * FILE_ROWS)):
        lines = [
            json.encode({"from": number, "to": (number + step) % count})
            for number in range(first, min(count, first + 10 * FILE_ROWS))
            for step in CITED
        ]
        put_in(nodes[turn % len(nodes)], "cites", lines)
    return count


def put_in(node: Node, table: str, lines: list[bytes]) -> None:
    """Import lines of JSON.

    Args:
        node: at which.
        table: where they go.
        lines: one each row.
    """
    answer = node.ask(
        "POST",
        f"/graph/import/{table}",
        b"\n".join(lines),
        120.0,
        Content_Type="application/x-ndjson",
    )
    assert answer.status == 200, (table, answer.status, answer.data)
    assert not answer.json().get("errors"), answer.json()


class Asked(NamedTuple):
    """A statement whose answer is known.

    Attributes:
        strategy: how it must be run.
        text: the statement.
        parameters: its parameters.
        rows: its answer.
    """

    strategy: str
    text: str
    parameters: dict[str, object]
    rows: list[list[object]]


def small_ones(count: int, number: int) -> list[Asked]:
    """List statements that need little of the graph, of each kind.

    Args:
        count: how many pages there are.
        number: of the page that some of them name.
    """
    named, cited = {"k": number}, [(number + step) % count for step in CITED]
    further = Counter((at + step) % count for at in cited for step in CITED)
    counts = Counter(each % 97 for each in range(count))
    return [
        Asked(
            "route",
            "MATCH (p:Page {id: $k}) RETURN p.text",
            named,
            [[page(number)["text"]]],
        ),
        Asked(
            "scatter",
            "MATCH (p:Page) RETURN p.n AS n, count(*) AS c ORDER BY n",
            {},
            [list(each) for each in sorted(counts.items())],
        ),
        Asked(
            "scatter",
            "MATCH (p:Page)-[:cites]->(q:Page) RETURN count(*)",
            {},
            [[count * len(CITED)]],
        ),
        Asked(
            "scatter",
            "MATCH (p:Page) RETURN p.id, size(p.text) ORDER BY p.id DESC LIMIT 3",
            {},
            [[count - back, TEXT_BYTES] for back in (1, 2, 3)],
        ),
        Asked(
            "frontier",
            "MATCH (p:Page {id: $k})-[:cites]->(q)-[:cites]->(r:Page)"
            " RETURN r.id AS i, count(*) AS c ORDER BY i",
            named,
            [list(each) for each in sorted(further.items())],
        ),
    ]


class SmallOnes:
    """A client that asks for little, all the time, and checks each answer.

    Invariants: every statement was answered rightly, and run as it should.
    """

    def __init__(self, cluster: Cluster, count: int) -> None:
        """Ask ``cluster``, which has so many pages."""
        self._nodes = cluster.running()
        self._count = count
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._faults: list[str] = []
        self.took_s: dict[str, list[float]] = {}

    def __enter__(self) -> "SmallOnes":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()
        assert not self._faults, self._faults[:3]

    def told(self) -> str:
        """Tell how many there were of each kind, and how long they took."""
        parts = []
        for strategy, took_s in self.took_s.items():
            found = sorted(took_s)
            middle, late = found[len(found) // 2], found[int(0.99 * (len(found) - 1))]
            parts.append(
                f"{strategy}: {len(found)}, p50 {middle * 1000:.0f},"
                f" p99 {late * 1000:.0f} ms"
            )
        return "; ".join(parts)

    def _ask(self) -> None:
        """Ask, again and again."""
        turn = 0
        while not self._stopping.is_set():
            for asked in small_ones(self._count, turn * 131 % self._count):
                turn += 1
                began = time.monotonic()
                reply = cypher(
                    self._nodes[turn % len(self._nodes)], asked.text, asked.parameters
                )
                took = self.took_s.setdefault(asked.strategy, [])
                took.append(time.monotonic() - began)
                if fault := _fault(asked, reply):
                    self._faults.append(fault)


def _fault(asked: Asked, reply: Reply) -> str:
    """Say what is wrong with an answer; empty if nothing."""
    if reply.status != 200:
        return f"{asked.text}: {reply.detail}"
    if reply.rows != asked.rows:
        return f"{asked.text}: {str(reply.rows)[:200]}, not {str(asked.rows)[:200]}"
    strategy = reply.body["stats"]["strategy"]
    return "" if strategy == asked.strategy else f"{asked.text}: run as {strategy}"


class Sizes:
    """The memory of all processes of a cluster, looked at again and again.

    Invariants: ``most`` has the largest size of each kind of process seen so far.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Look at ``cluster``."""
        self._cluster = cluster
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most: Counter[str] = Counter()
        self.pids: dict[str, set[int]] = {}

    def __enter__(self) -> "Sizes":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def told(self) -> str:
        """Tell the largest sizes."""
        return ", ".join(f"{k} {v >> 20} MiB" for k, v in sorted(self.most.items()))

    def _look(self) -> None:
        """Look, again and again."""
        while not self._stopping.wait(0.1):
            for node in self._cluster.running():
                self._note("node", psutil.Process(node.process.pid))
                for kind in (STORAGE, QUERY):
                    for each in workers(node, kind):
                        self._note(kind, each)

    def _note(self, kind: str, process: psutil.Process) -> None:
        """Note the size of one."""
        try:
            size = process.memory_info().rss
        except psutil.NoSuchProcess:
            return
        self.most[kind] = max(self.most[kind], size)
        self.pids.setdefault(kind, set()).add(process.pid)


def refused_gathers(cluster: Cluster, again: Callable[[], bool]) -> list[Reply]:
    """Ask for gathers of everything, at each node in turn.

    Args:
        cluster: which.
        again: whether to ask once more.
    """
    found, turn = [], 0
    nodes = cluster.running()
    while again():
        for text in GATHERS:
            turn += 1
            found.append(cypher(nodes[turn % len(nodes)], text))
    return found


def warm(cluster: Cluster, count: int) -> None:
    """Have every node start its workers, and open its graphs."""
    for node in cluster.running():
        for asked in small_ones(count, 0):
            rows(node, asked.text, asked.parameters)
