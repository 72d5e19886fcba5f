"""What a statement runs on: gathered from shards, as its plan says.

Where a plan's strategy turns out not to hold at the moment of running (a key of a type
that the engine may convert, graves on a shard, a neighbourhood that is no small one, a
fragment that an engine refuses), the plan's gather is run instead: it always holds.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import pyarrow as pa
from msgspec import Struct, structs

from torua.core.cypher.plan import Merge, MergedColumn, Merging, Plan, Strategy
from torua.core.cypher.tokens import TokenKind, tokenize
from torua.core.graph.fragments import Fragment, Scan, Text
from torua.core.graph.jobs import Gathered
from torua.core.graph.schema import Graph, RelTable, find_table
from torua.core.ids import ShardId
from torua.errors import (
    MalformedError,
    QueryTimeoutError,
    QueryTooLargeError,
    UnprocessableError,
)
from torua.node.graph.anchors import DoubtError, homes, homes_of, keys_of
from torua.node.graph.frontier import Neighbourhood, fetch
from torua.node.graph.visits import Shards, Sizes, Visits


class Inputs(Struct, frozen=True):
    """What a query worker is given.

    Attributes:
        strategy: how it was found.
        why: why that was not as planned; empty where it was.
        tables: rows to run the statement on.
        partials: answers of shards, to be merged.
        merge: how.
        text: to run in place of the plan's statement, if not empty.
        named: the tables that this text names.
    """

    strategy: Strategy
    why: str = ""
    tables: tuple[Gathered, ...] = ()
    partials: tuple[bytes, ...] = ()
    merge: Merge | None = None
    text: str = ""
    named: tuple[str, ...] = ()


class Inquiry:
    """Gathers for one attempt at one statement.

    Invariants: what was gathered is claimed until `end`; nothing that a strategy read
    is used together with what another one did.

    Threading: the reactor's thread.

    Attributes:
        plan: of the statement.
        visits: the shards that were read last.
    """

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        parameters: Mapping[str, object],
        shards: Shards,
        visits: Callable[[], Visits],
    ) -> None:
        """Begin with nothing read.

        Args:
            plan: of the statement.
            graph: the schema that the plan was made with.
            parameters: of the statement.
            shards: tells where rows live.
            visits: makes what reads.
        """
        self.plan = plan
        self._graph = graph
        self._parameters = parameters
        self._shards = shards
        self._make = visits
        self.visits = visits()

    def end(self) -> None:
        """Release sessions and bytes."""
        self.visits.end()

    async def gather(self, sized: Callable[[], Awaitable[Sizes]]) -> Inputs:
        """Find what the statement runs on.

        Args:
            sized: tells how large the tables are, before they are gathered whole.

        Raises:
            QueryTooLargeError: it would be more than a query may gather.
            ToruaError: shards can't be read.
        """
        strategies: dict[Strategy, Callable[[], Awaitable[Inputs]]] = {
            Strategy.ROUTE: self._route,
            Strategy.SCATTER: self._scatter,
            Strategy.FRONTIER: self._frontier,
        }
        planned = strategies.get(self.plan.strategy)
        why = ""
        if self.plan.strategy is Strategy.NONE:
            return Inputs(Strategy.NONE)
        if planned is not None:
            try:
                return await planned()
            except DoubtError as error:
                why = error.detail
            except (UnprocessableError, MalformedError) as error:
                if isinstance(error, QueryTooLargeError | QueryTimeoutError):
                    raise
                why = f"a shard refused its part: {error.detail}"
            self.visits.end()
            self.visits = self._make()
        return structs.replace(await self._everything(sized), why=why)

    async def _route(self) -> Inputs:
        """Ask the shards of the keys that the statement names."""
        route = self.plan.route
        assert route is not None
        if route.home:
            found = await self._scans(self.homes())
            return structs.replace(found, strategy=Strategy.ROUTE)
        keys = keys_of(route.anchors, self._graph, self._parameters)
        homes = homes_of(self._shards, self._graph, keys)
        if route.fragment is not None and len(homes) == 1:
            fragment = self._bound(route.fragment)
            read = await self.visits.read_all({homes[0]: (fragment,)})
            partials = read[homes[0]][0]
            return Inputs(Strategy.ROUTE, partials=partials, merge=_as_it_is(partials))
        columns = {scan.table: scan.columns for scan in self.plan.gather}
        wanted = [(table, each, columns.get(table)) for table, each in keys.items()]
        tables = await fetch(self._shards, self._graph, self.visits, wanted)
        return Inputs(Strategy.ROUTE, tables=tables)

    async def _scatter(self) -> Inputs:
        """Have every shard answer the same fragment."""
        scatter = self.plan.scatter
        assert scatter is not None
        fragment = self._bound(scatter.fragment)
        shards = self._shards.shards()
        found = await self.visits.read_all(dict.fromkeys(shards, (fragment,)))
        if scatter.hop and self.visits.graves:
            raise DoubtError("relationships of deleted nodes are still being removed")
        partials = tuple(part for shard in shards for part in found[shard][0])
        return Inputs(Strategy.SCATTER, partials=partials, merge=scatter.merge)

    async def _frontier(self) -> Inputs:
        """Gather what surrounds the keys that the statement names."""
        frontier = self.plan.frontier
        assert frontier is not None
        keys = keys_of(frontier.anchors, self._graph, self._parameters)
        if (reached := frontier.reached) is not None:
            around = Neighbourhood(self._shards, self._graph, self.visits, frontier)
            found = await around.reach(keys, reached)
            if found is not None:
                return Inputs(
                    Strategy.FRONTIER,
                    tables=found.tables,
                    text=found.text,
                    named=(reached.table,),
                )
            self.visits.end()
            self.visits = self._make()
        if frontier.shortest is not None:
            around = Neighbourhood(self._shards, self._graph, self.visits, frontier)
            tables = await around.between(keys, frontier.shortest)
            if tables is not None:
                return Inputs(Strategy.FRONTIER, tables=tables)
            self.visits.end()
            self.visits = self._make()
        around = Neighbourhood(self._shards, self._graph, self.visits, frontier)
        return Inputs(Strategy.FRONTIER, tables=await around.gather(keys))

    async def _everything(self, sized: Callable[[], Awaitable[Sizes]]) -> Inputs:
        """Gather whole tables."""
        self.visits.expect(self._estimate(await sized()))
        return await self._scans(self.homes())

    async def _scans(self, shards: Sequence[ShardId]) -> Inputs:
        """Gather tables from some shards."""
        scans = self.plan.gather
        fragments: list[Fragment] = [self._bound(scan) for scan in scans]
        found = await self.visits.read_all(dict.fromkeys(shards, fragments), keep=False)
        tables = []
        for number, scan in enumerate(scans):
            parts = [part for shard in found for part in found[shard][number]]
            tables.append(Gathered(scan.table, scan.pair, tuple(parts)))
        return Inputs(Strategy.GATHER, tables=tuple(tables))

    def homes(self) -> tuple[ShardId, ...]:
        """List the shards where the graph's rows are."""
        return homes(self._shards, self._graph)

    def _estimate(self, sizes: Sizes) -> int:
        """Estimate how many bytes a gather brings, filtered tables not counted.

        A filter may leave nothing; what it leaves is counted when it comes.
        """
        total = 0.0
        counted: set[str] = set()
        for scan in self.plan.gather:
            if scan.where or scan.table in counted:
                continue
            counted.add(scan.table)
            total += sizes.get(scan.table, (0, 0))[1] * self._share(scan)
        return round(total)

    def _share(self, scan: Scan) -> float:
        """Estimate which part of a table's bytes some of its columns are."""
        table = find_table(self._graph, scan.table)
        if table is None or scan.columns is None:
            return 1.0
        hidden = 3 if isinstance(table, RelTable) else 1
        return (len(scan.columns) + hidden) / (len(table.columns) + hidden)

    def _bound(self, fragment: Text | Scan) -> Text | Scan:
        """Give a fragment the values of the parameters that it names."""
        text = fragment.text if isinstance(fragment, Text) else fragment.where
        if "$" not in text:
            return fragment
        names = [
            token.name for token in tokenize(text) if token.kind is TokenKind.PARAMETER
        ]
        given = {name: self._parameters.get(name) for name in names}
        return structs.replace(fragment, parameters=fragment.parameters | given)


def _as_it_is(partials: Sequence[bytes]) -> Merge:
    """Make the merge of an answer that is whole already."""
    names = pa.ipc.open_stream(partials[0]).schema.names
    columns = (
        MergedColumn(name, Merging.KEY, number) for number, name in enumerate(names)
    )
    return Merge(tuple(columns))
