"""Long work, and how far it is."""

from typing import Protocol

from torua.core.kv import Call
from torua.core.views import TaskView
from torua.http import parameters
from torua.http.messages import Answer, Ask, spelled
from torua.http.routes import Route


class Tasks(Protocol):
    """The tasks of all nodes."""

    async def all(self, call: Call) -> tuple[TaskView, ...]:
        """Tell of all tasks of all nodes that answer."""

    async def one(self, task_id: str, call: Call) -> TaskView:
        """Tell of one task; NotFoundError where no node that answers knows it.

        Args:
            task_id: which.
            call: who asks.
        """


class TaskHandlers:
    """Answers ``/tasks``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Tell of ``tasks``."""
        self._tasks = tasks

    async def list(self, ask: Ask) -> Answer:
        """Answer GET of all tasks, in the order of their beginnings."""
        call = ask.call(parameters.timeout_s(ask.query))
        return spelled(ask, await self._tasks.all(call))

    async def get(self, ask: Ask) -> Answer:
        """Answer GET of one task."""
        call = ask.call(parameters.timeout_s(ask.query))
        return spelled(ask, await self._tasks.one(ask.variables["task"], call))


def routes(tasks: Tasks) -> tuple[Route, ...]:
    """List what serves tasks."""
    handlers = TaskHandlers(tasks)
    return (
        Route("/tasks", "GET", handlers.list),
        Route("/tasks/<task>", "GET", handlers.get),
    )
