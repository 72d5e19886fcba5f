"""How the cluster fares, for operators and their tools."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from torua.errors import UnavailableError
from torua.http import parameters
from torua.http.messages import Answer, Ask, spelled
from torua.http.seams import Overview


class ClusterHandlers:
    """Answers what is asked about the cluster, as this node sees it.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, overview: Overview, registry: CollectorRegistry) -> None:
        """Serve from what this node knows.

        Args:
            overview: the cluster.
            registry: the metrics of this process.
        """
        self._overview = overview
        self._registry = registry

    async def health(self, ask: Ask) -> Answer:
        """Answer 200 while the process works, whatever it says of the cluster."""
        return spelled(ask, self._overview.health())

    async def ready(self, ask: Ask) -> Answer:
        """Answer 200 once the node serves; else 503 with the reason."""
        reason = self._overview.unready()
        if reason is not None:
            raise UnavailableError(reason)
        return spelled(ask, {"ready": True, "node": self._overview.health().node})

    async def info(self, ask: Ask) -> Answer:
        """Describe the cluster."""
        return spelled(ask, self._overview.info())

    async def nodes(self, ask: Ask) -> Answer:
        """List the nodes."""
        call = ask.call(parameters.timeout_s(ask.query))
        return spelled(ask, await self._overview.listing(call))

    async def node(self, ask: Ask) -> Answer:
        """Describe one node, named by id or by name."""
        call = ask.call(parameters.timeout_s(ask.query))
        return spelled(ask, await self._overview.node(ask.variables["node"], call))

    async def shards(self, ask: Ask) -> Answer:
        """List the shards."""
        call = ask.call(parameters.timeout_s(ask.query))
        return spelled(ask, await self._overview.shards(call))

    async def metrics(self, ask: Ask) -> Answer:
        """Answer the metrics of this process as Prometheus text."""
        return Answer(200, (), generate_latest(self._registry), CONTENT_TYPE_LATEST)
