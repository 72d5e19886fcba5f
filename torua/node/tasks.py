"""Long work that is under way, or was lately: on this node, and on the others.

A task is known to the node that does it, until that node stops or has done many others
since.  Any node tells of all, by asking.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from torua.codec.plain import plain, shape
from torua.core.ids import NodeId
from torua.core.kv import Call
from torua.core.members import Member, Status
from torua.core.views import TaskView
from torua.errors import NotFoundError, ToruaError
from torua.net.peers import Inbound, Lane
from torua.node.errands import Peers

KIND = "tasks"
"""The kind of message by which nodes ask each other."""

KEPT = 100
"""How many tasks that are over a node remembers."""

ERRORS_KEPT = 20
"""How many of its errors a task shows; its own answer has them all."""

ASK_TIMEOUT_S = 3.0


class Membership(Protocol):
    """Who is there."""

    @property
    def members(self) -> Mapping[NodeId, Member]:
        """Return all members that are known."""


class Asked(Struct, frozen=True):
    """Which tasks another node shall tell of: one, or all where it is empty."""

    task: str = ""


class Told(Struct, frozen=True):
    """What it tells."""

    tasks: tuple[TaskView, ...]


class Task:
    """One piece of long work.

    Invariants: it ends once; `done` never falls.
    """

    def __init__(self, view: TaskView, now: Callable[[], float]) -> None:
        """Begin.

        Args:
            view: as it is told of at first.
            now: seconds, for the guess when it will be over.
        """
        self._view = view
        self._now = now
        self._began_s = now()
        self._took_s: float | None = None
        self._done = 0
        self._errors: list[str] = []
        self._facts: dict[str, int] = {}
        self._state = "running"

    @property
    def id(self) -> str:
        """What it is asked for by."""
        return self._view.id

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self._took_s is not None

    def progress(self, done: int, **facts: int) -> None:
        """Note how far it is.

        Args:
            done: so many of the whole, in its unit.
            facts: what else can be counted.
        """
        self._done = max(self._done, done)
        self._facts |= facts

    def error(self, detail: str) -> None:
        """Note what went wrong, if not too much did."""
        if len(self._errors) < ERRORS_KEPT:
            self._errors.append(detail)

    def end(self, state: str) -> None:
        """Note that it is over.

        Args:
            state: ``done`` or ``failed``.
        """
        if not self.is_over:
            self._state = state
            self._took_s = self._now() - self._began_s

    def view(self) -> TaskView:
        """Tell of it.

        When it may be over is guessed from how fast it was so far.
        """
        took_s = self._now() - self._began_s if self._took_s is None else self._took_s
        view = self._view
        eta = None
        if not self.is_over and view.total and 0 < self._done <= view.total:
            eta = round(took_s * (view.total - self._done) / self._done, 1)
        return TaskView(
            id=view.id,
            kind=view.kind,
            detail=view.detail,
            node=view.node,
            state=self._state,
            done=self._done,
            total=view.total,
            unit=view.unit,
            started=view.started,
            seconds=round(took_s, 3),
            eta=eta,
            facts=dict(self._facts),
            errors=tuple(self._errors),
        )


class Tasks:
    """The tasks of this node, and the way to those of the others.

    Invariants: all that run are known, and the last `KEPT` that are over.

    Threading: the reactor's thread only.
    """

    def __init__(  # noqa: PLR0913
        self,
        me: NodeId,
        name: str,
        membership: Membership,
        peers: Peers,
        clock: IReactorTime,
        *,
        wall_s: Callable[[], float],
        fresh_id: Callable[[], str],
    ) -> None:
        """Begin to answer what other nodes ask.

        Args:
            me: this node.
            name: as it is shown.
            membership: who is there.
            peers: the way to the others.
            clock: the reactor.
            wall_s: tells Unix time, in seconds.
            fresh_id: makes ids.
        """
        self._me = me
        self._name = name
        self._membership = membership
        self._peers = peers
        self._clock = clock
        self._wall_s = wall_s
        self._fresh_id = fresh_id
        self._tasks: dict[str, Task] = {}
        peers.handle(KIND, self._answer)

    def begin(
        self,
        kind: str,
        detail: str,
        unit: str,
        total: int | None,
        task_id: str = "",
    ) -> Task:
        """Begin a task.

        Args:
            kind: what sort of work it is.
            detail: what it works on, for people.
            unit: what its progress is counted in.
            total: how many of them there are; None where nobody knows.
            task_id: what it is asked for by, where others must know; else a fresh one.
        """
        started = datetime.fromtimestamp(self._wall_s(), UTC)
        view = TaskView(
            id=task_id or self._fresh_id(),
            kind=kind,
            detail=detail,
            node=self._name,
            state="running",
            done=0,
            total=total,
            unit=unit,
            started=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        task = Task(view, self._clock.seconds)
        self._tasks[view.id] = task
        over = [known.id for known in self._tasks.values() if known.is_over]
        for old in over[: max(0, len(over) - KEPT)]:
            del self._tasks[old]
        return task

    def drop(self, task_id: str) -> None:
        """Tell of a task no more: another node does that work now."""
        self._tasks.pop(task_id, None)

    async def all(self, call: Call) -> tuple[TaskView, ...]:
        """Tell of all tasks of all nodes that answer, in the order of their beginnings.

        Args:
            call: who asks.
        """
        found = await self._everybody(Asked(), call)
        return tuple(sorted(found, key=lambda task: (task.started, task.id)))

    async def one(self, task_id: str, call: Call) -> TaskView:
        """Tell of one task; NotFoundError where no node that answers knows it.

        Args:
            task_id: which.
            call: who asks.
        """
        if task_id in self._tasks:
            return self._tasks[task_id].view()
        found = await self._everybody(Asked(task_id), call)
        if not found:
            raise NotFoundError("no node that answers knows this task")
        return found[0]

    async def _everybody(self, asked: Asked, call: Call) -> list[TaskView]:
        """Ask this node, and all others that live."""
        others = [
            Deferred.fromCoroutine(self._ask(node, asked, call))
            for node, member in sorted(self._membership.members.items())
            if node != self._me and member.status is Status.ALIVE
        ]
        told = await gatherResults(others, consumeErrors=True)
        return [view for tasks in (self._told(asked), *told) for view in tasks.tasks]

    async def _ask(self, node: NodeId, asked: Asked, call: Call) -> Told:
        """Ask another node; it tells of nothing where it does not answer in time."""
        try:
            answer = await self._peers.request(
                node,
                KIND,
                plain(asked),
                lane=Lane.CONTROL,
                timeout_s=min(ASK_TIMEOUT_S, call.timeout_s),
                request_id=call.request_id,
            )
        except ToruaError:
            return Told(())
        return shape(answer, Told)

    async def _answer(self, inbound: Inbound) -> object:
        """Tell another node of this one's."""
        return plain(self._told(shape(inbound.body, Asked)))

    def _told(self, asked: Asked) -> Told:
        """Tell of this node's."""
        if asked.task:
            known = self._tasks.get(asked.task)
            return Told((known.view(),) if known else ())
        return Told(tuple(task.view() for task in self._tasks.values()))
