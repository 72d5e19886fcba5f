"""The short way for plain requests of one key, in front of the careful one.

Most requests are GET, HEAD, PUT or DELETE of ``/kv/{key}``, come in one piece or two,
and have a head in which nothing is unusual.  These are read here at one glance;
whatever is not exactly so, by its head, its length or the state of the connection, goes
the way of `torua.http.connection`, bytes untouched, so that there is one place that
knows what to refuse::

    idle ──plain and whole────────────── hot ──answered── idle
      ├────plain, body still comes── half ──┘
      └────anything else──── `Channel`, until that is answered

Both ways end in the same `torua.http.site.ApiSite.serve`, and so in the same handlers,
errors, bounds and metrics; `tests/http/test_hot.py` compares whole answers of the two.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from torua.errors import ToruaError
from torua.http import limits
from torua.http.connection import ApiRequest, Channel
from torua.http.ids import sane_request_id, sane_traceparent
from torua.http.messages import Answer, Ask
from torua.http.routes import Match
from torua.http.spelling import spelled
from torua.http.targets import decoded, parse_query
from torua.net.sockets import write_now

HEAD_BYTES_MAX = 8 << 10
"""A longer head goes the careful way: within this no limit of it can be passed."""

BODY_BYTES_MAX = 64 << 10
"""A larger body may be refused before it is read, and does not come in one piece."""

_BLOCKS_MAX = 512
"""Clients say the same headers again and again: so many are not read anew …"""

_BLOCK_BYTES_MAX = 2 << 10
"""… of those that are as short as headers are; so all together take a few MiB."""

_FIRST = re.compile(rb"(GET|HEAD|PUT|DELETE) (/kv/[!-~]*) HTTP/1\.1\r\n")
_BLOCK = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+\r\n")
_LENGTH = re.compile(r"[0-9]{1,5}")
_UNUSUAL = frozenset(("transfer-encoding", "expect", "upgrade"))
_NO_QUERY: Mapping[str, str] = {}


class Head(Struct, frozen=True):
    """The headers of a plain request.

    Attributes:
        headers: by lower-case name, each once.
        length: of the body.
        request_id: the caller's, where it is sane; else empty.
        traceparent: the caller's, where it is sane; else empty.
    """

    headers: Mapping[str, str]
    length: int
    request_id: str
    traceparent: str


class Plain(Struct, frozen=True):
    """A plain request.

    Attributes:
        match: the route that serves it; the variables of its path are not read yet.
        method: as it came.
        target: as it came.
        head: its headers.
        body: what came of its body.
    """

    match: Match
    method: bytes
    target: str
    head: Head
    body: bytes

    @property
    def lacks(self) -> int:
        """How many bytes of its body have not come."""
        return self.head.length - len(self.body)


class Reader:
    """Tells plain requests from all others, and reads them.

    Invariants: what it remembers is bounded, and only ever what `read_block` made of
    the same bytes.
    """

    def __init__(self, routes: Mapping[bytes, Match]) -> None:
        """Remember nothing.

        Args:
            routes: what serves plain requests, by method.
        """
        self._routes = routes
        self._blocks: dict[bytes, Head | None] = {}

    def read(self, data: bytes) -> Plain | None:
        """Read a request; None where it is not plain, or more came than it.

        Args:
            data: all that came since the last request.

        Returns:
            The request; its body may be shorter than its head says.
        """
        first = _FIRST.match(data, 0, HEAD_BYTES_MAX)
        if first is None:
            return None
        begin = first.end()
        end = data.find(b"\r\n\r\n", begin, HEAD_BYTES_MAX) + 4
        head = self._head(data[begin:end]) if end > begin else None
        method, target = first.groups()
        match = self._routes.get(method)
        if head is None or match is None or len(data) > end + head.length:
            return None
        return Plain(match, method, target.decode(), head, data[end:])

    def _head(self, block: bytes) -> Head | None:
        """Read headers, or remember them."""
        try:
            return self._blocks[block]
        except KeyError:
            head = read_block(block)
            if len(block) <= _BLOCK_BYTES_MAX:
                if len(self._blocks) >= _BLOCKS_MAX:
                    self._blocks.clear()
                self._blocks[block] = head
            return head


def read_block(block: bytes) -> Head | None:
    """Read header lines; None where anything is unusual.

    Args:
        block: the lines, and the empty one after them.
    """
    if not _BLOCK.fullmatch(block):
        return None
    lines = block.decode().split("\r\n")[:-2]
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    length = headers.get("content-length", "0")
    usual = (
        len(headers) == len(lines) <= limits.HEADERS_MAX
        and "host" in headers
        and headers.get("connection", "keep-alive").lower() == "keep-alive"
        and _UNUSUAL.isdisjoint(headers)
        and _LENGTH.fullmatch(length)
        and int(length) <= BODY_BYTES_MAX
    )
    if not usual:
        return None
    request_id = sane_request_id(headers.get("x-request-id")) or ""
    traceparent = sane_traceparent(headers.get("traceparent"))
    return Head(headers, int(length), request_id, traceparent)


class HotRequest(Struct, eq=False):
    """One plain request; see `torua.http.host.Asked`.

    Invariants: its body is accounted for at the site from the beginning until it is
    let go, once; it is delivered once.
    """

    channel: "HotChannel"
    plain: Plain
    size: int
    method: bytes
    match: Match | None
    raw_path: str
    raw_query: str
    request_id: str
    started_s: float
    refusal: ToruaError | None = None
    gone: bool = False

    def ask(self) -> Ask:
        """Make the value that handlers see.

        Raises:
            MalformedError: path or query are not well encoded.
        """
        plain = self.plain
        return Ask(
            plain.method.decode(),
            self.raw_path,
            {"key": decoded(self.raw_path[len("/kv/") :], "key")},
            parse_query(self.raw_query) if self.raw_query else _NO_QUERY,
            plain.head.headers,
            plain.body,
            self.request_id,
            plain.head.traceparent,
        )

    def drop(self) -> None:
        """Keep nothing of the body."""
        self.plain = replace(self.plain, body=b"")
        self.served()

    def served(self) -> None:
        """Account for the body no longer."""
        held, self.size = self.size, 0
        if held:
            self.channel.site.let_go(held)

    def deliver(self, answer: Answer) -> None:
        """Write the answer, unless there is nobody any more to read it."""
        if self.gone:
            return
        channel = self.channel
        closing = channel.site.draining
        data = spelled(answer, self.request_id, self.method, closing)
        if data is None:
            channel.hand_over(self).deliver(answer)
        else:
            channel.finish(data, closing)


class HotChannel(Channel):
    """A connection on which plain requests take the short way.

    Invariants: a request is hot only where nothing else is under way or half read; what
    comes meanwhile waits for its answer, as behind any other request.  Of a request
    that is half read, what came of its body is accounted for, and the timer runs.
    """

    timeOut: Any  # noqa: N815
    _busyReceiving: bool  # noqa: N815

    def __init__(self) -> None:
        """Begin a connection that is not yet made."""
        super().__init__()
        self._hot: HotRequest | None = None
        self._half: Plain | None = None
        self._head = b""

    def dataReceived(self, data: bytes) -> None:
        """Serve a plain request; hand on what is anything else."""
        if self._hot is not None:
            self.rawDataReceived(data)
        elif self._half is not None and not self._closing:
            self._go_on(self._half, data)
        elif not self._is_idle() or not self._begin(data):
            super().dataReceived(data)

    def _is_idle(self) -> bool:
        """Tell whether nothing is under way, half read, or about to end."""
        return not (
            self._handlingRequest
            or self._timer is not None
            or self._closing
            or self._busyReceiving
            or self._buffer
            or self._waitingForTransport
            or self.site.draining
        )

    def _begin(self, data: bytes) -> bool:
        """Take a plain request that there is room for; False where it is none."""
        site = self.site
        plain = site.plain.read(data)
        if plain is None:
            return False
        length, came = plain.head.length, len(plain.body)
        if length and not (site.has_room(length) and site.hold(came)):
            return False
        if came < length:
            self._half, self._head = plain, data[: len(data) - came]
            self.resetTimeout()
            self._start_timer(limits.BODY_S + length / limits.BODY_BYTES_PER_S)
        else:
            self._serve(plain)
        return True

    def _go_on(self, half: Plain, data: bytes) -> None:
        """Take more of a body; where there is no room, the careful way says so."""
        more, rest = data[: half.lacks], data[half.lacks :]
        whole = replace(half, body=half.body + more)
        if not self.site.hold(len(more)):
            self._give_half_up()
            self._stop_timer()
            super().dataReceived(self._head + whole.body + rest)
        elif whole.lacks:
            self._half = whole
        else:
            self._half = None
            self._stop_timer()
            if rest:
                self._dataBuffer.append(rest)
            self._serve(whole)

    def _give_half_up(self) -> None:
        """Hold nothing of a request that was half read."""
        half, self._half = self._half, None
        if half is not None:
            self.site.let_go(len(half.body))

    def _serve(self, plain: Plain) -> None:
        """Have a request served that came in whole."""
        self._handlingRequest = True
        site = self.site
        path, _, query = plain.target.partition("?")
        request_id = plain.head.request_id or site.fresh_id()
        self._hot = HotRequest(
            self,
            plain,
            len(plain.body),
            plain.method,
            plain.match,
            path,
            query,
            request_id,
            site.reactor.seconds(),
        )
        site.serve(self._hot)

    def finish(self, data: bytes, closing: bool) -> None:
        """Write an answer, and go on to what came meanwhile, or close.

        Args:
            data: the answer, whole.
            closing: whether nothing more is served on this connection.
        """
        self._hot = None
        write_now(self.transport, data)
        if closing:
            self.persistent = False
            self.loseConnection()
            return
        self._handlingRequest = False
        self.resetTimeout()
        if self._dataBuffer:
            waiting, self._dataBuffer = b"".join(self._dataBuffer), []
            if not self._waitingForTransport:
                self._networkProducer.resumeProducing()
            self.dataReceived(waiting)

    def hand_over(self, hot: HotRequest) -> ApiRequest:
        """Have a request that was served the short way answered the careful one."""
        self._hot = None
        self._savedTimeOut = self.setTimeout(None)
        self.setRawMode()
        request = ApiRequest(self)
        request.method, request.clientproto = hot.method, b"HTTP/1.1"
        request.request_id = hot.request_id
        self.requests.append(request)
        return request

    def timeoutConnection(self) -> None:
        """Close an idle connection; one with a request is not."""
        if self._hot is not None:
            self.setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    def connectionLost(self, reason: object = None) -> None:
        """Forget the client; what is being served goes on to its end."""
        self._give_half_up()
        if self._hot is not None:
            self._hot.gone = True
        super().connectionLost(reason)
