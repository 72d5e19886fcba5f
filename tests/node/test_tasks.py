"""Long work, on this node and on others."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.node.lone_node import CALL, result
from torua.core.ids import Address, NodeId
from torua.core.members import Member, Meta, Status
from torua.errors import NotFoundError, UnavailableError
from torua.node import tasks
from torua.node.tasks import Tasks


class Cluster:
    """Nodes that reach each other at once, but those that are down.

    Invariants: none.
    """

    def __init__(self, *names: str) -> None:
        """Make nodes of these names."""
        self.clock = Clock()
        self.handlers: dict[NodeId, Any] = {}
        self.down: set[str] = set()
        self.members = {
            NodeId(name): Member(
                node_id=NodeId(name),
                name=name,
                address=Address("127.0.0.1", 1),
                boot_epoch=1,
                incarnation=0,
                status=Status.ALIVE,
                meta=Meta(roles=(), zone="", version="", max_shards=None),
            )
            for name in names
        }
        self.nodes = {name: Tasks(*self._of(name), **self._given()) for name in names}

    def _given(self) -> dict[str, Any]:
        """Return what all nodes are given."""
        ids = iter(f"id{number}" for number in range(1000))
        prefix = len(self.handlers)
        return {"wall_s": lambda: 0.0, "fresh_id": lambda: f"{prefix}{next(ids)}"}

    def _of(self, name: str) -> tuple[Any, ...]:
        """Return what one node is given."""
        return NodeId(name), name, self, _Door(self, NodeId(name)), self.clock


class _Door:
    """One node's way to the others.

    Invariants: none.
    """

    def __init__(self, cluster: Cluster, me: NodeId) -> None:
        """Stand in a cluster."""
        self._cluster = cluster
        self._me = me

    def handle(self, kind: str, handler: Any) -> None:
        """Note what answers.

        Args:
            kind: of message.
            handler: what answers.
        """
        assert kind == tasks.KIND
        self._cluster.handlers[self._me] = handler

    async def request(self, node_id: NodeId, kind: str, body: object, **_: Any) -> Any:
        """Ask another node.

        Args:
            node_id: whom.
            kind: of message.
            body: what.
        """
        if node_id in self._cluster.down:
            raise UnavailableError("it is down")
        inbound: Any = type("Inbound", (), {"body": body})()
        return await self._cluster.handlers[node_id](inbound)


def ask(coroutine: Any) -> Any:
    """Return what a coroutine came to."""
    return result(Deferred.fromCoroutine(coroutine))


def test_any_node_tells_of_a_task_of_another() -> None:
    """It is found by asking; its progress and the guess of its end are shown."""
    cluster = Cluster("a", "b")
    task = cluster.nodes["a"].begin("import", "Person", "bytes", 100)
    cluster.clock.advance(10)
    task.progress(25, rows=7)
    task.progress(20)
    view = ask(cluster.nodes["b"].one(task.id, CALL))
    assert (view.node, view.done, view.total, view.eta) == ("a", 25, 100, 30.0)
    assert view.facts == {"rows": 7}
    assert view.started == "1970-01-01T00:00:00.000Z"
    assert ask(cluster.nodes["b"].all(CALL)) == (view,)


def test_a_task_that_is_over_stays_known() -> None:
    """Its state and how long it took are told; it ends once."""
    cluster = Cluster("a")
    task = cluster.nodes["a"].begin("import", "Person", "bytes", None)
    cluster.clock.advance(2)
    task.error("line 3")
    task.end("done")
    task.end("failed")
    cluster.clock.advance(5)
    view = ask(cluster.nodes["a"].one(task.id, CALL))
    assert (view.state, view.seconds, view.eta) == ("done", 2.0, None)
    assert view.errors == ("line 3",)


def test_only_so_many_tasks_that_are_over_are_remembered() -> None:
    """Those that run are all known, and the newest of the others."""
    cluster = Cluster("a")
    running = cluster.nodes["a"].begin("import", "0", "bytes", None)
    for number in range(tasks.KEPT + 10):
        cluster.nodes["a"].begin("import", str(number), "bytes", None).end("done")
    known = ask(cluster.nodes["a"].all(CALL))
    assert len(known) <= tasks.KEPT + 2
    assert running.id in {view.id for view in known}
    assert str(tasks.KEPT + 9) in {view.detail for view in known}


def test_a_node_that_does_not_answer_hides_only_its_own_tasks() -> None:
    """The others are told of; a task of its is not found."""
    cluster = Cluster("a", "b", "c")
    task = cluster.nodes["a"].begin("import", "x", "bytes", None)
    other = cluster.nodes["c"].begin("import", "y", "bytes", None)
    cluster.down.add("a")
    assert [view.id for view in ask(cluster.nodes["b"].all(CALL))] == [other.id]
    with pytest.raises(NotFoundError):
        ask(cluster.nodes["b"].one(task.id, CALL))
