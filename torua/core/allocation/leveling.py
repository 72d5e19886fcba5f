"""Which shards should change their primary so that every node leads as many.

A node that leads too many hands one to another copy's node, that one hands another of
its shards on, and so forth to a node that leads too few: the shortest such chain.
Where copies are even within one, primaries can always be made so too (an integral
flow), and a chain moves as few as can be.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence

from torua.core.ids import NodeId, ShardId

Hop = tuple[ShardId, NodeId]
"""A shard, and who is to lead it."""


class _Board:
    """Who leads what, while it is being levelled.

    Invariants: no node takes part in more than ``limit`` changes in either direction.

    Performance: a chain costs O(shards), however many are looked for.
    """

    def __init__(
        self,
        owners: Mapping[ShardId, NodeId],
        options: Mapping[ShardId, Sequence[NodeId]],
        limit: int | None,
    ) -> None:
        """Lay it out."""
        self.owners = dict(owners)
        self.options = options
        self.limit = limit
        self.counts = Counter(self.owners.values())
        self.inward: Counter[NodeId] = Counter()
        self.outward: Counter[NodeId] = Counter()
        self._led: dict[NodeId, dict[ShardId, None]] = {}
        for nodes in options.values():
            self.counts.update(dict.fromkeys(nodes, 0))
        for shard, node in self.owners.items():
            if options.get(shard):
                self._led.setdefault(node, {})[shard] = None

    def is_open(self, changes: Counter[NodeId], node: NodeId) -> bool:
        """Tell whether a node takes part in one more change.

        Args:
            changes: those in one direction.
            node: which.
        """
        return self.limit is None or changes[node] < self.limit

    def chain(self, start: NodeId, vain: set[NodeId] | None = None) -> list[Hop]:
        """Find the shortest chain from a node to one that leads two fewer.

        Breadth first, over whom each node could hand a shard to.

        Args:
            start: the node.
            vain: gets all nodes that were reached where there is no chain: neither has
                one, then, that leads no more than ``start``.
        """
        goal = self.counts[start] - 2
        came: dict[NodeId, tuple[NodeId, Hop] | None] = {start: None}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if node != start and self.counts[node] <= goal:
                return _walk(came, node)
            if not self.is_open(self.outward, node):
                continue
            for shard, other in self._hops(node):
                if other not in came and self.is_open(self.inward, other):
                    came[other] = (node, (shard, other))
                    queue.append(other)
        if vain is not None:
            vain.update(came)
        return []

    def _hops(self, node: NodeId) -> Iterator[Hop]:
        """Yield what a node leads and may hand over, and to whom."""
        for shard in self._led.get(node, ()):
            for other in self.options[shard]:
                yield shard, other

    def play(self, hops: list[Hop]) -> None:
        """Change who leads, along a chain."""
        for shard, node in hops:
            before = self.owners[shard]
            self.counts[before] -= 1
            self.counts[node] += 1
            self.outward[before] += 1
            self.inward[node] += 1
            self.owners[shard] = node
            if shard in self._led.get(before, ()):
                del self._led[before][shard]
                self._led.setdefault(node, {})[shard] = None


def level(
    owners: Mapping[ShardId, NodeId],
    options: Mapping[ShardId, Sequence[NodeId]],
    pending: Sequence[tuple[NodeId, NodeId]] = (),
    limit: int | None = None,
) -> dict[ShardId, NodeId]:
    """Tell which shards should be led by whom instead; nobody moves without need.

    Args:
        owners: who leads each shard, or is about to.
        options: who could lead, of those shards that may change.
        pending: from whom to whom a shard is being handed already.
        limit: in how many changes a node may take part, in each direction.

    Returns:
        The shards that change, and who is to lead them.
    """
    board = _Board(owners, options, limit)
    for before, after in pending:
        board.outward[before] += 1
        board.inward[after] += 1
    while hops := _next(board):
        board.play(hops)
    return {
        shard: node for shard, node in board.owners.items() if owners[shard] != node
    }


def swap(
    owners: Mapping[ShardId, NodeId],
    options: Mapping[ShardId, Sequence[NodeId]],
    shard: ShardId,
    node: NodeId,
) -> list[Hop]:
    """Tell what has a node lead a shard while counts stay as even as they were.

    Args:
        owners: who leads each shard; those that come first rather change.
        options: who could lead, of those shards that may change.
        shard: which.
        node: who is to lead it; one of its options.

    Returns:
        The hand-over and, where the node then leads too many, the shortest chain by
        which others take shards off it; nothing where there is none.
    """
    rest = {number: nodes for number, nodes in options.items() if number != shard}
    board = _Board(owners, rest, None)
    before = owners[shard]
    first = (shard, node)
    if board.counts[before] > board.counts[node]:
        return [first]
    board.play([first])
    hops = board.chain(node)
    return [first, *hops] if hops else []


def _next(board: _Board) -> list[Hop]:
    """Find a chain from the busiest node that has any."""
    least = min(board.counts.values(), default=0)
    vain: set[NodeId] = set()
    for node in sorted(board.counts, key=lambda each: (-board.counts[each], each)):
        if board.counts[node] < least + 2:
            break
        hops = [] if node in vain else board.chain(node, vain)
        if hops:
            return hops
    return []


def _walk(came: Mapping[NodeId, tuple[NodeId, Hop] | None], node: NodeId) -> list[Hop]:
    """Return the hops by which a node was reached."""
    hops = []
    while (step := came[node]) is not None:
        node, hop = step
        hops.append(hop)
    return hops
