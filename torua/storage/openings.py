"""How many views of a process are open at once: each may fill a pool of memory.

A view that is opened beyond the bound has the one that was used least recently close;
that one closes once nobody reads in it, and is opened again when it is asked next.  So
there are more than the bound only while transactions are open in all of them.
"""

import threading
from typing import Protocol


class Closable(Protocol):
    """What has a view: see `torua.storage.worker.Owner`."""

    def spare(self) -> None:
        """Have the view closed once nobody reads in it; from any thread."""


class Openings:
    """The views that are open, by their owners.

    Invariants: the one used least recently comes first.

    Threading: any.
    """

    def __init__(self, most: int) -> None:
        """Begin with none.

        Args:
            most: how many may be open.
        """
        self._most = most
        self._open: dict[Closable, None] = {}
        self._lock = threading.Lock()

    def used(self, owner: Closable) -> None:
        """Take note that a view, if it is open, is used."""
        with self._lock:
            if owner in self._open:
                del self._open[owner]
                self._open[owner] = None

    def opened(self, owner: Closable) -> None:
        """Take note that a view is open; have others closed where they are too many."""
        with self._lock:
            self._open.pop(owner, None)
            beyond = len(self._open) + 1 - self._most
            others = list(self._open)[: max(0, beyond)]
            self._open[owner] = None
        for each in others:
            each.spare()

    def closed(self, owner: Closable) -> None:
        """Take note that a view is closed; no error where it is not known."""
        with self._lock:
            self._open.pop(owner, None)
