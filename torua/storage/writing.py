"""One transaction of a map that another thread writes, or whoever cannot wait for it.

::

    begun --run, by whoever comes first--> ended, with what it made or why it failed
"""

from collections.abc import Callable
from threading import Lock

from torua.storage.rows import Facts

Written = tuple[Facts, list[tuple[int, bytes]]]
"""What a map knows of itself after a transaction, and its digests in between."""


class Writing:
    """The first of what a map has staged, on its way into the database.

    Invariants: the job is done once, by the first thread that runs it; all others wait
    for its end, and find the same result.

    Threading: any.

    Attributes:
        count: of records that are written.
    """

    def __init__(self, count: int, job: Callable[[], Written]) -> None:
        """Begin, without writing yet.

        Args:
            count: of records that are written.
            job: writes them, all or none, wherever it runs.
        """
        self.count = count
        self._job = job
        self._lock = Lock()
        self._written: Written | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Return when it has ended; it raises nothing."""
        with self._lock:
            if self._written is None and self._error is None:
                try:
                    self._written = self._job()
                except Exception as error:
                    self._error = error

    def end(self) -> Written:
        """Return what was written, once it is; else raise why it was not."""
        self.run()
        if self._error is not None:
            raise self._error
        assert self._written is not None
        return self._written
