"""The end in view: on which node each copy is to be, once all that is wanted has moved.

Whatever is begun is a step to one end state, so that nothing moves that will have to
move again.  That end is worked out anew for each decision, from where copies are or are
on their way to: a move once begun is never taken back, and each move that is begun
makes the way left shorter by one.

Copies that must leave their node are placed first, where there are fewest.  Then nodes
that have two more than another give one, by a chain of nodes where it must be:

    giver --copy--> node --another--> taker

What is planned to move anyway goes elsewhere instead, which costs nothing; only then
does a copy move that could stay.  This is a flow of least cost, by shortest
augmenting paths (Ahuja, Magnanti, Orlin: Network Flows, 1993).  What cannot begin now,
because nodes take part in enough moves, or have a copy that is on its way off, is
planned all the same.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import combinations

from msgspec import Struct

from torua.core.allocation.domains import Domain
from torua.core.allocation.loads import Loads, Want
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic, is_moving
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, CopyState, Shard


class Hop(Struct, frozen=True):
    """One copy's change of place, as part of a chain."""

    shard: ShardId
    source: NodeId
    target: NodeId


WALKED = 32
"""Among more nodes, in several zones, no chains are looked for that move copies more:
counts of zones differ for good there, and most searches would be in vain."""

Came = dict[NodeId, Hop | None]
"""By which hop each node was reached; None for the one where a search began."""


class Targets:
    """Where copies are to be, of the shards that will be whole.

    Invariants: a shard has no two copies on a node; what is on its way is planned where
    it goes to.

    Performance: O(copies) to make, O(nodes) for a copy that must go; a chain of one is
    O(copies of a node), a longer one O(nodes²), and rare.

    Attributes:
        counts: how many copies each node that takes some is to have.
    """

    def __init__(self, state: ClusterState, site: Site, traffic: Traffic) -> None:
        """Begin with all copies where they are, or are on their way to.

        Args:
            state: with the copies that it should have.
            site: who is up, and who is to have nothing.
            traffic: what is under way.
        """
        self._site = site
        self._loads = Loads(site, site.takers)
        self._loads.coming.update(traffic.loads.coming)
        self.counts = self._loads.counts
        self.counts.update(traffic.loads.counts)
        self._shards = state.shards
        self._where: dict[ShardId, set[NodeId]] = {}
        self._held: dict[ShardId, frozenset[NodeId]] = {}
        self._kept: dict[NodeId, dict[ShardId, None]] = {
            node: {} for node in self.counts
        }
        self._moved: dict[NodeId, dict[ShardId, None]] = {
            node: {} for node in self.counts
        }
        self._domains = {node: site.domains.domain(node) for node in self.counts}
        self._doors: dict[NodeId, set[Domain]] = {}
        self._has_pairs = False
        self._leavers: list[tuple[ShardId, NodeId]] = []
        for shard in state.shards.values():
            self._look_at(shard)
        for number, node in self._leavers:
            self._place(number, node)

    def _look_at(self, shard: Shard) -> None:
        """Take in where a shard's copies will be."""
        staying = [copy for copy in shard.copies if not is_moving(shard, copy)]
        if len(staying) != shard.rf or not self._site.has_source(shard):
            return
        number = shard.shard
        nodes = frozenset(copy.node for copy in staying)
        self._held[number] = nodes
        self._where[number] = set(nodes)
        gone = [copy.node for copy in staying if copy.node in self._site.draining]
        self._leavers += [(number, node) for node in gone]
        for copy in staying:
            mine = self._kept.get(copy.node)
            if mine is not None and not gone and _may_move(shard, copy):
                mine[number] = None

    def _place(self, number: ShardId, node: NodeId) -> None:
        """Plan a copy that must go where there are fewest; it stays if nobody may."""
        self._know_pairs()
        target = self._loads.least(self._want(number, node))
        if target is not None:
            self._play(Hop(number, node, target))

    def _know_pairs(self) -> None:
        """Count who shares shards with whom, before that is asked for."""
        if not self._has_pairs:
            self._has_pairs = True
            for where in self._where.values():
                for first, second in combinations(sorted(where), 2):
                    self._loads.pair(first, (second,))

    def _want(self, number: ShardId, leaves: NodeId) -> Want:
        """Describe a copy of a shard in another place than on a node."""
        where = self._where[number]
        shard = self._shards[number]
        return Want(
            shard=number,
            rf=shard.rf,
            beside=where,
            staying=where - {leaves},
            size=self._site.outlook.size(shard),
        )

    # What is planned

    def targets(self, number: ShardId) -> list[NodeId]:
        """Return the nodes that a shard is to have and has not, nor is on its way to.

        Args:
            number: which shard.
        """
        held = self._held.get(number, frozenset())
        return sorted(self._where.get(number, held) - held)

    def moves(self) -> Iterator[tuple[Shard, Copy, NodeId]]:
        """Yield all that is to move, and where it is to be."""
        for number, held in self._held.items():
            new = self.targets(number)
            going = [
                copy
                for copy in self._shards[number].copies
                if copy.node in held and copy.node not in self._where[number]
            ]
            for copy, node in zip(going, new, strict=True):
                yield self._shards[number], copy, node

    # Even counts

    def even(self, *, free: bool = False) -> None:
        """Make counts even within one, as far as it goes.

        Args:
            free: whether only what moves anyway may be planned elsewhere.
        """
        vain: set[NodeId] = set()
        while (hops := self._next(vain, free=free)) is not None:
            for hop in hops:
                self._play(hop)

    def _next(self, vain: set[NodeId], *, free: bool) -> list[Hop] | None:
        """Find a chain from the fullest node that has any."""
        takers = [node for node in self.counts if self._loads.is_open(node)]
        least = min((self.counts[node] for node in takers), default=0)
        for node in sorted(self.counts, key=lambda each: -self.counts[each]):
            if self.counts[node] - least < 2:
                break
            if node in vain:
                continue
            hops = self._chain(node, takers, vain, free=free)
            if hops:
                return hops
            vain.add(node)
        return None

    def _chain(
        self, giver: NodeId, takers: list[NodeId], vain: set[NodeId], *, free: bool
    ) -> list[Hop]:
        """Find a chain from a node: what costs nothing, then one copy, then more."""
        goal = self.counts[giver] - 2
        sinks = [node for node in takers if self.counts[node] <= goal]
        sinks.sort(key=lambda node: self.counts[node])
        hops = self._walk(giver, sinks, free=True)
        if hops or free:
            return hops
        short = self._direct(giver, sinks)
        needy = [node for node in sinks if self._is_needy(node, giver)]
        if short is not None and (not needy or short.target in needy):
            return [short]
        if len(self._site.domains.zones) > 1 and len(self.counts) > WALKED:
            return [short] if short is not None else []
        hops = self._walk(giver, needy or sinks, free=False, vain=vain)
        return hops or ([short] if short is not None else [])

    def _share(self) -> int:
        """Return how many copies each node is to have, at least."""
        return sum(self.counts.values()) // len(self.counts)

    def _is_needy(self, node: NodeId, giver: NodeId) -> bool:
        """Tell whether a node lacks copies, whoever gives them."""
        return self.counts[node] < min(self._share(), self.counts[giver])

    def _direct(self, giver: NodeId, sinks: list[NodeId]) -> Hop | None:
        """Find what a node could give, to the first of others that may have it."""
        for sink in sinks:
            hops = list(self._hops(giver, sink, free=False))
            if hops:
                self._know_pairs()
                return min(hops, key=self._harm)
        return None

    def _walk(
        self,
        giver: NodeId,
        sinks: list[NodeId],
        *,
        free: bool,
        vain: set[NodeId] | None = None,
    ) -> list[Hop]:
        """Find the chain to any of some nodes that moves the fewest copies more.

        Where there is none, neither has any node that was reached: ``vain`` gets them.
        """
        came: Came = {}
        queue: deque[tuple[NodeId, Hop | None]] = deque([(giver, None)])
        wanted = set(sinks)
        while queue:
            node, hop = queue.popleft()
            if node in came:
                continue
            came[node] = hop
            if node in wanted:
                return _path(came, node)
            for step in self._steps(node, came, free=free):
                if self._is_free(step):
                    queue.appendleft((step.target, step))
                else:
                    queue.append((step.target, step))
        if vain is not None:
            vain.update(came)
        return []

    def _steps(self, node: NodeId, came: Came, *, free: bool) -> Iterator[Hop]:
        """Yield something that a node could give to each that was not reached."""
        for other in self.counts if self._moved[node] or not free else ():
            step = None if other in came else self._step(node, other, free=free)
            if step is not None:
                yield step

    def _step(self, node: NodeId, other: NodeId, *, free: bool) -> Hop | None:
        """Find what a node could give another, rather something that moves anyway."""
        planned = next(self._hops(node, other, free=True), None)
        if planned is not None or free:
            return planned
        return next(self._hops(node, other, free=False), None)

    def _hops(self, giver: NodeId, taker: NodeId, *, free: bool) -> Iterator[Hop]:
        """Yield what a node could give to another without crowding a domain more."""
        numbers = (self._moved if free else self._kept)[giver]
        if not numbers or self._domains[taker] not in self._open(giver):
            return
        for number in numbers:
            if taker in self._where[number]:
                continue
            if not self._is_apart(giver, taker, number):
                continue
            want = self._want(number, giver)
            if taker in self._held[number] or not self._loads.objection(taker, want):
                yield Hop(number, giver, taker)

    def _open(self, giver: NodeId) -> set[Domain]:
        """Tell into which domains a node could give anything.

        Most often this tells without looking at each copy that there are none: where
        zones are of unequal size their counts stay uneven.
        """
        if giver not in self._doors:
            samples = {domain: node for node, domain in self._domains.items()}
            given = [*self._kept[giver], *self._moved[giver]]
            self._doors[giver] = {
                domain
                for domain, sample in samples.items()
                if domain == self._domains[giver]
                or any(self._is_apart(giver, sample, number) for number in given)
            }
        return self._doors[giver]

    def _is_apart(self, giver: NodeId, taker: NodeId, number: ShardId) -> bool:
        """Tell whether a shard is spread as well after a move as before."""
        if self._domains[giver] == self._domains[taker]:
            return True
        domains, rf = self._site.domains, self._shards[number].rf
        staying = self._where[number] - {giver}
        after = domains.crowd(taker, staying, rf).over
        return after <= domains.crowd(giver, staying, rf).over

    def _is_free(self, hop: Hop) -> bool:
        """Tell whether a copy moves anyway."""
        return hop.source not in self._held[hop.shard]

    def _harm(self, hop: Hop) -> tuple[int, int, bool, int, ShardId]:
        """Tell how bad a move is: what it crowds, whether its lead goes, who is near.

        Nodes that share few shards so far go together: when one of them is emptied, it
        is not the other that may have none of what it had.
        """
        want = self._want(hop.shard, hop.source)
        domains, shard = self._site.domains, self._shards[hop.shard]
        after = domains.crowd(hop.target, want.staying, want.rf)
        before = domains.crowd(hop.source, want.staying, want.rf)
        leads = shard.primary is not None and shard.primary.node == hop.source
        near = self._loads.shared(hop.target, want.staying)
        crowds = after.zone - before.zone, after.host - before.host
        return *crowds, leads, near, hop.shard

    def _play(self, hop: Hop) -> None:
        """Plan a copy elsewhere."""
        where = self._where[hop.shard]
        assert hop.source in where
        assert hop.target not in where
        where.discard(hop.source)
        where.add(hop.target)
        held, others = self._held[hop.shard], where - {hop.target}
        for node in (hop.source, hop.target):
            self._doors.pop(node, None)
        if hop.source in self.counts:
            mine = self._kept if hop.source in held else self._moved
            del mine[hop.source][hop.shard]
        mine = self._kept if hop.target in held else self._moved
        mine[hop.target][hop.shard] = None
        self._loads.add(hop.source, -1)
        self._loads.pair(hop.source, others, -1)
        self._loads.share(hop.target, others)
        size = self._site.outlook.size(self._shards[hop.shard])
        for node, more in ((hop.source, -size), (hop.target, size)):
            if node not in held:
                self._loads.coming[node] += more


def _may_move(shard: Shard, copy: Copy) -> bool:
    """Tell whether a copy could be given away: it is whole, and not on its way."""
    return copy.state is CopyState.STARTED and copy.alloc_id in shard.in_sync


def _path(came: Mapping[NodeId, Hop | None], node: NodeId) -> list[Hop]:
    """Return the hops by which a node was reached."""
    hops = []
    while (hop := came[node]) is not None:
        hops.append(hop)
        node = hop.source
    return hops[::-1]
