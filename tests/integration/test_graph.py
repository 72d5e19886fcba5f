"""Cypher on three whole nodes, over real sockets, logs and engines."""

import json
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import treq
from twisted.internet.defer import Deferred

from tests.integration.whole_nodes import NAMES, ClusterCase

pytestmark = pytest.mark.integration

PEOPLE = 40
LARGE = (1 << 20) + 1
TABLES = (
    "CREATE NODE TABLE Person (id INT64, name STRING, age INT64, PRIMARY KEY (id))",
    "CREATE REL TABLE Knows (FROM Person TO Person, since INT64)",
)
CREATE = "CREATE (:Person {id: $id, name: $name, age: $age})"
BOTH = "MATCH (a:Person {id: $a}), (b:Person {id: $b})"
RELATE = f"{BOTH} CREATE (a)-[:Knows {{since: $s}}]->(b)"


class GraphTests(ClusterCase):
    """A ring of people, each of whom knows the next two."""

    timeout = 120
    options: ClassVar[dict[str, str]] = {"replicas": "2", "shards": "4"}

    async def cypher(
        self, node: str, query: str, graph: str = "main", /, **parameters: Any
    ) -> dict[str, Any]:
        """Run a statement at a node; return its answer, which must be one.

        Args:
            node: which.
            query: the statement.
            graph: where.
            parameters: of the statement.
        """
        asked = {"query": query, "parameters": parameters, "graph": graph}
        body = json.dumps(asked).encode()
        status, answer = await self.ask(node, "POST", "/cypher", body)
        self.assertEqual(status, 200, (query, answer))
        told: dict[str, Any] = json.loads(answer)
        return told

    async def rows(self, node: str, query: str, /, **parameters: Any) -> list[Any]:
        """Run a statement at a node; return its rows.

        Args:
            node: which.
            query: the statement.
            parameters: of the statement.
        """
        found: list[Any] = (await self.cypher(node, query, **parameters))["rows"]
        return found

    async def fill(self, graph: str = "main") -> None:
        """Make the ring, each statement by another node."""
        for text in TABLES:
            await self.cypher("n1", text, graph)
        for number in range(PEOPLE):
            given = {"id": number, "name": f"p{number}", "age": number % 7}
            await self.cypher(NAMES[number % 3], CREATE, graph, **given)
        for number in range(PEOPLE):
            for step in (1, 2):
                given = {"a": number, "b": (number + step) % PEOPLE, "s": 2000 + step}
                await self.cypher(NAMES[number % 3], RELATE, graph, **given)

    def test_statements_are_answered_as_by_one_engine(self) -> "Deferred[None]":
        """By every strategy, at whatever node, in every format."""
        return self.sync(self._answers())

    async def _answers(self) -> None:
        """Fill, and ask."""
        await self.fill()
        strategies = {}
        for query, rows in (
            ("MATCH (p:Person) RETURN count(*)", [[PEOPLE]]),
            ("MATCH (:Person)-[k:Knows]->(:Person) RETURN count(k)", [[2 * PEOPLE]]),
            ("MATCH (p:Person {id: 3}) RETURN p.name, p.age", [["p3", 3]]),
            (
                "MATCH (p:Person {id: 3})-[:Knows]->(q) RETURN q.name ORDER BY q.name",
                [["p4"], ["p5"]],
            ),
            (
                "MATCH (p:Person {id: 3})<-[:Knows]-(q) RETURN q.id ORDER BY q.id",
                [[1], [2]],
            ),
            (
                "MATCH (p:Person {id: 0})-[:Knows*1..2]->(q) "
                "RETURN DISTINCT q.id ORDER BY q.id",
                [[1], [2], [3], [4]],
            ),
            (
                "MATCH (p:Person) WITH p.age AS age, count(*) AS n "
                "WHERE n > 5 RETURN age, n ORDER BY age",
                [[0, 6], [1, 6], [2, 6], [3, 6], [4, 6]],
            ),
            (
                "MATCH (a:Person)-[:Knows]->(b)-[:Knows]->(c) WHERE a.id = c.id "
                "RETURN count(*)",
                [[0]],
            ),
            ("RETURN 1 + 1", [[2]]),
        ):
            for name in NAMES:
                told = await self.cypher(name, query)
                self.assertEqual(told["rows"], rows, query)
                strategies[told["stats"]["strategy"]] = query
        self.assertIn("gather", strategies)
        self.assertIn("scatter", strategies)
        self.assertIn("frontier", strategies)
        self.assertIn("route", strategies)
        await self._formats()
        await self._schema()

    async def _formats(self) -> None:
        """Ask for the same in other formats."""
        query = {"query": "MATCH (p:Person) WHERE p.id < 2 RETURN p.id AS i ORDER BY i"}
        body = json.dumps(query).encode()
        lines = await self.accepted("application/x-ndjson", body)
        self.assertEqual(lines, b"[0]\n[1]\n")
        arrow = await self.accepted("application/vnd.apache.arrow.stream", body)
        table = pa.ipc.open_stream(arrow).read_all()
        self.assertEqual(table.to_pylist(), [{"i": 0}, {"i": 1}])

    async def accepted(self, kind: str, body: bytes) -> bytes:
        """Run a statement at a node, in some format.

        Args:
            kind: what is accepted.
            body: of the request.
        """
        url = f"http://{self.nodes['n2'].http}/cypher"
        headers: dict[bytes | str, bytes | str] = {"Accept": kind}
        response = await treq.post(url, data=body, headers=headers, persistent=False)
        self.assertEqual(response.headers.getRawHeaders("Content-Type"), [kind])
        content: bytes = await response.content()
        return content

    async def _schema(self) -> None:
        """Ask for the schema, with counts."""
        schema = await self.told("n3", "/graph/schema")
        counts = {table["name"]: table["count"] for table in schema["nodes"]}
        self.assertEqual(counts["Person"], PEOPLE)
        self.assertEqual(schema["relationships"][0]["count"], 2 * PEOPLE)

    def test_a_value_that_is_not_shown_is_refused(self) -> "Deferred[None]":
        """Whichever way the statement is run; all else of its key is answered."""
        return self.sync(self._large())

    async def _large(self) -> None:
        """Put a small value and a large one, and read both."""
        await self.ask("n1", "PUT", "/kv/small", b"1")
        await self.ask("n2", "PUT", "/kv/large", bytes(LARGE))
        key = "MATCH (k:KeyValue {key: $key})"
        for query, key_given in (
            (f"{key} RETURN k.value", "large"),
            (f"{key} RETURN k", "large"),
            ("MATCH (k:KeyValue) RETURN k.value, $key", ""),
            ("MATCH (k:KeyValue) WHERE k.value IS NULL RETURN k.key, $key", ""),
            ("MATCH (k:KeyValue) WHERE k.key STARTS WITH $key RETURN k", "l"),
            ("MATCH (n) RETURN n, $key", ""),
        ):
            asked = {"query": query, "parameters": {"key": key_given}}
            body = json.dumps(asked).encode()
            status, answer = await self.ask("n3", "POST", "/cypher", body)
            self.assertEqual(status, 413, (query, answer))
            self.assertIn(b"'large'", answer)
        for query, rows in (
            (f"{key} RETURN k.size", [[LARGE]]),
            ("MATCH (k:KeyValue) WHERE k.size < 9 AND $key <> '' RETURN k.size", [[1]]),
            (
                "MATCH (k:KeyValue) WHERE $key <> '' RETURN sum(k.size)",
                [[LARGE + 1]],
            ),
        ):
            self.assertEqual(await self.rows("n3", query, key="large"), rows)
        small = await self.rows(
            "n3", f"{key} RETURN octet_length(k.value)", key="small"
        )
        self.assertEqual(small, [[1]])

    def test_what_is_written_is_read_at_every_node(self) -> "Deferred[None]":
        """Changes by gather, conflicts, deletions; each is seen at once, anywhere."""
        return self.sync(self._writes())

    async def _writes(self) -> None:
        """Write, and look."""
        await self.fill()
        told = await self.cypher(
            "n2", "MATCH (p:Person) WHERE p.age = 3 SET p.age = 30 RETURN count(*)"
        )
        changed = told["rows"][0][0]
        self.assertEqual(told["stats"]["nodes_updated"], changed)
        older = "MATCH (p:Person) WHERE p.age = 30 RETURN count(*)"
        for name in NAMES:
            self.assertEqual(await self.rows(name, older), [[changed]])
        await self.cypher("n1", "MATCH (p:Person {id: 5}) DETACH DELETE p")
        hops = "MATCH (:Person)-[:Knows]->(:Person) RETURN count(*)"
        everyone = "MATCH (p:Person) RETURN count(*)"
        for name in NAMES:
            self.assertEqual(await self.rows(name, hops), [[2 * PEOPLE - 4]])
            self.assertEqual(await self.rows(name, everyone), [[PEOPLE - 1]])
        await self.cypher("n3", CREATE, id=5, name="new", age=1)
        around = "MATCH (p:Person {id: 5})-[:Knows]-(q) RETURN count(*)"
        self.assertEqual(await self.rows("n1", around), [[0]])
        body = json.dumps({"query": CREATE, "parameters": {"id": 5}}).encode()
        status, _ = await self.ask("n1", "POST", "/cypher", body)
        self.assertEqual(status, 422)

    def test_a_single_graph_answers_like_a_sharded_one(self) -> "Deferred[None]":
        """All of it is on one shard; every statement is atomic."""
        return self.sync(self._single())

    async def _single(self) -> None:
        """Make one, fill it, and ask."""
        path = "/graphs/one?placement=single"
        self.assertEqual((await self.ask("n1", "PUT", path))[0], 200)
        await self.until(partial(self.says, "n2", "/graph/schema?graph=one", 200))
        await self.until(partial(self.says, "n3", "/graph/schema?graph=one", 200))
        await self.fill("one")
        told = await self.cypher(
            "n2", "MATCH (p:Person) WHERE p.id < 10 SET p.age = 99", "one"
        )
        self.assertTrue(told["stats"]["atomic"])
        self.assertEqual(told["stats"]["nodes_updated"], 10)
        query = "MATCH (p:Person {age: 99})-[:Knows]->(q) RETURN count(*)"
        self.assertEqual((await self.cypher("n3", query, "one"))["rows"], [[20]])
        self.assertEqual((await self.ask("n1", "DELETE", "/graphs/one"))[0], 204)
