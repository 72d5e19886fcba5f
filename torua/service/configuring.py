"""What the configuration of the cluster needs of a node: who reads, and who obeys."""

import uuid
from collections.abc import Callable

from torua.core.configuration import Configuration
from torua.core.ids import NodeId
from torua.http import configuration
from torua.http.routes import Route
from torua.node.configuring import Configurator
from torua.node.live import Use
from torua.service.graphs import Grounds
from torua.storage.log import Log


def configured(
    grounds: Grounds, is_live: Callable[[NodeId], bool]
) -> tuple[Route, ...]:
    """Make what reads and changes it, and list what serves that.

    Args:
        grounds: what the node has.
        is_live: tells whether membership believes a node alive.
    """
    configurator = Configurator(
        grounds.me,
        grounds.live,
        grounds.coordinator,
        grounds.peers,
        grounds.reactor,
        is_live=is_live,
        fresh_id=lambda: uuid.uuid4().hex,
    )
    return configuration.routes(configurator)


def retaining(log: Log) -> Use:
    """Return what has a log kept as long as is configured.

    Args:
        log: its own thread reads the number when it next makes room.
    """

    def use(now: Configuration) -> None:
        """Tell it the number."""
        log.retention_bytes = now.replication.log_retention_bytes

    return use
