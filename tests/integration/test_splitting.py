"""A shard of a graph split on whole nodes, while statements read and write it."""

import json
from typing import Any, ClassVar

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.integration.whole_nodes import NAMES, ClusterCase

pytestmark = pytest.mark.integration

PEOPLE = 60
TABLES = (
    "CREATE NODE TABLE Person (id INT64, PRIMARY KEY (id))",
    "CREATE REL TABLE Knows (FROM Person TO Person)",
)
MANY = "UNWIND $ids AS i CREATE (:Person {id: i})"
RELATE = "MATCH (a:Person {id: $a}), (b:Person {id: $b}) CREATE (a)-[:Knows]->(b)"
TIMES = 8


class SplittingTests(ClusterCase):
    """A ring of people, on two shards of which one becomes two."""

    timeout = 120
    options: ClassVar[dict[str, str]] = {"replicas": "2", "shards": "2"}

    async def rows(self, node: str, query: str, /, **parameters: Any) -> list[Any]:
        """Run a statement at a node; return its rows, for it must be answered.

        Args:
            node: which.
            query: the statement.
            parameters: of the statement.
        """
        asked = {"query": query, "parameters": parameters}
        status, answer = await self.ask(
            node, "POST", "/cypher", json.dumps(asked).encode()
        )
        self.assertEqual(status, 200, (query, answer))
        found: list[Any] = json.loads(answer)["rows"]
        return found

    async def is_over(self, task: str) -> bool:
        """Tell whether a split is done.

        Args:
            task: of the split.
        """
        tasks = await self.told("n1", "/tasks")
        states = {each["state"] for each in tasks if each["id"] == task}
        self.assertNotIn("failed", states, tasks)
        return "done" in states

    def test_a_count_is_right_throughout(self) -> "Deferred[None]":
        """By scatter, by frontier and by gather, at any node; writes are done, too."""
        return Deferred.fromCoroutine(self._counts())

    async def _counts(self) -> None:
        """Fill, split, and count all the while."""
        for text in TABLES:
            await self.rows("n1", text)
        await self.rows("n1", MANY, ids=list(range(PEOPLE)))
        for number in range(PEOPLE):
            await self.rows("n2", RELATE, a=number, b=(number + 1) % PEOPLE)
        status, answer = await self.ask("n2", "POST", "/shards/0/split")
        self.assertEqual(status, 200, answer)
        task, made, rounds = json.loads(answer)["task"], PEOPLE, 0
        while rounds < TIMES or not await self.is_over(task):
            rounds += 1
            await gatherResults(
                [Deferred.fromCoroutine(self._look(name, made)) for name in NAMES],
                consumeErrors=True,
            )
            await self.rows(NAMES[rounds % 3], MANY, ids=list(range(made, made + 9)))
            made += 9
        await self._look("n3", made)

    async def _look(self, node: str, people: int) -> None:
        """Count at a node, in several ways.

        Args:
            node: which.
            people: how many there are.
        """
        for query, rows in (
            ("MATCH (p:Person) RETURN count(*)", [[people]]),
            ("MATCH (:Person)-[k:Knows]->(:Person) RETURN count(k)", [[PEOPLE]]),
            ("MATCH (:Person {id: 0})-[:Knows*1..3]->(q) RETURN count(q)", [[3]]),
            (
                "MATCH (a:Person)-[:Knows]->(b)-[:Knows]->(c) WHERE a.id = c.id "
                "RETURN count(*)",
                [[0]],
            ),
        ):
            self.assertEqual(await self.rows(node, query), rows, query)
