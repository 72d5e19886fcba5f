"""How much memory the views of a process take: each fills a pool as it is read.

Where they take too much together, the one that was used least recently is to close: it
does once nobody reads in it, and is opened again when it is asked next.  So there is
more than the bound only while transactions are open.
"""

import threading
from typing import Protocol


class Closable(Protocol):
    """What has a view: see `torua.storage.worker.Owner`."""

    def spare(self) -> None:
        """Have the view closed once nobody reads in it; from any thread."""


class Openings:
    """The views that are open, and what each takes.

    Invariants: the one used least recently comes first.

    Threading: any.
    """

    def __init__(self, most: int) -> None:
        """Begin with none.

        Args:
            most: how many bytes they may take together.
        """
        self._most = most
        self._taken: dict[Closable, int] = {}
        self._lock = threading.Lock()

    def takes(self, owner: Closable, size: int) -> None:
        """Take note what a view takes that was just used, and make room if need be.

        Args:
            owner: of the view, which is open.
            size: in bytes.
        """
        with self._lock:
            self._taken.pop(owner, None)
            over = sum(self._taken.values()) + size - self._most
            spared = []
            for each, taken in self._taken.items():
                if over <= 0:
                    break
                spared.append(each)
                over -= taken
            self._taken[owner] = size
        for each in spared:
            each.spare()

    def closed(self, owner: Closable) -> None:
        """Take note that a view is closed; no error where it is not known."""
        with self._lock:
            self._taken.pop(owner, None)
