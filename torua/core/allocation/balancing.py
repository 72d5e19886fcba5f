"""An even share of copies for every node, by moving them.

A move adds a copy to a node, and marks the one it replaces; when the new one is in
sync, `rebuilding` removes the old.  Which moves those are `targeting` works out for all
shards together.  Only where a node has two more copies than another is anything moved,
so that a balance once reached is kept.  A node that joined gets nothing for a moment:
others may be about to join.
"""

from collections.abc import Iterable
from random import Random

from torua.core.allocation.domains import Domain, Domains
from torua.core.allocation.editing import with_shards
from torua.core.allocation.leading import owner
from torua.core.allocation.loads import Loads, Want, wanted
from torua.core.allocation.site import Site
from torua.core.allocation.targeting import Targets
from torua.core.allocation.traffic import Traffic, is_moving
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, Copy, CopyState, Shard
from torua.core.views import Balance

Move = tuple[Shard, Copy, Want]
"""A shard, the copy of it that is given away, and the one that is wanted for it."""


def move(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Begin as many moves as are needed and may be under way at once.

    Args:
        state: with the copies that it should have.
        site: who is up, and who takes copies.
        traffic: what is under way; what is begun is counted there.
        random: makes ids.
    """
    counts = traffic.loads.counts
    if not counts or max(counts.values()) - min(counts.values()) < 2:
        return state
    targets = Targets(state, site, traffic)
    targets.even()
    able = {shard.shard for shard in movable(state, site)}
    begun: dict[ShardId, Shard] = {}
    for shard, copy, taker in targets.moves():
        if shard.shard not in able or shard.shard in begun or site.is_joining(taker):
            continue
        if not shard.primary or not traffic.may_give(copy.node, shard.primary.node):
            continue
        want = wanted(shard, site, copy.alloc_id)
        if not traffic.loads.objection(taker, want):
            begun[shard.shard] = traffic.begin(shard, copy, want, taker, random)
    return with_shards(state, begun.values())


def movable(state: ClusterState, site: Site) -> list[Shard]:
    """Return the shards that are whole and at rest.

    One with a copy that is to go anyway is left to `draining`: to move another copy of
    it would only be more to move.

    Args:
        state: with the copies that it should have.
        site: who is up, and who is to have nothing.
    """
    return [
        shard
        for shard in state.shards.values()
        if len(shard.copies) == len(shard.in_sync) == shard.rf
        and shard.successor is None
        and site.has_source(shard)
        and all(copy.state is CopyState.STARTED for copy in shard.copies)
        and not any(copy.node in site.draining for copy in shard.copies)
    ]


class Held:
    """What each node could give away, and into which domains.

    Invariants: every copy is of a shard that may be moved, and not yet is.
    """

    def __init__(self, shards: Iterable[Shard], site: Site) -> None:
        """Look at all copies.

        Args:
            shards: those that may be moved.
            site: who is up.
        """
        self._site = site
        self._copies: dict[NodeId, list[tuple[Shard, Copy]]] = {}
        self._moves: dict[NodeId, list[Move]] = {}
        self._doors: dict[NodeId, set[Domain]] = {}
        for shard in shards:
            for copy in shard.copies:
                self._copies.setdefault(copy.node, []).append((shard, copy))

    def drop(self, shard: Shard) -> None:
        """Leave a shard out from now on, for it moves."""
        for copy in shard.copies:
            mine = self._given(copy.node)
            self._moves[copy.node] = [each for each in mine if each[0] is not shard]

    def _given(self, giver: NodeId) -> list[Move]:
        """Return what a node could give away; made when it is first asked for."""
        if giver not in self._moves:
            self._moves[giver] = [
                (shard, copy, wanted(shard, self._site, copy.alloc_id))
                for shard, copy in self._copies.get(giver, ())
            ]
        return self._moves[giver]

    def moves(self, giver: NodeId, taker: NodeId) -> list[Move]:
        """Return what a node could give to another without crowding a domain more.

        Args:
            giver: which node gives.
            taker: which one takes.
        """
        domains = self._site.domains
        if domains.domain(taker) not in self._open(giver):
            return []
        return [
            each
            for each in self._given(giver)
            if taker not in each[2].beside and _is_kept(domains, giver, taker, each[2])
        ]

    def _open(self, giver: NodeId) -> set[Domain]:
        """Tell into which domains a node could give anything.

        Most often this tells without looking at each copy that there are none: where
        zones are of unequal size their counts stay uneven.
        """
        if giver not in self._doors:
            domains, takers = self._site.domains, self._site.takers
            samples = {domains.domain(node): node for node in takers}
            self._doors[giver] = {
                domain
                for domain, sample in samples.items()
                if any(
                    _is_kept(domains, giver, sample, want)
                    for _, _, want in self._given(giver)
                )
            }
        return self._doors[giver]


def _is_kept(domains: Domains, giver: NodeId, taker: NodeId, want: Want) -> bool:
    """Tell whether a shard is spread as well after a move as before."""
    after = domains.crowd(taker, want.staying, want.rf).over
    return after <= domains.crowd(giver, want.staying, want.rf).over


def unevenness(state: ClusterState, site: Site) -> Balance:
    """Tell how much is to be moved, at least, until all nodes have an even share.

    Args:
        state: the committed state.
        site: who takes copies, and who is to have none.
    """
    shards = state.shards.values()
    leads = dict.fromkeys(site.takers, 0)
    loads = Loads(site, site.takers)
    gone = [0, 0]
    for shard in shards:
        for copy in shard.copies:
            loads.add(copy.node, not is_moving(shard, copy))
            gone[0] += copy.node in site.draining and not is_moving(shard, copy)
        lead = owner(shard)
        if lead in leads:
            leads[lead] += 1
        gone[1] += lead in site.draining
    copies = gone[0] + _surplus(loads.counts.values(), gone[0])
    primaries = gone[1] + _surplus(leads.values(), gone[1])
    under_way = sum(
        len(shard.copies) - len(shard.in_sync) + (shard.successor is not None)
        for shard in shards
    )
    even = not (copies or primaries or under_way)
    return Balance(even, copies, primaries, under_way)


def _surplus(counts: Iterable[int], more: int) -> int:
    """Return how many must move until counts are even within one.

    Args:
        counts: of each node.
        more: what the nodes get besides.
    """
    most = sorted(counts, reverse=True)
    if not most:
        return 0
    share, over = divmod(sum(most) + more, len(most))
    return sum(
        max(0, count - share - (place < over)) for place, count in enumerate(most)
    )
