"""Real query workers: processes, limits, crashes, and what becomes of them."""

import importlib
import os
import signal
import subprocess
import sys
from typing import Any

import psutil
from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.storage.graphs import PEOPLE, people
from torua.core.graph.jobs import Finished, Job
from torua.errors import (
    MalformedError,
    OverloadedError,
    QueryTimeoutError,
    QueryTooLargeError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.graph.pool import PoolLimits, QueryPool
from torua.storage.queries import TRIALS_MAX

MEMORY = 256 << 20
SLOW = "UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b RETURN sum(a * b)"

NODE = f"""
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from torua.core.graph.jobs import Job
from torua.core.graph.schema import MAIN_GRAPH
from torua.node.graph.pool import PoolLimits, QueryPool
pool = QueryPool(reactor, "ladybug", CollectorRegistry(), PoolLimits(workers=1))
Deferred.fromCoroutine(pool.run(Job(MAIN_GRAPH, "RETURN 1"), 30.0)).addCallback(
    lambda _: print(pool._workers[0].pid, flush=True)
).addCallback(
    lambda _: Deferred.fromCoroutine(pool.run(Job(MAIN_GRAPH, {SLOW!r}), 30.0))
)
reactor.run()
"""


class QueryPoolTest(TestCase):
    """Runs statements in processes.

    Invariants: no process outlives its test.
    """

    timeout = 120

    def setUp(self) -> None:
        """Make a pool."""
        self.reactor: Any = importlib.import_module("twisted.internet.reactor")
        self.pool = self.made(workers=1, memory_bytes=MEMORY)

    def made(self, **limits: Any) -> QueryPool:
        """Make a pool that ends with the test."""
        registry = CollectorRegistry()
        pool = QueryPool(self.reactor, "ladybug", registry, PoolLimits(**limits))
        self.addCleanup(lambda: Deferred.fromCoroutine(pool.stop()))
        return pool

    def run_job(self, text: str, timeout_s: float = 30.0) -> "Deferred[Finished]":
        """Run a statement on some people.

        Args:
            text: the statement.
            timeout_s: how long it may take.
        """
        job = Job(PEOPLE, text, tables=people())
        return Deferred.fromCoroutine(self.pool.run(job, timeout_s))

    def pid(self) -> int:
        """Return the one worker's process id."""
        (worker,) = self.pool._workers
        assert worker.pid is not None
        return worker.pid

    async def test_a_statement_is_run_on_what_was_gathered(self) -> None:
        """Rows come as JSON, with the engine's names and types."""
        text = "MATCH (p:Person) RETURN p.name AS n ORDER BY n LIMIT 2"
        finished = await self.run_job(text)
        self.assertEqual((finished.columns, finished.types), (("n",), ("STRING",)))
        self.assertEqual(finished.body, b'[["Ada"],["Bob"]]')

    async def test_a_worker_starts_before_the_first_job_where_one_is_to_come(
        self,
    ) -> None:
        """Once, and that job is done by it."""
        self.pool.prepare()
        pid = self.pid()
        self.pool.prepare()
        await self.run_job("RETURN 1 AS one")
        self.assertEqual(self.pid(), pid)

    async def test_hundreds_of_small_jobs_are_done_by_one_worker(self) -> None:
        """The databases that it makes anew take no more addresses each time."""
        hop = "MATCH (a:Person)-[:Likes]->(b:City) RETURN count(*) AS n"
        job = Job(PEOPLE, hop, tables=people(), named=("Person", "Likes"))
        pids = set()
        for _ in range(3 * TRIALS_MAX):
            finished = await self.pool.run(job, 30.0)
            self.assertEqual(finished.rows, 1)
            pids.add(self.pid())
        self.assertEqual(len(pids), 1)

    async def test_wrong_statements_are_refused_and_the_worker_stays(self) -> None:
        """An error costs no process."""
        await self.failed("RETRUN 1", MalformedError)
        pid = self.pid()
        await self.failed("MATCH (x:Nothing) RETURN x", UnprocessableError)
        await self.pool.bind(PEOPLE, "MATCH (p:Person) RETURN p")
        self.assertEqual(self.pid(), pid)

    async def test_huge_lists_are_refused_and_the_next_job_is_done(self) -> None:
        """No list takes more memory than the worker is given."""
        await self.failed("RETURN size(range(1, 1000000000))", QueryTooLargeError)
        finished = await self.run_job("RETURN 1 AS one")
        self.assertEqual(finished.body, b"[[1]]")

    async def test_what_takes_too_long_is_ended(self) -> None:
        """The time counts from the asking, and the worker is there for the next."""
        await self.run_job("RETURN 1 AS one")
        await self.failed(SLOW, QueryTimeoutError, 0.3)
        finished = await self.run_job("RETURN 2 AS two")
        self.assertEqual(finished.body, b"[[2]]")

    async def test_statements_that_have_crashed_engines_harm_nothing(self) -> None:
        """Each gives an answer or an error, within the limits."""
        poison = (
            "RETURN labels(null)",
            "RETURN keys(null)",
            "RETURN date('-0044-03-15')",
            "RETURN date('99999-01-01')",
            "RETURN {a: date('99999-01-01'), b: [date('99999-01-01')]}",
            "MATCH (a:Person) RETURN collect(a) UNION MATCH (a:Person) RETURN [a]",
            "UNWIND range(1, 100000000) AS x RETURN collect(x)",
            "RETURN repeat('x', 2000000000)",
        )
        for text in poison:
            try:
                await self.run_job(text, 20.0)
            except (UnprocessableError, MalformedError):
                continue
        finished = await self.run_job("RETURN 3 AS three")
        self.assertEqual(finished.body, b"[[3]]")

    async def test_a_job_whose_worker_is_killed_is_done_elsewhere(self) -> None:
        """SIGKILL from outside costs time, not the answer."""
        await self.run_job("RETURN 1 AS one")
        text = "UNWIND range(1, 3000) AS a UNWIND range(1, 3000) AS b RETURN sum(a*b)"
        done = self.run_job(text)
        await deferLater(self.reactor, 0.05, os.kill, self.pid(), signal.SIGKILL)
        finished = await done
        self.assertEqual(finished.body, b"[[%d]]" % (4501500**2))

    async def test_a_statement_that_crashes_two_workers_is_refused(self) -> None:
        """The third time no worker is given to it."""
        await self.run_job("RETURN 1 AS one")
        done = self.run_job(SLOW)
        for _ in range(2):
            await self.busy()
            pid = self.pid()
            os.kill(pid, signal.SIGSEGV)
            while self.pool._workers and self.pid() == pid:
                await deferLater(self.reactor, 0.01)
        await self.assertFailure(done, UnprocessableError)
        await self.run_job("RETURN 1 AS one")
        pid = self.pid()
        await self.failed(SLOW, UnprocessableError)
        self.assertEqual(self.pid(), pid)

    async def test_a_cancelled_job_frees_its_worker(self) -> None:
        """Who goes away is not worked for."""
        await self.run_job("RETURN 1 AS one")
        done = self.run_job(SLOW)
        await self.busy()
        done.cancel()
        await self.assertFailure(done, CancelledError)
        finished = await self.run_job("RETURN 4 AS four")
        self.assertEqual(finished.body, b"[[4]]")

    async def test_what_cannot_wait_is_refused_at_once(self) -> None:
        """The queue is bounded, and says when to come again."""
        self.pool = self.made(workers=1, waiting_max=2, memory_bytes=MEMORY)
        waiting = [self.run_job("RETURN 1 AS one") for _ in range(2)]
        error = await self.failed("RETURN 1 AS one", OverloadedError)
        self.assertIn("retry_after", error.members)
        await gatherResults(waiting)

    async def test_worn_workers_are_replaced_and_no_job_is_lost(self) -> None:
        """A worker ends after its last job, and another is there."""
        self.pool = self.made(workers=2, jobs_max=3, memory_bytes=MEMORY)
        jobs = [self.run_job(f"RETURN {n} AS n") for n in range(20)]
        found = await gatherResults(jobs)
        expected = [b"[[%d]]" % n for n in range(20)]
        self.assertEqual([finished.body for finished in found], expected)

    async def test_whoever_waits_is_told_that_the_node_stops(self) -> None:
        """No answer is left open, and no process."""
        await self.run_job("RETURN 1 AS one")
        pid = self.pid()
        done = self.run_job(SLOW)
        await self.pool.stop()
        await self.assertFailure(done, UnavailableError)
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    async def test_a_worker_that_grows_too_large_is_ended(self) -> None:
        """The second limit holds where the first would not."""
        self.pool = self.made(workers=1, memory_bytes=MEMORY, slack_bytes=-MEMORY)
        await self.failed(SLOW, QueryTooLargeError)

    async def test_workers_end_with_their_node(self) -> None:
        """Even amid a statement, and even if the node is killed."""
        node = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", NODE], stdout=subprocess.PIPE
        )
        self.addCleanup(node.wait)
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        node.kill()
        while psutil.pid_exists(pid):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                break
            await deferLater(self.reactor, 0.01)
        node.stdout.close()

    async def failed(self, text: str, kind: Any, timeout_s: float = 30.0) -> Any:
        """Run a statement that fails.

        Args:
            text: the statement.
            kind: of error.
            timeout_s: how long it may take.
        """
        return await self.assertFailure(self.run_job(text, timeout_s), kind)

    async def busy(self) -> None:
        """Wait until the worker is at work on a job."""
        while not any(w.state.name == "BUSY" for w in self.pool._workers):
            await deferLater(self.reactor, 0.01)
        await deferLater(self.reactor, 0.1)
