"""Graphs over HTTP: statements, files, clients that write, and what must hold then."""

import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import urllib3
from cluster import Cluster, Node, eventually
from msgspec import json

sys.path.append(str(Path(__file__).parents[1]))

from tests.graph import network
from tests.graph.oracle import spelled

WRITERS = 4
NODES_EACH = 40
"""So many of its own a writer has at once."""

TIMEOUT_MS = 4000
MARKS = (
    "CREATE NODE TABLE Mark(id INT64 PRIMARY KEY, v INT64, name STRING)",
    "CREATE REL TABLE link(FROM Mark TO Mark, n INT64)",
)
"""The tables of `Writers`."""


class Reply(NamedTuple):
    """What a node answered to a statement."""

    status: int
    body: dict
    data: bytes = b""

    @property
    def rows(self) -> list:
        """The rows, if any."""
        return self.body.get("rows", [])

    @property
    def detail(self) -> str:
        """What a problem says."""
        return f"{self.status} {self.body.get('type', '')} {self.body.get('detail')}"


def cypher(
    node: Node,
    text: str,
    parameters: dict | None = None,
    timeout_ms: int = 30_000,
    accept: str = "application/json",
    **more: object,
) -> Reply:
    """Run a statement at a node, whatever comes of it.

    Args:
        node: which.
        text: the statement.
        parameters: its parameters.
        timeout_ms: how long it may take.
        accept: the format of the rows; where it is not JSON, they are in ``data``.
        more: further members of the body.
    """
    asked = {"query": text, "parameters": parameters or {}, "timeout_ms": timeout_ms}
    answer = node.ask(
        "POST",
        "/cypher",
        json.encode(asked | more),
        timeout_ms / 1000 + 5,
        Content_Type="application/json",
        Accept=accept,
    )
    if answer.status == 200 and accept != "application/json":
        stats = json.decode(answer.headers["Torua-Stats"])
        return Reply(200, {"stats": stats}, answer.data)
    return Reply(answer.status, json.decode(answer.data) if answer.data else {})


def rows(node: Node, text: str, parameters: dict | None = None, **more: object) -> list:
    """Run a statement that must succeed; return its rows.

    Args:
        node: which.
        text: the statement.
        parameters: its parameters.
        more: further members of the body.
    """
    reply = cypher(node, text, parameters, **more)
    assert reply.status == 200, (text, reply.detail)
    return reply.rows


def define(node: Node, statements: tuple[str, ...]) -> None:
    """Define tables.

    Args:
        node: at which.
        statements: DDL.
    """
    for text in statements:
        rows(node, text)


def files_of(directory: Path) -> list[tuple[str, Path, str]]:
    """List the files of the social network: table, path, and options, nodes first.

    Args:
        directory: where they are.
    """
    found = [(table, directory / f"{table}.csv", "") for table in network.NODES]
    for table, (pairs, _) in network.RELS.items():
        for start, end in pairs:
            paths = sorted(directory.glob(f"{start}_{table}_{end}*.csv"))
            found += [(table, path, f"&from={start}&to={end}") for path in paths]
    return found


def import_file(node: Node, table: str, path: Path, more: str = "") -> dict:
    """Import one file; return the report.

    Args:
        node: which node takes it.
        table: where it goes.
        path: the file.
        more: further parameters.
    """
    answer = node.ask(
        "POST",
        f"/graph/import/{table}?delimiter=%7C&quote={more}",
        path.read_bytes(),
        120.0,
        Content_Type="text/csv",
    )
    assert answer.status == 200, (path.name, answer.status, answer.data)
    return answer.json()


def check_network(node: Node, directory: Path) -> str:
    """Compare all tables with the files; return what was compared.

    Args:
        node: which node is asked.
        directory: where the files are.
    """
    total = 0
    content = network.content(directory)
    for table, columns in network.shape().nodes.items():
        items = ", ".join(f"n.{name}" for name in columns)
        found = rows(node, f"MATCH (n:{table}) RETURN {items}")
        same(table, content.nodes[table], found)
        total += len(found)
    for (table, start, end), columns in network.shape().rels.items():
        items = ", ".join(["a.id", "b.id", *(f"r.{name}" for name in columns)])
        text = f"MATCH (a:{start})-[r:{table}]->(b:{end}) RETURN {items}"
        found = rows(node, text)
        same(table, content.rels[(table, start, end)], found)
        total += len(found)
    return f"{total} rows are as in the files"


def same(what: str, expected: list, found: list) -> None:
    """Raise where two lists do not have the same rows.

    Args:
        what: is compared.
        expected: rows.
        found: rows.
    """
    left, right = Counter(map(spelled, expected)), Counter(map(spelled, found))
    missing, strange = left - right, right - left
    assert not missing, f"{what}: {len(missing)} missing, as {next(iter(missing))}"
    assert not strange, f"{what}: {len(strange)} too many, as {next(iter(strange))}"


def workers(node: Node, kind: str) -> list[psutil.Process]:
    """List the worker processes of a node.

    Args:
        node: which.
        kind: what stands in their command lines.
    """
    found = []
    for child in psutil.Process(node.process.pid).children(recursive=True):
        try:
            if kind in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


class Writers:
    """Clients that write nodes and relationships of their own, and remember.

    Invariants: of each node and relationship it is known what it may be: one thing, if
    the last statement on it was answered.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Write to ``cluster``; nothing runs yet."""
        self._cluster = cluster
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(WRITERS)
        self._running: list = []
        self.values: dict[int, set[int | None]] = {}
        self.links: dict[tuple[int, int, int], set[bool]] = {}
        self.answered = 0
        self.unknown: Counter[str] = Counter()

    def start(self) -> None:
        """Begin."""
        self._running = [self._pool.submit(self._write, n) for n in range(WRITERS)]

    def wait_for_answers(self, count: int, within_s: float = 30.0) -> None:
        """Wait until so many more statements were answered.

        Args:
            count: how many.
            within_s: how long it may take.
        """
        goal = self.answered + count

        def enough() -> bool:
            failed = [each for each in self._running if each.done()]
            for each in failed:
                each.result()
            return self.answered >= goal

        eventually(enough, within_s, f"{count} more statements answered")

    def stop(self) -> None:
        """End; raise what went wrong in a client."""
        self._stopping.set()
        for each in self._running:
            each.result(60.0)
        self._pool.shutdown()

    def abandon(self) -> None:
        """End, whatever went wrong."""
        self._stopping.set()
        self._pool.shutdown()

    def check(self, node: Node) -> str:
        """Compare what is there with what may be; return what was compared."""
        found = {key: v for key, v in rows(node, "MATCH (n:Mark) RETURN n.id, n.v")}
        for key, may in self.values.items():
            assert found.pop(key, None) in may, f"node {key} may be one of {may}"
        assert not found, f"nodes that nobody wrote: {found}"
        text = "MATCH (a:Mark)-[r:link]->(b:Mark) RETURN a.id, b.id, r.n"
        seen = Counter((a, b, n) for a, b, n in rows(node, text))
        for link, may in self.links.items():
            count = seen.pop(link, 0)
            assert count <= 1, f"{link} is there {count} times"
            assert bool(count) in may, f"{link} is there: {bool(count)}, may be {may}"
        assert not seen, f"relationships that nobody wrote: {seen}"
        return (
            f"{self.answered} statements answered, {self.unknown.total()} not:"
            f" {dict(self.unknown)}; {len(self.values)} nodes, {len(self.links)} links"
        )

    def _write(self, number: int) -> None:
        """Be one client."""
        dice = random.Random(number)
        mine: list[int] = []
        made = 0
        while not self._stopping.is_set():
            made += 1
            name = number * 1_000_000 + made
            if len(mine) < 2 or (len(mine) < NODES_EACH and dice.random() < 0.3):
                self._create(dice, name)
                mine.append(name)
            elif dice.random() < 0.4:
                self._link(dice, dice.choice(mine), dice.choice(mine), made)
            elif dice.random() < 0.8:
                self._set(dice, dice.choice(mine), made)
            else:
                self._delete(dice, mine.pop(dice.randrange(len(mine))))

    def _create(self, dice: random.Random, key: int) -> None:
        """Create a node."""
        self.values[key] = {None}
        done = self._ask(
            dice, "CREATE (:Mark {id: $k, v: 0, name: $s})", {"k": key, "s": f"n{key}"}
        )
        self.values[key] = {0} if done else {None, 0} if done is None else {None}

    def _set(self, dice: random.Random, key: int, value: int) -> None:
        """Set a property, sometimes in a way that takes a gather."""
        text = "MATCH (m:Mark {id: $k}) SET m.v = $v"
        if dice.random() < 0.3:
            text = "MATCH (m:Mark) WHERE m.id = $k AND m.v < $v SET m.v = $v"
        done = self._ask(dice, text, {"k": key, "v": value})
        old = self.values[key]
        new = {None if each is None else value for each in old}
        self.values[key] = new if done else old | new if done is None else old

    def _link(self, dice: random.Random, start: int, end: int, n: int) -> None:
        """Create a relationship."""
        text = (
            "MATCH (a:Mark {id: $a}), (b:Mark {id: $b}) CREATE (a)-[:link {n: $n}]->(b)"
        )
        self.links[(start, end, n)] = {False}
        done = self._ask(dice, text, {"a": start, "b": end, "n": n})
        certain = {start, end} <= {
            key for key in (start, end) if None not in self.values[key]
        }
        may = {True} if certain else {True, False}
        self.links[(start, end, n)] = (
            may if done else {True, False} if done is None else {False}
        )

    def _delete(self, dice: random.Random, key: int) -> None:
        """Delete a node with its relationships."""
        done = self._ask(dice, "MATCH (m:Mark {id: $k}) DETACH DELETE m", {"k": key})
        if done is False:
            return
        self.values[key] = {None} if done else {*self.values[key], None}
        for link, may in self.links.items():
            if key in link[:2]:
                self.links[link] = {False} if done else may | {False}

    def _ask(self, dice: random.Random, text: str, parameters: dict) -> bool | None:
        """Run a statement; tell whether it was done, None where nobody knows."""
        nodes = self._cluster.running()
        node = dice.choice(nodes)
        try:
            reply = cypher(node, text, parameters, TIMEOUT_MS)
        except (urllib3.exceptions.HTTPError, AttributeError) as error:
            self.unknown[type(error).__name__] += 1
            time.sleep(0.05)
            return None
        if reply.status == 200 and not reply.body["stats"].get("parts"):
            self.answered += 1
            return True
        self.unknown[reply.detail[:120] if reply.status != 200 else "parts"] += 1
        time.sleep(0.02)
        return False if reply.status in (409, 422) else None


class Beside:
    """A client that reads one key all the time, and remembers how long it took.

    Invariants: every read was answered with the value.
    """

    def __init__(self, node: Node) -> None:
        """Read at ``node``; the key is there."""
        self._node = node
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._failures: list[str] = []
        self.took_s: list[float] = []

    def __enter__(self) -> "Beside":
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()
        assert not self._failures, self._failures[:3]

    def quantile(self, share: float) -> float:
        """Return the time that a share of the reads did not take longer than."""
        return sorted(self.took_s)[int(share * (len(self.took_s) - 1))]

    def told(self) -> str:
        """Tell how long reads took."""
        cuts = [f"{self.quantile(share) * 1000:.0f}" for share in (0.5, 0.99, 1.0)]
        return f"{len(self.took_s)} reads beside it: p50, p99, worst {cuts} ms"

    def _read(self) -> None:
        """Read, again and again."""
        while not self._stopping.is_set():
            began = time.monotonic()
            answer = self._node.ask("GET", "/kv/beside")
            self.took_s.append(time.monotonic() - began)
            if answer.status != 200:
                self._failures.append(f"{answer.status} {answer.data!r}")
            time.sleep(0.01)


class Counters:
    """Clients that all change the same: no change may be lost, none be made twice.

    Invariants: ``done`` and ``unknown`` count what was asked of the shared property.
    """

    def __init__(self, cluster: Cluster, count: int) -> None:
        """Be so many clients of ``cluster``; nothing runs yet."""
        self._cluster = cluster
        self._count = count
        self.done = 0
        self.unknown = 0
        self.refused: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """Run all clients for a while."""
        ends = time.monotonic() + seconds
        with ThreadPoolExecutor(self._count) as pool:
            running = [pool.submit(self._client, n, ends) for n in range(self._count)]
            for each in running:
                each.result()

    def check(self, node: Node) -> str:
        """Compare what is there with what was answered; return what was compared."""
        ((value,),) = rows(node, "MATCH (m:Mark {id: 0}) RETURN m.v")
        assert self.done <= value <= self.done + self.unknown, (value, self.done)
        made = rows(node, "MATCH (m:Mark) WHERE m.id > 0 RETURN m.id, m.v")
        assert all(count >= 1 for _, count in made), made
        text = "MATCH (a:Mark)-[r:link]->(b:Mark) RETURN a.id, b.id, count(*)"
        links = rows(node, text)
        assert all(count == 1 for _, _, count in links), links
        assert len(links) == len(made), (links, made)
        return (
            f"{self.done} times counted, {self.unknown} perhaps, refused:"
            f" {dict(self.refused)}; {len(made)} nodes made together"
        )

    def _client(self, number: int, ends: float) -> None:
        """Be one client."""
        nodes = self._cluster.running()
        turn = 0
        while time.monotonic() < ends:
            turn += 1
            node = nodes[(number + turn) % len(nodes)]
            self._count_up(node)
            other = {"k": turn}
            node = nodes[(number * turn) % len(nodes)]
            merge = "MERGE (m:Mark {id: $k}) ON CREATE SET m.v = 1"
            self._again(node, merge + " ON MATCH SET m.v = m.v + 1", other)
            link = "MATCH (a:Mark {id: 0}), (b:Mark {id: $k}) MERGE (a)-[:link]->(b)"
            self._again(node, link, other)

    def _count_up(self, node: Node) -> None:
        """Add one to the shared property."""
        reply = cypher(node, "MATCH (m:Mark {id: 0}) SET m.v = m.v + 1")
        with self._lock:
            if reply.status == 200:
                self.done += 1
            elif reply.status == 409:
                self.refused[reply.detail[:100]] += 1
            else:
                self.unknown += 1
                self.refused[reply.detail[:100]] += 1

    def _again(self, node: Node, text: str, parameters: dict) -> None:
        """Run a statement until it is answered."""
        for _ in range(50):
            reply = cypher(node, text, parameters)
            if reply.status == 200:
                return
            assert reply.status in (409, 429, 503), reply.detail
        raise AssertionError(reply.detail)
