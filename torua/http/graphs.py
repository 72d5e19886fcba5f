"""Graphs and their schemas."""

from typing import Literal

from msgspec import Struct

from torua.core.graph.schema import MAIN, Placement
from torua.errors import MalformedError
from torua.http import parameters
from torua.http.bodies import read_body
from torua.http.messages import Answer, Ask, spelled
from torua.http.routes import Route
from torua.http.seams import Catalog


class GraphBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``PUT /graphs/{name}``."""

    placement: Literal["sharded", "single"] = "sharded"


class GraphsHandlers:
    """Answers ``/graphs`` and ``/graph/schema``.

    Invariants: it keeps nothing between two requests.
    """

    def __init__(self, catalog: Catalog) -> None:
        """Serve from ``catalog``."""
        self._catalog = catalog

    async def list(self, ask: Ask) -> Answer:
        """Answer GET of all graphs."""
        return spelled(ask, self._catalog.graphs())

    async def put(self, ask: Ask) -> Answer:
        """Answer PUT of a graph: it is there from then on."""
        call = ask.call(parameters.timeout_s(ask.query))
        name, placement = ask.variables["name"], _placement(ask)
        return spelled(ask, await self._catalog.create(name, placement, call))

    async def delete(self, ask: Ask) -> Answer:
        """Answer DELETE of a graph: it is gone, with all that is in it."""
        call = ask.call(parameters.timeout_s(ask.query))
        await self._catalog.drop(ask.variables["name"], call)
        return Answer(204)

    async def schema(self, ask: Ask) -> Answer:
        """Answer GET of a graph's schema, with how many rows its tables have."""
        timeout_s = parameters.timeout_s(ask.query)
        call = ask.call(timeout_s, reading=parameters.reading(ask))
        name = ask.query.get("graph", MAIN)
        return spelled(ask, await self._catalog.schema(name, call))


def routes(catalog: Catalog) -> tuple[Route, ...]:
    """List what serves graphs and their schemas."""
    handlers = GraphsHandlers(catalog)
    return (
        Route("/graphs", "GET", handlers.list),
        Route("/graphs/<name>", "PUT", handlers.put),
        Route("/graphs/<name>", "DELETE", handlers.delete),
        Route("/graph/schema", "GET", handlers.schema),
    )


def _placement(ask: Ask) -> Placement:
    """Read where a graph shall live, from the body or the query."""
    given = ask.query.get("placement")
    if given is None:
        given = read_body(ask, GraphBody).placement if ask.body else Placement.SHARDED
    try:
        return Placement(given)
    except ValueError as error:
        known = " or ".join(Placement)
        raise MalformedError(f"placement: {known}") from error
