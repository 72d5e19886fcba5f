"""Connections that take no longer to be made than they should.

urllib3 sends a request within the time that connecting may take.  A large value may
take longer than that, so a connection here bounds the connecting itself.
"""

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError

CONNECT_TIMEOUT_S = 3.0
"""A node that is there accepts at once; a silent machine must not hold up the next."""


class PlainConnection(HTTPConnection):
    """A connection without TLS.

    Invariants: those of its base.
    """

    def connect(self) -> None:
        """Connect soon, or not at all."""
        _soon(self, super().connect)


class TlsConnection(HTTPSConnection):
    """A connection with TLS.

    Invariants: those of its base.
    """

    def connect(self) -> None:
        """Connect soon, or not at all."""
        _soon(self, super().connect)


class PlainPool(urllib3.HTTPConnectionPool):
    """Connections without TLS to one endpoint.

    Invariants: those of its base.
    """

    ConnectionCls = PlainConnection


class TlsPool(urllib3.HTTPSConnectionPool):
    """Connections with TLS to one endpoint.

    Invariants: those of its base.
    """

    ConnectionCls = TlsConnection


def open_pool(
    endpoint: str, connections: int, tls: ssl.SSLContext | None
) -> urllib3.HTTPConnectionPool:
    """Open a pool of connections to an endpoint; none is made yet.

    Args:
        endpoint: a URL, ``http`` or ``https``.
        connections: how many are kept.
        tls: for ``https``; None for the authorities of the system.

    Raises:
        ValueError: it is no such URL.
    """
    parts = urlsplit(endpoint)
    host, port = parts.hostname, parts.port
    if host is None or parts.scheme not in {"http", "https"}:
        raise ValueError(f"not a URL of a node: {endpoint!r}")
    if parts.scheme == "https":
        return TlsPool(host, port, maxsize=connections, ssl_context=tls)
    return PlainPool(host, port, maxsize=connections)


def _soon(
    connection: HTTPConnection | HTTPSConnection, connect: Callable[[], None]
) -> None:
    """Connect within `CONNECT_TIMEOUT_S`, then be as patient as before.

    What fails here was never sent, a handshake of TLS included.
    """
    patience_s = connection.timeout
    assert patience_s is not None, "every request has a limit"
    connection.timeout = min(CONNECT_TIMEOUT_S, patience_s)
    try:
        connect()
    except HTTPError:
        raise
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    finally:
        connection.timeout = patience_s
    connection.sock.settimeout(patience_s)
