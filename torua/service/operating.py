"""What operators need of a node: what does as they ask, and tells how far that is."""

import time
import uuid

from torua.node.evacuation import Evacuation
from torua.node.looks import Looks
from torua.node.operations import Operations
from torua.node.shards import Shards
from torua.node.splits import Splits
from torua.node.tasks import Tasks
from torua.node.threads import Worker
from torua.service.graphs import Grounds


def operated(grounds: Grounds, shards: Shards, tasks: Tasks) -> Operations:
    """Make it.

    Args:
        grounds: what the node has.
        shards: its copies.
        tasks: where an evacuation of this node is told of.
    """
    Evacuation(grounds.me, grounds.coordinator, shards, tasks)
    return Operations(
        grounds.coordinator,
        grounds.membership,
        grounds.reactor,
        fresh_id=lambda: uuid.uuid4().hex,
        wall_us=lambda: time.time_ns() // 1000,
    )


def split_up(
    grounds: Grounds, shards: Shards, looks: Looks, worker: Worker, tasks: Tasks
) -> Splits:
    """Make what splits shards that are led here.

    Args:
        grounds: what the node has.
        shards: its copies.
        looks: reads at any of them.
        worker: reads their maps.
        tasks: where splits are told of.
    """
    return Splits(
        grounds.me,
        grounds.reactor,
        grounds.coordinator,
        shards,
        looks,
        peers=grounds.peers,
        worker=worker,
        tasks=tasks,
    )
