"""What an open copy is given to work with, and what it reaches beyond its own disk."""

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NamedTuple, Protocol

from torua.core.ids import AllocId, NodeId, ShardId
from torua.core.replication.messages import (
    AskFail,
    AskInSync,
    AskTerm,
    Drained,
    NeedSnapshot,
)
from torua.core.replication.wire import Message
from torua.core.resilience.cache import Caching
from torua.node.holding import Disk
from torua.storage.map import Map

Wish = AskInSync | AskFail | AskTerm | Drained
"""What a copy wants of the coordinator."""


class World(Protocol):
    """What a copy reaches beyond its own disk."""

    def send(self, node: NodeId, message: Message) -> None:
        """messages.Send to a copy on another node, as well as it goes.

        Args:
            node: where it is.
            message: to it.
        """

    def wish(self, wish: Wish) -> None:
        """Ask the coordinator, as well as it goes."""

    def barrier(self, shard: ShardId, request: int) -> None:
        """Have a request proven; `OpenCopy.proven` is told.

        Args:
            shard: which this copy leads.
            request: of the copy's.
        """

    def prove(self, shard: ShardId, term: int, tell: Callable[[bool], None]) -> None:
        """Have a read proven whose value was taken before this was called.

        Args:
            shard: which this copy leads.
            term: in which the value was taken.
            tell: is told, once, whether it was the newest; no where nobody knows.
        """

    def snapshot(
        self, need: NeedSnapshot, shard: ShardId, alloc: AllocId, view: Map
    ) -> Coroutine[Any, Any, None]:
        """messages.Send a snapshot; ToruaErrors where that could not be done.

        Args:
            need: to whom.
            shard: of which shard.
            alloc: of which copy.
            view: its map.
        """


class Means(NamedTuple):
    """What every copy of a node is given.

    Attributes:
        disk: where it is kept.
        world: what it reaches beyond.
        wall_ns: tells the wall clock (Unix, nanoseconds).
        random: makes nonces.
        caching: what is kept of what was read.
    """

    disk: Disk
    world: World
    wall_ns: Callable[[], int]
    random: Random
    caching: Caching
