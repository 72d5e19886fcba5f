"""Schemas of graphs: what this node has applied, and how they are changed.

A change is computed here, from the schema that this node has applied, and committed by
the coordinator where that is still the newest; where it is not, it is computed again.
What a change means for shards is `torua.node.graph.keeper`'s.
"""

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torua.core.graph.commands import GRAPHS_MAX, DefineGraph, DropGraph
from torua.core.graph.ddl import Ddl, define, parse_ddl
from torua.core.graph.defining import check_name
from torua.core.graph.schema import MAIN, Graph, Placement
from torua.core.graph.weighing import GRAPH_BYTES_MAX, GRAPHS_BYTES_MAX, weight_of
from torua.core.kv import Call
from torua.core.state import ClusterState
from torua.errors import (
    ConflictError,
    MalformedError,
    NotFoundError,
    OutcomeUnknownError,
    TooLargeError,
)
from torua.node.commanding import Coordination

log = Logger()

NEWS_S = 0.25
"""How long what is refused waits for a schema that other nodes may have already: a
commit reaches them within a few milliseconds of each other."""


class Schemas:
    """The schemas of all graphs.

    Invariants: what is returned was committed.

    Threading: the reactor's thread only.
    """

    def __init__(self, clock: IReactorTime, coordination: Coordination) -> None:
        """Follow the cluster state.

        Args:
            clock: the reactor.
            coordination: the cluster state, and the way to change it.
        """
        self._clock = clock
        self._coordination = coordination
        self._waiting: list[tuple[Callable[[ClusterState], bool], Deferred[None]]] = []
        coordination.subscribe(self._on_state)

    def graph(self, name: str) -> Graph:
        """Return a graph as this node has applied it; NotFoundError without one."""
        found = self.graphs().get(name)
        if found is None:
            raise NotFoundError(f"there is no graph {name}")
        return found

    def graphs(self) -> Mapping[str, Graph]:
        """Return all graphs by name, as this node has applied them."""
        return self._coordination.state.graphs

    async def wait(self, name: str, version: int, timeout_s: float) -> Graph:
        """Return a graph as soon as it is at a version, or as it is after some time.

        Args:
            name: which.
            version: that version, or a later one.
            timeout_s: how long to wait.

        Raises:
            NotFoundError: there is no such graph, or no longer.
        """
        if self.graph(name).version < version:
            await self._until(
                lambda state: (
                    name not in state.graphs or state.graphs[name].version >= version
                ),
                timeout_s,
            )
        return self.graph(name)

    async def define(self, name: str, text: str, call: Call) -> Graph:
        """Change a schema; return it once it is committed.

        Shards have it a moment later; what is written by it is refused until then.

        Args:
            name: the graph's.
            text: one statement that defines a schema.
            call: who asks, and how long it waits.

        Raises:
            MalformedError: it is no such statement.
            NotFoundError: there is no such graph.
            UnprocessableError: it can't be, for a reason that the detail names.
            TooLargeError: the schema would be too large.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        ddl = parse_ddl(text)
        if ddl is None:
            raise MalformedError("the statement defines no schema")
        until = self._clock.seconds() + call.timeout_s
        while True:
            before = self.graph(name)
            graph = self._defined(before, ddl)
            if graph is before:
                return before
            await self._change(
                DefineGraph(name, before.version, graph),
                _is_other(before),
                until,
            )
            if self.graphs().get(name) == graph:
                log.info(
                    "graph {graph} is at version {version}",
                    graph=name,
                    version=graph.version,
                    request_id=call.request_id,
                )
                return graph

    async def create(self, name: str, placement: Placement, call: Call) -> Graph:
        """Make a graph; return it once it is committed.

        One that is there already, and placed so, is returned as it is.

        Args:
            name: its name.
            placement: where its rows live.
            call: who asks, and how long it waits.

        Raises:
            UnprocessableError: it can't be called so.
            ConflictError: there is one that is placed otherwise, or too many.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        check_name(name, "graph")
        until = self._clock.seconds() + call.timeout_s
        while True:
            state = self._coordination.state
            found = state.graphs.get(name)
            if found is not None:
                return _placed(found, placement)
            if len(state.graphs) >= GRAPHS_MAX:
                raise ConflictError(f"there are {GRAPHS_MAX} graphs, no more can be")
            number = state.next_graph
            await self._change(
                DefineGraph(name, 0, Graph(number, name, placement)),
                _is_given(number),
                until,
            )

    async def drop(self, name: str, call: Call) -> None:
        """Remove a graph with all that is in it; it is gone once this returns.

        Args:
            name: its name.
            call: who asks, and how long it waits.

        Raises:
            NotFoundError: there is no such graph.
            ConflictError: it is `MAIN`.
            UnavailableError: nobody coordinates.
            OutcomeUnknownError: it may or may not have been done.
        """
        if name == MAIN:
            raise ConflictError(f"the graph {MAIN} can't be removed")
        until = self._clock.seconds() + call.timeout_s
        graph = self.graph(name)
        while True:
            await self._change(
                DropGraph(name, graph.graph_id, graph.version),
                _is_other(graph),
                until,
            )
            now = self.graphs().get(name)
            if now is None or now.graph_id != graph.graph_id:
                log.info(
                    "graph {graph} is dropped", graph=name, request_id=call.request_id
                )
                return
            graph = now

    def _defined(self, before: Graph, ddl: Ddl) -> Graph:
        """Return a graph as a definition makes it, if that is not too much."""
        graph = define(before, ddl)
        mine = weight_of(graph)
        others = (each for each in self.graphs().values() if each is not before)
        if mine > GRAPH_BYTES_MAX or (
            mine + sum(map(weight_of, others)) > GRAPHS_BYTES_MAX
        ):
            raise TooLargeError(
                f"a schema takes up to {GRAPH_BYTES_MAX} bytes, all of them together "
                f"{GRAPHS_BYTES_MAX}"
            )
        return graph

    async def _change(
        self,
        command: DefineGraph | DropGraph,
        is_over: Callable[[ClusterState], bool],
        until: float,
    ) -> None:
        """Have a command executed, and wait until this node sees what came of it."""
        left_s = until - self._clock.seconds()
        if left_s <= 0:
            raise OutcomeUnknownError("it was asked for, but is not seen to be done")
        await self._coordination.submit(command, left_s)
        await self._until(is_over, until - self._clock.seconds())

    async def _until(
        self, is_over: Callable[[ClusterState], bool], timeout_s: float
    ) -> None:
        """Wait until the applied state is as it should be, or some time has passed."""
        if is_over(self._coordination.state) or timeout_s <= 0:
            return
        done: Deferred[None] = Deferred()
        waiting = (is_over, done)
        self._waiting.append(waiting)
        done.addTimeout(timeout_s, self._clock)
        try:
            await done
        except DeferredTimeout:
            return
        finally:
            self._waiting.remove(waiting)

    def _on_state(self, state: ClusterState) -> None:
        """Let those go on who waited for this."""
        for is_over, done in list(self._waiting):
            if not done.called and is_over(state):
                done.callback(None)


def _placed(graph: Graph, placement: Placement) -> Graph:
    """Return a graph that is placed as it should be; else raise ConflictError."""
    if graph.placement is not placement:
        raise ConflictError(
            f"there is a graph {graph.name} already, of placement {graph.placement}"
        )
    return graph


def _is_other(graph: Graph) -> Callable[[ClusterState], bool]:
    """Make the question whether a graph is no longer as it was."""
    return lambda state: state.graphs.get(graph.name) != graph


def _is_given(number: int) -> Callable[[ClusterState], bool]:
    """Make the question whether an id was given."""
    return lambda state: state.next_graph > number
