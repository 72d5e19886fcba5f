"""Which nodes are lost: the connection broke, and did not come back at once."""

from collections.abc import Callable
from typing import Protocol

from torua.core.ids import NodeId

FAILURES = 2
"""The connection broke, and another was tried in vain."""

FORGOTTEN = "forgotten"
"""The reason where membership gave the node up: it left, or is dead."""


class Peers(Protocol):
    """The connections to the other nodes."""

    def watch(
        self,
        on_up: Callable[[NodeId], None],
        on_down: Callable[[NodeId, str], None],
    ) -> None:
        """Hear of connections.

        Args:
            on_up: told of a new one.
            on_down: told of one that broke, or that could not be made.
        """


class Reach:
    """The nodes that were connected, and can't be reached any more.

    Invariants: a node is lost from its second failure on, until there is a connection.

    Threading: the reactor's thread.
    """

    def __init__(
        self,
        peers: Peers,
        on_up: Callable[[NodeId], None],
        on_lost: Callable[[NodeId], None],
    ) -> None:
        """Follow the connections.

        Args:
            peers: of which.
            on_up: is told of a node that can be reached.
            on_lost: is told of one that can't, once.
        """
        self._on_up = on_up
        self._on_lost = on_lost
        self._failures: dict[NodeId, int] = {}
        peers.watch(self._up, self._down)

    @property
    def lost(self) -> tuple[NodeId, ...]:
        """Tell which nodes can't be reached, in order."""
        return tuple(
            sorted(node for node, n in self._failures.items() if n >= FAILURES)
        )

    def _up(self, node: NodeId) -> None:
        """Count no more failures of a node."""
        self._failures[node] = 0
        self._on_up(node)

    def _down(self, node: NodeId, reason: str) -> None:
        """Count a failure, of a node that was connected."""
        if node not in self._failures:
            return
        before = self._failures[node]
        self._failures[node] = FAILURES if reason == FORGOTTEN else before + 1
        if before < FAILURES <= self._failures[node]:
            self._on_lost(node)
