"""Query workers: warm processes that run users' statements, and the queue before them.

    run ──► waiting ──► busy ──► finished
               │          ├─ too slow, too large, cancelled ──► killed, replaced
               │          └─ crashed ──► once more elsewhere; twice: quarantined
               └─ full: refused, to be retried after `retry_after`

A statement can loop in native code, take all memory, or crash the engine.  So it runs
in a process that holds nothing else, that does one job at a time, and that is killed
without regret; a job changes nothing outside, so it can be done twice.

Memory is limited twice: by the process itself (see `torua.storage.query_worker`), and
by a look at its size now and then, since engines can be wrong.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import psutil
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torua.core.graph.jobs import Finished, Format, Gathered, Job
from torua.core.graph.schema import Graph
from torua.errors import (
    OverloadedError,
    QueryTimeoutError,
    QueryTooLargeError,
    ToruaError,
    UnavailableError,
)
from torua.node.graph.quarantine import Quarantine
from torua.node.graph.worker import EndedError, Worker, WorkerState

__all__ = ("Finished", "Format", "Gathered", "Job", "PoolLimits", "QueryPool")

log = Logger()


class PoolLimits(Struct, frozen=True):
    """What query workers may have.

    Attributes:
        workers: how many there are at most.
        memory_bytes: for each; half for pages of gathered tables, half for all else.
        waiting_max: jobs that wait for a worker; at a tenth of a second each, the last
            of them waits for some seconds.
        waiting_bytes_max: what they have gathered lies in the node's memory.
        jobs_max: after so many a worker is replaced, lest small leaks grow.
        idle_bytes_max: a worker that keeps more between jobs is replaced.
        slack_bytes: by how much a process is larger than what it was allowed: code,
            stacks, buffers.
        watch_s: how often sizes are looked at.
        grace_s: the engine stops by itself at the time limit; it is killed if it has
            not by then.
    """

    workers: int = 2
    memory_bytes: int = 1 << 30
    waiting_max: int = 64
    waiting_bytes_max: int = 256 << 20
    jobs_max: int = 1000
    idle_bytes_max: int = 384 << 20
    slack_bytes: int = 256 << 20
    watch_s: float = 0.25
    grace_s: float = 0.5


class _Asked:
    """A job, and who waits for it.

    Invariants: `answer` fires once; `worker` does this job and no other.
    """

    def __init__(self, job: Job, deadline: float) -> None:
        """Wait for a worker."""
        self.job = job
        self.deadline = deadline
        self.answer: Deferred[Finished] = Deferred(self._cancelled)
        self.worker: Worker | None = None
        self.tries = 0

    def end(self, outcome: Finished | Failure) -> None:
        """Tell whoever waits, if somebody still does."""
        if self.answer.called:
            return
        if isinstance(outcome, Failure):
            self.answer.errback(outcome)
        else:
            self.answer.callback(outcome)

    def _cancelled(self, _answer: "Deferred[Finished]") -> None:
        """Nobody waits any more: do not go on."""
        if self.worker is not None:
            self.worker.kill()


class QueryPool:
    """The query workers of a node.

    Invariants: at most `PoolLimits.workers` processes live; a worker has one job at
    most; a job that nobody waits for is not begun, and not gone on with.

    Threading: the reactor's thread.

    Attributes:
        engine: the package that the next worker takes.
    """

    def __init__(
        self,
        reactor: Any,
        engine: str,
        registry: CollectorRegistry,
        limits: PoolLimits | None = None,
    ) -> None:
        """Prepare; processes are started when first needed.

        Args:
            reactor: starts processes, and has the time.
            engine: the package of the graph engine.
            registry: takes the metrics.
            limits: what workers may have.
        """
        self._reactor = reactor
        self._limits = limits or PoolLimits()
        self.engine = engine
        self._waiting: deque[_Asked] = deque()
        self._workers: list[Worker] = []
        self._quarantine = Quarantine()
        self._watching = LoopingCall(self._watch)
        self._watching.clock = reactor
        self._stopped: Deferred[None] | None = None
        self._metrics = _Metrics(registry)
        self._metrics.waiting.set_function(lambda: len(self._waiting))

    async def run(self, job: Job, timeout_s: float) -> Finished:
        """Do one job, as soon as a worker is free.

        Cancelling it kills the worker that does it.

        Args:
            job: what to do.
            timeout_s: how long it may take, waiting included.

        Raises:
            ToruaError: the statement is wrong (MalformedError, UnprocessableError),
                needs too much (QueryTooLargeError) or too long (QueryTimeoutError),
                crashed workers before (UnprocessableError); or there is no worker to
                be had (OverloadedError, UnavailableError): then it may be retried.
        """
        began = self._reactor.seconds()
        outcome = "failed"
        try:
            finished = await self._asked(job, began + timeout_s)
            outcome = "finished"
            return finished
        except ToruaError as error:
            outcome = error.code
            raise
        finally:
            self._metrics.jobs.labels(outcome).inc()
            self._metrics.seconds.observe(self._reactor.seconds() - began)

    async def bind(
        self,
        graph: Graph,
        text: str,
        parameters: Mapping[str, object] | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Check a statement against a schema, without running it.

        Args:
            graph: the schema.
            text: the statement.
            parameters: its parameters' values, which tell their types.
            timeout_s: how long it may take.

        Raises:
            ToruaError: as from `run`.
        """
        given = dict(parameters or {})
        await self.run(Job(graph, f"EXPLAIN {text}", given), timeout_s)

    def prepare(self) -> None:
        """Start a worker if there is none: a statement is to come."""
        if not self._workers and self._stopped is None:
            self._start()

    async def stop(self) -> None:
        """End all workers; whoever waits is told so."""
        if self._stopped is None:
            self._stopped = Deferred()
        error = UnavailableError("the node is stopping")
        while self._waiting:
            self._waiting.popleft().end(Failure(error))
        for worker in self._workers:
            worker.kill(error)
        if self._watching.running:
            self._watching.stop()
        if self._workers:
            await self._stopped

    def _asked(self, job: Job, deadline: float) -> "Deferred[Finished]":
        """Queue a job."""
        now = self._reactor.seconds()
        self._quarantine.check(job.text, now)
        if self._stopped is not None:
            raise UnavailableError("the node is stopping")
        self._admit(job)
        self._metrics.gathered.inc(job.size)
        asked = _Asked(job, deadline)
        self._waiting.append(asked)
        timer = self._reactor.callLater(
            deadline - now + self._limits.grace_s, self._overdue, asked
        )
        asked.answer.addBoth(self._forget, asked, timer)
        self._dispatch()
        return asked.answer

    def _admit(self, job: Job) -> None:
        """Refuse a job where too much waits already."""
        waiting = [asked.job.size for asked in self._waiting]
        full = len(waiting) >= self._limits.waiting_max
        heavy = waiting and sum(waiting) + job.size > self._limits.waiting_bytes_max
        if full or heavy:
            raise OverloadedError("too many queries wait for a worker", retry_after=1)

    def _forget(self, outcome: Any, asked: _Asked, timer: Any) -> Any:
        """Let go of a job that is done, or that nobody waits for."""
        if timer.active():
            timer.cancel()
        if asked in self._waiting:
            self._waiting.remove(asked)
        return outcome

    def _overdue(self, asked: _Asked) -> None:
        """End a job that took too long."""
        if asked.worker is not None:
            error: ToruaError = QueryTimeoutError(
                "the query took longer than it was given"
            )
            asked.worker.kill(error)
        else:
            error = OverloadedError(
                "no worker was free for the query in time", retry_after=1
            )
        asked.end(Failure(error))

    def _dispatch(self) -> None:
        """Give jobs to workers that are idle; start workers while there are too few."""
        idle = [each for each in self._workers if each.state is WorkerState.IDLE]
        while self._waiting and idle:
            self._begin(self._waiting.popleft(), idle.pop())
        starting = sum(w.state is WorkerState.STARTING for w in self._workers)
        for _ in range(len(self._waiting) - starting):
            if len(self._workers) < self._limits.workers:
                self._start()

    def _start(self) -> None:
        """Start a worker."""
        worker = Worker(self._changed)
        self._workers.append(worker)
        memory: int | str = self._limits.memory_bytes
        allowance = {"engine": self.engine, "memory_bytes": memory}
        worker.start(self._reactor, allowance)

    def _begin(self, asked: _Asked, worker: Worker) -> None:
        """Give a job to a worker."""
        asked.worker = worker
        asked.tries += 1
        left_s = max(0.001, asked.deadline - self._reactor.seconds())
        done = worker.do(asked.job, left_s)
        done.addCallback(self._answered, asked).addErrback(self._broke, asked)
        if not self._watching.running and self._stopped is None:
            self._watching.start(self._limits.watch_s, now=False)

    def _answered(self, outcome: Finished | ToruaError, asked: _Asked) -> None:
        """Pass on an answer."""
        asked.worker = None
        asked.end(Failure(outcome) if isinstance(outcome, ToruaError) else outcome)

    def _broke(self, failure: Failure, asked: _Asked) -> None:
        """Decide what becomes of a job whose worker ended.

        A crash is an end by a signal other than SIGKILL, or by an error of our own.
        SIGKILL comes from outside (the kernel's, an operator's): the statement is not
        held to blame.
        """
        ended = failure.value
        assert isinstance(ended, EndedError), "workers fail only so"
        asked.worker = None
        if asked.answer.called:
            return
        if ended.reason is not None:
            asked.end(Failure(ended.reason))
        elif ended.by_memory:
            asked.end(Failure(too_large()))
        elif ended.crashed and self._quarantine.crashed(asked.job.text, self._now()):
            asked.end(Failure(self._quarantine.error()))
        elif asked.tries > 1:
            error = UnavailableError("the query's workers were killed from outside")
            asked.end(Failure(error))
        else:
            self._waiting.appendleft(asked)

    def _changed(self, worker: Worker) -> None:
        """Go on after a worker became idle, or ended."""
        if worker.state is WorkerState.ENDED:
            self._ended(worker)
        elif worker.state is WorkerState.IDLE and self._worn(worker):
            worker.retire()
        self._dispatch()

    def _worn(self, worker: Worker) -> bool:
        """Tell whether a worker did enough."""
        report = worker.report
        many = worker.jobs >= self._limits.jobs_max
        return many or report.rss > self._limits.idle_bytes_max

    def _ended(self, worker: Worker) -> None:
        """Replace a worker that ended."""
        self._workers.remove(worker)
        ended = worker.ended
        assert ended is not None, "it says how"
        if ended.crashed and worker.ready:
            log.error("A query worker crashed: {how}", how=str(ended))
        reason = "killed" if ended.reason else "crashed" if ended.crashed else "ended"
        self._metrics.ends.labels(reason).inc()
        if self._stopped is not None:
            if not self._workers:
                self._stopped.callback(None)
        elif worker.ready:
            self._start()
        else:
            self._failed(ended)

    def _failed(self, ended: EndedError) -> None:
        """Tell all who wait that no worker can be started; the next job tries again."""
        log.error("A query worker could not be started: {how}", how=str(ended))
        error = UnavailableError("query workers cannot be started on this node")
        while self._waiting:
            self._waiting.popleft().end(Failure(error))

    def _watch(self) -> None:
        """Look at the sizes of the workers that do something."""
        busy = [each for each in self._workers if each.state is WorkerState.BUSY]
        if not busy and self._watching.running:
            self._watching.stop()
        for worker in busy:
            if _rss(worker.pid) > self._limits.memory_bytes + self._limits.slack_bytes:
                worker.kill(too_large())

    def _now(self) -> float:
        """Return the time."""
        now: float = self._reactor.seconds()
        return now


class _Metrics:
    """What is counted of queries.

    Invariants: each job is counted once.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare them."""
        self.jobs = Counter(
            "torua_pool_jobs",
            "Jobs of query workers, by outcome",
            ["outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "torua_pool_job_seconds",
            "How long jobs took, waiting included",
            registry=registry,
        )
        self.ends = Counter(
            "torua_pool_worker_ends",
            "Query workers that ended, and were replaced",
            ["reason"],
            registry=registry,
        )
        self.gathered = Counter(
            "torua_pool_gathered_bytes",
            "What jobs came with",
            registry=registry,
        )
        self.waiting = Gauge(
            "torua_pool_waiting", "Jobs that wait for a worker", registry=registry
        )


def too_large() -> QueryTooLargeError:
    """Make the error of a statement that took too much memory."""
    return QueryTooLargeError(
        "the query needs more memory than it is given; match, collect or return less"
    )


def _rss(pid: int | None) -> int:
    """Return how much memory a process has; nothing, if it is gone."""
    try:
        found: int = psutil.Process(pid).memory_info().rss if pid else 0
        return found
    except psutil.Error:
        return 0
