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


def operated(
    graphs: GraphParts, shards: Shards, looks: Looks, worker: Worker
) -> tuple[Operations, Splits]:
    """Make what does as operators ask, and what splits shards.

    Args:
        graphs: what the node has, and the tasks that tell of what is done here.
        shards: its copies.
        looks: reads at any of them.
        worker: reads their maps.
    """
    grounds = graphs.grounds
    Evacuation(grounds.me, grounds.coordinator, shards, graphs.tasks)
    operations = Operations(
        grounds.coordinator,
        grounds.membership,
        grounds.reactor,
        fresh_id=lambda: uuid.uuid4().hex,
        wall_us=lambda: time.time_ns() // 1000,
    )
    splits = Splits(
        grounds.me,
        grounds.reactor,
        grounds.coordinator,
        shards,
        looks,
        peers=grounds.peers,
        worker=worker,
        tasks=graphs.tasks,
    )
    return operations, splits
