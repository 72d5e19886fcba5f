"""What is told of graphs, and of how statements would run."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from torua.core.cypher.plan import Along, Plan, Strategy
from torua.core.graph.fragments import Scan
from torua.core.graph.schema import (
    Column,
    Graph,
    NodeTable,
    Placement,
    RelTable,
    node_table_by_id,
)
from torua.core.graph.types import show, spell_type
from torua.core.graph.views import (
    ExplainView,
    GraphView,
    NodeTableView,
    PairView,
    PropertyView,
    RelTableView,
    SchemaView,
)
from torua.core.kv import Call
from torua.node.graph.anchors import DoubtError, homes, homes_of, keys_of
from torua.node.graph.budget import Budget
from torua.node.graph.deadline import Deadline
from torua.node.graph.visits import Shards, Sizes, Visits


class Schemas(Protocol):
    """The schemas of all graphs: see `torua.node.graph.schemas`."""

    def graph(self, name: str) -> Graph:
        """Return what this node has applied; NotFoundError where there is none."""

    def graphs(self) -> Mapping[str, Graph]:
        """Return all."""

    async def create(self, name: str, placement: Placement, call: Call) -> Graph:
        """Make a graph.

        Args:
            name: its name.
            placement: where its rows live.
            call: who asks, and how long it waits.
        """

    async def drop(self, name: str, call: Call) -> None:
        """Remove a graph.

        Args:
            name: its name.
            call: who asks, and how long it waits.
        """


class Catalog:
    """Describes graphs, and makes and removes them.

    Invariants: counts are as fresh as the call asks.

    Threading: the reactor's thread.
    """

    def __init__(self, clock: IReactorTime, schemas: Schemas, shards: Shards) -> None:
        """Describe what there is.

        Args:
            clock: the reactor.
            schemas: of all graphs.
            shards: the way to their rows.
        """
        self._clock = clock
        self._schemas = schemas
        self._shards = shards

    def graphs(self) -> tuple[GraphView, ...]:
        """Describe all graphs, by name."""
        graphs = self._schemas.graphs()
        return tuple(_graph(graphs[name]) for name in sorted(graphs))

    async def create(self, name: str, placement: Placement, call: Call) -> GraphView:
        """Make a graph, and describe it.

        Args:
            name: its name.
            placement: where its rows live.
            call: who asks, and how long it waits.
        """
        return _graph(await self._schemas.create(name, placement, call))

    async def drop(self, name: str, call: Call) -> None:
        """Remove a graph.

        Args:
            name: its name.
            call: who asks, and how long it waits.
        """
        await self._schemas.drop(name, call)

    async def schema(self, name: str, call: Call) -> SchemaView:
        """Describe a schema, and count the rows of its tables.

        Args:
            name: the graph's.
            call: who asks, how fresh, and how long it waits.
        """
        graph = self._schemas.graph(name)
        deadline = Deadline(self._clock, call)
        visits = Visits(self._shards, graph, deadline.call, Budget().claim())
        sizes = await visits.measure(homes(self._shards, graph))
        return SchemaView(
            graph.name,
            str(graph.placement),
            graph.version,
            tuple(_node_table(table, sizes) for table in graph.nodes),
            tuple(_rel_table(graph, table, sizes) for table in graph.rels),
        )


def explain(
    plan: Plan, graph: Graph, parameters: Mapping[str, object], shards: Shards
) -> ExplainView:
    """Tell how a planned statement would run.

    Args:
        plan: of the statement.
        graph: the schema that it was made with.
        parameters: of the statement.
        shards: tells where rows live.
    """
    pushed: list[str] = []
    if plan.route is not None and plan.route.fragment is not None:
        pushed.append(plan.route.fragment.text)
    if plan.scatter is not None:
        pushed.append(plan.scatter.fragment.text)
    if plan.frontier is not None:
        pushed += [_round(ways) for ways in plan.frontier.rounds]
    fast = plan.writes
    return ExplainView(
        strategy=str(plan.strategy) if fast is None else "fast",
        why=plan.why,
        write=plan.write,
        shards=_shards(plan, graph, parameters, shards),
        pushed=tuple(pushed),
        gathered=tuple(map(_scan, plan.gather)) if fast is None else (),
        writes=tuple(type(each).__name__ for each in fast.each) if fast else (),
    )


def _shards(
    plan: Plan, graph: Graph, parameters: Mapping[str, object], shards: Shards
) -> tuple[int, ...]:
    """Tell which shards a statement touches first."""
    if plan.strategy is Strategy.NONE:
        return ()
    anchors = plan.route or plan.frontier
    if anchors is not None and anchors.anchors:
        try:
            keys = keys_of(anchors.anchors, graph, parameters)
            return tuple(homes_of(shards, graph, keys))
        except DoubtError:
            pass
    return homes(shards, graph)


def _round(ways: Sequence[Along]) -> str:
    """Say what a round of a frontier follows."""
    said = []
    for along in ways:
        near, far = along.pair
        arrow = f"(:{near})-[:{along.table}]->(:{far})"
        said.append(arrow if along.outgoing else f"{arrow} from its end")
    return "expand " + ", ".join(said)


def _scan(scan: Scan) -> dict[str, object]:
    """Say what is gathered of a table."""
    found: dict[str, object] = {"table": scan.table, "columns": scan.columns}
    if scan.pair is not None:
        found["pair"] = scan.pair
    if scan.where:
        found["where"] = scan.where
    return found


def _graph(graph: Graph) -> GraphView:
    """Describe a graph in a list."""
    return GraphView(
        graph.name,
        str(graph.placement),
        graph.version,
        len(graph.nodes),
        len(graph.rels),
    )


def _properties(columns: tuple[Column, ...]) -> tuple[PropertyView, ...]:
    """Describe properties."""
    return tuple(
        PropertyView(each.name, spell_type(each.type), show(each.type, each.default))
        for each in columns
    )


def _node_table(table: NodeTable, sizes: Sizes) -> NodeTableView:
    """Describe a node table."""
    rows, _ = sizes.get(table.name, (0, 0))
    columns = _properties(table.columns)
    return NodeTableView(table.name, table.primary_key, columns, rows)


def _rel_table(graph: Graph, table: RelTable, sizes: Sizes) -> RelTableView:
    """Describe a relationship table."""
    rows, _ = sizes.get(table.name, (0, 0))
    pairs = tuple(
        PairView(
            node_table_by_id(graph, source).name, node_table_by_id(graph, target).name
        )
        for source, target in table.pairs
    )
    columns = _properties(table.columns)
    return RelTableView(table.name, pairs, table.multiplicity, columns, rows)
