"""What the HTTP room needs of the rest, as protocols; tests bring fakes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from torua.core import views
from torua.core.allocation.placing import Role
from torua.core.changes import Change
from torua.core.graph.entries import EdgeSpot, NodeSpot, RowRead, RowWritten
from torua.core.graph.schema import Graph, Placement
from torua.core.graph.statement import Answered, Statement
from torua.core.graph.types import Cell
from torua.core.graph.views import ExplainView, GraphView, SchemaView
from torua.core.ids import ShardId
from torua.core.kv import (
    Call,
    Condition,
    Delete,
    Entry,
    Outcome,
    Page,
    Put,
    Served,
    Single,
)
from torua.core.state import Spans

T = TypeVar("T")


class KeyValue(Protocol):
    """Keys and values, wherever they live.  Every method raises `ToruaError`s."""

    async def get(self, key: bytes, call: Call) -> tuple[Entry | None, Served]:
        """Read a key with its value; None where it is absent.

        Args:
            key: 1 to 1,024 bytes.
            call: who asks, and how long it waits.
        """

    async def write(
        self, operation: Put | Delete, call: Call
    ) -> tuple[Outcome, Served]:
        """Do one write; an `Outcome.error` of it is raised as the error it names.

        Args:
            operation: what to do, within the limits of `torua.core.kv`.
            call: who asks, and how long it waits.
        """

    async def bulk(
        self, operations: Sequence[Single], call: Call
    ) -> tuple[tuple[Outcome, ...], str]:
        """Do many operations; those on one key in order.

        Args:
            operations: up to `torua.core.kv.BULK_OPERATIONS_MAX`.
            call: who asks, and how long it waits.

        Returns:
            One outcome each, in order; and ``Torua-Token``, empty for none.
        """

    async def scan(
        self, prefix: bytes, after: bytes, limit: int, values: bool, call: Call
    ) -> Page:
        """List keys that begin with ``prefix`` and come after ``after``, in order.

        Args:
            prefix: what keys begin with; empty for all.
            after: the key to go on after; empty from the first.
            limit: at most so many keys, 1 or more.
            values: whether the values come too.
            call: who asks, and how long it waits.
        """


class Batch(Protocol):
    """What a feed hands on."""

    @property
    def events(self) -> Sequence[tuple[Change, str]]:
        """Return changes in order, each with the cursor behind it."""

    @property
    def cursor(self) -> str:
        """Return the cursor behind all of them."""

    @property
    def gone(self) -> str | None:
        """Return the earliest cursor that is left, where the feed ends here."""


class Feed(Protocol):
    """One client's changes."""

    @property
    def cursor(self) -> str:
        """Return the cursor behind all that was taken."""

    async def next(self) -> Batch:
        """Return what comes next; an empty batch where nothing did for a while."""

    def close(self) -> None:
        """Read no more.  Safe to call twice."""


class ChangeFeeds(Protocol):
    """Where feeds come from."""

    async def open(self, prefix: bytes, since: str, call: Call) -> Feed:
        """Begin a feed; raises `ToruaError`s.

        Args:
            prefix: of which keys.
            since: a cursor; empty for what comes from now on, ``earliest`` for all.
            call: who asks, and how long it waits for the beginning.
        """


class Overview(Protocol):
    """The cluster, as this node sees it."""

    def health(self) -> views.Health:
        """Tell how the cluster fares."""

    def unready(self) -> str | None:
        """Tell why this node does not serve yet; None where it does."""

    def info(self) -> views.ClusterInfo:
        """Describe the cluster."""

    async def listing(self, call: Call) -> tuple[views.NodeView, ...]:
        """Describe every node, members and gone ones alike, by name.

        Args:
            call: who asks.
        """

    async def node(self, id_or_name: str, call: Call) -> views.NodeDetail:
        """Describe one node, by asking it; NotFoundError where nobody knows it.

        Args:
            id_or_name: its `NodeId` or its name.
            call: who asks, and how long it waits.
        """

    async def shards(self, call: Call) -> tuple[views.ShardView, ...]:
        """Describe every shard, by asking the nodes that hold copies."""


class Operations(Protocol):
    """What an operator may have done to the cluster; it raises `ToruaError`s."""

    async def maintenance(
        self, names: Sequence[str], enabled: bool, call: Call
    ) -> dict[str, str]:
        """Put nodes into maintenance, or out of it; return what each does now.

        Args:
            names: of which nodes, or their ids.
            enabled: whether maintenance begins.
            call: who asks, and how long it waits.
        """

    async def evacuate(self, name: str, call: Call) -> tuple[str, str]:
        """Have everything moved off a node; return its name, and the task's id.

        Args:
            name: the node's, or its id.
            call: who asks, and how long it waits.
        """

    async def remove(self, name: str, call: Call) -> str:
        """Have a dead node leave the list; return its name.

        Args:
            name: the node's, or its id.
            call: who asks, and how long it waits.
        """

    async def rebalance(self, dry_run: bool, call: Call) -> views.Balance:
        """Have balance sought now; tell what is still to be moved.

        Args:
            dry_run: whether to tell only.
            call: who asks, and how long it waits.
        """

    async def explain(self, shard: ShardId, call: Call) -> views.ShardExplained:
        """Tell why each copy is where it is; NotFoundError where there is no shard.

        Args:
            shard: which.
            call: who asks.
        """

    async def assign(
        self, shard: ShardId, name: str, role: Role, dry_run: bool, call: Call
    ) -> views.Assigned:
        """Have a node be primary or replica of a shard.

        Args:
            shard: which.
            name: the node's, or its id.
            role: what it shall be.
            dry_run: whether to tell only what would be done.
            call: who asks, and how long it waits.
        """

    async def split(
        self, shard: ShardId, spans: Spans | None, call: Call
    ) -> tuple[ShardId, str]:
        """Have slots of a shard move to a new one; return that, and the task.

        Args:
            shard: which.
            spans: the slots; None for the upper half.
            call: who asks, and how long it waits.
        """

    async def cancel_split(self, shard: ShardId, call: Call) -> ShardId:
        """Have a split called off; return the shard that is not to be.

        Args:
            shard: that is split, or the new one.
            call: who asks, and how long it waits.
        """

    async def force_allocate(
        self, shard: ShardId, id_or_name: str, accept_data_loss: bool, call: Call
    ) -> None:
        """Let a red shard go on with what one node has of it; raises `ToruaError`s.

        Args:
            shard: which.
            id_or_name: the node's.
            accept_data_loss: whether the operator said so.
            call: who asks, and how long it waits.
        """


class Configuring(Protocol):
    """The configuration of the cluster; it raises `ToruaError`s."""

    async def show(self, call: Call, *, explained: bool = False) -> views.ConfigView:
        """Tell every value, and which nodes have put this version into effect.

        Args:
            call: who asks, and how long it waits.
            explained: whether the keys are explained, too.
        """

    async def change(
        self,
        changes: Mapping[str, object],
        conditions: tuple[Condition, ...],
        call: Call,
    ) -> views.ConfigView:
        """Give keys other values, and wait a while for every node to acknowledge.

        Args:
            changes: plain values by key; None stands for the default.
            conditions: what must hold of the version.
            call: who asks, and how long it waits.
        """


class Statements(Protocol):
    """Cypher over all shards.  Every method raises `ToruaError`s."""

    async def run(self, statement: Statement, call: Call) -> Answered:
        """Run a statement.

        Args:
            statement: what is asked.
            call: who asks, how fresh, and how long it waits.
        """

    async def explain(self, statement: Statement, call: Call) -> ExplainView:
        """Tell how a statement would run.

        Args:
            statement: what is asked.
            call: who asks, and how long it waits.
        """


class Catalog(Protocol):
    """Graphs and their schemas.  Every method raises `ToruaError`s."""

    def graphs(self) -> tuple[GraphView, ...]:
        """Describe all graphs, by name."""

    async def create(self, name: str, placement: Placement, call: Call) -> GraphView:
        """Make a graph; one that is there with the same placement stays as it is.

        Args:
            name: its name.
            placement: where its rows live.
            call: who asks, and how long it waits.
        """

    async def drop(self, name: str, call: Call) -> None:
        """Remove a graph with all that is in it.

        Args:
            name: its name.
            call: who asks, and how long it waits.
        """

    async def schema(self, name: str, call: Call) -> SchemaView:
        """Describe a graph's schema, and count its rows.

        Args:
            name: its name.
            call: who asks, how fresh, and how long it waits.
        """


class Entries(Protocol):
    """Nodes and relationships one at a time.  Every method raises `ToruaError`s."""

    async def by_schema(self, name: str, read: Callable[[Graph], T]) -> T:
        """Read something by a graph's schema; by the next one if that is just coming.

        Args:
            name: the graph's.
            read: its `NotFoundError` or `UnprocessableError` may be mended
                by a newer schema.
        """

    async def node(
        self, graph: Graph, spot: NodeSpot, call: Call
    ) -> tuple[RowRead | None, Served]:
        """Read a node; None where it is absent.

        Args:
            graph: its graph.
            spot: which.
            call: who asks, and how fresh it must be.
        """

    async def put_node(  # noqa: PLR0913
        self,
        graph: Graph,
        spot: NodeSpot,
        cells: Mapping[str, Cell],
        call: Call,
        *,
        conditions: tuple[Condition, ...],
        merge: bool,
    ) -> RowWritten:
        """Make a node or set all its properties; or set some of one that is there.

        Args:
            graph: its graph.
            spot: which.
            cells: its properties, by name.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.
            merge: properties that are not named stay, and it must be there.
        """

    async def delete_node(
        self,
        graph: Graph,
        spot: NodeSpot,
        call: Call,
        *,
        conditions: tuple[Condition, ...],
        detach: bool,
    ) -> RowWritten:
        """Delete a node; no error where it is not there.

        Args:
            graph: its graph.
            spot: which.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.
            detach: its relationships go with it; else there may be none.
        """

    async def edge(
        self, graph: Graph, spot: EdgeSpot, call: Call
    ) -> tuple[RowRead | None, Served]:
        """Read a relationship; None where there is none.

        Args:
            graph: its graph.
            spot: which.
            call: who asks.
        """

    async def put_edge(
        self,
        graph: Graph,
        spot: EdgeSpot,
        cells: Mapping[str, Cell],
        call: Call,
        conditions: tuple[Condition, ...],
    ) -> RowWritten:
        """Make a relationship, or set all its properties.

        Args:
            graph: its graph.
            spot: which.
            cells: its properties, by name.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.
        """

    async def delete_edge(
        self,
        graph: Graph,
        spot: EdgeSpot,
        call: Call,
        conditions: tuple[Condition, ...],
    ) -> RowWritten:
        """Delete a relationship; no error where there is none.

        Args:
            graph: its graph.
            spot: which.
            call: who asks, and how long it waits.
            conditions: what must hold of its version.
        """
