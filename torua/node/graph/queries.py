"""Statements of Cypher, run over all shards.

    text ── schema ── plan ── errands to shards ── query worker ── answer
                        '──── changes ── groups to shards ──────────'

A statement is planned by its text and the schema that this node has applied.  What it
reads is gathered as its plan says, and run or merged by a query worker.  A write is run
the same way on what was gathered, and what it changed is then written, provided that
nothing of what it read was changed meanwhile; else it is run anew, a few times.
"""

import gc
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

import pyarrow as pa
from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torua.core.cypher.plan import FastWrites, Plan, Strategy
from torua.core.cypher.planner import is_well_formed
from torua.core.graph.changes import Change, Changed
from torua.core.graph.ddl import parse_ddl
from torua.core.graph.jobs import Finished, Format, Job
from torua.core.graph.schema import Graph
from torua.core.graph.statement import ANSWER_BYTES_MAX, Answered, Statement
from torua.core.graph.views import ExplainView
from torua.core.kv import Call
from torua.core.reading import read_tokens, spell_tokens
from torua.errors import (
    ConflictError,
    DuplicateError,
    MalformedError,
    MovedError,
    NotFoundError,
    OverloadedError,
    QueryTimeoutError,
    QueryTooLargeError,
    RelatedError,
    StaleSchemaError,
    TooLargeError,
    ToruaError,
    UnavailableError,
    UnprocessableError,
)
from torua.node.graph.budget import Budget
from torua.node.graph.catalog import explain
from torua.node.graph.deadline import Course
from torua.node.graph.inputs import Inputs, Inquiry
from torua.node.graph.meters import QueryMeters
from torua.node.graph.plans import Plans
from torua.node.graph.promises import UNPROMISED, Promises
from torua.node.graph.schemas import NEWS_S
from torua.node.graph.visits import LostVisitError, Shards, Sizes, Visits

ATTEMPTS_MAX = 6
"""How often a statement is begun: a failover, or others' writes, may come between."""

PAUSE_S = 0.02
"""The bound of the first pause between attempts; it doubles."""

RUNNING_MAX = 256
"""So many statements of a node wait for workers and shards; more have to come again."""

SIZES_S = 5.0
"""How long a measure of a graph's tables is good for an estimate."""

SIZES_MAX = 256
"""So many graphs' measures are remembered at once."""

PIECE_BYTES = 4 << 20
"""So much may have come of each shard when a gather is refused."""

LEFT_MAX = 128 << 20
"""So many bytes that failed statements gathered may wait for the collector."""

SCHEMA_WAIT_S = 2.0
"""How long a schema is waited for that a shard has already."""

FAST = "fast"
"""The strategy of writes that need no gather."""


class Pool(Protocol):
    """The query workers: see `torua.node.graph.pool`."""

    async def run(self, job: Job, timeout_s: float) -> Finished:
        """Do a job.

        Args:
            job: what to do.
            timeout_s: how long it may take.
        """

    def prepare(self) -> None:
        """Have a worker ready for a job that is to come."""


class Schemas(Protocol):
    """The schemas of all graphs: see `torua.node.graph.schemas`."""

    def graph(self, name: str) -> Graph:
        """Return what this node has applied; NotFoundError where there is none."""

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return a schema once it is applied here, of a version at least.

        Args:
            name: which.
            version: at least.
            timeout_s: how long to wait.
        """

    async def define(self, name: str, text: str, call: Call) -> Graph:
        """Change a schema; return it once it is committed.

        Args:
            name: which.
            text: DDL.
            call: who asks, and how long it waits.
        """


class Writes(Protocol):
    """What writes rows: see `torua.node.graph.writes`."""

    async def apply(
        self, graph: Graph, changes: Sequence[Change], call: Call
    ) -> Changed:
        """Write changes, provided that what was read was not changed meanwhile.

        Args:
            graph: the schema that they were made with.
            changes: what shall be.
            call: who asks, and how long it waits.

        Raises:
            ConflictError: something was changed; nothing was written.
        """

    async def fast(
        self,
        graph: Graph,
        writes: FastWrites,
        parameters: Mapping[str, object],
        call: Call,
    ) -> Changed:
        """Write what needs no gather.

        Args:
            graph: the schema that it was planned with.
            writes: what to do.
            parameters: of the statement.
            call: who asks, and how long it waits.
        """


class Queries:
    """Runs statements, wherever their rows are.

    Invariants: what a statement gathered is let go of when it ends; a write is applied
    once, or its caller hears that nobody knows; an answer is whole or refused.

    Threading: the reactor's thread.
    """

    def __init__(  # noqa: PLR0913
        self,
        clock: IReactorTime,
        shards: Shards,
        schemas: Schemas,
        pool: Pool,
        writes: Writes,
        *,
        plans: Plans,
        promises: Promises,
        budget: Budget,
        random: Random,
        registry: CollectorRegistry,
    ) -> None:
        """Begin with nothing running.

        Args:
            clock: the reactor.
            shards: the way to all shards.
            schemas: of all graphs.
            pool: the query workers.
            writes: writes rows.
            plans: plans statements.
            promises: sees to idempotency keys.
            budget: the bytes that they may hold.
            random: draws pauses.
            registry: of the node's metrics.
        """
        self._clock = clock
        self._shards = shards
        self._schemas = schemas
        self._pool = pool
        self._writes = writes
        self._plans = plans
        self._promises = promises
        self._random = random
        self._budget = budget
        self._meters = QueryMeters(registry, self._budget)
        self._sizes: dict[tuple[int, int], tuple[float, Sizes]] = {}
        self._running = 0
        self._left = 0

    async def run(self, statement: Statement, call: Call) -> Answered:
        """Run one statement.

        Args:
            statement: what is asked.
            call: who asks, how fresh, and how long it waits.

        Raises:
            QueryTooLargeError: it would gather too much.
            QueryTimeoutError: it took too long.
            ConflictError: others changed what it read, again and again.
            ToruaError: it is refused, or shards can't be reached.
        """
        if self._running >= RUNNING_MAX:
            raise OverloadedError("too many statements at once", retry_after=1)
        began_s = self._clock.seconds()
        course = Course(self._clock, call)
        self._running += 1
        self._meters.running.set(self._running)
        try:
            answered = await self._run(statement, course)
        except ToruaError as error:
            self._meters.failed(course.strategy, error.code)
            raise
        finally:
            self._running -= 1
            self._meters.running.set(self._running)
        took_s = self._clock.seconds() - began_s
        self._meters.answered(course.strategy, took_s)
        answered.stats["ms"] = round(took_s * 1000, 1)
        return answered

    async def explain(self, statement: Statement, call: Call) -> ExplainView:
        """Tell how a statement would run; nothing is asked of shards.

        Args:
            statement: what is asked.
            call: who asks.
        """
        graph = self._schemas.graph(statement.graph)
        if parse_ddl(statement.text) is not None:
            why = ("it changes the schema, by the coordinator",)
            return ExplainView("ddl", why, write=True, shards=())
        plan = self._plans.plan(statement.text, statement.parameters, graph)
        return explain(plan, graph, statement.parameters, self._shards)

    async def _run(self, statement: Statement, course: Course) -> Answered:
        """Attempt a statement until it is answered, or no attempt may help."""
        attempt = 0
        while attempt < ATTEMPTS_MAX:
            try:
                return await self._attempt(statement, course)
            except (LostVisitError, MovedError, ConflictError) as error:
                if isinstance(error, DuplicateError | RelatedError):
                    raise
                course.last = error
                self._meters.again(error.code)
                await self._pause(attempt, error, statement, course)
                attempt += 1
            except (NotFoundError, UnprocessableError) as error:
                if not await self._renewed(error, statement, course):
                    raise
            except UnavailableError as error:
                if course.deadline.left_s <= 0:
                    raise course.deadline.passed() from error
                raise
        raise _given_up(course.last)

    async def _renewed(
        self, error: ToruaError, statement: Statement, course: Course
    ) -> bool:
        """Tell, once, whether what was refused was planned with an old schema.

        Who was just told by another node that a table is there may ask this one for
        it before it has heard of it.
        """
        late = isinstance(error, QueryTooLargeError | QueryTimeoutError)
        if late or course.renewed or course.deadline.left_s < NEWS_S:
            return False
        if not is_well_formed(statement.text, statement.parameters):
            return False
        course.renewed = True
        name, before = statement.graph, course.version
        if before is None:
            await deferLater(self._clock, NEWS_S)
            return True
        try:
            graph = await self._schemas.wait(name, before + 1, NEWS_S)
        except NotFoundError:
            return True
        return graph.version != before

    async def _pause(
        self, attempt: int, error: ToruaError, statement: Statement, course: Course
    ) -> None:
        """Wait before another attempt: for a schema, or for others to be done."""
        if isinstance(error, StaleSchemaError):
            wanted = int(error.members.get("version") or 0)
            wait_s = min(SCHEMA_WAIT_S, course.deadline.call().timeout_s)
            await self._schemas.wait(statement.graph, wanted, wait_s)
        bound_s = min(PAUSE_S * 2.0**attempt, max(0.0, course.deadline.left_s))
        await deferLater(self._clock, self._random.uniform(0, bound_s))

    async def _define(self, statement: Statement, course: Course) -> Answered:
        """Change the schema."""
        course.strategy = Strategy.DDL
        if course.promised:
            raise UnprocessableError(f"{UNPROMISED}; use IF NOT EXISTS")
        graph = await self._schemas.define(
            statement.graph, statement.text, course.deadline.call()
        )
        self._pool.prepare()
        stats: dict[str, object] = {"strategy": "ddl", "schema_version": graph.version}
        return Answered((), (), nothing(statement.format), stats)

    async def _attempt(self, statement: Statement, course: Course) -> Answered:
        """Plan a statement with the schema of the moment, and run it once."""
        course.version = None
        graph = self._schemas.graph(statement.graph)
        course.version = graph.version
        if parse_ddl(statement.text) is not None:
            return await self._define(statement, course)
        plan = self._plans.plan(statement.text, statement.parameters, graph)
        check_parameters(plan, statement.parameters)
        course.strategy = plan.strategy if plan.writes is None else FAST
        if plan.write:
            course.deadline.linearizable()
            await self._promises.give(plan, course.deadline.call())
        if plan.writes is not None:
            changed = await self._writes.fast(
                graph, plan.writes, statement.parameters, course.deadline.call()
            )
            return _fast(statement, changed)
        inquiry = Inquiry(
            plan,
            graph,
            statement.parameters,
            self._shards,
            lambda: Visits(
                self._shards, graph, course.deadline.call, self._budget.claim()
            ),
        )
        try:
            return await self._work(statement, course, graph, inquiry)
        except ToruaError:
            if inquiry.visits.bytes:
                self._let_go(len(self._shards.shards()) * PIECE_BYTES)
            raise
        finally:
            inquiry.end()

    def _let_go(self, size: int) -> None:
        """Look for what failed statements gathered, once it may be much.

        Errors hold the frames that they passed, in cycles, and these what had come: few
        objects, so that the collector would long see no reason to look, but large ones.
        """
        self._left += size
        if self._left >= LEFT_MAX:
            self._left = 0
            gc.collect()

    async def _work(
        self, statement: Statement, course: Course, graph: Graph, inquiry: Inquiry
    ) -> Answered:
        """Gather, have a worker run the statement, and write what it changed."""
        plan = inquiry.plan
        inputs = await inquiry.gather(lambda: self._sized(graph, inquiry))
        course.strategy = inputs.strategy
        self._meters.gathered(inputs.strategy, inquiry.visits.bytes)
        job = _job(statement, plan, graph, inputs)
        left_s = course.deadline.call().timeout_s
        finished = await self._pool.run(job, left_s)
        if finished.truncated:
            raise TooLargeError(
                f"the answer has more than {job.rows_max} rows; add LIMIT, or allow "
                "more (max_rows)"
            )
        stats: dict[str, object] = {
            "strategy": str(inputs.strategy),
            "rows": finished.rows,
            "shards": list(inquiry.visits.touched),
            "gathered_bytes": inquiry.visits.bytes,
        }
        if inputs.why:
            stats["instead"] = f"{plan.strategy}: {inputs.why}"
        tokens = inquiry.visits.tokens
        if plan.write:
            changed = await self._write(graph, finished, course)
            stats |= change_stats(changed)
            tokens = _joined(tokens, changed.tokens)
        return Answered(finished.columns, finished.types, finished.body, stats, tokens)

    async def _write(self, graph: Graph, finished: Finished, course: Course) -> Changed:
        """Write what a statement changed, if anything."""
        if not finished.changes:
            return Changed()
        return await self._writes.apply(graph, finished.changes, course.deadline.call())

    async def _sized(self, graph: Graph, inquiry: Inquiry) -> Sizes:
        """Tell how large a graph's tables are, as of some seconds ago."""
        key, now_s = (graph.graph_id, graph.version), self._clock.seconds()
        known = self._sizes.get(key)
        if known is None or known[0] < now_s - SIZES_S:
            if len(self._sizes) >= SIZES_MAX:
                self._sizes.clear()
            sizes = await inquiry.visits.measure(inquiry.homes())
            self._sizes[key] = known = (now_s, sizes)
        return known[1]


def check_parameters(plan: Plan, parameters: Mapping[str, object]) -> None:
    """Raise MalformedError where a parameter is missing: it would be NULL, silently.

    Args:
        plan: of the statement.
        parameters: what came with it.
    """
    missing = [name for name in plan.parameters if name not in parameters]
    if missing:
        names = ", ".join(f"${name}" for name in missing)
        raise MalformedError(f"parameters: {names} is not given")


def change_stats(changed: Changed) -> dict[str, object]:
    """Spell what was changed."""
    stats: dict[str, object] = {
        name: getattr(changed, name) for name in changed.__struct_fields__
    }
    del stats["tokens"], stats["version"]
    return stats


def nothing(form: str) -> bytes:
    """Spell no rows.

    Args:
        form: as a `Format`.
    """
    match Format(form):
        case Format.JSON:
            return b"[]"
        case Format.NDJSON:
            return b""
        case Format.CBOR:
            return b"\x80"
        case Format.ARROW:
            sink = pa.BufferOutputStream()
            pa.ipc.new_stream(sink, pa.schema([])).close()
            spelled: bytes = sink.getvalue().to_pybytes()
            return spelled


def _fast(statement: Statement, changed: Changed) -> Answered:
    """Answer a write that needed no gather."""
    stats: dict[str, object] = {"strategy": FAST, "rows": 0}
    stats |= change_stats(changed)
    return Answered((), (), nothing(statement.format), stats, changed.tokens)


def _job(statement: Statement, plan: Plan, graph: Graph, inputs: Inputs) -> Job:
    """Make what a query worker is asked."""
    return Job(
        graph=graph,
        text=inputs.text or plan.statement,
        parameters=statement.parameters,
        tables=inputs.tables,
        merge=inputs.merge,
        partials=inputs.partials,
        write=plan.write,
        named=None if plan.write else inputs.named or plan.named,
        format=Format(statement.format),
        rows_max=statement.rows_max,
        bytes_max=ANSWER_BYTES_MAX,
    )


def _joined(*tokens: str) -> str:
    """Put tokens together, one for each shard."""
    return spell_tokens(read_tokens(",".join(filter(None, tokens))))


def _given_up(error: ToruaError | None) -> ToruaError:
    """Make the error of a statement that was attempted often enough."""
    assert error is not None
    if isinstance(error, LostVisitError | MovedError):
        detail = f"shards went away while they were read: {error.detail}"
        return UnavailableError(detail, retry_after=1)
    detail = f"attempted {ATTEMPTS_MAX} times in vain: {error.detail}"
    return ConflictError(detail)
