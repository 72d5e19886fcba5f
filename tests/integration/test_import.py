"""Files loaded into three whole nodes, over real sockets, logs and engines."""

import json
from typing import Any, ClassVar

import pytest
import treq
from click.testing import CliRunner
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.web.http_headers import Headers

from tests.integration.whole_nodes import NAMES, ClusterCase
from torua.cli.http import Client
from torua.cli.load_files import DEMO_QUERIES
from torua.cli.main import main

pytestmark = pytest.mark.integration

COUNTS = {
    "MATCH (p:Person) RETURN count(*)": 180,
    "MATCH (o:Organisation) RETURN count(*)": 435,
    "MATCH ()-[k:knows]->() RETURN count(*)": 1039,
    "MATCH ()-[l:isLocatedIn]->() RETURN count(*)": 615,
}


class ImportTests(ClusterCase):
    """The small social network, by the command and by hand."""

    timeout = 180
    options: ClassVar[dict[str, str]] = {"replicas": "2", "shards": "4"}

    async def torua(self, *words: str) -> str:
        """Run a command in a thread; return what it printed, which must be no failure.

        Args:
            words: the command line.
        """
        client = Client([f"http://{self.nodes[name].http}" for name in NAMES])
        run = CliRunner().invoke
        result = await deferToThread(run, main, list(words), obj=client)
        self.assertEqual(result.exit_code, 0, result.output)
        return str(result.output)

    async def post(
        self, path: str, body: bytes, media_type: str = "text/csv"
    ) -> tuple[int, Any]:
        """Send a file; return the status, and what the answer says.

        Args:
            path: with query.
            body: the file.
            media_type: its type.
        """
        response = await treq.post(
            f"http://{self.nodes['n2'].http}{path}",
            data=body,
            headers=Headers({"Content-Type": [media_type]}),
            persistent=False,
            timeout=60,
        )
        return response.code, json.loads(await response.content())

    async def count(self, query: str) -> int:
        """Return the number that a statement returns."""
        body = json.dumps({"query": query}).encode()
        status, answer = await self.ask("n3", "POST", "/cypher", body)
        self.assertEqual(status, 200, answer)
        return int(json.loads(answer)["rows"][0][0])

    def test_the_demo_is_loaded_and_asked(self) -> "Deferred[None]":
        """All rows are there; to load it again changes nothing; its queries answer."""
        return self.sync(self._demo())

    async def _demo(self) -> None:
        """Load it twice, count, and ask."""
        rows = []
        for _ in range(2):
            reports = json.loads(await self.torua("load", "--demo", "-o", "json"))
            rows.append(sum(report["rows"] for report in reports))
            self.assertEqual([r["errors"] for r in reports if r["errors"]], [])
        self.assertGreater(rows[0], 7000)
        self.assertEqual(rows[1], 0)
        for query, count in COUNTS.items():
            self.assertEqual(await self.count(query), count, query)
        for _, query in DEMO_QUERIES:
            told = json.loads(await self.torua("cypher", query, "-o", "json"))
            self.assertTrue(told["rows"], query)

    def test_what_is_in_is_told_and_gone_on_with(self) -> "Deferred[None]":
        """A bad row far into a large file stops it; the rest follows by the same id."""
        return self.sync(self._stopped())

    async def _stopped(self) -> None:
        """Send a file with a bad row, then one that is well."""
        create = {"query": "CREATE NODE TABLE Thing(id INT64 PRIMARY KEY, n STRING)"}
        await self.ask("n1", "POST", "/cypher", json.dumps(create).encode())
        lines = [f"{number},{'x' * 200}" for number in range(10_000)]
        well = "\n".join(["id,n", *lines]).encode()
        lines[9000] = "x,y"
        bad = "\n".join(["id,n", *lines]).encode()
        path = "/graph/import/Thing?import_id=mine"
        status, told = await self.post(path, bad)
        self.assertEqual((status, told["stopped"]), (422, told["detail"]))
        self.assertTrue(told["detail"].startswith("line 9002: id: 'x' is not INT64"))
        complete = told["complete"]
        self.assertEqual(await self.count("MATCH (t:Thing) RETURN count(*)"), complete)
        status, told = await self.post(f"{path}&skip={complete - 10}", well)
        self.assertEqual((status, told["unchanged"]), (200, 10))
        self.assertEqual(await self.count("MATCH (t:Thing) RETURN count(*)"), 10_000)
        tasks = await gatherResults(
            [Deferred.fromCoroutine(self.told(name, "/tasks")) for name in NAMES]
        )
        self.assertEqual([task["state"] for task in tasks[0]], ["failed", "done"])
        self.assertEqual([task["id"] for task in tasks[0]], [t["id"] for t in tasks[2]])
