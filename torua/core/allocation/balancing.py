"""An even share of copies for every node, by moving them.

A move adds a copy to the node that has fewest, and marks the one it replaces; when the
new one is in sync, `rebuilding` removes the old.  Only a node that has two more copies
than another gives one, so that a balance once reached is kept, and each move makes it
better: nothing moves back.  No move has a zone or a host take more than its share.
"""

from collections.abc import Iterable, Iterator
from random import Random

from torua.core.allocation.domains import Domain, Domains
from torua.core.allocation.editing import with_shards
from torua.core.allocation.leading import owner
from torua.core.allocation.loads import Loads, Want, wanted
from torua.core.allocation.site import Site
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
    held = Held(movable(state, site), site)
    begun: list[Shard] = []
    strict = traffic.is_busy or _next_move(held, traffic, site, strict=True) is not None
    while (found := _next_move(held, traffic, site, strict=strict)) is not None:
        (shard, copy, want), taker = found
        begun.append(traffic.begin(shard, copy, want, taker, random))
        held.drop(shard)
    return with_shards(state, begun)


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


def _next_move(
    held: Held, traffic: Traffic, site: Site, *, strict: bool
) -> tuple[Move, NodeId] | None:
    """Choose a copy, and where it goes."""
    for giver, taker in _pairs(traffic, site.domains, strict=strict):
        able = [
            (shard, copy, want)
            for shard, copy, want in held.moves(giver, taker)
            if shard.primary is not None
            and traffic.may_give(shard.primary.node)
            and not traffic.loads.objection(taker, want)
        ]
        if able:
            scarce = _scarce(able, taker, held, traffic)
            return min(able, key=lambda each: _harm(each, taker, site, scarce)), taker
    return None


def _scarce(
    able: list[Move], taker: NodeId, held: Held, traffic: Traffic
) -> set[NodeId]:
    """Return the nodes that need all shards that they could give to a node.

    A shard that goes there from another of its nodes is none of them any more.
    """
    counts = traffic.loads.counts
    share = sum(counts.values()) // len(counts)
    others = {node for _, _, want in able for node in want.staying}
    return {
        node
        for node in others
        if len(held.moves(node, taker)) <= counts.get(node, 0) - share
    }


def _pairs(
    traffic: Traffic, domains: Domains, *, strict: bool
) -> Iterator[tuple[NodeId, NodeId]]:
    """Yield who may give to whom, the most uneven first.

    Nobody gives of an even share, or gets more, neither of its zone's nor, between
    zones, of all nodes': where the fullest may give no more just now, or the least get
    no more, another would only have to take part once more later.  Only where that
    leaves nothing to do (some nodes may not have their share) is it not asked.
    """
    counts = traffic.loads.counts
    takers = [
        node
        for node in sorted(counts, key=lambda node: counts[node])
        if traffic.loads.is_open(node)
    ]
    givers = [
        node
        for node in sorted(counts, key=lambda node: -counts[node])
        if traffic.may_give(node)
    ]
    zones: dict[str, list[int]] = {}
    for node, count in counts.items():
        zones.setdefault(domains.zone(node), []).append(count)
    whole = _fair(list(counts.values()))
    fair = {zone: _fair(found) for zone, found in zones.items()}
    for taker in takers:
        zone = domains.zone(taker)
        for giver in givers:
            if counts[giver] - counts[taker] < 2:
                break
            low, high = fair[zone] if domains.zone(giver) == zone else whole
            if not strict or (counts[giver] > high and counts[taker] < low):
                yield giver, taker


def _fair(counts: list[int]) -> tuple[int, int]:
    """Tell below how many copies a node may take more, and above how many give some.

    The share of all, or one more, where some nodes must have that and not yet have, or
    already.
    """
    share, over = divmod(sum(counts), len(counts))
    more = sum(count > share for count in counts)
    return share + (more < over), share + (more <= over)


def _harm(
    each: Move, taker: NodeId, site: Site, scarce: set[NodeId]
) -> tuple[int, int, int, bool, ShardId]:
    """Tell how bad a move is: what it crowds, whose it was, if its lead goes along."""
    shard, copy, want = each
    after = site.domains.crowd(taker, want.staying, want.rf)
    before = site.domains.crowd(copy.node, want.staying, want.rf)
    leads = shard.primary is not None and shard.primary.node == copy.node
    taken = sum(node in scarce for node in want.staying)
    crowds = after.zone - before.zone, after.host - before.host
    return *crowds, taken, leads, shard.shard


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
