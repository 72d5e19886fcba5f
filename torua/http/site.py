"""The site: where connections, routes, handlers and metrics meet."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site

from torua.core.configuration import Configuration, Limits
from torua.core.kv import BULK_BYTES_MAX, VALUE_BYTES_MAX
from torua.core.resilience.lines import Lines
from torua.errors import OverloadedError, ToruaError
from torua.http import ids, limits
from torua.http.bulk import BulkHandler
from torua.http.changes import ChangesHandler
from torua.http.cluster import ClusterHandlers
from torua.http.connection import ApiRequest, Channel
from torua.http.gate import Gate
from torua.http.host import Asked
from torua.http.hot import HotChannel, Reader
from torua.http.kv import KeyValueHandlers
from torua.http.messages import Answer
from torua.http.metrics import Meter
from torua.http.operations import routes as operation_routes
from torua.http.problems import problem
from torua.http.routes import Match, Route, Router
from torua.http.seams import ChangeFeeds, KeyValue, Operations, Overview
from torua.http.streaming import Streaming
from torua.net.running import run


def make_site(  # noqa: PLR0913
    key_value: KeyValue,
    overview: Overview,
    feeds: ChangeFeeds,
    operations: Operations,
    registry: CollectorRegistry,
    *,
    node_name: str,
    reactor: IReactorTime,
    further_routes: tuple[Route, ...] = (),
    fresh_id: Callable[[], str] = ids.fresh_id,
    connections_max: int = limits.CONNECTIONS_MAX,
    held_bytes_max: int = limits.HELD_BYTES_MAX,
    unread_bytes_max: int = limits.UNREAD_BYTES_MAX,
    chatty: Callable[[], bool] = lambda: True,
) -> "ApiSite":
    """Make what the HTTP port is listened on with.

    Args:
        key_value: where keys and values live.
        overview: the cluster as this node sees it.
        feeds: opens change feeds.
        operations: does what operators ask for.
        registry: where all metrics of this process are; the room declares its own, and
            those of the process, on it.
        node_name: this node's name, for ``Torua-Served-By`` of what it puts together.
        reactor: for time only.
        further_routes: what serves graphs, and the configuration.
        fresh_id: makes request ids for requests that bring none.
        connections_max: so many connections at once; more are closed at once.
        held_bytes_max: so many bytes of request bodies at once; more get 429.
        unread_bytes_max: so many bytes of large answers that wait for their clients at
            once; requests for more get 429.
        chatty: tells whether a line for every request would be written.
    """
    router = Router(
        (
            *_key_value_routes(key_value, node_name, reactor),
            Route("/changes", "GET", ChangesHandler(feeds, node_name).get),
            *_cluster_routes(ClusterHandlers(overview, registry)),
            *operation_routes(operations),
            *further_routes,
        )
    )
    bounds = (connections_max, held_bytes_max, unread_bytes_max)
    gate = Gate(reactor, registry)
    meter = Meter(registry)
    plain = {name.encode(): router.match(name, "/kv/") for name in PLAIN_METHODS}
    return ApiSite(
        router, meter, reactor, fresh_id, bounds, gate=gate, chatty=chatty, plain=plain
    )


PLAIN_METHODS = ("GET", "HEAD", "PUT", "DELETE")
"""What can be asked of one key."""


def _key_value_routes(
    key_value: KeyValue, node_name: str, reactor: IReactorTime
) -> tuple[Route, ...]:
    """List what serves keys and values."""
    kv = KeyValueHandlers(key_value, node_name)
    bulk = BulkHandler(key_value, node_name, reactor)
    return (
        Route("/kv", "GET", kv.list),
        Route("/kv/<rest:key>", "GET", kv.get),
        Route("/kv/<rest:key>", "PUT", kv.put, VALUE_BYTES_MAX),
        Route("/kv/<rest:key>", "DELETE", kv.delete),
        Route("/bulk", "POST", bulk.post, BULK_BYTES_MAX),
    )


def _cluster_routes(cluster: ClusterHandlers) -> tuple[Route, ...]:
    """List what serves the cluster."""
    return (
        Route("/health", "GET", cluster.health),
        Route("/ready", "GET", cluster.ready),
        Route("/cluster/info", "GET", cluster.info),
        Route("/nodes", "GET", cluster.nodes),
        Route("/nodes/<node>/info", "GET", cluster.node),
        Route("/shards", "GET", cluster.shards),
        Route("/metrics", "GET", cluster.metrics),
    )


_LINE = "{method} {path} answered {status} in {milliseconds} ms"

SAY_EVERY_S = 1.0
"""Where one answer says that something is wrong, a thousand a second do."""


class ApiSite(Site):
    """Listens, and has requests served.

    Invariants: every request that is served is answered once, with a problem where it
    fails; what serves it is never cancelled, for a client that goes leaves it to be
    finished; what is held and how many connections there are stays within bounds.
    """

    # Twisted declares a proxy here that can switch to HTTP/2; we need none.
    protocol: Any = HotChannel
    requestFactory: Any = ApiRequest  # noqa: N815
    noisy = False
    _log = Logger()

    def __init__(  # noqa: PLR0913
        self,
        router: Router,
        meter: Meter,
        reactor: IReactorTime,
        fresh_id: Callable[[], str],
        bounds: tuple[int, int, int],
        *,
        gate: Gate,
        chatty: Callable[[], bool] = lambda: True,
        plain: Mapping[bytes, Match] = MappingProxyType({}),
    ) -> None:
        """Put the parts together.

        Args:
            router: the routes.
            meter: counts.
            reactor: for time only.
            fresh_id: makes request ids.
            bounds: how many connections, bytes of bodies, and bytes of large answers
                at once.
            gate: says what is taken while there is too much to do.
            chatty: tells whether a line for every request would be written.
            plain: what serves plain requests of one key, by method.
        """
        super().__init__(Resource(), reactor=reactor, timeout=limits.IDLE_S)
        self._router = router
        self._meter = meter
        self._gate = gate
        self._slow_request_s = Limits().slow_request_s
        self._lines = Lines(SAY_EVERY_S)
        self._chatty = chatty
        self.plain = Reader(plain)
        self.fresh_id = fresh_id
        self._connections_max, self._held_max, self._unread_max = bounds
        self._open: dict[Channel, None] = {}
        self._streaming: dict[Streaming, None] = {}
        self._held = 0
        self._in_flight = 0
        self._unread = 0
        meter.held.set_function(lambda: self._held)
        meter.in_flight.set_function(lambda: self._in_flight)
        self._draining: list[Deferred[None]] | None = None

    def startFactory(self) -> None:
        """Open no access log: what is worth a line goes through the logger."""

    def acceptableProtocols(self) -> list[bytes]:
        """Speak HTTP/1.1 only."""
        return [b"http/1.1"]

    def use(self, now: Configuration) -> None:
        """Take requests, and note slow ones, as is configured from now on."""
        self._gate.use(now)
        self._slow_request_s = now.limits.slow_request_s

    def log(self, request: object) -> None:
        """Note nothing here: `_done` does."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Take a connection, unless there are too many."""
        if len(self._open) >= self._connections_max or self.draining:
            self._meter.refused.inc()
            return None
        return super().buildProtocol(addr)

    def opened(self, channel: Channel) -> None:
        """Count a connection in."""
        self._open[channel] = None
        self._meter.connections.set(len(self._open))

    def closed(self, channel: Channel) -> None:
        """Count a connection out; the last one ends a draining."""
        self._open.pop(channel, None)
        self._meter.connections.set(len(self._open))
        self._end_draining()

    @property
    def draining(self) -> bool:
        """Tell whether each connection is closed after its next answer."""
        return self._draining is not None

    def drain(self) -> Deferred[None]:
        """Finish what is in flight, and take nothing new.

        The port is no longer listened on by then.  The Deferred fires once no
        connection is left; what is left after `limits.DRAIN_S` is cut off.
        """
        waiting: Deferred[None] = Deferred()
        self._draining = [*(self._draining or ()), waiting]
        timer = self.reactor.callLater(limits.DRAIN_S, self._cut_all)
        waiting.addCallback(lambda _: timer.cancel() if timer.active() else None)
        for streaming in tuple(self._streaming):
            streaming.finish()
        for channel in tuple(self._open):
            channel.close_if_idle()
        self._end_draining()
        return waiting

    def streams(self, streaming: Streaming) -> None:
        """Start an answer without an end, and end it when the site drains."""
        self._streaming[streaming] = None
        streaming.start().addCallback(lambda _: self._streaming.pop(streaming))

    def _end_draining(self) -> None:
        """Tell who drains that it is done, once it is."""
        while self._draining and not self._open:
            self._draining.pop().callback(None)

    def _cut_all(self) -> None:
        """Cut off whoever did not finish in time."""
        for channel in tuple(self._open):
            channel.forceAbortClient()

    def has_room(self, count: int) -> bool:
        """Tell whether so many more bytes of bodies could be held now."""
        return self._held + count <= self._held_max

    def hold(self, count: int) -> bool:
        """Account for so many more bytes of bodies; False where there is no room."""
        if not self.has_room(count):
            return False
        self._meter.received += count
        self._set_held(self._held + count)
        return True

    def let_go(self, count: int) -> None:
        """Account for so many bytes less."""
        self._set_held(self._held - count)

    def _set_held(self, held: int) -> None:
        """Note how much is held."""
        assert held >= 0
        self._held = held

    def pouring(self, count: int) -> None:
        """Account for so many more bytes of answers, or less, that wait to be taken."""
        self._unread += count
        self._meter.unread.set(self._unread)

    def match(self, method: str, path: str) -> Match:
        """Find what serves a request, or raise why nothing does.

        Args:
            method: as it came.
            path: as it came, percent-encoded.
        """
        return self._router.match(method, path)

    def wants(self, match: Match, length: int) -> bool:
        """Tell whether a request would be served now; if not, it is refused by that.

        Args:
            match: what would serve it.
            length: of its body.
        """
        return self._gate.has_room(match.route.rank, length)

    def rejection(self, error: ToruaError, request_id: str) -> Answer:
        """Answer what is not a request, and count it.

        Args:
            error: what is wrong with it.
            request_id: its id.
        """
        self._meter.trouble(error.code)
        return problem(error, request_id)

    def serve(self, request: Asked) -> None:
        """Serve a request that came in whole, or was refused."""
        run(self._serve(request))

    async def _serve(self, request: Asked) -> None:
        """Find the answer, and deliver it; nothing is raised out of here."""
        self._in_flight += 1
        answer = await self._answer(request)
        self._in_flight -= 1
        request.served()
        try:
            request.deliver(answer)
        finally:
            self._done(request, answer)

    async def _answer(self, request: Asked) -> Answer:
        """Find the answer to a request, whatever happens."""
        try:
            refusal = request.refusal
            if refusal is not None:
                if isinstance(refusal, OverloadedError):
                    await self._late(request)
                raise refusal
            answer = await self._admitted(request)
            if request.method == b"GET" or answer.repeatable:
                self._check_takers(answer)
            return answer
        except ToruaError as error:
            return problem(error, request.request_id)
        except Exception:
            # The edge: a mistake of ours must not take the connection down with it.
            self._log.failure("{method} {path} failed", **_which(request))
            detail = "the node made a mistake; its log says which"
            return problem(ToruaError(detail), request.request_id)

    async def _admitted(self, request: Asked) -> Answer:
        """Have what serves a request answer it, unless there is too much to do."""
        assert request.match is not None
        route, size = request.match.route, request.size
        rank = route.rank
        if not self._gate.take(rank, size):
            await self._late(request)
            raise OverloadedError(limits.TOO_MUCH)
        try:
            return await route.handler(request.ask())
        finally:
            stayed_s = self.reactor.seconds() - request.started_s
            self._gate.give_back(rank, size, stayed_s)

    async def _late(self, request: Asked) -> None:
        """Wait until a refusal may leave, and hold nothing meanwhile."""
        request.drop()
        await self._gate.pace()

    def _check_takers(self, answer: Answer) -> None:
        """Raise where too many clients leave large answers unread already."""
        size = len(answer.body)
        if size > limits.PIECE_BYTES and self._unread + size > self._unread_max:
            raise OverloadedError("too many large answers wait for their clients")

    def _done(self, request: Asked, answer: Answer) -> None:
        """Count and note what became of a request."""
        took_s = self.reactor.seconds() - request.started_s
        match, meter = request.match, self._meter
        route, method = (
            (match.route.template, request.method) if match else ("none", b"none")
        )
        meter.answered(route, method, answer.status // 100, took_s)
        meter.sent += len(answer.body)
        if answer.trouble is not None:
            meter.trouble(answer.trouble)
        serious = answer.status > 500 and route != "/ready"
        serious = serious or took_s > self._slow_request_s
        unsaid = self._lines.take(self.reactor.seconds()) if serious else None
        if unsaid is not None:
            self._log.warn(
                f"{_LINE}; {{unsaid}} more such answers since the last line",
                unsaid=unsaid,
                **_fields(request, answer, took_s),
            )
        elif self._chatty():
            self._log.debug(_LINE, **_fields(request, answer, took_s))


def _fields(request: Asked, answer: Answer, took_s: float) -> dict[str, Any]:
    """Say in a log line what became of which request."""
    return _which(request) | {
        "status": answer.status,
        "milliseconds": round(took_s * 1000, 1),
    }


def _which(request: Asked) -> dict[str, Any]:
    """Say in a log line which request it is about."""
    return {
        "method": request.method.decode(),
        "path": request.raw_path,
        "request_id": request.request_id,
    }
