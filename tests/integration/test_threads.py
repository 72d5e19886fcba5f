"""A worker's thread, with the real reactor."""

import importlib
import threading
from functools import partial

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from torua.node.threads import WorkerThread


class WorkerThreadTests(TestCase):
    """Jobs, in order, elsewhere.

    Invariants: every thread begun is stopped.
    """

    async def test_jobs_run_in_order_on_one_other_thread(self) -> None:
        """And their results come back, errors too."""
        reactor = importlib.import_module("twisted.internet.reactor")
        worker = WorkerThread(reactor, "test")
        done: list[int] = []
        names: list[str] = []

        def job(number: int) -> int:
            """Note that it ran, and where."""
            done.append(number)
            names.append(threading.current_thread().name)
            return number

        jobs = [worker.run(partial(job, number)) for number in range(20)]
        failed = worker.run(lambda: 1 // 0)
        self.assertEqual(await gatherResults(jobs), list(range(20)))
        self.assertEqual(done, list(range(20)))
        self.assertEqual(len(set(names)), 1)
        self.assertNotEqual(names[0], threading.current_thread().name)
        await self.assertFailure(failed, ZeroDivisionError)
        worker.stop()
        worker.stop()
