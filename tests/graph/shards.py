"""Four shards in this process, under the executor that a node has.

Real are: the planner, the executor, the writer, the replication's judgement of what is
written, the maps, the engines that follow them, and what query workers do.  Left out
are: processes, the network, copies.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeVar

import pyarrow as pa
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.graph.answers import Answer, answer_of
from tests.graph.maps import Maps
from tests.graph.oracle import Shape, State
from tests.graph.statements import Statement
from tests.graph.views import Views
from tests.graph.world import Content
from torua.core.cypher import planner
from torua.core.graph.ddl import parse_ddl
from torua.core.graph.defining import define
from torua.core.graph.jobs import Finished, Job
from torua.core.graph.schema import MAIN_GRAPH, Graph, Placement
from torua.core.graph.statement import Statement as Asked
from torua.core.ids import ShardId
from torua.core.kv import Call
from torua.errors import NotFoundError, ToruaError
from torua.node.graph.budget import Budget
from torua.node.graph.incoming import IncomingFinder
from torua.node.graph.plans import Plans
from torua.node.graph.promises import Promises
from torua.node.graph.queries import Queries
from torua.node.graph.writes import Writes
from torua.storage import queries as worker
from torua.storage.kuzu import Limits

T = TypeVar("T")

TIMEOUT_S = 30.0
POOL_BYTES = 128 << 20
STEPS_MAX = 10_000


class Worker:
    """What query workers do, in this process.

    Invariants: a job ends before the next begins.
    """

    def __init__(self) -> None:
        """Load the engine."""
        self._queries = worker.Queries("ladybug", Limits(POOL_BYTES, 1 << 33, 1))

    def prepare(self) -> None:
        """Be ready, as ever."""

    async def run(self, job: Job, timeout_s: float) -> Finished:
        """Do a job.

        Args:
            job: what to do.
            timeout_s: how long the statement may take.
        """
        try:
            return self._queries.run(job, timeout_s)
        finally:
            self._queries.settle()


class OneSchema:
    """The only graph, whose schema does not change.

    Invariants: none beyond that.
    """

    def __init__(self, graph: Graph) -> None:
        """Hold it."""
        self._graph = graph

    def graph(self, name: str) -> Graph:
        """Return it; NotFoundError where another is meant."""
        if name != self._graph.name:
            raise NotFoundError(f"no graph {name}")
        return self._graph

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return it.

        Args:
            name: which.
            version: it has no other.
            timeout_s: unused.
        """
        return self.graph(name)

    async def define(self, name: str, text: str, call: Call) -> Graph:
        """Refuse.

        Args:
            name: which.
            text: DDL.
            call: who asks.
        """
        raise AssertionError("the schema does not change")


class FourShards:
    """Four shards that answer statements.

    Invariants: no statement is under way between two calls.
    """

    def __init__(self, shape: Shape, content: Content) -> None:
        """Make and fill them.

        Args:
            shape: the schema.
            content: the rows.
        """
        self._directory = TemporaryDirectory(prefix="torua-graph-")
        self._graph = self._defined(shape)
        self.maps = Maps(Path(self._directory.name))
        self.maps.define(self._graph)
        self.maps.load(self._graph, content)
        self._clock = Clock()
        self._views = Views(self.maps, self._graph, Path(self._directory.name))
        budget = Budget()
        finder = IncomingFinder(self._clock, self._views, budget)
        entropy = Random("ids")
        self._queries = Queries(
            self._clock,
            self._views,
            OneSchema(self._graph),
            Worker(),
            Writes(self.maps, finder, self._clock, entropy.randbytes),
            plans=Plans(planner.plan),
            promises=Promises(self.maps),
            budget=budget,
            random=Random("pauses"),
            registry=CollectorRegistry(),
        )

    def _defined(self, shape: Shape) -> Graph:
        """Make the graph."""
        return defined(shape.ddl)

    def run(self, statement: Statement) -> Answer:
        """Run a statement as a node would, an error is an answer, too.

        A write that only some shards took is an error.
        """
        asked = Asked(statement.text, statement.parameters, format="arrow")
        running = self._queries.run(asked, Call("test", TIMEOUT_S))
        try:
            answered = self._ended(Deferred.fromCoroutine(running))
        except ToruaError as error:
            return Answer(error=f"{error.code}: {error.detail}")
        told = answered.stats
        strategy = str(told["strategy"])
        if "instead" in told:
            strategy += f" instead of {told['instead']}"
        if told.get("parts"):
            return Answer(error=f"in part: {told['parts']}", strategy=strategy)
        table = pa.ipc.open_stream(answered.body).read_all()
        return answer_of(table, strategy)

    def state(self) -> State:
        """Return all rows, by the maps."""
        return self.maps.state(self._graph)

    def verify(self) -> list[ShardId]:
        """List the shards whose engine is not what the map says."""
        return self._views.verify()

    def close(self) -> None:
        """Let go of files and engines."""
        self._views.close()
        self.maps.close()
        self._directory.cleanup()

    def _ended(self, running: "Deferred[T]") -> T:
        """Let time pass until something ended; return what came of it."""
        found: list[T | Failure] = []
        running.addBoth(found.append)
        for _ in range(STEPS_MAX):
            if found:
                break
            self._clock.advance(0.01)
        assert found, "it hangs"
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]


class OneShard(FourShards):
    """Four shards, one of which has all of a graph.

    Invariants: as `FourShards`'s.
    """

    def _defined(self, shape: Shape) -> Graph:
        """Make the graph."""
        graph = Graph(5, MAIN_GRAPH.name, Placement.SINGLE)
        return defined(shape.ddl, graph)


def defined(statements: Sequence[str], graph: Graph = MAIN_GRAPH) -> Graph:
    """Make a graph of the statements that define its tables.

    Args:
        statements: DDL.
        graph: what there is before.
    """
    for text in statements:
        ddl = parse_ddl(text)
        assert ddl is not None, text
        graph = define(graph, ddl)
    return graph
