"""What differs between two cluster states, so that a change need not travel whole."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from torua.core.configuration import Configuration
from torua.core.graph.schema import Graph
from torua.core.ids import NodeId, ShardId
from torua.core.state import ClusterState, NodeEntry, Settings, Shard, SlotRange, Split

Key = TypeVar("Key")
Value = TypeVar("Value")

_SCALARS = (
    "slots",
    "settings",
    "configuration",
    "cluster_uuid",
    "cluster_name",
    "routing_version",
    "slots_version",
    "next_graph",
    "feature_level",
)


class StateDiff(Struct, frozen=True):
    """What to change in a state; None in a map removes, elsewhere it leaves alone."""

    nodes: dict[NodeId, NodeEntry | None] = {}
    shards: dict[ShardId, Shard | None] = {}
    slots: tuple[SlotRange, ...] | None = None
    settings: Settings | None = None
    configuration: Configuration | None = None
    cluster_uuid: str | None = None
    cluster_name: str | None = None
    routing_version: int | None = None
    slots_version: int | None = None
    splits: dict[ShardId, Split | None] = {}
    graphs: dict[str, Graph | None] = {}
    next_graph: int | None = None
    feature_level: int | None = None


def diff(old: ClusterState, new: ClusterState) -> StateDiff:
    """Tell how to make ``new`` of ``old``.

    Args:
        old: what the other side has.
        new: what it shall have.
    """
    return StateDiff(
        nodes=_changes(old.nodes, new.nodes),
        shards=_changes(old.shards, new.shards),
        slots=_changed(old.slots, new.slots),
        settings=_changed(old.settings, new.settings),
        configuration=_changed(old.configuration, new.configuration),
        cluster_uuid=_changed(old.cluster_uuid, new.cluster_uuid),
        cluster_name=_changed(old.cluster_name, new.cluster_name),
        routing_version=_changed(old.routing_version, new.routing_version),
        slots_version=_changed(old.slots_version, new.slots_version),
        splits=_changes(old.splits, new.splits),
        graphs=_changes(old.graphs, new.graphs),
        next_graph=_changed(old.next_graph, new.next_graph),
        feature_level=_changed(old.feature_level, new.feature_level),
    )


def patch(old: ClusterState, change: StateDiff) -> ClusterState:
    """Make of ``old`` what ``change`` was made for; the reverse of `diff`.

    Args:
        old: the very state that the difference was taken from.
        change: the difference.
    """
    scalars = {
        name: value for name in _SCALARS if (value := getattr(change, name)) is not None
    }
    return replace(
        old,
        nodes=_patched(old.nodes, change.nodes),
        shards=_patched(old.shards, change.shards),
        splits=_patched(old.splits, change.splits),
        graphs=_patched(old.graphs, change.graphs),
        **scalars,
    )


def _changed(old: Value, new: Value) -> Value | None:
    """Return ``new`` where it is new."""
    return None if old == new else new


def _changes(
    old: Mapping[Key, Value], new: Mapping[Key, Value]
) -> dict[Key, Value | None]:
    """Return what was set and, as None, what was removed."""
    gone: dict[Key, Value | None] = {key: None for key in old if key not in new}
    return gone | {key: value for key, value in new.items() if old.get(key) != value}


def _patched(
    old: Mapping[Key, Value], changes: Mapping[Key, Value | None]
) -> dict[Key, Value]:
    """Set and remove."""
    result = {key: value for key, value in old.items() if key not in changes}
    return result | {key: value for key, value in changes.items() if value is not None}
