"""The client: endpoints, a session, and the rooms that ask by them."""

import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from msgspec import json

from torua.client.cluster import Cluster
from torua.client.graph import Graph
from torua.client.keys import Keys
from torua.client.retrying import Retry
from torua.client.session import Session
from torua.client.targets import segment
from torua.client.transport import Request, Transport
from torua.core.graph.views import GraphView

MAIN = "main"


class Client:
    """Asks any of several nodes of one cluster; a context manager that closes it.

    Invariants: it may be used from any thread; it keeps connections, who of the
    endpoints answered lately, and what its session saw, and nothing else.

    Attributes:
        kv: keys and values.
        cluster: how the cluster fares.
    """

    def __init__(  # noqa: PLR0913
        self,
        endpoints: str | Sequence[str],
        *,
        timeout_s: float = 30.0,
        attempt_s: float = 10.0,
        session: bool = False,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        headers: Mapping[str, str] | None = None,
        connections: int = 16,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            endpoints: ``http://host:port`` of nodes, in a list, or with commas between
                them; ``http://`` may be left out.
            timeout_s: for a request with all its attempts.
            attempt_s: for one attempt, where another is safe: a node that is there but
                does not answer costs no more.
            session: whether reads, if they name no other consistency, show all that
                this client wrote and nothing older than it read, on any copy.
            retry: how stubborn to be within ``timeout_s``.
            headers: sent with each request (``Authorization`` for a proxy before it).
            connections: how many are kept to each endpoint.
            tls: for ``https`` endpoints; None for the authorities of the system.

        Raises:
            ValueError: there is no endpoint, or one is no URL of a node.
        """
        names = endpoints.split(",") if isinstance(endpoints, str) else endpoints
        urls = [_url(name.strip()) for name in names if name.strip()]
        if not urls:
            raise ValueError("at least one endpoint is wanted")
        self._session = Session("session" if session else None)
        self._transport = Transport(
            urls,
            self._session,
            timeout_s=timeout_s,
            attempt_s=attempt_s,
            retry=retry,
            headers=headers,
            connections=connections,
            tls=tls,
        )
        self.endpoints = tuple(urls)
        self.kv = Keys(self._transport)
        self.cluster = Cluster(self._transport)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, whatever happened."""
        self.close()

    def __repr__(self) -> str:
        """Name its endpoints; no header, which may be a secret."""
        return f"Client({list(self.endpoints)!r})"

    def close(self) -> None:
        """Close all connections that are not in use; those that are follow."""
        self._transport.close()

    @property
    def token(self) -> str:
        """What the session saw, for another client to go on from (`saw`)."""
        return self._session.token

    def saw(self, token: str) -> None:
        """Take in what another session saw: reads of this one show it from now on."""
        self._session.saw(token)

    def graph(self, name: str = MAIN) -> Graph:
        """Return one graph, to ask; it need not exist yet."""
        return Graph(self._transport, name)

    def graphs(self, *, timeout_s: float | None = None) -> tuple[GraphView, ...]:
        """Describe all graphs, by name."""
        request = Request("GET", "/graphs", timeout_s=timeout_s)
        return self._transport.ask(request).read(tuple[GraphView, ...])

    def create_graph(
        self,
        name: str,
        placement: str = "sharded",
        *,
        timeout_s: float | None = None,
    ) -> GraphView:
        """Make a graph, or find it there with the same placement.

        Args:
            name: its name.
            placement: ``sharded``, or ``single`` for one shard and atomic statements.
            timeout_s: for all attempts.

        Raises:
            ConflictError: it has another placement.
        """
        request = Request(
            "PUT",
            f"/graphs/{segment(name)}",
            headers={"Content-Type": "application/json"},
            body=json.encode({"placement": placement}),
            writes=True,
            timeout_s=timeout_s,
        )
        return self._transport.ask(request).read(GraphView)

    def drop_graph(self, name: str, *, timeout_s: float | None = None) -> None:
        """Remove a graph, with all that is in it.

        Args:
            name: which.
            timeout_s: for all attempts.

        Raises:
            NotFoundError: there is no such graph.
            OutcomeUnknownError: it may or may not be gone: see `graphs`.
        """
        path = f"/graphs/{segment(name)}"
        self._transport.ask(
            Request("DELETE", path, writes=True, repeatable=False, timeout_s=timeout_s)
        )


def _url(endpoint: str) -> str:
    """Spell an endpoint as a URL."""
    return endpoint if "://" in endpoint else f"http://{endpoint}"
