"""The configuration of the cluster: read, and changed while it runs."""

from torua.core.views import ConfigView
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.messages import Answer, Ask, spelled
from torua.http.routes import Route
from torua.http.seams import Configuring


class ConfigurationHandlers:
    """Answers what concerns the configuration.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, configuring: Configuring) -> None:
        """Have it done by ``configuring``."""
        self._configuring = configuring

    async def get(self, ask: Ask) -> Answer:
        """Answer every value, and which nodes have acknowledged."""
        call = ask.call(parameters.timeout_s(ask.query))
        explained = parameters.boolean(ask.query, "explain")
        return _answered(ask, await self._configuring.show(call, explained=explained))

    async def put(self, ask: Ask) -> Answer:
        """Answer once the named keys have their values, and nodes had time to follow.

        Keys that are not named keep theirs; null brings a default back.
        """
        changes = read_body(ask, dict[str, object])
        conditions = parameters.conditions(ask.headers)
        call = ask.call(parameters.timeout_s(ask.query))
        changed = await self._configuring.change(changes, conditions, call)
        return _answered(ask, changed)


def _answered(ask: Ask, view: ConfigView) -> Answer:
    """Answer with a version, which is the entity tag."""
    return spelled(ask, view, (("ETag", parameters.etag(view.version)),))


def routes(configuring: Configuring) -> tuple[Route, ...]:
    """List what serves the configuration."""
    handlers = ConfigurationHandlers(configuring)
    return (
        Route("/cluster/config", "GET", handlers.get),
        Route("/cluster/config", "PUT", handlers.put),
    )
