"""What operators need of a node: what does as they ask, and tells how far that is."""

import time
import uuid

from torua.node.evacuation import Evacuation
from torua.node.looks import Looks
from torua.node.observing import Observer
from torua.node.operations import Operations
from torua.node.shards import Shards
from torua.node.splits import Splits
from torua.node.tasks import Tasks
from torua.node.threads import Worker
from torua.service.graphs import Grounds
from torua.storage.files import usage


def observed(
    grounds: Grounds, boot_epoch: int, shards: Shards, worker: Worker
) -> Observer:
    """Make what reports this node to the coordinator, and takes reports.

    Args:
        grounds: what the node has.
        boot_epoch: of its present life.
        shards: its copies.
        worker: asks the disk.
    """
    return Observer(
        (grounds.me, boot_epoch),
        shards,
        grounds.coordinator,
        grounds.peers,
        grounds.reactor,
        worker=worker,
        usage=usage,
        data_dir=grounds.config.data_dir,
        registry=grounds.registry,
    )


def operated(
    grounds: Grounds, shards: Shards, tasks: Tasks, observer: Observer
) -> Operations:
    """Make what does as operators ask.

    Args:
        grounds: what the node has.
        shards: its copies.
        tasks: where an evacuation of this node is told of.
        observer: asks the coordinator what nodes reported.
    """
    Evacuation(grounds.me, grounds.coordinator, shards, tasks)
    return Operations(
        grounds.coordinator,
        grounds.membership,
        grounds.reactor,
        sight=observer.sight,
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
