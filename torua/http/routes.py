"""Which handler serves which path, and what body it takes."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

from klein import Klein
from msgspec import Struct
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter

from torua.core.resilience.admission import Rank
from torua.http.gate import rank_of
from torua.http.limits import OTHER_BODY_BYTES_MAX
from torua.http.messages import Answer, Ask
from torua.http.problems import MethodError, UnknownPathError

Handler = Callable[[Ask], Awaitable[Answer]]

METHODS = frozenset(
    ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")
)
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


class Route(Struct, frozen=True, dict=True):
    """What serves a path with a method.

    Attributes:
        rule: the path, as werkzeug spells rules; ``<rest:name>`` takes all the rest.
        method: ``GET`` serves ``HEAD`` as well.
        handler: answers.
        body_max: how large a body it takes, in bytes.
        streams: whether it takes the body as it comes (`Ask.stream`).
    """

    rule: str
    method: str
    handler: Handler
    body_max: int = OTHER_BODY_BYTES_MAX
    streams: bool = False

    @cached_property
    def template(self) -> str:
        """The path with names for its variable parts, for people and metrics."""
        return _VARIABLE.sub(r"{\1}", self.rule)

    @cached_property
    def rank(self) -> Rank:
        """How urgent what it serves is."""
        return rank_of(self.method, self.rule)

    @cached_property
    def name(self) -> str:
        """What tells it from all other routes."""
        return f"{self.method} {self.template}"


class Match(Struct, frozen=True):
    """A route that serves a request, and the variable parts of its path, encoded."""

    route: Route
    variables: Mapping[str, str]


class _Rest(BaseConverter):
    """Takes whatever follows, slashes and emptiness included.

    Invariants: none of its own.
    """

    regex = ".*"
    part_isolating = False


class Router:
    """Klein's table of routes, asked with paths as they came.

    Klein's own resource decodes a path before it looks it up, so that ``%2F`` and ``/``
    become one; it also drops a handler when its client goes, and answers trouble in
    HTML, and makes a Deferred of each.  So only its table is used.

    Invariants: a path is never redirected, and no slash of it is merged.
    """

    def __init__(self, routes: tuple[Route, ...]) -> None:
        """Enter all routes."""
        # Its annotations know pages only; ours answer with `Answer`.
        self._klein: Any = Klein()
        self._routes: dict[str, Route] = {}
        url_map = self._klein.url_map
        url_map.merge_slashes = False
        url_map.strict_slashes = False
        url_map.converters["rest"] = _Rest
        for route in routes:
            self._add(route)
        self._adapter = url_map.bind("torua")

    def _add(self, route: Route) -> None:
        """Enter one route."""
        self._routes[route.name] = route
        enter = self._klein.route(
            route.rule, methods=[route.method], endpoint=route.name
        )
        enter(route.handler)

    def match(self, method: str, path: str) -> Match:
        """Find what serves a request.

        Args:
            method: as it came; methods are told apart by case.
            path: as it came, percent-encoded.

        Raises:
            UnknownPathError: nothing is served there.
            MethodError: something is, but not so.
        """
        if not path.startswith("/") or path.startswith("//"):
            raise UnknownPathError("nothing is served at this path")
        try:
            known = method if method in METHODS else "CONNECT"
            found, variables = self._adapter.match(path, known)
        except MethodNotAllowed as error:
            allow = ", ".join(sorted(error.valid_methods or ()))
            raise MethodError(f"allowed here: {allow}", allow=allow) from error
        except NotFound as error:
            raise UnknownPathError("nothing is served at this path") from error
        return Match(self._routes[found], variables)
