"""The graph store with a real storage worker."""

import importlib
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.integration import graphs
from tests.integration.graphs import GRAPH, Copy
from torua.core.graph.fragments import CopyRead, Fetch, Fragment, Piece, Scan, Text
from torua.core.ids import AllocId
from torua.errors import (
    StaleSchemaError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.graph.store import RESTART_S, GraphStore


class GraphStoreTest(TestCase):
    """A copy's graph, read through another process."""

    timeout = 60

    def setUp(self) -> None:
        """Open a copy."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.place = Path(directory.name)
        self.copy = Copy(self.place / "map.db")
        self.reactor: Any = importlib.import_module("twisted.internet.reactor")
        self.registry = CollectorRegistry()
        make: Any = GraphStore
        self.store = make(self.reactor, "ladybug", self.registry)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.store.stop()))
        self.store.opened(0, "a", self.copy.view)

    async def read(self, *fragments: Fragment, **more: Any) -> Piece:
        """Read what the map holds now."""
        at, graph = self.copy.view.applied_seq, more.pop("graph", GRAPH)
        piece: Piece = await self.read_at("a", graph, at, *fragments, **more)
        return piece

    async def read_at(
        self, alloc: str, graph: Any, at: int, *fragments: Fragment, **more: Any
    ) -> Piece:
        """Read at one copy.

        Args:
            alloc: which.
            graph: the schema.
            at: what is shown at least.
            fragments: what to read.
            more: how.
        """
        read: Any = CopyRead(AllocId(alloc), at, fragments, **more)
        (piece,) = await self.store.read_all(graph, (read,), 20.0)
        if isinstance(piece, ToruaError):
            raise piece
        assert isinstance(piece, Piece)
        return piece

    async def names(self, **more: Any) -> list[str]:
        """Read all persons' names."""
        return names_of(await self.read(Scan("Person", columns=("name",)), **more))

    def worker(self) -> Any:
        """Return the worker's transport."""
        assert self.store._process is not None
        return self.store._process.transport

    async def test_a_worker_is_started_when_a_graph_is_first_read(self) -> None:
        """Before, there is no process and no journal."""
        self.assertFalse(self.store.running)
        self.copy.write(graphs.person(1, "Ada"), graphs.person(2, "Bea"))
        self.assertEqual(await self.names(), ["Ada", "Bea"])
        self.assertTrue(self.store.running)

    async def test_a_read_shows_what_was_written_before_it(self) -> None:
        """New, changed and deleted rows, and new columns."""
        self.copy.write(graphs.person(1, "Ada"), graphs.person(2, "Bea"))
        await self.names()
        self.copy.write(graphs.person(1, "Ann", 2), graphs.no_person(2))
        self.assertEqual(await self.names(), ["Ann"])
        self.copy.write(graphs.schema(graphs.WIDER), graphs.person(3, "Cleo", b=17))
        self.assertEqual(await self.names(graph=graphs.WIDER), ["Ann", "Cleo"])
        with self.assertRaises(StaleSchemaError):
            await self.names()

    async def test_a_kept_transaction_goes_on_at_its_instant(self) -> None:
        """What is written meanwhile is not seen in it."""
        self.copy.write(graphs.person(1, "Ada"))
        first = await self.read(Scan("Person"), keep=True)
        self.assertTrue(first.session)
        self.copy.write(graphs.person(2, "Bea"))
        self.assertEqual(await self.names(), ["Ada", "Bea"])
        again = await self.read(
            Fetch("Person", (1, 2), ("name",)), keep=True, session=first.session
        )
        self.assertEqual((names_of(again), again.seq), (["Ada"], first.seq))
        self.store.release([(AllocId("a"), again.session)])
        with self.assertRaises(UnavailableError):
            await self.read(Scan("Person"), session=first.session)

    async def test_a_large_answer_comes_in_pieces(self) -> None:
        """Each is asked for once the last one came."""
        for start in range(0, 8):
            first = start * 100
            self.copy.write(
                *(graphs.person(first + i, "x" * 20_000) for i in range(100))
            )
        piece = await self.read(Scan("Person", columns=("name",)))
        rows, pieces = len(names_of(piece)), 1
        while piece.more:
            piece = await self.store.more("a", piece.session)
            rows, pieces = rows + len(names_of(piece)), pieces + 1
        self.assertEqual(rows, 800)
        self.assertGreater(pieces, 2)
        self.assertEqual(piece.session, "")

    async def test_what_the_engine_refuses_does_no_harm(self) -> None:
        """The worker lives on."""
        with self.assertRaises(UnprocessableError):
            await self.read(Text("MATCH (n:Nobody) RETURN n"))
        pid = self.worker().pid
        self.copy.write(graphs.person(1, "Ada"))
        self.assertEqual(await self.names(), ["Ada"])
        self.assertEqual(self.worker().pid, pid)

    async def test_a_killed_worker_is_replaced_and_goes_on(self) -> None:
        """Whoever waited is told to come again; the next one shows everything."""
        self.copy.write(*(graphs.person(i, f"p{i:04}") for i in range(500)))
        await self.names()
        self.copy.write(*(graphs.person(i, f"q{i:04}") for i in range(500, 3000)))
        waiting = [Deferred.fromCoroutine(self.names()) for _ in range(3)]
        await deferLater(self.reactor, 0.03, lambda: None)
        os.kill(self.worker().pid, signal.SIGKILL)
        done = await gatherResults(
            [
                each.addErrback(lambda failure: failure.check(UnavailableError))
                for each in waiting
            ]
        )
        self.assertIn(UnavailableError, done)
        await deferLater(self.reactor, RESTART_S, lambda: None)
        self.assertEqual(len(await self.names()), 3000)
        self.assertTrue((await self.store.digest("a", GRAPH)).same)
        restarts = self.registry.get_sample_value("torua_graph_worker_restarts_total")
        self.assertEqual(restarts, 1)
        self.flushLoggedErrors()

    async def test_a_graph_is_compared_with_its_map_now_and_then(self) -> None:
        """It is the same, and nobody notices."""
        self.copy.write(graphs.person(1, "Ada"))
        await self.names()
        self.store._scrub()
        self.assertTrue((await self.store.digest("a", GRAPH)).same)

    async def test_no_more_views_are_open_than_memory_is_given_for(self) -> None:
        """The one used least recently is closed, and opened again when it is asked."""
        self.small()
        self.copy.write(graphs.person(1, "Ada"))
        other = Copy(self.place / "b" / "map.db")
        other.write(graphs.person(2, "Bea"))
        self.store.opened(1, "b", other.view)
        for _ in range(2):
            self.assertEqual(await self.names(), ["Ada"])
            await self.open_in([self.place])
            piece = await self.read_at("b", GRAPH, 0, Scan("Person"))
            self.assertEqual(names_of(piece), ["Bea"])
            await self.open_in([self.place / "b"])

    async def test_a_view_that_is_read_is_not_closed_for_another(self) -> None:
        """It is once its transaction is released."""
        self.small()
        self.copy.write(graphs.person(1, "Ada"))
        other = Copy(self.place / "b" / "map.db")
        self.store.opened(1, "b", other.view)
        first = await self.read(Scan("Person"), keep=True)
        await self.read_at("b", GRAPH, 0, Scan("Person"))
        again = await self.read(
            Scan("Person", columns=("name",)), keep=True, session=first.session
        )
        self.assertEqual(names_of(again), ["Ada"])
        await self.open_in([self.place, self.place / "b"])
        self.store.release([(AllocId("a"), again.session)])
        await self.open_in([self.place / "b"])

    def small(self) -> None:
        """Have the store keep one view open: each takes more than is given."""
        make: Any = GraphStore
        self.store = make(self.reactor, "ladybug", CollectorRegistry(), memory_bytes=1)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.store.stop()))
        self.store.opened(0, "a", self.copy.view)

    async def open_in(self, directories: list[Path]) -> None:
        """Wait until graphs are open in these directories, and in no other."""
        process = psutil.Process(self.worker().pid)
        found: set[Path] = set()
        for _ in range(200):
            found = {
                Path(each.path).parent
                for each in process.open_files()
                if ".lock" in each.path
            }
            if found == set(directories):
                return
            await deferLater(self.reactor, 0.02, lambda: None)
        self.fail(f"open are {found}")

    async def test_a_copy_that_is_closed_can_be_removed_and_opened_anew(self) -> None:
        """As where a snapshot is installed: it is built of what is there then."""
        self.copy.write(graphs.person(1, "Ada"))
        await self.names()
        await self.store.closed("a")
        with self.assertRaises(UnavailableError):
            await self.names()
        self.copy.view.close()
        for path in self.place.iterdir():
            path.unlink()
        self.copy = Copy(self.place / "map.db")
        self.copy.write(graphs.person(9, "Ira"))
        self.store.opened(0, "a", self.copy.view)
        self.assertEqual(await self.names(), ["Ira"])


def names_of(piece: Piece) -> list[str]:
    """Return the names in a piece."""
    found: list[str] = []
    for _, stream in piece.results:
        found += pa.ipc.open_stream(stream).read_all()["name"].to_pylist()
    return sorted(found)
