"""As many copies as there should be: add what is missing, remove what is too much.

Only in this order.  A copy that is in sync is removed only when ``rf`` others are in
sync on nodes that are up, and never the primary's, which hands over first (R16).  A
copy out of sync on a node that was given up is removed when its replacement is added:
nothing rests on it.  In-sync copies of lost nodes are left to the primary, which fails
them; the coordinator never shrinks the in-sync set because of what it believes.

    missing -> add INIT -> (catches up) -> in sync -> remove the surplus
"""

from collections.abc import Iterator
from random import Random

from msgspec.structs import replace

from torua.core.allocation.editing import changed, marked, with_shards, without
from torua.core.allocation.loads import new_alloc_id, wanted
from torua.core.allocation.site import Site
from torua.core.allocation.traffic import Traffic, is_moving
from torua.core.state import ClusterState, Copy, CopyState, Shard


def rebuild(
    state: ClusterState, site: Site, traffic: Traffic, random: Random
) -> ClusterState:
    """Take one step towards the right copies of every shard that has not got them.

    Args:
        state: with the primaries that it should have.
        site: who is up, and who takes copies.
        traffic: what is under way; what is added is counted there.
        random: makes ids.
    """
    wrong = [shard for shard in state.shards.values() if not is_whole(shard, site)]
    wrong.sort(key=lambda shard: not _is_urgent(shard))
    after = [_mend(shard, site, traffic, random) for shard in wrong]
    return with_shards(
        state, [shard for shard in after if shard is not state.shards[shard.shard]]
    )


def is_whole(shard: Shard, site: Site) -> bool:
    """Tell whether nothing is to be done about a shard, as almost always.

    Args:
        shard: all of whose copies should be in sync, and none on its way.
        site: who is up.
    """
    return (
        len(shard.copies) == len(shard.in_sync) == shard.rf
        and all(copy.state is CopyState.STARTED for copy in shard.copies)
        and all(site.is_up(copy.node) for copy in shard.copies)
    )


def _is_urgent(shard: Shard) -> bool:
    """Tell whether writes are refused because too few copies are in sync."""
    return len(shard.in_sync) < shard.min_copies


def _mend(shard: Shard, site: Site, traffic: Traffic, random: Random) -> Shard:
    """Return a shard with one step taken; itself where none can be."""
    if not site.has_source(shard):
        return shard
    shard = _returned(shard, site)
    staying = _staying(shard, site)
    if len(staying) >= shard.rf:
        return _trim(shard, site, traffic, staying)
    moving = [copy for copy in shard.copies if is_moving(shard, copy)]
    stay = next((copy for copy in moving if site.is_up(copy.node)), None)
    if stay is not None:
        copies = marked(shard, stay.alloc_id, CopyState.STARTED)
        return changed(shard, copies=copies)
    return _add(shard, site, traffic, random)


def _returned(shard: Shard, site: Site) -> Shard:
    """Let copies catch up whose nodes left, and are back."""
    copies = tuple(
        replace(copy, state=CopyState.INIT)
        if copy.state is CopyState.RELOCATING
        and copy.alloc_id not in shard.in_sync
        and site.is_up(copy.node)
        and not site.is_leaving(copy.node)
        else copy
        for copy in shard.copies
    )
    return shard if copies == shard.copies else changed(shard, copies=copies)


def _staying(shard: Shard, site: Site) -> list[Copy]:
    """Return the copies to count on: neither given up nor on their way off."""
    urgent = _is_urgent(shard) and bool(shard.in_sync)
    return [
        copy
        for copy in shard.copies
        if not is_moving(shard, copy) and not site.is_given_up(copy.node, urgent=urgent)
    ]


def _add(shard: Shard, site: Site, traffic: Traffic, random: Random) -> Shard:
    """Add a copy where there is room and not too much under way."""
    want = wanted(shard, site)
    target = traffic.loads.least(want)
    if target is None:
        return shard
    traffic.gets(target, want)
    new = Copy(new_alloc_id(random), target, CopyState.INIT)
    return changed(shard, copies=(*shard.copies, new))


def _trim(shard: Shard, site: Site, traffic: Traffic, staying: list[Copy]) -> Shard:
    """Remove what is too much, where nothing rests on it."""
    for copy in _surplus(shard, site, traffic, staying):
        if shard.primary is None or copy.alloc_id != shard.primary.alloc_id:
            kept = tuple(each for each in shard.copies if each is not copy)
            in_sync = without(shard.in_sync, copy.alloc_id)
            successor = None if shard.successor == copy.alloc_id else shard.successor
            if not is_moving(shard, copy):
                traffic.loads.add(copy.node, -1)
            shard = changed(shard, copies=kept, in_sync=in_sync, successor=successor)
    return shard


def _surplus(
    shard: Shard, site: Site, traffic: Traffic, staying: list[Copy]
) -> Iterator[Copy]:
    """Yield the copies that may go; none that is in sync before ``rf`` others are.

    Where fewer copies are wanted than before, the nodes with most copies give them.
    """
    full = [
        copy
        for copy in staying
        if copy.alloc_id in shard.in_sync and site.is_up(copy.node)
    ]
    enough = len(full) >= shard.rf
    for copy in shard.copies:
        idle = copy.alloc_id not in shard.in_sync and bool(shard.in_sync)
        given_up = site.is_given_up(copy.node, urgent=False)
        if (idle and (enough or given_up)) or (enough and is_moving(shard, copy)):
            yield copy
    lead = shard.primary.alloc_id if shard.primary else None
    counts = traffic.loads.counts
    full.sort(key=lambda c: (c.alloc_id == lead, -counts.get(c.node, 0), c.node))
    yield from full[: max(0, len(full) - shard.rf)]
