"""A client and a site with a wire between them that is only bytes in memory."""

from http.client import HTTPResponse
from io import BytesIO
from typing import Any

from msgspec import Struct, json
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.http.fakes import FakeFeeds, FakeKeyValue, FakeOperations, FakeOverview
from torua.core.configuration import Configuration
from torua.core.resilience.policies import Policies
from torua.http.routes import Route
from torua.http.site import ApiSite, make_site


class Response(Struct, frozen=True):
    """A response as a client sees it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.decode(self.body)


class Wire(StringTransport):
    """One connection to a site.

    Invariants: what the site wrote is in the buffer until it is read as responses.
    """

    def __init__(self, site: ApiSite) -> None:
        """Connect."""
        super().__init__()
        self.aborted = False
        self.half_closed = False
        self.channel = site.buildProtocol(None)
        assert self.channel is not None
        self.channel.makeConnection(self)

    def abortConnection(self) -> None:
        """Note that the site cut the connection."""
        self.aborted = True

    def loseWriteConnection(self) -> None:
        """Note that the site will write nothing more."""
        self.half_closed = True

    def send(self, data: bytes) -> None:
        """Let bytes arrive."""
        self.channel.dataReceived(data)

    def hang_up(self) -> None:
        """Let the connection be lost."""
        self.channel.connectionLost(Failure(ConnectionDone()))

    def responses(self, *methods: str) -> list[Response]:
        """Read what was written as responses; ``methods`` are the requests' (GET)."""
        data = self.value()
        found: list[Response] = []
        self.clear()
        while data:
            method = methods[len(found)] if len(found) < len(methods) else "GET"
            response, data = _read_one(data, method)
            if response.status != 100:
                found.append(response)
        return found


def _read_one(data: bytes, method: str) -> tuple[Response, bytes]:
    """Read one response, and return what follows it."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return Response(100, {}, b""), rest
    stream = BytesIO(head + b"\r\n\r\n")
    reader = HTTPResponse(_Socket(stream), method=method)  # type: ignore[arg-type]
    reader.begin()
    headers = {name.lower(): value for name, value in reader.getheaders()}
    bodiless = method == "HEAD" or reader.status in (204, 304)
    length = 0 if bodiless else int(headers["content-length"])
    assert len(rest) >= length
    return Response(reader.status, headers, rest[:length]), rest[length:]


class _Socket:
    """What `HTTPResponse` reads from.

    Invariants: it is read once.
    """

    def __init__(self, stream: BytesIO) -> None:
        """Wrap a stream."""
        self._stream = stream

    def makefile(self, mode: str) -> BytesIO:
        """Return the stream."""
        return self._stream


class World:
    """A site over fakes.

    Invariants: the clock moves only when the test moves it.
    """

    def __init__(
        self,
        further_routes: tuple[Route, ...] = (),
        *,
        admission: bool = False,
        **bounds: int,
    ) -> None:
        """Make a site.

        Args:
            further_routes: what else is served there.
            admission: whether anything is refused where there is too much to do.
            bounds: those of `make_site`.
        """
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.key_value = FakeKeyValue()
        self.overview = FakeOverview()
        self.feeds = FakeFeeds()
        self.operations = FakeOperations()
        self.site = make_site(
            self.key_value,
            self.overview,
            self.feeds,
            self.operations,
            self.registry,
            node_name="n1",
            reactor=self.clock,
            further_routes=further_routes,
            fresh_id=lambda: "fresh",
            **bounds,  # type: ignore[arg-type]
        )
        self.site.use(Configuration(resilience=Policies(admission=admission)))

    def connect(self) -> Wire:
        """Open a connection."""
        return Wire(self.site)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        **headers: str,
    ) -> Response:
        """Ask on a connection of its own, and return the answer.

        Args:
            method: as it shall stand there.
            target: as it shall stand there.
            body: sent with its length where there is one.
            headers: underscores in their names stand for dashes.
        """
        wire = self.connect()
        wire.send(request(method, target, body, **headers))
        self.turn()
        (response,) = wire.responses(method)
        wire.hang_up()
        assert self.clock.getDelayedCalls() == []
        return response

    def turn(self) -> None:
        """Let all be done that waits for nothing but its turn."""
        while any(
            call.getTime() <= self.clock.seconds()
            for call in self.clock.getDelayedCalls()
        ):
            self.clock.advance(0)

    def metric(self, name: str, **labels: str) -> float:
        """Read a metric."""
        return self.registry.get_sample_value(name, labels) or 0.0


def held() -> "Deferred[None]":
    """Make what handlers wait for until the test lets them go on."""
    return Deferred()


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """Spell a request.

    Args:
        method: as it shall stand there.
        target: as it shall stand there.
        body: sent with its length where there is one.
        headers: underscores in their names stand for dashes.
    """
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    if body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode() + body
