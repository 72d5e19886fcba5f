"""What balance would begin now, if nothing made it wait: for operators to look at."""

from collections.abc import Iterable, Iterator
from random import Random

from msgspec.structs import replace

from torua.core.allocation.delays import Delays
from torua.core.allocation.editing import find
from torua.core.allocation.outlook import Outlook
from torua.core.allocation.reconciling import reconcile
from torua.core.members import Member
from torua.core.state import ClusterState, CopyState, Shard
from torua.core.views import Planned

AT_ONCE = 16
"""As many recoveries of a node are planned at once: more would not be begun soon."""


def plan(
    state: ClusterState, members: Iterable[Member], outlook: Outlook
) -> tuple[Planned, ...]:
    """Tell which moves and hand-overs come next.

    Args:
        state: the committed state.
        members: what membership believes.
        outlook: what the coordinator said; it is spent by this.
    """
    given = state.configuration.allocation
    eager = replace(given, recoveries_per_node=AT_ONCE, rebalance=True)
    after = reconcile(
        replace(state, configuration=replace(state.configuration, allocation=eager)),
        members,
        Random(0),  # noqa: S311
        lost={node for node, entry in state.nodes.items() if entry.lost},
        delays=Delays(),
        outlook=outlook,
    )
    names = {str(node): entry.name for node, entry in after.nodes.items()}
    return tuple(
        replace(
            each,
            source=names.get(each.source, each.source),
            target=names.get(each.target, each.target),
        )
        for number, shard in sorted(after.shards.items())
        for each in _changes(state.shards[number], shard)
    )


def _changes(before: Shard, after: Shard) -> Iterator[Planned]:
    """Yield what is begun of one shard, by the ids of nodes."""
    known = {copy.alloc_id for copy in before.copies}
    new = [copy for copy in after.copies if copy.alloc_id not in known]
    going = [
        copy.node
        for copy in after.copies
        if copy.state is CopyState.RELOCATING
        and (held := find(before, copy.alloc_id)) is not None
        and held.state is not CopyState.RELOCATING
    ]
    for number, copy in enumerate(new):
        source = going[number] if number < len(going) else ""
        yield Planned(after.shard, "replica", source, copy.node)
    if after.successor is not None and after.successor != before.successor:
        heir = find(after, after.successor)
        if heir is not None and after.primary is not None:
            yield Planned(after.shard, "primary", after.primary.node, heir.node)
