"""Bodies that are taken as they come."""

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.http.wire import Wire
from torua.errors import MalformedError, ToruaError, UnprocessableError
from torua.http import limits
from torua.http.gate import Gate
from torua.http.messages import Answer, Ask, Taken
from torua.http.metrics import Meter
from torua.http.routes import Route, Router
from torua.http.site import ApiSite


class Line(Wire):
    """A wire that can be paused, and tells whether it is.

    Invariants: those of `Wire`.
    """

    @property
    def paused(self) -> bool:
        """Whether the site wants nothing more for now."""
        return self.producerState == "paused"


class Streamed:
    """A site with one route that takes its body as it comes.

    Invariants: the body is taken when the test says so.
    """

    def __init__(self, serve: Callable[[Taken], Awaitable[Answer]] | None = None):
        """Answer by ``serve``, or take pieces by hand."""
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.stream: Taken | None = None
        self.done: Deferred[Answer] = Deferred()
        self._serve = serve
        route = Route("/s", "POST", self.post, limits.STREAM_BYTES_MAX, streams=True)
        bounds = (10, 4 << 20, 4 << 20)
        gate = Gate(self.clock, self.registry)
        self.site = ApiSite(
            Router((route,)),
            Meter(self.registry),
            self.clock,
            lambda: "id",
            bounds,
            gate=gate,
        )

    async def post(self, ask: Ask) -> Answer:
        """Answer."""
        assert ask.stream is not None
        self.stream = ask.stream
        if self._serve is not None:
            return await self._serve(ask.stream)
        return await self.done

    def take(self) -> bytes | ToruaError | None:
        """Take what has come; it must have."""
        assert self.stream is not None
        found: list[bytes | ToruaError | None] = []
        taking = Deferred.fromCoroutine(self.stream.next())
        taking.addCallbacks(found.append, lambda why: found.append(why.value))
        (piece,) = found
        return piece

    def held(self) -> float:
        """Tell how much the site holds."""
        return self.registry.get_sample_value("torua_http_held_bytes") or 0.0


def head(*headers: str) -> bytes:
    """Spell the head of a request."""
    return "\r\n".join(["POST /s HTTP/1.1", "Host: x", *headers, "\r\n"]).encode()


async def whole(stream: Taken) -> Answer:
    """Answer with all of a body."""
    pieces = []
    while (piece := await stream.next()) is not None:
        pieces.append(piece)
    return Answer(200, (), b"".join(pieces), "text/plain")


def test_a_streamed_body_arrives_whole_and_the_connection_stays() -> None:
    """Pieces come in order, and another request may follow on the same connection."""
    world = Streamed(whole)
    wire = Line(world.site)
    for _ in range(2):
        wire.send(head("Content-Length: 6"))
        wire.send(b"abc")
        wire.send(b"def")
        (response,) = wire.responses()
        assert (response.status, response.body) == (200, b"abcdef")
    assert not wire.disconnecting
    assert world.held() == 0


def test_an_empty_streamed_body_is_served() -> None:
    """No body is an end without pieces."""
    wire = Line(Streamed(whole).site)
    wire.send(head("Content-Length: 0"))
    (response,) = wire.responses()
    assert (response.status, response.body) == (200, b"")


def test_a_chunked_body_is_streamed_after_100_continue() -> None:
    """A client that asks whether to go on is told so, and its chunks are taken."""
    wire = Line(Streamed(whole).site)
    wire.send(head("Transfer-Encoding: chunked", "Expect: 100-continue"))
    assert wire.value().startswith(b"HTTP/1.1 100")
    wire.send(b"3\r\nabc\r\n2\r\nde\r\n")
    wire.send(b"0\r\n\r\n")
    (response,) = wire.responses()
    assert response.body == b"abcde"


def test_what_waits_of_a_body_is_bounded() -> None:
    """The transport is paused when enough waits, and resumed when it was taken."""
    world = Streamed()
    wire = Line(world.site)
    piece = b"x" * (limits.INTAKE_BYTES // 2)
    wire.send(head(f"Content-Length: {len(piece) * 4}"))
    wire.send(piece)
    assert not wire.paused
    wire.send(piece)
    assert wire.paused
    assert world.held() == 2 * len(piece)
    world.clock.advance(10 * limits.STREAM_STALL_S)
    assert wire.value() == b""
    assert world.take() == piece * 2
    assert not wire.paused
    assert world.held() == 0


def test_a_client_that_sends_nothing_is_told_so() -> None:
    """Who sends nothing for too long gets 408, and the connection is closed."""
    world = Streamed(whole)
    wire = Line(world.site)
    wire.send(head("Content-Length: 10"))
    wire.send(b"abc")
    world.clock.advance(limits.STREAM_STALL_S + 1)
    (response,) = wire.responses()
    assert response.status == 408
    assert response.headers["connection"] == "close"
    assert world.held() == 0


def test_an_early_answer_is_seen_while_the_body_still_comes() -> None:
    """What comes after an answer is dropped for a moment, then the line is closed."""

    async def refuse(stream: Taken) -> Answer:
        """Take one piece, and refuse."""
        await stream.next()
        raise UnprocessableError("line 1")

    wire = Line(Streamed(refuse).site)
    wire.send(head("Content-Length: 1000"))
    wire.send(b"abc")
    (response,) = wire.responses()
    assert response.status == 422
    assert response.headers["connection"] == "close"
    wire.send(b"d" * 500)
    assert wire.value() == b""


def test_a_late_refusal_ends_a_paused_body() -> None:
    """An answer that comes while the transport is paused goes out, and it closes."""
    world = Streamed()
    wire = Line(world.site)
    wire.send(head("Content-Length: 10000000"))
    wire.send(b"x" * limits.INTAKE_BYTES)
    assert wire.paused
    world.done.callback(Answer(422))
    (response,) = wire.responses()
    assert response.status == 422
    assert wire.disconnecting
    wire.hang_up()
    assert world.held() == 0


def test_whoever_takes_a_body_hears_that_its_client_went() -> None:
    """A lost connection is an error for the handler, and nothing stays held."""
    world = Streamed()
    wire = Line(world.site)
    wire.send(head("Content-Length: 10"))
    wire.send(b"abc")
    wire.hang_up()
    assert isinstance(world.take(), MalformedError)
    assert world.held() == 0
    world.done.callback(Answer(200))
    assert world.clock.getDelayedCalls() == []
