"""The nodes that a statement names by their keys: from sources to cells and shards."""

from collections.abc import Iterable, Mapping, Sequence

from torua.core.cypher.plan import Anchor, Literal, Parameter, Source
from torua.core.graph.keys import graves_prefix, node_keys
from torua.core.graph.schema import Graph, NodeTable, Placement, column, node_table
from torua.core.graph.types import Cell, check
from torua.core.ids import ShardId
from torua.errors import ToruaError, UnprocessableError
from torua.node.graph.visits import Shards

Keys = dict[str, dict[Cell, None]]
"""Keys by table, each once, in order."""


class DoubtError(ToruaError):
    """A strategy does not do for this statement; what it may touch is to be gathered.

    It never leaves this package.
    """

    code = "doubt"


def keys_of(
    anchors: Sequence[Anchor], graph: Graph, parameters: Mapping[str, object]
) -> Keys:
    """Find the keys that anchors name.

    Args:
        anchors: of a plan.
        graph: the schema that it was made with.
        parameters: of the statement.

    Raises:
        DoubtError: a value is not of the key's type; the engine may convert it.
    """
    found: Keys = {}
    for anchor in anchors:
        table = node_table(graph, anchor.table)
        known = found.setdefault(table.name, {})
        for cell in _cells(anchor, table, parameters):
            known[cell] = None
    return found


def by_shard(
    shards: Shards, graph: Graph, table: NodeTable, keys: Iterable[Cell]
) -> dict[ShardId, tuple[Cell, ...]]:
    """Share keys out over the shards where their nodes live.

    Args:
        shards: the way to them.
        graph: the nodes' graph.
        table: the nodes' table.
        keys: cells.
    """
    found: dict[ShardId, list[Cell]] = {}
    keys = list(keys)
    places = shards.shards_of_keys(map(node_keys(graph, table), keys))
    for key, shard in zip(keys, places, strict=True):
        found.setdefault(shard, []).append(key)
    return {shard: tuple(found[shard]) for shard in sorted(found)}


def homes(shards: Shards, graph: Graph) -> tuple[ShardId, ...]:
    """List the shards where a graph's rows are.

    Args:
        shards: the way to them.
        graph: which.
    """
    if graph.placement is Placement.SINGLE:
        return (shards.shard_of_key(graves_prefix(graph)),)
    return shards.shards()


def homes_of(
    shards: Shards, graph: Graph, keys: Mapping[str, Iterable[Cell]]
) -> list[ShardId]:
    """List the shards where some nodes live.

    Args:
        shards: the way to them.
        graph: the nodes' graph.
        keys: by table.
    """
    found: dict[ShardId, None] = {}
    for name, cells in keys.items():
        table = node_table(graph, name)
        found |= dict.fromkeys(by_shard(shards, graph, table, cells))
    return sorted(found)


def _cells(
    anchor: Anchor, table: NodeTable, parameters: Mapping[str, object]
) -> Iterable[Cell]:
    """Go through the keys of one anchor, those that are NULL left out."""
    kind = column(table, table.primary_key).type
    for source in anchor.keys:
        value = _value(source, parameters)
        values = value if anchor.many else [value]
        if not isinstance(values, list | tuple):
            raise DoubtError("a key is looked for in what is no list")
        for each in values:
            if each is None:
                continue
            try:
                cell = check(kind, each, table.primary_key)
                node_key_fits = isinstance(cell, bool | int | float | str | bytes)
            except UnprocessableError as error:
                raise DoubtError(error.detail) from error
            if not node_key_fits:
                raise DoubtError("a key is of a type that is compared by the engine")
            yield cell


def _value(source: Source, parameters: Mapping[str, object]) -> object:
    """Look a source's value up."""
    match source:
        case Literal(value):
            return value
        case Parameter(name, path):
            value = parameters.get(name)
            for field in path:
                value = value.get(field) if isinstance(value, Mapping) else None
            return value
        case _:
            raise DoubtError("a key comes with a row")
