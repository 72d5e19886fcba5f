"""What the configuration of the cluster needs of a node: who reads, and who obeys."""

import uuid
from collections.abc import Callable

from torua.http import configuration
from torua.http.routes import Route
from torua.node.configuring import Configurator
from torua.node.live import LiveConfiguration
from torua.service.graphs import Grounds


def configured(
    grounds: Grounds, live: LiveConfiguration, is_live: Callable[..., bool]
) -> tuple[Route, ...]:
    """Make what reads and changes it, and list what serves that.

    Args:
        grounds: what the node has.
        live: what is in effect here.
        is_live: tells whether membership believes a node alive.
    """
    configurator = Configurator(
        grounds.me,
        live,
        grounds.coordinator,
        grounds.peers,
        grounds.reactor,
        is_live=is_live,
        fresh_id=lambda: uuid.uuid4().hex,
    )
    return configuration.routes(configurator)
