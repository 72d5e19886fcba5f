"""How a shard fares, by the committed state and the nodes that live."""

from collections.abc import Callable

from torua.core.ids import NodeId
from torua.core.state import Copy, Shard


def fares(
    shard: Shard, is_live: Callable[[NodeId], bool], name: Callable[[NodeId], str]
) -> tuple[str, str]:
    """Give a shard its colour, and the reason where it is not green.

    Args:
        shard: as the committed state has it.
        is_live: tells who is believed alive.
        name: names a node as people do.

    Returns:
        ``green`` with all copies in sync on live nodes; ``red`` without a primary that
        serves; else ``yellow``; and a sentence, empty for green.
    """
    number = shard.shard
    holding = [copy for copy in shard.copies if copy.alloc_id in shard.in_sync]
    alive = [copy for copy in holding if is_live(copy.node)]
    primary = shard.primary
    if primary is None or not is_live(primary.node):
        return "red", f"shard {number} {_lost(shard, holding, alive, name)}"
    if shard.is_damaged:
        where = name(primary.node)
        return "red", f"shard {number}: its only copy in sync, on {where}, is damaged"
    if not shard.in_sync:
        return "yellow", f"shard {number}: its first copy is not open yet"
    if len(alive) < shard.min_copies:
        return (
            "yellow",
            f"shard {number} takes no writes: {len(alive)} of the {shard.min_copies} "
            "copies that must hold one are there",
        )
    if len(alive) < shard.rf:
        catching_up = [
            name(copy.node)
            for copy in shard.copies
            if copy not in holding and is_live(copy.node)
        ]
        more = f"; catching up: {', '.join(catching_up)}" if catching_up else ""
        return "yellow", f"shard {number} has {len(alive)} of {shard.rf} copies{more}"
    return "green", ""


def _lost(
    shard: Shard,
    holding: list[Copy],
    alive: list[Copy],
    name: Callable[[NodeId], str],
) -> str:
    """Say what a shard without a primary waits for."""
    if alive:
        where = " or ".join(name(copy.node) for copy in alive)
        return f"has lost its primary; {where} is to take over"
    if holding:
        where = " or ".join(name(copy.node) for copy in holding)
        only = "its only copy" if len(shard.copies) == 1 else "a copy in sync"
        return f"waits for {only}, on {where}"
    return "has no primary"
