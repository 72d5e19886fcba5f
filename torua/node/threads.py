"""Where what may block is done: one thread, one job after the other.

A thread of its own keeps what must stay in order in order, and lets nothing else (a
name look-up in the reactor's pool) stand before a client's write.
"""

from collections.abc import Callable
from threading import Thread
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Worker(Protocol):
    """Does jobs in the order in which it is given them."""

    def run(self, job: Callable[[], T]) -> "Deferred[T]":
        """Do a job elsewhere; its end fires the result, on the reactor's thread."""


class _Daemon(Thread):
    """A thread that does not keep a process alive that wants to end.

    Invariants: those of `Thread`.
    """

    def __init__(self, **options: Any) -> None:
        """Make one, as `Thread` does."""
        super().__init__(**options, daemon=True)


class _Pool(ThreadPool):
    """A pool of such threads.

    Invariants: those of `ThreadPool`.
    """

    threadFactory = _Daemon  # type: ignore[assignment]  # noqa: N815


class WorkerThread:
    """One thread, from now until `stop`.

    Invariants: jobs begin in the order of `run`, each after the end of the last.

    Threading: to be called on the reactor's thread; jobs run on the worker's own.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        """Start the thread.

        Args:
            reactor: where results come back to.
            name: what the thread is called in a debugger.
        """
        self._reactor = reactor
        self._pool = _Pool(1, 1, name)
        self._pool.start()

    def run(self, job: Callable[[], T]) -> "Deferred[T]":
        """See `Worker.run`."""
        return cast("Deferred[T]", deferToThreadPool(self._reactor, self._pool, job))

    def stop(self) -> None:
        """Return when all jobs are done; none may come after.  Safe to call twice."""
        if not self._pool.joined:
            self._pool.stop()
