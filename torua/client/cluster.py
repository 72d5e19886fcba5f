"""How the cluster fares, and what operators may do about it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, json, structs

from torua.client.errors import UnavailableError
from torua.client.targets import segment
from torua.client.transport import Answer, Request, T, Transport
from torua.core.configuration import Value
from torua.core.views import (
    Assigned,
    Balance,
    ClusterInfo,
    ConfigView,
    Health,
    NodeDetail,
    NodeView,
    ShardExplained,
    ShardView,
    TaskView,
)


class Ready(Struct, frozen=True):
    """Whether the node that was asked serves, and if not, why."""

    ready: bool
    node: str = ""
    reason: str = ""


class _Duties(Struct, frozen=True):
    """What nodes do now."""

    nodes: Mapping[str, str]


class _Evacuation(Struct, frozen=True):
    """What follows an evacuation."""

    node: str
    task: str


class Cluster:
    """``client.cluster``: what any node tells of all of them, as values.

    Every method takes ``timeout_s``, for this call with all its attempts.

    Invariants: it keeps nothing between two calls.
    """

    def __init__(self, transport: Transport) -> None:
        """Ask by ``transport``."""
        self._transport = transport

    def health(self, *, timeout_s: float | None = None) -> Health:
        """Tell how the cluster fares, as the node that is asked sees it."""
        return self._read("/health", Health, timeout_s)

    def ready(self, *, timeout_s: float | None = None) -> Ready:
        """Tell whether the node that is asked serves; a client of one asks that one."""
        request = Request("GET", "/ready", timeout_s=timeout_s, patient=False)
        try:
            return self._transport.ask(request).read(Ready)
        except UnavailableError as error:
            return Ready(ready=False, reason=error.detail)

    def info(self, *, timeout_s: float | None = None) -> ClusterInfo:
        """Describe the cluster in a few numbers."""
        return self._read("/cluster/info", ClusterInfo, timeout_s)

    def nodes(self, *, timeout_s: float | None = None) -> tuple[NodeView, ...]:
        """Describe all nodes, by name."""
        return self._read("/nodes", tuple[NodeView, ...], timeout_s)

    def node(self, id_or_name: str, *, timeout_s: float | None = None) -> NodeDetail:
        """Describe one node, with its copies.

        Args:
            id_or_name: which.
            timeout_s: for all attempts.

        Raises:
            NotFoundError: nobody knows it.
        """
        path = f"/nodes/{segment(id_or_name)}/info"
        return self._read(path, NodeDetail, timeout_s)

    def shards(self, *, timeout_s: float | None = None) -> tuple[ShardView, ...]:
        """Describe all shards, with their copies."""
        return self._read("/shards", tuple[ShardView, ...], timeout_s)

    def tasks(self, *, timeout_s: float | None = None) -> tuple[TaskView, ...]:
        """Describe the long work of all nodes, in the order of its beginnings."""
        return self._read("/tasks", tuple[TaskView, ...], timeout_s)

    def task(self, task_id: str, *, timeout_s: float | None = None) -> TaskView:
        """Describe one task.

        Args:
            task_id: which.
            timeout_s: for all attempts.

        Raises:
            NotFoundError: no node that answers knows it.
        """
        return self._read(f"/tasks/{segment(task_id)}", TaskView, timeout_s)

    def metrics(self, *, timeout_s: float | None = None) -> str:
        """Return the metrics of the node that is asked, as Prometheus text."""
        request = Request("GET", "/metrics", timeout_s=timeout_s)
        return self._transport.ask(request).body.decode()

    def force_allocate(
        self,
        shard: int,
        node: str,
        *,
        accept_data_loss: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Let a red shard go on with what one node has of it; the rest is lost.

        Args:
            shard: which.
            node: by id or by name.
            accept_data_loss: that it is known what this means.
            timeout_s: for all attempts.

        Raises:
            ConflictError: a rule forbids it, which it names.
            OutcomeUnknownError: look at `shards`.
        """
        body = {"shard": shard, "node": node, "accept_data_loss": accept_data_loss}
        self._order("/shards/force-allocate", body, timeout_s)

    def maintenance(
        self, nodes: Sequence[str], *, enabled: bool, timeout_s: float | None = None
    ) -> Mapping[str, str]:
        """Have nodes get no more copies and lose theirs, or have it end.

        Args:
            nodes: by id or by name.
            enabled: whether it begins.
            timeout_s: for all attempts.

        Returns:
            What each node does now, by name.
        """
        body = {"nodes": list(nodes), "enabled": enabled}
        answer = self._order("/nodes/maintenance", body, timeout_s, repeatable=True)
        return answer.read(_Duties).nodes

    def evacuate(self, node: str, *, timeout_s: float | None = None) -> str:
        """Have all moved off a node, primaries first; return the id of the task.

        Args:
            node: by id or by name.
            timeout_s: for all attempts.

        Raises:
            OutcomeUnknownError: look at `tasks`.
        """
        path = f"/nodes/{segment(node)}/evacuate"
        return self._order(path, None, timeout_s).read(_Evacuation).task

    def remove(self, node: str, *, timeout_s: float | None = None) -> None:
        """Have a dead node belong to the cluster no more.

        Args:
            node: by id or by name.
            timeout_s: for all attempts.

        Raises:
            ConflictError: a rule forbids it, which it names.
            OutcomeUnknownError: look at `nodes`.
        """
        path = f"/nodes/{segment(node)}"
        self._order(path, None, timeout_s, method="DELETE")

    def rebalance(self, *, timeout_s: float | None = None) -> Balance:
        """Have copies and primaries spread evenly; return what is still to be moved."""
        return self._order("/cluster/rebalance", None, timeout_s, repeatable=True).read(
            Balance
        )

    def assign(
        self,
        shard: int,
        node: str,
        role: Literal["primary", "replica"] = "replica",
        *,
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Assigned:
        """Move a copy of a shard to a node, or its primary.

        Args:
            shard: which.
            node: by id or by name.
            role: what the node shall be.
            dry_run: whether to tell only what would be done.
            timeout_s: for all attempts.

        Raises:
            ConflictError: a rule forbids it, which it names.
            OutcomeUnknownError: look at `shards`.
        """
        body = {"shard": shard, "node": node, "role": role, "dry_run": dry_run}
        answer = self._order("/shards/assign", body, timeout_s, repeatable=dry_run)
        return answer.read(Assigned)

    def explain(self, shard: int, *, timeout_s: float | None = None) -> ShardExplained:
        """Tell why each copy of a shard is where it is, and why not elsewhere.

        Args:
            shard: which.
            timeout_s: for all attempts.
        """
        request = Request("GET", "/shards/explain", {"shard": shard})
        request = structs.replace(request, timeout_s=timeout_s)
        return self._transport.ask(request).read(ShardExplained)

    def config(self, *, timeout_s: float | None = None) -> ConfigView:
        """Tell every key of the configuration, and which nodes act upon it."""
        return self._read("/cluster/config", ConfigView, timeout_s)

    def configure(
        self,
        changes: Mapping[str, Value],
        *,
        if_version: int | None = None,
        timeout_s: float | None = None,
    ) -> ConfigView:
        """Give keys of the configuration other values, all of them or none.

        Args:
            changes: values by key; None stands for the default.
            if_version: the version that it must have; None asks nothing.
            timeout_s: for all attempts.

        Returns:
            What holds then, and which nodes act upon it by now.

        Raises:
            UnprocessableError: ``members["errors"]`` names all that is wrong.
            PreconditionError: the version is another one.
            OutcomeUnknownError: look at `config`.
        """
        headers = {"Content-Type": "application/json"}
        if if_version is not None:
            headers["If-Match"] = f'"{if_version}"'
        request = Request(
            "PUT",
            "/cluster/config",
            headers=headers,
            body=json.encode(changes),
            writes=True,
            repeatable=if_version is None,
            timeout_s=timeout_s,
        )
        return self._transport.ask(request).read(ConfigView)

    def _order(
        self,
        path: str,
        body: Mapping[str, object] | None,
        timeout_s: float | None,
        *,
        method: str = "POST",
        repeatable: bool = False,
    ) -> Answer:
        """Have something done."""
        request = Request(
            method,
            path,
            headers={} if body is None else {"Content-Type": "application/json"},
            body=None if body is None else json.encode(body),
            writes=True,
            repeatable=repeatable,
            timeout_s=timeout_s,
        )
        return self._transport.ask(request)

    def _read(self, path: str, kind: type[T], timeout_s: float | None) -> T:
        """Ask for something, and read it."""
        return self._transport.ask(Request("GET", path, timeout_s=timeout_s)).read(kind)
