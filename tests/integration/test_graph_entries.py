"""Nodes, relationships and walks over HTTP, on three whole nodes."""

import json
from time import perf_counter
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import Deferred

from tests.integration.whole_nodes import NAMES, ClusterCase

pytestmark = pytest.mark.integration

PEOPLE = 12
TABLES = (
    "CREATE NODE TABLE Person (id INT64, name STRING, PRIMARY KEY (id))",
    "CREATE REL TABLE Knows (FROM Person TO Person, since INT64)",
)


class EntriesTests(ClusterCase):
    """A chain of people, each of whom knows the next one."""

    timeout = 120
    options: ClassVar[dict[str, str]] = {"replicas": "2", "shards": "4"}

    async def said(
        self, status: int, method: str, path: str, body: object = None, node: str = "n1"
    ) -> Any:
        """Ask a node, which must answer with a status; return what it says.

        Args:
            status: wanted.
            method: of HTTP.
            path: what is asked.
            body: sent in JSON.
            node: which.
        """
        spelled = b"" if body is None else json.dumps(body).encode()
        got, answer = await self.ask(node, method, path, spelled)
        self.assertEqual(got, status, (method, path, answer))
        return json.loads(answer) if answer else None

    async def fill(self) -> None:
        """Make the chain, each part of it by another node."""
        for text in TABLES:
            await self.said(200, "POST", "/cypher", {"query": text})
        for key in range(PEOPLE):
            path, node = f"/graph/nodes/Person/{key}", NAMES[key % 3]
            await self.said(204, "PUT", path, {"name": f"p{key}"}, node)
        for key in range(PEOPLE - 1):
            path, node = f"/graph/edges/Knows/{key}/{key + 1}", NAMES[key % 3]
            await self.said(204, "PUT", path, {"since": 2000 + key}, node)

    async def count(self, query: str, node: str = "n1", /, **values: object) -> Any:
        """Return the one value that a statement returns.

        Args:
            query: the statement.
            node: which is asked.
            values: of its parameters.
        """
        body = {"query": query, "parameters": values}
        told = await self.said(200, "POST", "/cypher", body, node)
        return told["rows"][0][0] if told["rows"] else told["stats"]

    def test_what_is_put_is_walked_over(self) -> "Deferred[None]":
        """Rows that were put by key are seen by statements and walks, at any node."""
        return self.sync(self._walks())

    async def _walks(self) -> None:
        """Fill, and walk."""
        await self.fill()
        edges = "MATCH (:Person)-[k:Knows]->(:Person) RETURN count(k)"
        for node in NAMES:
            self.assertEqual(await self.count(edges, node), PEOPLE - 1)
        walk = {
            "start": [{"table": "Person", "key": 0}],
            "steps": [{"rel": "Knows", "min": 1, "max": 4, "where": {"id": {">": 1}}}],
            "return": ["id"],
        }
        told = await self.said(200, "POST", "/graph/traverse", walk, "n2")
        self.assertEqual(sorted(told["rows"]), [[2], [3], [4]])
        counted = walk | {"return": "count"}
        told = await self.said(200, "POST", "/graph/traverse", counted, "n3")
        self.assertEqual(told["rows"], [[3]])
        ends = {
            "from": {"table": "Person", "key": 7},
            "to": {"table": "Person", "key": 2},
            "rel": "Knows",
        }
        path = "/graph/shortest-path"
        told = await self.said(200, "POST", path, ends | {"direction": "both"})
        self.assertEqual((told["found"], told["length"]), (True, 5))
        self.assertEqual(len(told["edges"]), 5)
        told = await self.said(200, "POST", path, ends, "n2")
        self.assertFalse(told["found"])
        await self._deletes(edges)

    async def _deletes(self, edges: str) -> None:
        """Delete, and look at every node."""
        await self.said(409, "DELETE", "/graph/nodes/Person/5")
        await self.said(204, "DELETE", "/graph/nodes/Person/5?detach=true", None, "n2")
        for node in NAMES:
            self.assertEqual(await self.count(edges, node), PEOPLE - 3)
            await self.said(404, "GET", "/graph/edges/Knows/4/5", None, node)
        await self.said(204, "PUT", "/graph/nodes/Person/5", {}, "n3")
        for node in NAMES:
            self.assertEqual(await self.count(edges, node), PEOPLE - 3)
        both = "MATCH (a:Person {id: 5}) CREATE (a)-[:Knows {since: 1}]->(a)"
        await self.count(both)
        got = await self.said(200, "GET", "/graph/edges/Knows/5/5", None, "n2")
        self.assertEqual(got["properties"], {"since": 1})
        self.assertEqual(len(got["id"]), 32)

    def test_many_rows_are_written_by_one_statement(self) -> "Deferred[None]":
        """Thousands of nodes and relationships, in a few records a shard."""
        return self.sync(self._many())

    async def _many(self) -> None:
        """Create and merge many; print how many a second."""
        await self.fill()
        count = 4_000
        rows = [{"id": 100 + key} for key in range(count)]
        create = "UNWIND $rows AS row CREATE (:Person {id: row.id})"
        begun = perf_counter()
        stats = await self.count(create, "n1", rows=rows)
        made = perf_counter()
        self.assertEqual((stats["strategy"], stats["nodes_created"]), ("fast", count))
        pairs = [{"a": 100 + k, "b": 100 + (k * 7) % count} for k in range(count)]
        merge = (
            "UNWIND $rows AS row MATCH (a:Person {id: row.a}), (b:Person {id: row.b}) "
            "CREATE (a)-[:Knows {since: 1}]->(b)"
        )
        stats = await self.count(merge, "n2", rows=pairs)
        related = perf_counter()
        self.assertEqual((stats["strategy"], stats["edges_created"]), ("fast", count))
        edges = "MATCH (:Person)-[k:Knows]->(:Person) RETURN count(k)"
        self.assertEqual(await self.count(edges, "n3"), PEOPLE - 1 + count)
        print(f"{count / (made - begun):.0f} nodes/s, ", end="")
        print(f"{count / (related - made):.0f} edges/s")
