"""Clusters of the real coordination machine, whose nodes ask for what primaries ask.

There are no data: a primary takes every copy that it can reach for caught up.  What is
played is who leads, and what the coordinator makes of what it is asked for.
"""

from collections.abc import Iterator

from tests.simulation.coordination_node import Node
from tests.simulation.coordination_rules import Life, Rules, demand
from tests.simulation.coordination_world import Cluster
from torua.core.allocation import (
    Command,
    FailCopy,
    HandOver,
    MarkInSync,
    MarkStarted,
)
from torua.core.configuration import Configuration, Replication
from torua.core.coordination.founding import Founding
from torua.core.coordination.messages import Accepted
from torua.core.ids import NodeId, ShardId
from torua.core.state import CopyState, Primary, Shard


class AllocationRules(Rules):
    """What is committed, shard by shard, beside who coordinates.

    Invariants: nothing is ever forgotten.
    """

    def __init__(self) -> None:
        """Have seen nothing."""
        super().__init__()
        self.reigns: dict[tuple[ShardId, int], Primary] = {}
        self.versions: dict[tuple[ShardId, int], Shard] = {}
        self.promotions = 0

    def applies(self, life: Life, value: Accepted) -> None:
        """Check R2, R7 and R21 of what is committed, with all else.

        Args:
            life: who applies it.
            value: what it takes for committed.
        """
        super().applies(life, value)
        before = self.committed.get(value.version - 1)
        for number, shard in value.state.shards.items():
            first = self.versions.setdefault((number, shard.shard_version), shard)
            demand(first == shard, "R21", "two of one version", first, shard)
            self._reigns(shard)
            old = before.state.shards.get(number) if before else None
            if old is not None and old != shard:
                self._follows(old, shard)

    def _reigns(self, shard: Shard) -> None:
        """Check R2: one copy in one life leads in a term."""
        if shard.primary is not None:
            key = (shard.shard, shard.primary_term)
            first = self.reigns.setdefault(key, shard.primary)
            demand(first == shard.primary, "R2", key, first, shard.primary)

    def _follows(self, old: Shard, new: Shard) -> None:
        """Check R7, and that the in-sync set is never empty again."""
        demand(new.shard_version > old.shard_version, "R21", old, new)
        demand(bool(new.in_sync) or not old.in_sync, "R7", "nothing in sync", new)
        if new.primary is not None and new.primary != old.primary:
            self.promotions += 1
            kept = not old.in_sync or new.primary.alloc_id in old.in_sync
            demand(kept, "R7", "out of sync", old, new)


class Keeper(Node):
    """A node that keeps copies, and asks for what its primaries need.

    Invariants: as of `Node`.
    """

    def gossip(self) -> None:
        """Hear of others, and ask again for what was not done."""
        super().gossip()
        if self.machine is not None:
            self._open_copies()

    def _open_copies(self) -> None:
        """Ask, a little later, as primaries would."""
        assert self.machine is not None
        for shard in self.machine.applied.state.shards.values():
            primary = shard.primary
            mine = (self.id, self.boot_epoch)
            if primary and (primary.node, primary.boot_epoch) == mine:
                for command in self._wishes(shard, primary):
                    self.world.at(0.05, self.cluster.submit, command)

    def _wishes(self, shard: Shard, primary: Primary) -> Iterator[Command]:
        """Yield what the primary of a shard wants changed."""
        number, term, version = shard.shard, shard.primary_term, shard.shard_version
        if not shard.in_sync:
            yield MarkStarted(number, primary.alloc_id, self.boot_epoch, term)
            return
        for copy in shard.copies:
            other = self.cluster.nodes[copy.node]
            up = self.cluster.connected(self, other)
            if copy.alloc_id in shard.in_sync and not up:
                yield FailCopy(number, term, copy.alloc_id, version)
            elif up and copy.state is CopyState.INIT:
                epoch = other.boot_epoch
                yield MarkInSync(number, term, copy.alloc_id, epoch, version)
        if shard.successor is not None:
            yield HandOver(number, term, version, shard.successor)


class Keepers(Cluster):
    """Nodes with copies.

    Invariants: as of `Cluster`.

    Attributes:
        allocation: the rules that were checked.
    """

    def __init__(self, seed: int, size: int, replicas: int, rough: bool = False):
        """Make nodes that expect each other; none is started.

        Args:
            seed: of everything that happens.
            size: how many nodes.
            replicas: copies of each of four shards.
            rough: whether the network loses and reorders.
        """
        configuration = Configuration(Replication(replicas))
        super().__init__(seed, size, rough=rough, configuration=configuration)
        self.rules = self.allocation = AllocationRules()

    def node_of(self, name: str, roles: tuple[str, ...], founding: Founding) -> Keeper:
        """Make a node.

        Args:
            name: its id.
            roles: among ``data`` and ``voter``.
            founding: how it may form a cluster.
        """
        return Keeper(self, name, roles, founding)

    def shards(self) -> dict[ShardId, Shard]:
        """Return the newest shards that are committed."""
        newest = self.rules.committed[max(self.rules.committed)]
        return newest.state.shards

    def led_by(self, node: NodeId) -> list[ShardId]:
        """Return which shards a node leads."""
        return [
            number
            for number, shard in self.shards().items()
            if shard.primary is not None and shard.primary.node == node
        ]
