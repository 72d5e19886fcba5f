"""The Python client against three whole nodes, from threads, while they serve."""

import io
import re
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.integration.whole_nodes import NAMES, PATIENCE_S, STEP_S, ClusterCase
from torua.client import (
    UNCHANGED,
    BulkResult,
    Client,
    ConflictError,
    Delete,
    Edge,
    End,
    Get,
    Node,
    NotFoundError,
    PreconditionError,
    Put,
    UnprocessableError,
    Value,
)

pytestmark = pytest.mark.integration

T = TypeVar("T")
DOCUMENTATION = Path(__file__).parent.parent.parent / "docs" / "client.md"
WRITES = 300

LONG_POLL_S = 5.5
"""So long a node waits for news on behalf of a feed, also of one that was closed."""


class ClientTests(ClusterCase):
    """What the client's documentation says, on three nodes with two copies."""

    timeout = 120
    options: ClassVar[dict[str, str]] = {"replicas": "2", "shards": "4"}

    def client(self, *names: str, session: bool = False) -> Client:
        """Make a client of some nodes, or of all.

        Args:
            names: of nodes.
            session: see `Client`.
        """
        urls = [f"http://{self.nodes[name].http}" for name in names or NAMES]
        client = Client(urls, session=session)
        self.addCleanup(client.close)
        return client

    def threaded(
        self, work: Callable[[Client], None], *, session: bool = False
    ) -> "Deferred[None]":
        """Have a thread do something with a client of all nodes.

        Args:
            work: what to do.
            session: see `Client`.
        """
        return deferToThread(work, self.client(session=session))

    def test_keys_and_values(self) -> "Deferred[None]":
        """Conditions, types, absence, deletes and times to live, as they are told."""
        return self.threaded(_keys)

    def test_many_at_once_and_lists(self) -> "Deferred[None]":
        """Results in order; lists over all shards and pages."""
        return self.threaded(_bulk)

    def test_a_write_under_one_key_is_done_once(self) -> "Deferred[None]":
        """The second answer is the first one's."""
        return self.threaded(_promises)

    def test_the_cluster_is_described(self) -> "Deferred[None]":
        """Each answer of the cluster can be read."""
        return self.threaded(_cluster)

    def test_a_graph(self) -> "Deferred[None]":
        """Definitions, statements, rows as a stream, entries, a file."""
        return self.threaded(_graph)

    def test_the_examples_of_the_documentation(self) -> "Deferred[None]":
        """They run, from the first to the last, as they stand."""
        return deferToThread(_examples, [str(self.nodes[name].http) for name in NAMES])

    def test_a_session_reads_its_writes_on_any_node(self) -> "Deferred[None]":
        """From any copy, whichever node is asked, also of what a bulk request wrote."""
        return self.threaded(_session, session=True)

    def test_a_node_stops_under_load(self) -> "Deferred[None]":
        """No write fails, none is lost, and the feed has each change once."""
        return self.sync(self._stop_one())

    async def _stop_one(self) -> None:
        """Write and follow, stop a node, and count."""
        client = self.client()
        work = deferToThread(_load, client)
        await self.until(lambda: _soon(self, client, "load/050"))
        stopped = self.stop(self.nodes["n1"])
        assert stopped is not None
        await stopped
        written, followed = await work
        self.assertEqual(len(written), WRITES)
        self.assertEqual(sorted(followed), sorted(written))
        await deferLater(self.reactor, LONG_POLL_S)


def _soon(
    case: ClusterCase, client: Client, key: str
) -> Coroutine[Deferred[Any], Any, bool]:
    """Tell, from a thread, whether a key is there."""

    async def ask() -> bool:
        """Ask."""
        return await deferToThread(client.kv.get, key) is not None

    return ask()


def _keys(client: Client) -> None:
    """Put, compare, read, delete."""
    kv = client.kv
    data = bytes(range(256))
    first = kv.put("a/b//c", data, if_absent=True, content_type="image/x")
    assert kv.get("a/b//c") == Value(data, first, "image/x")
    head = kv.head("a/b//c")
    assert head is not None
    assert (head.version, head.size) == (first, 256)
    assert kv.get_if_changed("a/b//c", first) is UNCHANGED
    with pytest.raises(PreconditionError) as caught:
        kv.put("a/b//c", b"", if_absent=True)
    assert caught.value.request_id
    second = kv.put("a/b//c", b"", if_version=first)
    assert second > first
    assert kv.get_if_changed("a/b//c", first) == Value(
        b"", second, "application/octet-stream"
    )
    kv.delete("a/b//c", if_version=second)
    kv.delete("a/b//c")
    for key in ("a/b//c", "..", "%2F", "é?#"):
        assert kv.get(key) is None
        assert kv.head(key) is None
        kv.put(key, key.encode(), ttl_s=1000)
        value = kv.get(key)
        assert value is not None
        assert value.data == key.encode()
    large = bytes(16 << 20)
    kv.put("large", large)
    value = kv.get("large")
    assert value is not None
    assert value.data == large


def _bulk(client: Client) -> None:
    """Put many, and list them."""
    kv = client.kv
    keys = [f"p/{number:04d}" for number in range(1500)]
    results = kv.bulk(Put(key, key.encode()) for key in keys)
    assert all(result.ok for result in results)
    versions = [result.version for result in results]
    mixed = kv.bulk(
        [Get("p/0003"), Delete("p/0003"), Get("p/0003"), Put("p/0004", b"", 1 << 40)]
    )
    assert mixed[0] == BulkResult(200, versions[3], b"p/0003")
    assert [each.status for each in mixed] == [200, 204, 404, 412]
    keys.remove("p/0003")
    listed = list(kv.list("p/", values=True, page_size=700))
    assert [item.key for item in listed] == keys
    assert [item.value for item in listed] == [key.encode() for key in keys]
    page = kv.page("p/", after="p/0004", limit=2)
    assert [item.key for item in page.items] == ["p/0005", "p/0006"]
    assert page.items[0].value is None


def _promises(client: Client) -> None:
    """Send each twice."""
    versions = [
        client.kv.put("once", b"v", if_absent=True, idempotency_key="mine")
        for _ in range(2)
    ]
    assert versions[0] == versions[1]
    with pytest.raises(UnprocessableError):
        client.kv.put("once", b"other", if_absent=True, idempotency_key="mine")


def _cluster(client: Client) -> None:
    """Ask all there is."""
    cluster = client.cluster
    assert cluster.health().status in {"green", "yellow"}
    assert cluster.ready().ready
    assert cluster.info().total_shards == 4
    nodes = cluster.nodes()
    assert [node.name for node in nodes] == list(NAMES)
    detail = cluster.node("n2")
    assert detail.node_id == nodes[1].node_id
    assert len(cluster.shards()) == 4
    assert cluster.tasks() == ()
    assert "torua_" in cluster.metrics()
    for absent in (lambda: cluster.task("x"), lambda: cluster.node("n9")):
        with pytest.raises(NotFoundError):
            absent()
    with pytest.raises(ConflictError):
        cluster.force_allocate(0, "n1")
    _orders(client)


def _orders(client: Client) -> None:
    """Have done what operators may."""
    cluster = client.cluster
    explained = cluster.explain(0)
    held = {each.node for each in explained.copies}
    assert held | {each.node for each in explained.others} == set(NAMES)
    planned = _at_rest(lambda: cluster.assign(0, _free(client), dry_run=True))
    assert planned.dry_run
    assert cluster.rebalance().under_way >= 0
    task = _at_rest(lambda: cluster.evacuate("n3"))
    assert cluster.task(task).kind
    assert {node.name: node.status for node in cluster.nodes()}["n3"] == "evacuating"
    for enabled in (True, False):
        assert set(cluster.maintenance(["n3"], enabled=enabled)) == {"n3"}
    with pytest.raises(ConflictError):
        cluster.remove("n1")


def _free(client: Client) -> str:
    """Name a node that has no copy of shard 0."""
    held = {copy.node for copy in client.cluster.explain(0).copies}
    return min(set(NAMES) - held, default=NAMES[0])


def _at_rest(order: Callable[[], T]) -> T:
    """Give an order; again, while shards are still being moved."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return order()
        except ConflictError:
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(STEP_S)


def _graph(client: Client) -> None:
    """Define, create, ask, load."""
    graph = client.graph()
    graph.cypher("CREATE NODE TABLE Person (id INT64 PRIMARY KEY, name STRING)")
    graph.cypher("CREATE REL TABLE Knows (FROM Person TO Person, since INT64)")
    create = "UNWIND $rows AS r CREATE (:Person {id: r.id, name: r.name})"
    rows = [{"id": number, "name": f"é{number}"} for number in range(50)]
    assert graph.cypher(create, {"rows": rows}).stats["nodes_created"] == 50
    names = "MATCH (p:Person) WHERE p.id < $n RETURN p.id AS id, p.name ORDER BY id"
    result = graph.cypher(names, {"n": 2})
    assert result.columns[0] == "id"
    assert result.types == ("INT64", "STRING")
    assert result.rows == [[0, "é0"], [1, "é1"]]
    assert result.dicts()[1]["id"] == 1
    changed = graph.cypher("MATCH (p:Person {id: 3}) SET p.name = 'x'")
    assert changed.stats["nodes_updated"] == 1
    graph.cypher(
        "MATCH (a:Person {id: 3}), (b:Person) WHERE b.id > 3 AND b.id < 6 "
        "CREATE (a)-[:Knows {since: 1}]->(b)"
    )
    with graph.stream(names, {"n": 40}) as streamed:
        assert streamed.types == ("INT64", "STRING")
        assert [row[0] for row in streamed] == list(range(40))
    assert graph.explain(names, {"n": 2}).strategy
    with pytest.raises(Exception, match="Person2"):
        graph.cypher("MATCH (p:Person2) RETURN p.id")
    _entries(client)
    report = graph.load(
        "Person", io.BytesIO(b"id,name\n100,a\n101,b\n"), media_type="text/csv"
    )
    assert (report.rows, report.stopped) == (2, "")
    schema = graph.schema()
    assert [table.name for table in schema.relationships] == ["Knows"]
    made = client.create_graph("other", "single")
    assert (made.name, made.placement) == ("other", "single")
    assert client.create_graph("other", "single") == made
    assert [each.name for each in client.graphs()] == ["main", "other"]
    client.drop_graph("other")
    with pytest.raises(NotFoundError):
        client.drop_graph("other")


def _entries(client: Client) -> None:
    """Nodes and relationships one at a time."""
    graph = client.graph()
    version = graph.put_node("Person", 90, {"name": "Ann"}, if_absent=True)
    assert graph.get_node("Person", 90) == Node(
        "Person", 90, version, {"id": 90, "name": "Ann"}
    )
    later = graph.patch_node("Person", 90, {"name": None}, if_version=version)
    assert later > version
    graph.put_node("Person", 91)
    since = graph.put_edge("Knows", 90, 91, {"since": 2020})
    ends = (End("Person", 90), End("Person", 91))
    assert graph.get_edge("Knows", 90, 91) == Edge(
        "Knows", *ends, "", since, {"since": 2020}
    )
    with pytest.raises(ConflictError):
        graph.delete_node("Person", 91)
    graph.delete_edge("Knows", 90, 91)
    graph.delete_edge("Knows", 90, 91)
    assert graph.get_edge("Knows", 90, 91) is None
    graph.put_edge("Knows", 90, 91)
    graph.delete_node("Person", 91, detach=True)
    assert graph.get_node("Person", 91) is None
    with pytest.raises(NotFoundError):
        graph.get_node("Nobody", 1)
    with pytest.raises(NotFoundError):
        graph.patch_node("Person", 91, {})


def _examples(addresses: list[str]) -> None:
    """Run what docs/client.md shows, with the nodes of the test for those it names."""
    text = DOCUMENTATION.read_text()
    for port, address in zip((7440, 7442, 7444), addresses, strict=True):
        text = text.replace(f"127.0.0.1:{port}", address)
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 6
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()) as printed:
        for example in examples:
            exec(example, names)  # noqa: S102 - it is our own
    names["client"].close()
    assert "somebody else was here" in printed.getvalue()


def _session(client: Client) -> None:
    """Write and read, by turns."""
    for number in range(30):
        key = f"s/{number % 7}"
        version = client.kv.put(key, b"%d" % number)
        value = client.kv.get(key)
        assert value is not None
        assert value.version == version
        client.kv.bulk([Put("s/bulk", b"%d" % number), Put("s/b2", b"%d" % number)])
        value = client.kv.get("s/bulk")
        assert value is not None
        assert value.data == b"%d" % number
    assert 0 < client.token.count(",") < 4
    client.graph().cypher("CREATE NODE TABLE T (id INT64 PRIMARY KEY)")
    for number in range(5):
        client.graph().cypher("CREATE (:T {id: $n})", {"n": number})
        count = client.graph().cypher("MATCH (t:T) RETURN count(*)")
        assert count.rows == [[number + 1]]


def _load(client: Client) -> tuple[list[str], list[str]]:
    """Write from four threads, and follow; return the keys of both."""
    followed: list[str] = []
    client.kv.put("load/begin", b"")
    changes = client.kv.changes("load/", since="earliest")

    def follow() -> None:
        """Take what comes, until all was there."""
        for change in changes:
            followed.append(change.key)
            if len(set(followed)) == WRITES + 2:
                return

    def write(number: int) -> str:
        """Write one key, which must not be there yet."""
        key = f"load/{number:03d}"
        client.kv.put(key, b"v", if_absent=True)
        return key

    thread = Thread(target=follow)
    thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            written = list(pool.map(write, range(WRITES)))
        client.kv.put("load/end", b"")
        thread.join(20)
    finally:
        changes.close()
        thread.join()
    return written, [key for key in followed if key[5:].isdecimal()]
