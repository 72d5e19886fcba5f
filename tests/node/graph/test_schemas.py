"""Schemas change by comparing, and reach every shard that is led here."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.node.fakes import ONE, States, state_of
from torua.core.allocation import Command, execute
from torua.core.graph.commands import GRAPHS_MAX, DefineGraph
from torua.core.graph.schema import MAIN, MAIN_GRAPH, Graph, Placement, node_table
from torua.core.graph.weighing import GRAPH_BYTES_MAX, weight_of
from torua.core.kv import Call
from torua.errors import (
    ConflictError,
    MalformedError,
    NotFoundError,
    OutcomeUnknownError,
    TooLargeError,
    UnprocessableError,
)
from torua.node.graph.schemas import Schemas

CALL = Call("r1", 5.0)
PERSON = "CREATE NODE TABLE Person(id INT64 PRIMARY KEY)"
CITY = "CREATE NODE TABLE City(id INT64 PRIMARY KEY)"

T = TypeVar("T")


class Coordinator(States):
    """Executes commands, and commits at once while ``commits``.

    Invariants: whoever subscribed has seen ``state``.
    """

    commits = True
    first: Command | None = None

    async def submit(self, command: Command, timeout_s: float) -> None:
        """Execute a command, after another one that came first.

        Args:
            command: what to change.
            timeout_s: ignored.
        """
        for each in (self.first, command):
            if each is not None and self.commits:
                self.apply(execute(self.state, each))
        self.first = None


class SchemasTests(SynchronousTestCase):
    """One node that coordinates."""

    def setUp(self) -> None:
        """Make the state."""
        self.clock = Clock()
        self.coordinator = Coordinator(state_of({0: ONE}))
        self.schemas = Schemas(self.clock, self.coordinator)

    def run_(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what came of a coroutine that does not wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_a_definition_is_committed(self) -> None:
        """The graph is one version on, and has the table."""
        graph = self.run_(self.schemas.define(MAIN, PERSON, CALL))
        assert graph.version == MAIN_GRAPH.version + 1
        assert self.schemas.graph(MAIN) == self.coordinator.state.graphs[MAIN] == graph
        assert node_table(graph, "person").table_id == MAIN_GRAPH.next_id

    def test_a_definition_that_came_second_is_made_again(self) -> None:
        """Both tables are there, under ids of their own (R21)."""
        other = Schemas(self.clock, Coordinator(self.coordinator.state))
        first = Deferred.fromCoroutine(other.define(MAIN, CITY, CALL))
        graph = self.successResultOf(first)
        self.coordinator.first = DefineGraph(MAIN, MAIN_GRAPH.version, graph)
        graph = self.run_(self.schemas.define(MAIN, PERSON, CALL))
        ids = [table.table_id for table in graph.nodes]
        assert [table.name for table in graph.nodes[1:]] == ["City", "Person"]
        assert ids == sorted(frozenset(ids))

    def test_if_not_exists_commits_nothing(self) -> None:
        """The version stays."""
        again = PERSON.replace("TABLE", "TABLE IF NOT EXISTS")
        first = self.run_(self.schemas.define(MAIN, PERSON, CALL))
        self.coordinator.commits = False
        assert self.run_(self.schemas.define(MAIN, again, CALL)) is first

    def test_what_is_wrong_is_refused_at_once(self) -> None:
        """Each by its own error, with nothing committed."""
        before = self.coordinator.state
        for name, text, error in (
            (MAIN, "MATCH (n) RETURN n", MalformedError),
            (MAIN, "CREATE NODE TABLE", MalformedError),
            (MAIN, "DROP TABLE KeyValue", UnprocessableError),
            ("other", PERSON, NotFoundError),
        ):
            refused = Deferred.fromCoroutine(self.schemas.define(name, text, CALL))
            self.failureResultOf(refused, error)
        assert self.coordinator.state is before

    def test_a_schema_has_bounds(self) -> None:
        """Whatever is too large for the cluster state is refused."""
        columns = ", ".join(f"{'p' * 110}{n} INT64" for n in range(300))
        refusals: list[Failure] = []
        while not refusals:
            number = len(self.schemas.graph(MAIN).nodes)
            text = f"CREATE NODE TABLE T{number}(id INT64 PRIMARY KEY, {columns})"
            defining = Deferred.fromCoroutine(self.schemas.define(MAIN, text, CALL))
            defining.addErrback(refusals.append)
        assert refusals[0].check(TooLargeError)
        assert weight_of(self.schemas.graph(MAIN)) > GRAPH_BYTES_MAX * 0.9

    def test_what_is_not_seen_to_be_done_is_unknown(self) -> None:
        """After the caller's time."""
        self.coordinator.commits = False
        defining = Deferred.fromCoroutine(self.schemas.define(MAIN, PERSON, CALL))
        self.assertNoResult(defining)
        self.clock.advance(CALL.timeout_s)
        self.failureResultOf(defining, OutcomeUnknownError)

    def test_a_graph_is_made_once(self) -> None:
        """Asking again is as good; another placement is a conflict."""
        create = self.schemas.create
        graph = self.run_(create("tenant", Placement.SINGLE, CALL))
        assert graph == Graph(1, "tenant", Placement.SINGLE)
        assert self.run_(create("tenant", Placement.SINGLE, CALL)) is graph
        again = Deferred.fromCoroutine(create("tenant", Placement.SHARDED, CALL))
        self.failureResultOf(again, ConflictError)
        wrong = Deferred.fromCoroutine(create("a b", Placement.SHARDED, CALL))
        self.failureResultOf(wrong, UnprocessableError)

    def test_there_are_so_many_graphs(self) -> None:
        """One more is refused."""
        for number in range(GRAPHS_MAX - 1):
            self.run_(self.schemas.create(f"g{number}", Placement.SHARDED, CALL))
        more = Deferred.fromCoroutine(
            self.schemas.create("more", Placement.SHARDED, CALL)
        )
        self.failureResultOf(more, ConflictError)

    def test_a_dropped_graph_is_gone_and_its_id_with_it(self) -> None:
        """One of the same name is another; `MAIN` stays."""
        self.run_(self.schemas.create("tenant", Placement.SHARDED, CALL))
        self.run_(self.schemas.drop("tenant", CALL))
        assert list(self.schemas.graphs()) == [MAIN]
        gone = Deferred.fromCoroutine(self.schemas.drop("tenant", CALL))
        self.failureResultOf(gone, NotFoundError)
        again = self.run_(self.schemas.create("tenant", Placement.SHARDED, CALL))
        assert again.graph_id == 2
        main = Deferred.fromCoroutine(self.schemas.drop(MAIN, CALL))
        self.failureResultOf(main, ConflictError)

    def test_a_version_is_waited_for(self) -> None:
        """Until it is applied, or for so long and no longer."""
        waiting = Deferred.fromCoroutine(self.schemas.wait(MAIN, 2, 5.0))
        impatient = Deferred.fromCoroutine(self.schemas.wait(MAIN, 2, 1.0))
        self.clock.advance(1.0)
        assert self.successResultOf(impatient) == MAIN_GRAPH
        self.assertNoResult(waiting)
        newer = replace(MAIN_GRAPH, version=2)
        state = self.coordinator.state
        self.coordinator.apply(replace(state, graphs={MAIN: newer}))
        assert self.successResultOf(waiting) == newer
