"""What operators need of a node: what does as they ask, and tells how far that is."""

import time
import uuid

from torua.node.evacuation import Evacuation
from torua.node.looks import Looks
from torua.node.operations import Operations
from torua.node.shards import Shards
from torua.node.splits import Splits
from torua.node.threads import Worker
from torua.service.graphs import GraphParts


def operated(graphs: GraphParts, shards: Shards) -> Operations:
    """Make it.

    Args:
        graphs: what the node has, and the tasks that tell of an evacuation of it.
        shards: its copies.
    """
    grounds = graphs.grounds
    Evacuation(grounds.me, grounds.coordinator, shards, graphs.tasks)
    return Operations(
        grounds.coordinator,
        grounds.membership,
        grounds.reactor,
        fresh_id=lambda: uuid.uuid4().hex,
        wall_us=lambda: time.time_ns() // 1000,
    )


def split_up(
    graphs: GraphParts, shards: Shards, looks: Looks, worker: Worker
) -> Splits:
    """Make what splits shards that are led here.

    Args:
        graphs: what the node has, and the tasks that tell of splits.
        shards: its copies.
        looks: reads at any of them.
        worker: reads their maps.
    """
    grounds = graphs.grounds
    return Splits(
        grounds.me,
        grounds.reactor,
        grounds.coordinator,
        shards,
        looks,
        peers=grounds.peers,
        worker=worker,
        tasks=graphs.tasks,
    )
