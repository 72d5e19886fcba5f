"""How the configuration is changed, and how shards come to be as it says.

A change is committed as a whole, and names the version that it was made for: of two
at once one comes too late (R21).  Shards then follow in `conform`, whenever the state
is reconciled, and `rebuilding` adds or removes copies: where fewer are wanted, those
too many go only once as many as are wanted are in sync on nodes that are up.
"""

from msgspec import Struct
from msgspec.structs import replace

from torua.core.allocation.editing import changed, with_shards
from torua.core.configuration import CHANGES_KEPT, Value, merged, min_copies
from torua.core.state import ClusterState
from torua.errors import InvalidError


class Configure(Struct, frozen=True, tag="configure"):
    """Keys of the configuration are to have other values.

    Attributes:
        change: names this change; a new id.
        expect: the version of the configuration that the operator's node saw.
        changes: values by key; None stands for the default.
    """

    change: str
    expect: int
    changes: dict[str, Value]


def configure(state: ClusterState, command: Configure) -> ClusterState:
    """Change the configuration, if it is still what it was; else return ``state``.

    Args:
        state: the committed state.
        command: what to change; where anything in it is wrong, nothing is.
    """
    held = state.configuration
    if held.version != command.expect:
        return state
    try:
        after = merged(held, command.changes)
    except InvalidError:
        return state
    recent = (*held.recent, command.change)[-CHANGES_KEPT:]
    after = replace(after, version=held.version + 1, recent=recent)
    return replace(state, configuration=after)


def conform(state: ClusterState) -> ClusterState:
    """Have every shard want as many copies as are configured.

    Args:
        state: the state; it comes back where all do.
    """
    copies = state.configuration.replication
    wanted = (copies.replicas, min_copies(copies))
    return with_shards(
        state,
        [
            changed(shard, rf=wanted[0], min_copies=wanted[1])
            for shard in state.shards.values()
            if (shard.rf, shard.min_copies) != wanted
        ],
    )
