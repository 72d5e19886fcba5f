"""Connections: requests come in within bounds, and answers go out as they are taken.

Twisted reads a whole body before it asks anybody.  Here a request is looked at once its
headers are in: one that is refused is answered then, and what is still coming of its
body is read and dropped for a moment, so that the client gets to see the answer::

    headers ── admitted ── body ── served ── answered ── next request
        └───── refused ─────┴── answered ── lingering ── closed

Where the route takes its body as it comes, the request is served from the first piece
on, and may be answered before the last: what still comes is then dropped likewise.
"""

from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.web import server

from torua.errors import MalformedError, OverloadedError, TooLargeError, ToruaError
from torua.http import limits
from torua.http.backpressure import PatientChannel
from torua.http.host import Host
from torua.http.ids import sane_request_id, sane_traceparent
from torua.http.intake import Intake
from torua.http.messages import Answer, Ask
from torua.http.pouring import Pouring
from torua.http.problems import (
    HeadersTooLargeError,
    SlowClientError,
    TargetTooLongError,
)
from torua.http.routes import Match
from torua.http.spelling import SERVER, date, headers_of
from torua.http.streaming import Streaming
from torua.http.targets import ascii_line, decoded, parse_query, split_target


class ApiRequest(server.Request):
    """One request on a connection.

    Invariants: `refusal` or `match` is set once the headers are in; `cut` only together
    with `refusal`, or with `_early`, an answer that came before the end of a streamed
    body; the body never grows beyond what its route takes; what is held of it is
    accounted for at the site until it was taken or served, or the connection is lost.
    """

    defaultContentType = None  # noqa: N815
    channel: "Channel"

    def __init__(self, channel: "Channel", *args: object) -> None:
        """Begin a request of which only the first line is in."""
        super().__init__(channel, *args)
        self.host_site: Host = channel.site
        self.match: Match | None = None
        self.refusal: ToruaError | None = None
        self.cut = False
        self.request_id = ""
        self.traceparent = ""
        self.raw_path = ""
        self.raw_query = ""
        self.started_s = 0.0
        self.body_max = 0
        self.intake: Intake | None = None
        self._came = 0
        self._early: Answer | None = None
        self._parsing = self._dropping = False
        self._held = 0
        self._begun = False
        self._serving = False

    def admit(self, command: bytes, target: bytes, length: int | None) -> None:
        """Decide by the headers whether to read the body, and what will serve it.

        Args:
            command: the method.
            target: the request target.
            length: of the body; None where it comes in chunks.
        """
        self.method = command
        self.raw_path, self.raw_query = split_target(target)
        self.request_id = self._id() or self.host_site.fresh_id()
        self.traceparent = sane_traceparent(self._only(b"traceparent"))
        self.body_max = limits.OTHER_BODY_BYTES_MAX
        try:
            self.match = self.host_site.match(command.decode(), self.raw_path)
            self.body_max = self.match.route.body_max
            if self.match.route.streams:
                self.intake = Intake(self.channel, self.host_site.let_go)
        except ToruaError as error:
            self.refusal = error
        self._admit_length(length or 0)

    def _admit_length(self, length: int) -> None:
        """Refuse a body that is known to be too large before any of it comes."""
        if length > self.body_max:
            self._cut(self.refusal or self._too_large())
        elif self.intake is None and not self.host_site.has_room(length):
            self._cut(OverloadedError("too many request bodies are held just now"))
        elif length > limits.GLANCE_BYTES and not self._is_wanted(length):
            self.refusal = OverloadedError(limits.TOO_MUCH)
            self.cut = length > limits.SMALL_BODY_BYTES
            self._dropping = True

    def _is_wanted(self, length: int) -> bool:
        """Tell whether there is any use in keeping a body."""
        return self.match is None or self.host_site.wants(self.match, length)

    def _too_large(self) -> ToruaError:
        """Say how large the body may be."""
        return TooLargeError(f"a body of up to {self.body_max} bytes is taken here")

    def _cut(self, refusal: ToruaError) -> None:
        """Refuse the request without reading on."""
        self.refusal = refusal
        self.cut = True

    def _id(self) -> str | None:
        """Return the caller's request id where it is sane."""
        return sane_request_id(self._only(b"x-request-id"))

    def _only(self, name: bytes) -> str | None:
        """Return the first header of a name, as text."""
        found = self.requestHeaders.getRawHeaders(name)
        return found[0].decode("latin-1") if found else None

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: it is bounded."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body, or refuse it all."""
        assert self.content is not None
        if self.cut or self._dropping:
            return
        if self.intake is not None:
            self._take(self.intake, data)
        elif self.content.tell() + len(data) > self.body_max:
            self._cut(self.refusal or self._too_large())
        elif not self.host_site.hold(len(data)):
            self._cut(OverloadedError("too many request bodies are held just now"))
        else:
            self._held += len(data)
            self.content.write(data)

    def _take(self, intake: Intake, data: bytes) -> None:
        """Hand a part of a streamed body on; the first has the request served."""
        self._came += len(data)
        if self._came > self.body_max:
            intake.fail(self._too_large())
        elif not self.host_site.hold(len(data)):
            intake.fail(OverloadedError("too many request bodies are held just now"))
        else:
            intake.push(data)
        self._parsing = True
        self._serve_once()
        self._parsing = False

    def starve(self) -> None:
        """Hear that nothing came of a streamed body for too long."""
        assert self.intake is not None
        self.intake.fail(SlowClientError())
        self._serve_once()

    def _serve_once(self) -> None:
        """Have the request served, unless it is already."""
        if not self._begun:
            self.started_s = self.host_site.reactor.seconds()
            self._begun = self._serving = True
            self.host_site.serve(self)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Have the request served, now that it is in whole, or refused.

        A streamed one is served since its first piece came; it may wait for nothing
        but this to be answered.
        """
        self.method, self.uri, self.clientproto = command, path, version
        self.path, self.args = path.partition(b"?")[0], {}
        if self.intake is not None:
            self.intake.end()
        if self._early is not None:
            self.deliver(self._early)
        else:
            self._serve_once()

    def ask(self) -> Ask:
        """Make the value that handlers see.

        Raises:
            MalformedError: path or query are not well encoded.
        """
        assert self.match is not None
        assert isinstance(self.content, BytesIO)
        variables = {
            name: decoded(text, name) for name, text in self.match.variables.items()
        }
        headers = {
            name.lower().decode("latin-1"): b", ".join(values).decode("latin-1")
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        return Ask(
            method=self.method.decode(),
            path=self.raw_path,
            variables=variables,
            query=parse_query(self.raw_query),
            headers=headers,
            body=self.content.getvalue(),
            request_id=self.request_id,
            traceparent=self.traceparent,
            stream=self.intake,
        )

    def served(self) -> None:
        """Let the body go: whoever served the request is done with it."""
        self._serving = False
        if self.intake is not None:
            self.intake.close()
        self._let_go()

    @property
    def size(self) -> int:
        """Tell how many bytes of its body are held."""
        return self._held

    def drop(self) -> None:
        """Keep nothing of the body: it is refused, and will be told so in a while."""
        self.content = BytesIO()
        self._let_go()

    def _let_go(self) -> None:
        """Account for what is no longer held."""
        self.host_site.let_go(self._held)
        self._held = 0

    def deliver(self, answer: Answer) -> None:
        """Write the answer, unless there is nobody any more to read it.

        A large body and a stream follow as the client takes them.
        """
        if self._disconnected:
            if answer.stream is not None:
                answer.stream.close()
            return
        if self.intake is not None and not self.intake.ended:
            self._cut_short(answer)
            return
        self.setResponseCode(answer.status)
        for name, value in self._headers(answer):
            self.responseHeaders.addRawHeader(name, value.encode("latin-1", "replace"))
        if answer.stream is not None:
            self.write(b"")
            stream = Streaming(self, answer.stream, self.host_site.reactor)
            self.host_site.streams(stream)
        elif self.method == b"HEAD" or len(answer.body) <= limits.PIECE_BYTES:
            self.write(answer.body)
            self.finish()
        else:
            self._pour(answer.body)

    def _cut_short(self, answer: Answer) -> None:
        """End a streamed body that nobody wants the rest of; its answer is there."""
        self._early = answer
        self.cut = True
        if not self._parsing:
            self.channel.allContentReceived()

    def _pour(self, body: bytes) -> None:
        """Write a large body as its client takes it, and account for it meanwhile."""
        site, count = self.host_site, len(body)
        site.pouring(count)
        self.notifyFinish().addBoth(lambda _: site.pouring(-count))
        Pouring(self, body, site.reactor).start()

    def _headers(self, answer: Answer) -> list[tuple[str, str]]:
        """List the headers of an answer; the last one of a connection closes it."""
        closing = self.cut or self.host_site.draining
        if closing:
            self.channel.persistent = False
        return headers_of(answer, self.request_id, closing)

    def connectionLost(self, reason: object) -> None:
        """Forget the client; what is being served goes on to its end."""
        super().connectionLost(reason)
        if self.intake is not None:
            lost = "the connection was lost before the end of the body"
            self.intake.fail(MalformedError(lost))
        if not self._serving:
            self._let_go()


class Channel(PatientChannel):
    """One connection, in HTTP/1.

    Invariants: the timer runs while a request comes in, and only then; once it is
    closing nothing more is parsed; a rejection is written once.
    """

    MAX_LENGTH = limits.HEADERS_BYTES_MAX
    totalHeadersSize = limits.HEADERS_BYTES_MAX  # noqa: N815
    maxHeaders = limits.HEADERS_MAX  # noqa: N815
    site: Host
    transport: Any

    def __init__(self) -> None:
        """Begin a connection that is not yet made."""
        super().__init__()
        self._closing = False
        self._lingering = False
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Count the connection."""
        super().connectionMade()
        self.site.opened(self)

    def connectionLost(self, reason: object = None) -> None:
        """Count the connection out; nothing is left behind."""
        self._closing = True
        self._stop_timer()
        self.site.closed(self)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Read on, unless the connection is about to close."""
        if self._closing:
            return
        if not (self._timer or self._handlingRequest or self.paused):
            self._start_timer(limits.HEADERS_S)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Read one line of a request's head, within bounds."""
        if self._closing:
            return
        if self._timer is None:
            self._start_timer(limits.HEADERS_S)
        if self._receivedHeaderSize == 0:
            line = ascii_line(line)
            if len(line) > limits.REQUEST_LINE_BYTES_MAX:
                self._reject(TargetTooLongError())
                return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._reject(HeadersTooLargeError())
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line without an end."""
        first = self._receivedHeaderSize == 0
        self._reject(TargetTooLongError() if first else HeadersTooLargeError())

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        """Refuse lengths that no number of ours holds."""
        if header == b"Content-Length" and len(data) > 18:
            return bool(self._failChooseTransferDecoder())
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def headerReceived(self, line: bytes) -> bool:
        """Take one header, unless an earlier one was wrong."""
        return not self._closing and bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        """Decide whether the body is wanted."""
        if self._closing:
            return
        request = self.requests[-1]
        if not self._names_one_host(request):
            self._reject(MalformedError("one Host header is wanted"))
            return
        request.admit(self._command, self._path, self.length)
        if request.cut:
            self.length = 0
            request.gotLength(0)
            return
        expected = self._body_max_s(request)
        super().allHeadersReceived()
        if request.intake is not None:
            # As for a request that is worked on: only our own timer runs.
            self._savedTimeOut = self.setTimeout(None)
        self._start_timer(expected)

    def _names_one_host(self, request: ApiRequest) -> bool:
        """Tell whether the request has the Host header that HTTP/1.1 asks for."""
        hosts = request.requestHeaders.getRawHeaders(b"Host", [])
        return len(hosts) == 1 or (not hosts and self._version != b"HTTP/1.1")

    def _body_max_s(self, request: ApiRequest) -> float:
        """Return how long the body, or the next piece of a stream, may take."""
        if request.intake is not None:
            return limits.STREAM_STALL_S
        length = request.body_max if self.length is None else self.length
        return limits.BODY_S + length / limits.BODY_BYTES_PER_S

    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of a body; answer at once where that made it too large."""
        if self._closing:
            return
        if not self._handlingRequest and self.requests[-1].intake is not None:
            self._start_timer(limits.STREAM_STALL_S)
        super().rawDataReceived(data)
        if not self._handlingRequest and self.requests and self.requests[-1].cut:
            self.allContentReceived()

    def allContentReceived(self) -> None:
        """Have a request served that came in whole."""
        if self._closing:
            return
        self._stop_timer()
        super().allContentReceived()

    def pause(self) -> None:
        """Read no more of a streamed body for now; its client is not to blame."""
        self._stop_timer()
        self._networkProducer.pauseProducing()

    def resume(self) -> None:
        """Read on in a streamed body, if it goes on."""
        if self._handlingRequest or self._closing:
            return
        self._start_timer(limits.STREAM_STALL_S)
        self._networkProducer.resumeProducing()

    def requestDone(self, request: ApiRequest) -> None:
        """Go on to the next request, or close."""
        self._lingering = self._lingering or request.cut
        super().requestDone(request)

    def close_if_idle(self) -> None:
        """Close, unless a request is being worked on or coming in."""
        if not self._handlingRequest and self._timer is None:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close, once what was written is out; linger where a body may be coming."""
        self._closing = True
        transport = self.transport
        if self._lingering and ITCPTransport.providedBy(self.transport):
            transport.unregisterProducer()
            transport.resumeProducing()
            transport.loseWriteConnection()
            self._start_timer(limits.LINGER_S)
        else:
            super().loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Refuse what is not HTTP."""
        self._reject(MalformedError("this is not HTTP/1.1 as RFC 9112 has it"))

    def _reject(self, error: ToruaError) -> None:
        """Answer where there is no request to answer to, and close."""
        if self._closing:
            return
        request_id = self.site.fresh_id()
        answer = self.site.rejection(error, request_id)
        head = [
            f"HTTP/1.1 {answer.status} {error.code}",
            f"Server: {SERVER}",
            f"Date: {date()}",
            f"X-Request-Id: {request_id}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Connection: close",
            "\r\n",
        ]
        self.transport.write("\r\n".join(head).encode() + answer.body)
        self._lingering = True
        self.loseConnection()

    def _start_timer(self, delay_s: float) -> None:
        """Let time run out ``delay_s`` from now, whatever ran before."""
        self._stop_timer()
        self._timer = self.site.reactor.callLater(delay_s, self._time_out)

    def _stop_timer(self) -> None:
        """Let time run no longer."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _time_out(self) -> None:
        """Tell a slow client so; cut off one that lingers."""
        self._timer = None
        request = self.requests[-1] if self.requests else None
        if self._closing:
            self.forceAbortClient()
        elif request is not None and request.intake is not None:
            request.starve()
        else:
            self._reject(SlowClientError())

    def timeoutConnection(self) -> None:
        """Close an idle connection; that is nothing to write into a log."""
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """Close without waiting for what is not yet written."""
        self._abortingCall = None
        self.transport.abortConnection()
