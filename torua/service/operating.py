"""What operators need of a node: what does as they ask, and tells how far that is."""

import uuid

from torua.node.evacuation import Evacuation
from torua.node.operations import Operations
from torua.node.shards import Shards
from torua.node.tasks import Tasks
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
    )
